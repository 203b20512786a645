"""Readers of annotated images in the formats of labeling tools, of detections and proposals, and the VOC download."""
