"""Where a region's features come from: one pass over the whole image (SPPnet), or one a crop (R-CNN)."""
