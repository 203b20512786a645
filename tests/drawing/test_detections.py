import numpy as np
import pytest
import torch
from factories import detect
from hypothesis import given, strategies as st

from sppdet.drawing import detections as drawing
from sppdet.drawing.detections import _place_label, class_color, draw_detections, write_picture
from sppdet.errors import SppdetError
from sppdet.images import read_image
from sppdet.structures import Detections

GREY = torch.full((3, 200, 300), 128, dtype=torch.uint8)
CLASSES = ("disc", "square", "star")


def changed(picture: np.ndarray) -> np.ndarray:
    """Mask (H, W) of the pixels that are no longer gray."""
    return (picture != 128).any(axis=2)


def test_the_image_itself_is_not_changed_nor_drawn_on_if_nothing_is_found():
    image = GREY.clone()
    draw_detections(image, detect([[50, 60, 150, 160]], [0.5], [1]), CLASSES)
    assert torch.equal(image, GREY)
    picture = draw_detections(GREY, Detections.empty(), CLASSES)
    assert (picture.dtype, picture.shape) == (np.uint8, (200, 300, 3))
    assert not changed(picture).any()


def test_a_box_is_drawn_on_its_own_border_pixels_with_a_text_above():
    picture = draw_detections(GREY, detect([[50, 60, 150, 160]], [0.5], [2]), CLASSES)
    color = class_color(2)
    for y, x in ((159, 100), (100, 50), (100, 149), (159, 149)):  # the last pixels of a half-open box
        assert tuple(picture[y, x]) == color
    marked = changed(picture)
    assert not marked[62:158, 52:148].any()  # inside
    assert not marked[161:].any()  # below
    assert marked[45:60, 50:70].any()  # the text's plate
    assert not marked[:, :48].any()


def test_the_best_box_lies_on_top():
    box = [50, 60, 150, 160]
    picture = draw_detections(GREY, detect([box, box], [0.9, 0.1], [1, 3]), CLASSES)
    assert tuple(picture[159, 100]) == class_color(1)


def plates(monkeypatch, image, found: Detections) -> list:
    """The plates of the texts, in the order in which they were placed."""
    placed = []
    monkeypatch.setattr(drawing, "_place_label", lambda *given: placed.append(_place_label(*given)) or placed[-1])
    draw_detections(image, found, CLASSES)
    return placed


@pytest.mark.parametrize("box", [[50, 0, 150, 160], [50, 3, 150, 160], [0, 0, 300, 200], [-40, -30, 20, 5]])
def test_a_text_without_room_above_stands_inside(box, monkeypatch):
    (plate,) = plates(monkeypatch, GREY, detect([box], [0.5], [2]))
    assert plate[0] >= max(box[0], 0)
    assert max(box[1], 0) <= plate[1] < plate[3] <= 200


def test_texts_of_boxes_upon_one_another_do_not_cover_each_other(monkeypatch):
    boxes = [[50, 60, 150, 160], [52, 61, 152, 163], [49, 58, 149, 159]]
    placed = plates(monkeypatch, GREY, detect(boxes, [0.9, 0.5, 0.1], [1, 2, 3]))
    assert placed[0][3] == 60  # the best has the place above its box
    for i, a in enumerate(placed):
        for b in placed[i + 1 :]:
            assert a[3] <= b[1] or b[3] <= a[1] or a[2] <= b[0] or b[2] <= a[0]


@pytest.mark.parametrize("size", [(200, 300), (60, 40), (900, 1200)])
def test_a_text_is_not_cut_off(size, monkeypatch):
    image = torch.zeros(3, *size, dtype=torch.uint8)
    right = [[size[1] - 20, size[0] - 30, size[1], size[0]]]
    (plate,) = plates(monkeypatch, image, detect(right, [0.5], [2]))
    assert 0 <= plate[0] < plate[2] <= size[1]
    assert 0 <= plate[1] < plate[3] <= size[0]


def fraction_covered(plate: tuple[int, int, int, int], box: list[int]) -> float:
    width = min(plate[2], box[2]) - max(plate[0], box[0])
    height = min(plate[3], box[3]) - max(plate[1], box[1])
    return max(width, 0) * max(height, 0) / ((box[2] - box[0]) * (box[3] - box[1]))


@pytest.mark.parametrize("side", [12, 24, 60])
def test_texts_hide_no_object_among_many(side, monkeypatch):
    boxes = [[x, y, x + side, y + side] for x in range(20, 400, side + 8) for y in range(20, 300, side + 8)]
    placed = plates(monkeypatch, torch.zeros(3, 320, 420, dtype=torch.uint8), detect(boxes))
    shown = [(plate, i) for i, plate in enumerate(placed) if plate]
    assert placed[0]
    assert len(shown) > 9
    for plate, i in shown:
        assert all(fraction_covered(plate, box) <= 0.5 for k, box in enumerate(boxes) if k != i)
    for plate, i in shown:
        assert all(fraction_covered(other, plate) <= 0.5 for other, k in shown if k < i)


def test_a_small_object_of_a_large_image_has_a_small_text_and_border(monkeypatch):
    image = torch.full((3, 4000, 6000), 128, dtype=torch.uint8)
    large, small = plates(monkeypatch, image, detect([[100, 500, 5000, 3900], [3000, 2000, 3090, 2070]]))
    assert large[3] - large[1] == 200
    assert small[3] - small[1] == 50
    picture = draw_detections(image, detect([[3000, 2000, 3090, 2070]]), CLASSES)
    assert not changed(picture[2006:2064, 3006:3084]).any()


def test_no_score_is_a_negative_zero(monkeypatch):
    texts = []
    monkeypatch.setattr(drawing, "write", lambda _canvas, _left, _top, text, *_: texts.append(text))
    draw_detections(GREY, detect([[50, 60, 150, 160]], [-0.001], [1]), CLASSES)
    assert texts == ["disc 0.00"]


@given(
    st.tuples(*[st.floats(-1e4, 1e4)] * 4),
    st.floats(allow_nan=True, allow_infinity=True, width=32),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_any_box_can_be_drawn_on_any_image(corners, score, size):
    x1, x2 = sorted(corners[:2])
    y1, y2 = sorted(corners[2:])
    image = torch.zeros(3, *size, dtype=torch.uint8)
    picture = draw_detections(image, detect([[x1, y1, x2, y2]], [score], [1]), CLASSES)
    assert picture.shape == (*size, 3)


def test_classes_have_colors_of_their_own():
    colors = [class_color(label) for label in range(1, 21)]
    assert len(set(colors)) == 20
    assert all(0 <= value <= 255 for color in colors for value in color)


def test_a_picture_is_written_and_read_back_or_named(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    write_picture(tmp_path / "new/picture.png", picture)
    assert torch.equal(read_image(tmp_path / "new/picture.png"), torch.from_numpy(picture).permute(2, 0, 1))
    with pytest.raises(SppdetError, match="cannot be written"):
        write_picture(tmp_path / "new/picture.png/below a file.png", picture)
