"""What spawned processes of tests do, in a module that they can import."""

import os
from collections.abc import Sequence

from torch import Tensor
from torch.utils.data import Dataset

from sppdet.detector import Detector
from sppdet.structures import Detections


class DetectedImages(Dataset[tuple[int, Detections]]):
    """For each image, the process that detects in it, and the detections."""

    def __init__(self, detector: Detector, images: Sequence[Tensor]) -> None:
        self.detector, self.images = detector, images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[int, Detections]:
        return os.getpid(), self.detector.detect(self.images[i])
