"""Fuzz, kill and starve sppdet: python scripts/torture.py --minutes 60 --only images kills [--help]."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # whose data sets and detectors are fuzzed

from torture.command import main

from sppdet import wait_passively

if __name__ == "__main__":
    wait_passively()  # before torch is imported, as the commands do
    sys.exit(main())
