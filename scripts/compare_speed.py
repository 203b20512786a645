"""Compare SPPnet and R-CNN in inference time: python scripts/compare_speed.py data/VOCdevkit runs/spp [runs/rcnn]."""

import sys

from sppdet.commands import compare
from sppdet.comparison.report import format_table
from sppdet.config import DataConfig

if __name__ == "__main__":  # selective search starts processes, which import this file again
    root, *runs = sys.argv[1:]
    print(format_table(compare(runs, DataConfig(root=root, split="test", images=10), regions=2000)))
