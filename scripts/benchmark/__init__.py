"""The parts of sppdet beside their peers, each measured in one run: `sppdet benchmark`."""
