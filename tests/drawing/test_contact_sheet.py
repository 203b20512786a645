import numpy as np
import pytest
import torch
from factories import detect

from sppdet.drawing.contact_sheet import GUTTER, SHEET_WIDTH, draw_contact_sheet


def test_pictures_stand_in_a_row_with_even_gutters():
    sizes = [(173, 255), (188, 228), (180, 225)]
    images = [torch.zeros(3, *size, dtype=torch.uint8) for size in sizes]
    whole = [torch.tensor([[0.0, 0, width, height]]) for height, width in sizes]
    found = [detect(boxes, [0.5]) for boxes in whole]
    row = draw_contact_sheet(list(zip(images, found, strict=True)), ["disc"])
    assert row.shape[1] == SHEET_WIDTH
    white = (row == 255).all(axis=(0, 2))
    starts = np.flatnonzero(np.diff(white.astype(int)) == 1) + 1
    assert white.sum() == 2 * GUTTER
    assert all(white[start : start + GUTTER].all() for start in starts)
    widths = np.diff([-GUTTER, *starts, SHEET_WIDTH]) - GUTTER
    assert widths == pytest.approx([row.shape[0] * width / height for height, width in sizes], abs=2)
    for left, width in zip([0, *starts + GUTTER], widths, strict=True):  # the boxes are scaled as their images are
        assert row[-2, left + 1].tolist() == row[-2, left + width - 2].tolist() != [0, 0, 0]


def test_rows_stand_below_each_other_with_a_gutter_between():
    image = torch.zeros(3, 100, 100, dtype=torch.uint8)
    none = detect()
    one, two = (draw_contact_sheet([(image, none)] * n, ["disc"], columns=2) for n in (2, 4))
    assert two.shape == (2 * one.shape[0] + GUTTER, SHEET_WIDTH, 3)
    assert (two[len(one) : len(one) + GUTTER] == 255).all()
    assert (two[: len(one)] == one).all()
