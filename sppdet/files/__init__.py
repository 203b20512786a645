"""Files that appear whole, tensor files with their digest, checkpoints, and the folder of a run."""
