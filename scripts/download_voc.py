"""Download PASCAL VOC2007 and 2012 into data/, check and unpack them: python scripts/download_voc.py [FOLDER]."""

import sys

from sppdet.data.download import download_voc

if __name__ == "__main__":
    print(download_voc(sys.argv[1] if len(sys.argv) > 1 else "data", years=("2007", "2012")))
