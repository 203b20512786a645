"""Detections on images, figures, text tables."""
