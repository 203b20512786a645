import math

import torch
from hypothesis import given, strategies as st

from sppdet.structures.valid_boxes import keep_valid_boxes

coordinate = st.one_of(st.integers(-30, 130).map(float), st.sampled_from([math.nan, math.inf, -math.inf, 1e39]))


@given(
    boxes=st.lists(st.tuples(coordinate, coordinate, coordinate, coordinate), max_size=6),
    size=st.one_of(st.none(), st.tuples(st.integers(1, 100), st.integers(1, 100))),
    least_side=st.sampled_from([0, 1]),
)
def test_keeps_exactly_the_usable_boxes_cut_to_the_image(boxes, size, least_side):
    expected, indices = [], []
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        finite = all(abs(value) < 1e38 for value in (x1, y1, x2, y2))
        if not finite or x2 - x1 <= least_side or y2 - y1 <= least_side:
            continue
        if size is not None:
            if x2 <= 0 or y2 <= 0 or x1 >= size[0] or y1 >= size[1]:
                continue
            x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, size[0]), min(y2, size[1])
        expected.append([x1, y1, x2, y2])
        indices.append(i)
    kept, kept_indices = keep_valid_boxes(boxes, size, least_side, file="a.xml", image="a")
    assert kept.dtype == torch.float32
    assert kept.shape == (len(expected), 4)
    assert kept.tolist() == expected
    assert kept_indices == indices


def test_reports_file_object_box_and_reason(caplog):
    boxes = [(0, 0, 5, 5), (7, 7, 7, 9), (math.nan, 0, 5, 5), (20, 0, 25, 5)]
    keep_valid_boxes(boxes, (10, 10), 0, file="some/a.xml", image="a")
    assert [record.name for record in caplog.records] == ["sppdet.structures.valid_boxes"] * 3
    assert caplog.messages == [
        "some/a.xml: image a, object 2: box (7, 7, 7, 9) skipped: no area",
        "some/a.xml: image a, object 3: box (nan, 0, 5, 5) skipped: not finite",
        "some/a.xml: image a, object 4: box (20, 0, 25, 5) skipped: outside the image",
    ]
