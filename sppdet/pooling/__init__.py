"""Windows of conv5 cells for boxes, pooling of windows to vectors of fixed length, and other forms of pooling."""
