"""Linear heads on region features: SVMs, softmax, box regression."""
