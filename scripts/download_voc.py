"""Download PASCAL VOC2007 and 2012 into data/, check and unpack them: python scripts/download_voc.py [FOLDER]."""

import argparse

from sppdet.data.download import download_voc

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default="data", help="folder of VOCdevkit")
    print(download_voc(parser.parse_args().folder, years=("2007", "2012")))
