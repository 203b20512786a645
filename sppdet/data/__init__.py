"""Readers of annotated images (VOC, COCO), the generated shapes, and the VOC download."""
