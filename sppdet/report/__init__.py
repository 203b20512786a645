"""One page on what evaluated runs detect: figures, and pictures of hits and errors."""
