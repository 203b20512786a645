"""Train SPPnet on PASCAL VOC2007 and evaluate it: python scripts/train_voc.py data [--weights FILE]."""

import argparse
import logging
from pathlib import Path

from sppdet import evaluate, load_config, train

CONFIG = Path(__file__).parents[1] / "configs/sppnet_voc07.yaml"

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", help="VOCdevkit, its parent, or the year's folder")
    parser.add_argument("--weights", default="DEFAULT", help="a file, or a name of torchvision's weights enum")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    train(load_config(CONFIG, {"data.root": options.root, "backbone.weights": options.weights, "output": "runs/spp"}))
    print(evaluate("runs/spp"))  # on the split test of the same data
