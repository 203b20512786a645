"""Convolutional networks up to conv5, their fully connected layers, their weights and their geometry."""
