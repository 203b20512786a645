"""Region features: from one pass over the whole image (SPPnet), or one per crop (R-CNN)."""
