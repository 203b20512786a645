"""Convolutional networks up to conv5, and the geometry of their cells."""
