"""A generated data set of shapes, and the training of a small network for it."""
