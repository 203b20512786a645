"""From a box to its window of conv5 cells, from a window to a fixed-length vector, and the forms of doing so."""
