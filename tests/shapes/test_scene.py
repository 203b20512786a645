import math

import cv2
import numpy as np
import pytest
from hypothesis import given, strategies as st

from sppdet.shapes import scene as scenes
from sppdet.shapes.scene import LEAST_VISIBLE, SHAPES, draw_scene, outline

PHOTOGRAPH = np.random.default_rng(0).integers(0, 256, (400, 300, 3), dtype=np.uint8)


@given(name=st.sampled_from(SHAPES), angle=st.floats(0, 2 * math.pi))
def test_outline_fills_the_unit_square_at_any_angle(name, angle):
    contours = outline(name, angle)
    np.testing.assert_allclose(contours[0].min(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(contours[0].max(axis=0), 1, atol=1e-9)
    for hole in contours[1:]:
        assert (hole > 0.1).all()
        assert (hole < 0.9).all()


@given(name=st.sampled_from(SHAPES), angle=st.floats(0, 2 * math.pi), x=st.floats(2, 30), y=st.floats(2, 20))
def test_rasterized_area_and_center_are_those_of_the_polygon(name, angle, x, y):
    contours = [contour * [60, 50] + [x, y] for contour in outline(name, angle)]
    alpha = scenes._rasterize(contours, 80, 100)
    moments = [cv2.moments(contour.astype(np.float32)) for contour in contours]
    area, x_sum, y_sum = (
        abs(moments[0][key]) - sum(abs(hole[key]) for hole in moments[1:]) for key in ("m00", "m10", "m01")
    )
    rows, columns = np.mgrid[:80, :100] + 0.5
    # cv2 fills the pixels that the edge touches too, an eighth of a pixel of our own all around.
    assert alpha.sum() == pytest.approx(area, rel=0.07)
    assert (alpha * columns).sum() / alpha.sum() == pytest.approx(x_sum / area, abs=0.2)
    assert (alpha * rows).sum() / alpha.sum() == pytest.approx(y_sum / area, abs=0.2)


@given(seed=st.integers(0, 2**32 - 1), names=st.lists(st.sampled_from(SHAPES), min_size=1, max_size=4))
def test_scene_keeps_its_promises(seed, names):
    scene = draw_scene(np.random.default_rng(seed), names, [PHOTOGRAPH])
    height, width = scene.image.shape[:2]
    assert scene.image.dtype == np.uint8
    assert 168 <= height <= 192
    assert 224 <= width <= 256
    assert 1 <= len(scene.shapes) <= len(names)
    remaining = iter(names)
    assert all(shape.name in remaining for shape in scene.shapes)  # in order, some perhaps left out
    for shape in scene.shapes:
        x1, y1, x2, y2 = shape.box
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
        assert min(x2 - x1, y2 - y1) >= 20
        assert LEAST_VISIBLE <= shape.visible <= 1.15


def test_box_is_tight_around_what_is_drawn(monkeypatch):
    """One shape on a flat background: the box is where the image differs from it."""
    monkeypatch.setattr(scenes, "background", lambda _rng, _photographs, h, w: np.full((h, w, 3), 128, np.float32))
    for seed in range(12):
        scene = draw_scene(np.random.default_rng(seed), [SHAPES[seed % 6]], [PHOTOGRAPH])
        differs = np.abs(scene.image.astype(int) - 128).max(axis=2) > 12
        rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
        drawn = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        np.testing.assert_allclose(scene.shapes[0].box, drawn, atol=1)


def test_shape_stands_out_from_what_surrounds_it():
    canvas = np.full((60, 60, 3), 200, np.float32)
    alpha = np.zeros((60, 60), np.float32)
    alpha[20:40, 20:40] = 1
    lab = cv2.cvtColor(canvas[:1, :1] / 255, cv2.COLOR_RGB2Lab)
    for seed in range(20):
        color = scenes._contrasting_color(np.random.default_rng(seed), canvas, alpha)
        other = cv2.cvtColor(color[None, None].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
        assert np.linalg.norm(lab - other) >= scenes.LEAST_CONTRAST
