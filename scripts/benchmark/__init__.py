"""The parts of sppdet next to their peers, each pair measured in the same run: `python scripts/benchmark.py`."""
