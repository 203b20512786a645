"""sppdet: train, understand and compare region-based detectors.

image -> proposals -> region features -> heads -> detections -> evaluation, comparison
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sppdet.classification.classifier import Classifier as Classifier
    from sppdet.detector import Detector as Detector
    from sppdet.images import read_image as read_image
    from sppdet.pooling.pyramid import SpatialPyramidPooling as SpatialPyramidPooling

__version__ = "0.1.0"
__all__ = ["Classifier", "Detector", "SpatialPyramidPooling", "read_image"]

_HOMES = {
    "Classifier": "sppdet.classification.classifier",
    "Detector": "sppdet.detector",
    "SpatialPyramidPooling": "sppdet.pooling.pyramid",
    "read_image": "sppdet.images",
}


def __getattr__(name: str) -> Any:  # torch takes seconds to import: only when something of it is asked for
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'sppdet' has no attribute {name!r}")
