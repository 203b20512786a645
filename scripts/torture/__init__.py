"""Files from strangers, kills, full disks and concurrent runs: `python scripts/torture.py`."""
