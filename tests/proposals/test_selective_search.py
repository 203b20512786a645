from __future__ import annotations

import ctypes
import hashlib
import inspect
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sppdet.boxes import box_iou
from sppdet.errors import ConfigError, InputError
from sppdet.images import read_image
from sppdet.proposals.selective_search import selective_search
from sppdet.structures import check_boxes


def scene(seed: int = 0, height: int = 120, width: int = 160) -> torch.Tensor:
    """Rectangles of one colour each on a noisy ground."""
    generator = np.random.default_rng(seed)
    image = generator.integers(90, 110, (height, width, 3), dtype=np.uint8)
    for _ in range(8):
        x, y = generator.integers(0, width - 40), generator.integers(0, height - 40)
        w, h = generator.integers(15, 40, 2)
        image[y : y + h, x : x + w] = generator.integers(0, 256, 3)
    return torch.from_numpy(image).permute(2, 0, 1)


def opencv_boxes(image: torch.Tensor) -> np.ndarray:
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(image.permute(1, 2, 0).numpy()[:, :, ::-1]))
    search.switchToSelectiveSearchFast()
    x, y, w, h = search.process().T
    return np.stack([x, y, x + w, y + h], axis=1)


def test_holds_the_boxes_of_opencv_and_no_other():
    image = scene()
    boxes = selective_search(image, width=None, min_side=0, limit=None)
    check_boxes(boxes)
    expected = {tuple(box) for box in opencv_boxes(image).tolist()}
    assert len(boxes) == len(expected) > 20
    assert {tuple(box) for box in boxes.int().tolist()} == expected


def test_order_does_not_depend_on_libc_rand():
    if sys.platform == "win32":
        pytest.skip("libc is not reached this way")
    libc = ctypes.CDLL(None)
    image = scene()
    ours, theirs = [], []
    for seed in (1, 2024):
        libc.srand(seed)
        theirs.append(opencv_boxes(image))
        ours.append(selective_search(image, width=None, min_side=0))
    assert not np.array_equal(*theirs)
    assert torch.equal(*ours)


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


def test_order_depends_on_the_image():
    image = scene()
    brighter = image.clone()
    brighter[:, 0, 0] += 1
    orders = [selective_search(each, width=None, min_side=0) for each in (image, brighter)]
    assert not torch.equal(*orders)


def test_large_boxes_tend_to_come_first():
    found = [selective_search(scene(seed), width=None, min_side=5) for seed in range(4)]
    order = torch.cat([torch.linspace(0, 1, len(boxes)) for boxes in found])
    area = torch.cat([(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in found])
    assert area[order < 0.25].mean() > 1.2 * area[order > 0.75].mean()


def test_limit_takes_the_first_boxes():
    everything = selective_search(scene(), width=None, limit=None)
    assert len(everything) > 10
    assert torch.equal(selective_search(scene(), width=None, limit=10), everything[:10])


@pytest.mark.parametrize("mode", ["fast", "quality"])
@pytest.mark.parametrize("width", [None, 100, 333])
def test_finds_a_bright_square(mode, width):
    image = scene(1, 150, 210)
    image[:, 40:100, 90:160] = 255
    square = torch.tensor([[90.0, 40, 160, 100]])
    assert box_iou(square, selective_search(image, mode=mode, width=width)).max() > 0.8


def test_scales_each_axis_by_its_real_ratio():
    image = torch.zeros(3, 101, 333, dtype=torch.uint8)
    image[:, :, :] = torch.randint(0, 40, (1, 101, 333), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    image[:, 50:, 200:] = 220
    boxes = selective_search(image, width=100)  # searched at 30 x 100
    assert torch.allclose(boxes[:, 2].max(), torch.tensor(333.0))
    assert torch.allclose(boxes[:, 3].max(), torch.tensor(101.0))
    assert torch.allclose(boxes[:, 1::2] * (30 / 101), (boxes[:, 1::2] * (30 / 101)).round(), atol=1e-4)
    assert torch.allclose(boxes[:, 0::2] * (100 / 333), (boxes[:, 0::2] * (100 / 333)).round(), atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(30, 90),
    width=st.integers(30, 90),
    searched=st.integers(30, 120),
    min_side=st.integers(1, 25),
    seed=st.integers(0, 100),
)
def test_boxes_lie_in_the_image_and_are_distinct(height, width, searched, min_side, seed):
    image = torch.from_numpy(
        np.random.default_rng(seed).integers(0, 256, (3, height // 10, width // 10), dtype=np.uint8)
    )
    image = torch.nn.functional.interpolate(image[None], (height, width))[0]
    boxes = selective_search(image, width=searched, min_side=min_side)
    check_boxes(boxes)
    assert (boxes >= 0).all()
    assert (boxes <= torch.tensor([width, height, width, height])).all()
    assert len(torch.unique(boxes, dim=0)) == len(boxes) >= 1
    if len(boxes) > 1:
        sides = (boxes[:, 2:] - boxes[:, :2]) * (searched / width)
        assert sides[:, 0].min() > min_side - 1e-3
        assert sides[:, 1].min() > min_side * 0.97 - 1  # the searched height is rounded


@pytest.mark.parametrize("size", [(1, 1), (5, 5), (1, 300), (900, 1), (40, 60)])
@pytest.mark.parametrize("mode", ["fast", "quality"])
@pytest.mark.parametrize("width", [None, 100])
def test_tiny_and_uniform_images_give_the_whole_image(size, mode, width):
    height, width_ = size
    boxes = selective_search(torch.full((3, *size), 77, dtype=torch.uint8), mode=mode, width=width)
    assert boxes.tolist() == [[0, 0, width_, height]]
    assert boxes.dtype == torch.float32


@pytest.mark.parametrize(
    ("field", "value"), [("mode", "slow"), ("width", 0), ("width", -5), ("min_side", -1), ("limit", 0)]
)
def test_refuses_parameters_out_of_range(field, value):
    with pytest.raises(ConfigError, match=field):
        selective_search(scene(), **{field: value})


def test_refuses_what_is_not_an_image():
    with pytest.raises(InputError, match="image"):
        selective_search(torch.zeros(3, 10, 10))


def objects(annotation: Path) -> torch.Tensor:
    root = ElementTree.parse(annotation).getroot()
    boxes = [[float(box.find(key).text) for key in ("xmin", "ymin", "xmax", "ymax")] for box in root.iter("bndbox")]
    return torch.tensor(boxes) - torch.tensor([1.0, 1, 0, 0])


@pytest.mark.shared
def test_recall_on_photographs(shared):
    folder = shared / "voc" / "VOCdevkit" / "VOC2007"
    ids = (folder / "ImageSets" / "Main" / "val.txt").read_text().split()[::80][:5]
    best = []
    for id in ids:
        boxes = selective_search(read_image(folder / "JPEGImages" / f"{id}.jpg"))
        best.append(box_iou(objects(folder / "Annotations" / f"{id}.xml"), boxes).amax(dim=1))
    assert (torch.cat(best) >= 0.5).float().mean() > 0.85
