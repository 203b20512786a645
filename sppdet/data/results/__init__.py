"""Detections of any program, in files."""
