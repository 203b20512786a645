"""Time the parts of sppdet next to their peers: python scripts/benchmark.py pooling heads --data.root data [--help]."""

import sys

from benchmark.command import main  # the package next to this file, which Python prefers to the file

from sppdet import wait_passively

if __name__ == "__main__":
    wait_passively()  # before torch is imported, as the commands do
    sys.exit(main())
