"""Atomic files, checkpoints, and the folder of a run."""
