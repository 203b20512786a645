from itertools import pairwise

import pytest
import torch
from factories import TINY, as_boxes, detect
from hypothesis import given, strategies as st

from sppdet.detector import Detector
from sppdet.errors import ConfigError
from sppdet.structures import Detections
from sppdet.tiles import OVERLAP, detect_tiled, spans


class Seeing:
    """A detector that finds the white rectangles of a picture, or what a tile shows of them, from `least` pixels on in
    the tile resized to `width`, as selective search does."""

    def __init__(self, width: int = 100, least: int = 10) -> None:
        self.config, self.width, self.least, self.seen = TINY, width, least, []

    def detect(self, tile: torch.Tensor) -> Detections:
        self.seen.append(tuple(tile.shape[1:]))
        boxes = []
        for value in tile.unique().tolist():
            ys, xs = (tile[0] == value).nonzero(as_tuple=True)
            box = [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1] if value else [0] * 4
            if min(box[2] - box[0], box[3] - box[1]) * self.width >= self.least * tile.shape[2]:
                boxes.append(box)
        return detect(boxes[-300:])


def picture(height: int, width: int, boxes: list[list[int]]) -> torch.Tensor:
    """A black picture with rectangles of values of their own."""
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    for value, (x1, y1, x2, y2) in enumerate(boxes, start=1):
        image[:, y1:y2, x1:x2] = value
    return image


@given(st.integers(1, 3000), st.integers(4, 700))
def test_an_object_shorter_than_the_overlap_is_whole_in_the_one_tile_it_counts_in(length, side):
    parts = list(spans(length, side))
    assert (parts[0].start, parts[-1].end) == (0, length)
    assert all(part.end - part.start == min(side, length) for part in parts)
    assert all(one.end - other.start >= OVERLAP * side for one, other in pairwise(parts))
    for center in range(0, 2 * length, max(1, length // 50)):
        (own,) = [part for part in parts if part.low <= center / 2 < part.high]
        assert max(center / 2 - own.side / 2, 0) >= own.start
        assert min(center / 2 + own.side / 2, length) <= own.end


@given(st.data())
def test_an_object_of_any_size_and_place_is_found_once_and_whole(data):
    height, width = data.draw(st.integers(200, 1200)), data.draw(st.integers(200, 1200))
    w, h = data.draw(st.integers(11, width)), data.draw(st.integers(11, height))
    x, y = data.draw(st.integers(0, width - w)), data.draw(st.integers(0, height - h))
    box = [x, y, x + w, y + h]
    if not any(max(w, h) < 25 * 2**k and min(w, h) >= 10 * 2**k for k in range(5)):
        return  # where it is whole, it is too thin
    found = detect_tiled(Seeing(), picture(height, width, [box]), 100)
    assert found.boxes.tolist() == [box]


def test_tiles_show_what_the_whole_image_hides():
    boxes = [[x, y, x + 16, y + 16] for x in (84, 300, 601, 900) for y in (30, 92, 480)]
    image, detector = picture(600, 1000, boxes), Seeing()
    assert len(detector.detect(image)) == 0
    found = detect_tiled(detector, image, 128)
    assert sorted(found.boxes.tolist()) == sorted(boxes)
    assert set(detector.seen) == {(128, 128), (256, 256), (512, 512), (600, 1000)}


def test_an_image_no_larger_than_a_tile_is_detected_as_a_whole():
    detector = Detector(TINY, ("circle", "square"))
    with torch.no_grad():
        detector.heads.weight.normal_(generator=torch.Generator().manual_seed(0))
    image = torch.randint(0, 256, (3, 90, 120), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    whole, tiled = detector.detect(image), detect_tiled(detector, image, 120)
    assert len(whole)
    for one, other in zip(whole.as_dict().values(), tiled.as_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert tiled.classes == whole.classes


def test_a_tile_that_is_too_small_is_refused():
    with pytest.raises(ConfigError, match=r"tile: too small \(expected a side of at least 64 pixels, got 2\)"):
        detect_tiled(Seeing(), picture(100, 100, []), 2)


def test_boxes_are_where_they_are_in_the_whole_image():
    box = [200, 210, 215, 230]
    assert torch.equal(detect_tiled(Seeing(), picture(300, 300, [box]), 64).boxes, as_boxes([box]))
