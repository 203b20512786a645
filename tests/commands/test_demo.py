import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

import sppdet.commands.demo as module
from sppdet.commands.demo import demo
from sppdet.shapes.pretrain import Pretraining


@pytest.fixture
def small(monkeypatch) -> None:
    """A few images, one short epoch and a few regions in place of the real demonstration."""
    monkeypatch.setattr(module, "TRAIN_IMAGES", 10)
    monkeypatch.setattr(module, "TEST_IMAGES", 6)
    short = replace(Pretraining().fit, epochs=1)
    monkeypatch.setattr("sppdet.shapes.pretrain.Pretraining", partial(Pretraining, fit=short, sizes=(48,)))
    monkeypatch.setattr(module, "PROPOSALS", 16)
    monkeypatch.setattr(module, "TIMED_IMAGES", 1)


@pytest.mark.usefixtures("small")
def test_the_demonstration_ends_with_its_numbers_and_files(tmp_path, monkeypatch):
    done = demo(output=str(tmp_path), workers=0)
    result = json.loads(json.dumps(done.as_dict()))
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
    comparison = json.loads((tmp_path / "compare/compare.json").read_text())
    assert set(comparison["stages"]) == {"SPPnet", "R-CNN"}
    assert comparison["baseline"] == "R-CNN"
    with Image.open(tmp_path / "detections.png") as sheet:
        assert sheet.width > sheet.height  # three images a row, two rows

    text = str(done)
    assert f"{100 * result['spp']['map_voc07']:.1f}%" in text
    assert all(file in text for file in result["files"])

    # A second run trains nothing again and gives the same detectors.
    monkeypatch.setattr("sppdet.shapes.pretrain.pretrain", None)
    monkeypatch.setattr("sppdet.training.train.propose", None)
    again = demo(output=str(tmp_path), workers=0).as_dict()
    assert (again["spp"], again["rcnn"]) == (result["spp"], result["rcnn"])
