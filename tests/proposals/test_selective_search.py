import colorsys
import hashlib
import inspect
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch
from contracts import assert_boxes
from factories import examples, random_image
from hypothesis import given, strategies as st

from sppdet.boxes import box_iou
from sppdet.config.data import ProposalConfig
from sppdet.data.formats.voc import read_voc
from sppdet.errors import ConfigError, InputError
from sppdet.images import to_array
from sppdet.proposals import selective_search as module
from sppdet.proposals.grouping import Hierarchy
from sppdet.proposals.selective_search import (
    PRESETS,
    _rank,
    search_hierarchies,
    search_nodes,
    selective_search,
    to_space,
)
from sppdet.structures import check_boxes


def scene(seed: int = 0, height: int = 120, width: int = 160) -> torch.Tensor:
    """Rectangles of one color each on a noisy ground."""
    generator = np.random.default_rng(seed)
    image = generator.integers(90, 110, (height, width, 3), dtype=np.uint8)
    for _ in range(8):
        x, y = generator.integers(0, width - 40), generator.integers(0, height - 40)
        w, h = generator.integers(15, 40, 2)
        image[y : y + h, x : x + w] = generator.integers(0, 256, 3)
    return torch.from_numpy(image).permute(2, 0, 1)


@pytest.mark.parametrize("mode", PRESETS)
def test_every_run_and_number_of_threads_gives_the_same_boxes(mode):
    image = scene()
    first, *others = (selective_search(image, mode, width=None, min_side=5, threads=n) for n in (1, 1, 2, 5, None))
    check_boxes(first)
    assert len(first) > 20
    assert all(torch.equal(first, other) for other in others)


def test_another_process_with_another_history_gives_the_same_boxes():
    code = (
        "import cv2, hashlib, torch, numpy as np\n"
        "from sppdet.proposals.selective_search import selective_search\n"
        f"{inspect.getsource(scene)}\n"
        "cv2.setNumThreads(1)\n"
        "for seed in (5, 6, 7): selective_search(scene(seed), width=None)\n"
        "print(hashlib.sha256(selective_search(scene(), width=200).numpy().tobytes()).hexdigest())\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == hashlib.sha256(selective_search(scene(), width=200).numpy().tobytes()).hexdigest()


def test_one_thread_has_one_color_space_in_memory(monkeypatch):
    made, alive = list[weakref.ref[np.ndarray]](), list[int]()

    def quantize(*arguments):
        alive.append(sum(each() is not None for each in made))
        made.append(weakref.ref(bins := original(*arguments)))
        return bins

    original = module.quantize
    monkeypatch.setattr(module, "quantize", quantize)
    search_hierarchies(to_array(scene(2, 60, 70)), PRESETS["quality"], threads=1)
    assert alive == [0] * 5


def test_order_depends_on_the_image_and_large_boxes_tend_to_come_first():
    found = [selective_search(scene(seed), width=None, min_side=5) for seed in range(4)]
    order = torch.cat([torch.linspace(0, 1, len(boxes)) for boxes in found])
    area = torch.cat([(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in found])
    assert area[order < 0.25].mean() > 1.2 * area[order > 0.75].mean()
    image = scene()
    brighter = image.clone()
    brighter[:, 0, 0] += 1
    assert not torch.equal(*(selective_search(each, width=None, min_side=0) for each in (image, brighter)))


def test_limit_takes_the_first_boxes():
    everything = selective_search(scene(), width=None, limit=None)
    assert len(everything) > 50
    for limit in (1, 2, 10, 50, 10**6):
        assert torch.equal(selective_search(scene(), width=None, limit=limit), everything[:limit])


@pytest.mark.parametrize("mode", PRESETS)
@pytest.mark.parametrize("width", [None, 100, 333])
def test_finds_a_bright_square(mode, width):
    image = scene(1, 150, 210)
    image[:, 40:100, 90:160] = 255
    square = torch.tensor([[90.0, 40, 160, 100]])
    assert box_iou(square, selective_search(image, mode=mode, width=width)).max() > 0.8


@pytest.mark.parametrize("mode", ["fast", "opencv_fast"])
def test_finds_what_stands_out_in_gray_or_in_color_only(mode):
    square = torch.tensor([[40.0, 30, 110, 90]])
    for colors in (((200, 200, 200), (60, 60, 60)), ((170, 80, 90), (60, 130, 110))):
        inside, outside = (torch.tensor(color, dtype=torch.uint8)[:, None, None] for color in colors)
        image = outside.repeat(1, 120, 160)
        image[:, 30:90, 40:110] = inside
        assert box_iou(square, selective_search(image, mode, width=None)).max() > 0.9


@pytest.mark.parametrize(("mode", "count"), [*zip(PRESETS, (8, 80, 12, 100), strict=True)])
def test_a_preset_gives_a_hierarchy_for_each_space_threshold_and_similarity(mode, count):
    hierarchies = search_hierarchies(to_array(scene(2, 60, 70)), PRESETS[mode])
    assert len(hierarchies) == count
    for hierarchy in hierarchies:
        nodes = 2 * hierarchy.labels.max() + 1
        assert hierarchy.labels.shape == (60, 70)
        assert (len(hierarchy.children), len(hierarchy.boxes)) == (nodes // 2, nodes)
        assert hierarchy.boxes[-1].tolist() == [0, 0, 70, 60]


@pytest.mark.parametrize("width", [None, 90, 333])
def test_nodes_bound_the_boxes(width):
    image = scene(3, 101, 157)
    boxes, nodes = search_nodes(image, ProposalConfig(width=width, min_side=8, limit=100))
    assert torch.equal(boxes, selective_search(image, width=width, min_side=8, limit=100))
    assert len(nodes) == len(boxes) > 50
    for box, (hierarchy, node) in zip(boxes, nodes, strict=True):
        mask = hierarchy.mask(node)
        np.testing.assert_array_equal(mask, np.isin(hierarchy.labels, hierarchy.segments(node)))
        y, x = np.nonzero(mask)
        scale = torch.tensor([157 / mask.shape[1], 101 / mask.shape[0]]).repeat(2)
        expected = torch.tensor([x.min(), y.min(), x.max() + 1, y.max() + 1]) * scale
        torch.testing.assert_close(box, expected, rtol=1e-6, atol=1e-4)


def test_rank_is_position_times_a_uniform_number():
    """Nodes 0, 1, 2 of one merge have positions 3, 2, 1: probabilities of who comes first by integration."""
    hierarchy = Hierarchy(np.array([[0, 1]]), np.array([[0, 1]]), np.array([[0, 0, 1, 1], [1, 0, 2, 1], [0, 0, 2, 1]]))
    orders = np.array([_rank([hierarchy], seed) for seed in range(3000)])
    assert (orders[:, 0] == 2).mean() == pytest.approx(1 - (1 / 2 + 1 / 3) / 2 + 1 / 18, abs=0.03)
    places = orders.argsort(axis=1)
    assert (places[:, 2] < places[:, 1]).mean() == pytest.approx(3 / 4, abs=0.03)
    assert (places[:, 1] < places[:, 0]).mean() == pytest.approx(2 / 3, abs=0.03)


@pytest.mark.parametrize("space", ["HSV", "H", "Lab", "I", "rgI", "RGI"])
def test_color_spaces(space):
    array = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    array[0, 0] = 0
    found = to_space(array, space)
    assert found.dtype == np.uint8
    assert found.shape == (9, 12) if space in "HI" else (9, 12, 3)
    red, green, blue = np.moveaxis(array.astype(float), 2, 0)
    total = np.maximum(red + green + blue, 1)
    intensity = 0.299 * red + 0.587 * green + 0.114 * blue
    expected = {"I": [intensity], "rgI": [255 * red / total, 255 * green / total, intensity]}
    expected["RGI"] = [red, green, intensity]
    for channel, plane in enumerate(expected.get(space, [])):
        np.testing.assert_allclose(np.atleast_3d(found)[..., channel], plane, atol=1)
    if space in ("HSV", "H"):
        hues = [colorsys.rgb_to_hsv(*pixel)[0] * 180 for pixel in (array / 255).reshape(-1, 3)]
        difference = np.abs(np.atleast_3d(found)[..., 0].ravel() - hues)
        assert np.minimum(difference, 180 - difference).max() <= 1
    if space == "Lab":
        gray = to_space(np.full((2, 2, 3), 90, np.uint8), "Lab")
        assert (gray[..., 1:] == 128).all()


def test_scales_each_axis_by_its_real_ratio():
    image = random_image(101, 333) // 7
    image[:, 50:, 200:] = 220
    boxes = selective_search(image, width=100)  # searched at 30 x 100
    assert boxes[:, 2:].amax(dim=0).tolist() == pytest.approx([333, 101])
    searched = boxes * torch.tensor([100 / 333, 30 / 101]).repeat(2)
    torch.testing.assert_close(searched, searched.round(), rtol=0, atol=1e-3)


@examples(15)
@given(st.integers(30, 90), st.integers(30, 90), st.integers(30, 120), st.integers(1, 25), st.integers(0, 100))
def test_boxes_lie_in_the_image_and_are_distinct(height, width, searched, min_side, seed):
    blocks = random_image(height // 10, width // 10, seed)
    image = torch.nn.functional.interpolate(blocks[None], (height, width))[0]
    boxes = selective_search(image, width=searched, min_side=min_side)
    assert_boxes(boxes, (height, width))
    assert len(torch.unique(boxes, dim=0)) == len(boxes) >= 1
    if len(boxes) > 1:
        sides = (boxes[:, 2:] - boxes[:, :2]) * (searched / width)
        assert sides[:, 0].min() > min_side - 1e-3
        assert sides[:, 1].min() > min_side * 0.97 - 1  # the searched height is rounded


@pytest.mark.parametrize("size", [(1, 1), (5, 5), (1, 300), (900, 1), (40, 60)])
@pytest.mark.parametrize("mode", PRESETS)
@pytest.mark.parametrize("width", [None, 100])
def test_tiny_and_uniform_images_give_the_whole_image(size, mode, width):
    boxes = selective_search(torch.full((3, *size), 77, dtype=torch.uint8), mode=mode, width=width)
    assert (boxes.tolist(), boxes.dtype) == ([[0, 0, size[1], size[0]]], torch.float32)


@pytest.mark.parametrize(
    ("field", "value"), [("mode", "slow"), ("width", 0), ("width", -5), ("min_side", -1), ("limit", 0), ("threads", 0)]
)
def test_refuses_parameters_out_of_range(field, value):
    with pytest.raises(ConfigError, match=field):
        selective_search(scene(), **{field: value})


def test_refuses_what_is_not_an_image():
    with pytest.raises(InputError, match="image"):
        selective_search(torch.zeros(3, 10, 10))
    for size in ((0, 5), (5, 0)):
        with pytest.raises(InputError, match="image: has no pixels"):
            selective_search(torch.zeros(3, *size, dtype=torch.uint8))


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (2, 2), (1, 300), (300, 1), (3, 3)])
@pytest.mark.parametrize("mode", PRESETS)
def test_images_of_few_pixels(size, mode):
    boxes, nodes = search_nodes(random_image(*size), ProposalConfig(mode, width=None, min_side=0))
    check_boxes(boxes)
    assert [0, 0, size[1], size[0]] in boxes.tolist()
    assert len(nodes) == len(boxes) == len(torch.unique(boxes, dim=0))
    assert all(hierarchy.mask(node).any() for hierarchy, node in nodes)


@pytest.mark.shared
@pytest.mark.parametrize("mode", ["fast", "opencv_fast"])
def test_recall_on_photographs(shared, mode):
    best = []
    for image in read_voc(shared / "voc", "val").images[::80][:5]:
        boxes = selective_search(image.read(), mode)
        assert 100 < len(boxes) <= 2000
        best.append(box_iou(image.boxes, boxes).amax(dim=1))
    assert (torch.cat(best) >= 0.5).float().mean() > 0.85


def test_the_pixels_of_a_search_are_bounded_and_that_is_logged(caplog, monkeypatch):
    searched = []
    hierarchies = module.search_hierarchies

    def search(array, *rest):
        searched.append(array.shape)
        return hierarchies(array, *rest)

    monkeypatch.setattr(module, "search_hierarchies", search)
    image = torch.full((3, 150, 400), 90, dtype=torch.uint8)
    image[:, 30:120, 100:300] = 230
    boxes = selective_search(image, width=None, max_pixels=15_000)
    assert searched == [(75, 200, 3)]
    assert boxes.max() == 400
    assert [100, 30, 300, 120] in boxes.tolist()
    assert "400 x 150 pixels is searched at 200 x 75 (proposals.max_pixels)" in caplog.text
    selective_search(image, width=None, max_pixels=60_000)
    assert searched[1] == (150, 400, 3)
    assert ProposalConfig(width=None).max_pixels == 4_000_000
