#!/bin/sh
# R-CNN, SPPnet, Fast R-CNN's pooling and Mask R-CNN's on the same frozen network, images and proposals, each with SVMs and
# with softmax, in one table of mAP and stage times:
#   sh scripts/lineage_voc.sh data [DEFAULT or a weight file] [runs/lineage] [options of train and compare]
# 200 training and 100 test images, because R-CNN is slow. Repeat the command to resume.
set -e
root=${1:?the folder of VOCdevkit} weights=${2:-DEFAULT} out=${3:-runs/lineage}
shift $(($# < 3 ? $# : 3))

runs=
for features in spp roi_pool roi_align crop; do
    for head in svm softmax; do
        sppdet train --config configs/sppnet_voc07.yaml --data.root "$root" --data.max_images 200 \
            --backbone.weights "$weights" --proposals.limit 400 --features $features --head $head \
            --output "$out/$features-$head" "$@"
        runs="$runs $out/$features-$head"
    done
done
sppdet compare $runs --data.max_images 100 --regions 400 --growth '[]' --output "$out/compare" "$@"
