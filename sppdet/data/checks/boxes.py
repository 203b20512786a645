"""Boxes that can be used but are probably wrong, or of no use to a training."""

from math import floor

import torch

from sppdet.boxes import box_iou
from sppdet.config.data import ProposalConfig
from sppdet.data.build import CheckedImage
from sppdet.data.problems import Problems
from sppdet.data.sizes import overhang

TINY = 4  # pixels; a box with a shorter side is probably an accident
SAME_IOU = 0.95  # of two boxes of one object


def check_boxes(image: CheckedImage, proposals: ProposalConfig, problems: Problems) -> None:
    """Report boxes that reach beyond the image, tiny and doubled ones, and objects that no proposal can be as small as.

    Doubled boxes are of one class. Selective search drops boxes with a side under `proposals.min_side` pixels of the
    image resized to `proposals.width`.
    """
    file, boxes = image.source.file, image.annotations.boxes
    scale = proposals.width / image.size[0] if proposals.width and image.size else 1.0
    least = 0 if proposals.file else proposals.min_side
    sides = (boxes[:, 2:] - boxes[:, :2]).tolist()
    for thing, (width, height) in zip(image.objects, sides, strict=True):
        beyond = overhang(thing.box, image.size) if image.size else 0
        if beyond:
            message = f"reaches {beyond:g} pixels beyond the image, and is cut"
            problems.warn("box beyond the image", message, file, thing.place)
        shorter = min(width, height)
        if shorter < TINY:
            problems.warn("tiny box", f"is only {width:g} x {height:g} pixels", file, thing.place)
        elif shorter * scale < least and not thing.difficult:
            at = f" at a width of {proposals.width}" if proposals.width else ""
            tenths = [floor(10 * side * scale) / 10 for side in (width, height)]  # 19.96 is no 20
            got = f"{tenths[0]:g} x {tenths[1]:g} pixels{at}"
            message = f"is {got}, but proposals have sides of at least {least} (proposals.min_side)"
            problems.warn("small object", message, file, thing.place)
    labels = image.annotations.labels
    if len(set(labels.tolist())) < len(labels):
        same = (box_iou(boxes, boxes) >= SAME_IOU) & (labels[:, None] == labels[None])
        for second, first in torch.nonzero(same.tril(diagonal=-1)).tolist():
            place = image.objects[first].place
            problems.warn("doubled box", f"is the same as {place}", file, image.objects[second].place)
