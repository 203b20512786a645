"""Evaluate a detector on a VOC split, class by class: python scripts/evaluate.py runs/spp data [test]."""

import argparse

from sppdet.config.data import DataConfig
from sppdet.data.dataset import read_dataset
from sppdet.detector import Detector
from sppdet.evaluation.voc import evaluate_voc
from sppdet.proposals.cache import propose

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="run folder or detector file")
    parser.add_argument("root", help="VOCdevkit, its parent, or the year's folder")
    parser.add_argument("split", nargs="?", default="test", help="image list in ImageSets/Main")
    options = parser.parse_args()

    detector = Detector.load(options.run)
    dataset = read_dataset(DataConfig(root=options.root, split=options.split), detector.classes)
    proposals = propose(dataset.images, detector.config.proposals)
    detections = detector.detect_files([image.image for image in dataset.images], proposals)
    result = evaluate_voc(detections, dataset.images, dataset.classes)
    for name, voc07, area in zip(result.classes, result.ap_voc07, result.ap_area, strict=True):
        print(f"{name:16} {voc07:.4f} {area:.4f}")
    print(f"{'mAP':16} {result.map_voc07:.4f} {result.map_area:.4f}")
