"""From a box to its window of conv5 cells, and from a window to a fixed-length vector."""
