"""The records passed between modules. Each validates its shapes and dtypes on construction.

Boxes are float32 (N, 4) as x1 y1 x2 y2, in pixels of the original image, 0-based and half-open
(width = x2 - x1). Labels are int64 in 1..K; 0 is background, as in torchvision.
"""

from sppdet.structures.annotations import Annotations, ImageId, check_images
from sppdet.structures.checks import check_boxes, check_tensor
from sppdet.structures.dataset import Dataset
from sppdet.structures.detections import Detections, check_detections

__all__ = [
    "Annotations",
    "Dataset",
    "Detections",
    "ImageId",
    "check_boxes",
    "check_detections",
    "check_images",
    "check_tensor",
]
