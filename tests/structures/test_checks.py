import pytest
import torch

from sppdet.errors import InputError
from sppdet.structures import check_boxes

BOXES = torch.tensor([[0.0, 1, 5, 6], [2, 2, 2, 9]])


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        ([[0.0, 0, 1, 1]], "not a tensor"),
        (BOXES.double(), "float64"),
        (BOXES.long(), "int64"),
        (BOXES[0], r"expected float32 \(N, 4\), got float32 \(4,\)"),
        (BOXES[:, :3], r"\(2, 3\)"),
        (torch.tensor([[0, 0, torch.nan, 1]]), "not finite"),
        (torch.tensor([[0, 0, torch.inf, 1]]), "not finite"),
        (torch.tensor([[0.0, 0, 1, 1], [5, 0, 4, 9]]), r"wrong order .* got \[5.0, 0.0, 4.0, 9.0\]"),
    ],
)
def test_wrong_boxes_are_refused(boxes, reason):
    with pytest.raises(InputError, match=reason):
        check_boxes(boxes)
