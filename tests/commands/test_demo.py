from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import detect
from PIL import Image

from sppdet.commands import demo
from sppdet.commands.demo import format_demo, run_demo
from sppdet.shapes.pretrain import Pretraining


@pytest.fixture
def small(monkeypatch) -> None:
    """A few images, one short epoch and a few regions in place of the real demonstration."""
    monkeypatch.setattr(demo, "TRAIN_IMAGES", 10)
    monkeypatch.setattr(demo, "TEST_IMAGES", 6)
    short = replace(Pretraining().fit, epochs=1)
    monkeypatch.setattr(demo, "Pretraining", partial(Pretraining, fit=short, sizes=(48,)))
    monkeypatch.setattr(demo, "PROPOSALS", 16)
    monkeypatch.setattr(demo, "TIMED_IMAGES", 1)


def test_pictures_stand_in_a_row_with_even_gutters():
    sizes = [(173, 255), (188, 228), (180, 225)]
    images = [torch.zeros(3, *size, dtype=torch.uint8) for size in sizes]
    whole = [torch.tensor([[0.0, 0, width, height]]) for height, width in sizes]
    found = [detect(boxes, [0.5]) for boxes in whole]
    row = demo._draw_row(list(zip(images, found, strict=True)), ["disc"])
    assert row.shape[1] == demo.SHEET_WIDTH
    white = (row == 255).all(axis=(0, 2))
    starts = np.flatnonzero(np.diff(white.astype(int)) == 1) + 1
    assert white.sum() == 2 * demo.GUTTER
    assert all(white[start : start + demo.GUTTER].all() for start in starts)
    widths = np.diff([-demo.GUTTER, *starts, demo.SHEET_WIDTH]) - demo.GUTTER
    assert widths == pytest.approx([row.shape[0] * width / height for height, width in sizes], abs=2)
    for left, width in zip([0, *starts + demo.GUTTER], widths, strict=True):  # the boxes are scaled as their images are
        assert row[-2, left + 1].tolist() == row[-2, left + width - 2].tolist() != [0, 0, 0]


@pytest.mark.usefixtures("small")
def test_the_demonstration_ends_with_its_numbers_and_files(tmp_path, monkeypatch):
    result = run_demo(str(tmp_path), workers=0)
    for name in ("spp", "rcnn"):
        assert 0 <= result[name]["map_voc07"] <= 1
        assert 0 <= result[name]["map_area"] <= 1
        assert (Path(result[name]["run"]) / "detector.safetensors").is_file()
    assert set(result["speedup"]) == {"conv", "without_proposals", "total"}
    assert all(value > 0 for value in result["speedup"].values())
    assert (result["regions"], result["images"]) == (16, 1)
    assert len(result["files"]) == 6
    for file in map(Path, result["files"]):
        assert file.is_file()
        if file.suffix == ".png":
            with Image.open(file) as picture:
                assert min(picture.size) > 100
    assert json.loads((tmp_path / "demo.json").read_text()) == result
    with Image.open(tmp_path / "detections.png") as sheet:
        assert sheet.width > sheet.height  # three images a row, two rows

    text = format_demo(result)
    assert f"{100 * result['spp']['map_voc07']:.1f}%" in text
    assert all(file in text for file in result["files"])

    # A second run trains nothing again and gives the same detectors.
    monkeypatch.setattr(demo, "pretrain", None)
    monkeypatch.setattr("sppdet.training.train.propose", None)
    again = run_demo(str(tmp_path), workers=0)
    assert (again["spp"], again["rcnn"]) == (result["spp"], result["rcnn"])
