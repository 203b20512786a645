"""Things cut out of photographs, and scenes of them."""

import cv2
import numpy as np
import pytest
from hypothesis import given, strategies as st

from sppdet.data.formats.voc import read_voc
from sppdet.shapes import cutouts as module
from sppdet.shapes.cutouts import AREAS, OUTLINES, THINGS, draw_cutouts, load_areas, load_cutouts, load_photographs
from sppdet.shapes.dataset import generate_cutouts
from sppdet.shapes.scene import LEAST_VISIBLE

CUTOUTS, TEST_AREAS = load_cutouts(), load_areas("test")


def covered(name: str, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.array(OUTLINES[name], np.int32)], 1)
    return mask


@pytest.mark.parametrize("name", THINGS)
def test_a_cutout_is_the_photograph_inside_its_outline(name):
    photograph = load_photographs()[name]
    left, top, width, height = cv2.boundingRect(np.array(OUTLINES[name], np.int32))
    assert left >= 0
    assert top >= 0
    assert left + width <= photograph.shape[1]
    assert top + height <= photograph.shape[0]
    cutout, box = CUTOUTS[name], np.s_[top : top + height, left : left + width]
    np.testing.assert_array_equal(cutout[:, :, :3], photograph[box])
    mask, near = covered(name, photograph.shape), np.ones((9, 9))
    assert (cutout[:, :, 3][cv2.erode(mask, near)[box] == 1] > 0.99).all()
    assert (cutout[:, :, 3][cv2.dilate(mask, near)[box] == 0] < 0.01).all()


def test_backgrounds_show_none_of_the_things_and_those_of_test_no_part_of_those_of_training():
    photographs = load_photographs()
    used = {name: np.zeros(photograph.shape[:2], int) for name, photograph in photographs.items()}
    for areas in AREAS.values():
        for name, (left, top, right, bottom) in areas:
            used[name][top:bottom, left:right] += 1
    for name, photograph in photographs.items():
        assert used[name].max() <= 1
        assert not (used[name] * covered(name, photograph.shape)).any()
    for split in AREAS:
        assert all(area.shape[0] > 360 and area.shape[1] > 360 for area in load_areas(split))


@given(seed=st.integers(0, 2**32 - 1), names=st.lists(st.sampled_from(THINGS), min_size=1, max_size=4))
def test_scene_keeps_its_promises(seed, names):
    scene = draw_cutouts(np.random.default_rng(seed), names, TEST_AREAS, CUTOUTS)
    height, width = scene.image.shape[:2]
    assert scene.image.dtype == np.uint8
    assert 240 <= height <= 272
    assert 320 <= width <= 360
    assert 1 <= len(scene.shapes) <= len(names)
    remaining = iter(names)
    assert all(thing.name in remaining for thing in scene.shapes)  # in order, some perhaps left out
    for thing in scene.shapes:
        x1, y1, x2, y2 = thing.box
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
        assert min(x2 - x1, y2 - y1) >= 40
        assert LEAST_VISIBLE <= thing.visible <= 1.05


@pytest.mark.parametrize("name", THINGS)
def test_box_is_tight_around_what_is_drawn(name, monkeypatch):
    """One thing on a flat background: the box is where the image differs from it."""
    flat = np.array([0, 255, 0], np.float32)
    monkeypatch.setattr(module, "background", lambda _rng, _areas, h, w: np.tile(flat, (h, w, 1)))
    for seed in range(8):
        scene = draw_cutouts(np.random.default_rng(seed), [name], [], CUTOUTS)
        differs = np.abs(scene.image - flat).max(axis=2) > 110
        rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
        drawn = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        np.testing.assert_allclose(scene.shapes[0].box, drawn, atol=2)


def test_the_data_set_is_balanced_and_the_same_for_the_same_seed(tmp_path):
    first, same, other = (
        generate_cutouts(tmp_path / name, seed, train=10, test=5) for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert all((first / file).read_bytes() == (same / file).read_bytes() for file in files)
    images = [file for file in files if file.suffix == ".jpg"]
    assert len(images) == 15
    assert all((first / file).read_bytes() != (other / file).read_bytes() for file in images)
    dataset = read_voc(first, "trainval")
    assert dataset.classes == THINGS
    counts = [sum((image.labels == label).sum() for image in dataset.images) for label in (1, 2, 3)]
    assert max(counts) - min(counts) <= 3
    assert (first / "cutouts.json").is_file()
