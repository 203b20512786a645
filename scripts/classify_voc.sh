#!/bin/sh
# Objects of VOC2007 as images, full-aspect or warped, trained at one size or two, tested at five, three seeds each:
#   sh scripts/classify_voc.sh data [DEFAULT or a weight file] [runs/classify] [options of classify train and evaluate]
# Writes a JSON file per recipe and test size, with the difference from warped images and from one training size. Repeat
# the command to resume.
set -e
root=${1:?the folder of VOCdevkit} weights=${2:-DEFAULT} out=${3:-runs/classify}
shift $(($# < 3 ? $# : 3))

for split in trainval test; do
    sppdet classify crops --data.root "$root" --data.split $split --output "$out/crops"
done
for view in warp full; do
    for sizes in 224 224,160; do
        for seed in 0 1 2; do
            sppdet classify train --data.train "$out/crops/trainval" --backbone.weights "$weights" --view $view \
                --sizes "[$sizes]" --seed $seed --output "$out/$view-$sizes-$seed" "$@"
        done
    done
done
evaluate() { # recipe, recipe to compare with, test size, options
    recipe=$1 other=$2 size=$3 && shift 3
    sppdet classify evaluate "$out/$recipe"-[012] --against "[$out/$other-0,$out/$other-1,$out/$other-2]" \
        --data "$out/crops/test" --views.sizes "[$size]" "$@" --json >"$out/$recipe-against-$other-at-$size.json"
}
for size in 128 160 192 224 288; do
    evaluate full-224 warp-224 $size "$@"
    evaluate full-224,160 full-224 $size "$@"
    evaluate warp-224,160 warp-224 $size "$@"
done
