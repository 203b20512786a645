"""Train SPPnet on PASCAL VOC2007 and evaluate it: python scripts/train_voc.py data [runs/spp]."""

import argparse
import logging

from sppdet.commands.evaluate import evaluate
from sppdet.config.data import DataConfig
from sppdet.config.network import BackboneConfig
from sppdet.config.training import BoxRegressionConfig, SVMConfig, TrainConfig
from sppdet.training.train import train

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", help="VOCdevkit, its parent, or the year's folder")
    parser.add_argument("output", nargs="?", default="runs/spp")
    parser.add_argument("--features", choices=("spp", "crop", "roi_pool", "roi_align"), default="spp")
    parser.add_argument("--weights", default="DEFAULT", help="a file, or a name of torchvision's weights enum")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    data = DataConfig(root=options.root, year="2007")
    backbone = BackboneConfig("squeezenet1_0", options.weights)
    heads = {"svm": SVMConfig(C=0.003), "box_regression": BoxRegressionConfig(ridge=1000)}  # as in configs/
    train(TrainConfig(features=options.features, data=data, backbone=backbone, output=options.output, **heads))
    print(evaluate(options.output))
