"""Compare SPPnet and R-CNN in inference time: python scripts/compare_speed.py runs/spp [runs/rcnn ...]."""

import argparse

from sppdet import compare

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="one run, compared with itself in the other mode, or several")
    options = parser.parse_args()

    comparison = compare(options.runs, regions=2000)  # on ten test images of the data that the first was trained on
    print(comparison)
