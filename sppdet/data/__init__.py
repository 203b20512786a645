"""Annotated images in any format, read, checked and written; detections in files; the VOC download."""
