"""The records passed between modules. Each validates its shapes and dtypes on construction.

Boxes are float32 (N, 4) as x1 y1 x2 y2, in pixels of the original image, 0-based and half-open
(width = x2 - x1). Labels are int64 in 1..K; 0 is background, as in torchvision.
"""

from sppdet.structures.annotations import Annotations as Annotations, ImageId as ImageId, check_images as check_images
from sppdet.structures.checks import (
    box_in_image as box_in_image,
    check_boxes as check_boxes,
    check_tensor as check_tensor,
)
from sppdet.structures.dataset import Dataset as Dataset
from sppdet.structures.detections import Detections as Detections, check_detections as check_detections
