"""Files that are never half-written, and the folder of a run."""
