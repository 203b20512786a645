"""The generated data set and the small network for it."""
