"""Checks of tensors: dtype, shape, order of corners, range of labels."""

import torch
from torch import Tensor

from sppdet.errors import InputError


def check_tensor(value: object, name: str, dtype: torch.dtype, *shape: int | None) -> None:
    """Raise InputError unless `value` is a tensor of this dtype and shape; None stands for any length."""
    expected = f"{str(dtype).removeprefix('torch.')} ({', '.join('N' if n is None else str(n) for n in shape)})"
    if not isinstance(value, Tensor):
        raise InputError("not a tensor", field=name, expected=expected, got=type(value).__name__)
    same_shape = value.ndim == len(shape) and all(n is None or n == m for n, m in zip(shape, value.shape, strict=True))
    if value.dtype != dtype or not same_shape:
        got = f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
        raise InputError("wrong type or shape", field=name, expected=expected, got=got)


def check_boxes(boxes: object, name: str = "boxes") -> None:
    """Raise InputError unless `boxes` is float32 (N, 4), finite, with x1 <= x2 and y1 <= y2."""
    check_tensor(boxes, name, torch.float32, None, 4)
    assert isinstance(boxes, Tensor)
    if not torch.isfinite(boxes).all():
        raise InputError("not finite", field=name, expected="finite coordinates")
    wrong = (boxes[:, 2:] < boxes[:, :2]).any(dim=1)
    if wrong.any():
        got = boxes[wrong][0].tolist()
        raise InputError("corners in the wrong order", field=name, expected="x1 <= x2, y1 <= y2", got=got)


def box_in_image(numbers: object, size: tuple[int, int]) -> Tensor:
    """Return the numbers x1 y1 x2 y2 of a user as a box float32 (4,).

    Raises InputError if they are no box in an image of `size` (H, W).
    """
    height, width = size
    corners = numbers if isinstance(numbers, list) and all(type(one) in (int, float) for one in numbers) else []
    inside = len(corners) == 4 and 0 <= corners[0] < corners[2] <= width and 0 <= corners[1] < corners[3] <= height
    if not inside:
        expected = f"x1,y1,x2,y2 in {width}x{height}"
        raise InputError("no box in the image", field="box", expected=expected, got=numbers)
    return torch.tensor(corners, dtype=torch.float32)


def check_labels(labels: Tensor, name: str, classes: int) -> None:
    """Raise InputError unless all labels are in 1..classes."""
    wrong = labels[(labels < 1) | (labels > classes)]
    if len(wrong):
        raise InputError("label of no class", field=name, expected=f"1..{classes}", got=int(wrong[0]))
