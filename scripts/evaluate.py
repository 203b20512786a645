"""Evaluate a detector on images in memory: python scripts/evaluate.py runs/spp data [test]."""

import argparse

from sppdet import Detector, evaluate, read_voc

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="run folder or detector file")
    parser.add_argument("root", help="VOCdevkit, its parent, or the year's folder")
    parser.add_argument("split", nargs="?", default="test", help="image list in ImageSets/Main")
    options = parser.parse_args()

    detector = Detector.load(options.run)
    dataset = read_voc(options.root, options.split, detector.classes)  # any Dataset, as Dataset.from_torchvision gives
    print(evaluate(detector, dataset=dataset))
