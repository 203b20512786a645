"""Compare SPPnet and R-CNN in inference time: python scripts/compare_speed.py data runs/spp [runs/rcnn ...]."""

import argparse

from sppdet.commands.compare import compare
from sppdet.config.data import DataConfig

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", help="VOCdevkit, its parent, or the year's folder")
    parser.add_argument("runs", nargs="+", help="one run, compared with itself in the other mode, or several")
    options = parser.parse_args()

    print(compare(options.runs, data=DataConfig(root=options.root, split="test", max_images=10)))
