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
    size = module.Size(train=10, test=6, timed=1, regions=16)
    monkeypatch.setattr(module, "SHAPES", size)
    monkeypatch.setattr(module, "REAL", size)
    short = replace(Pretraining().fit, epochs=1)
    monkeypatch.setattr("sppdet.shapes.pretrain.Pretraining", partial(Pretraining, fit=short, sizes=(48,)))


@pytest.mark.usefixtures("small", "figures")
@pytest.mark.parametrize("real", [False, True])
def test_the_demonstration_ends_with_its_numbers_and_files(real, tmp_path):
    done = demo(real=real, output=str(tmp_path), workers=0)
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
    assert ("cutouts of photographs" in text) == ("do not say how well" in text) == result["real"] == real
    assert f"{100 * result['spp']['map_voc07']:.1f}%" in text
    assert all(file in text for file in result["files"])


@pytest.mark.usefixtures("small")
def test_a_second_run_trains_nothing_again_and_gives_the_same_detectors(tmp_path, monkeypatch):
    result = demo(output=str(tmp_path), workers=0).as_dict()
    monkeypatch.setattr("sppdet.shapes.pretrain.pretrain", None)
    monkeypatch.setattr("sppdet.training.train.propose", None)
    again = demo(output=str(tmp_path), workers=0).as_dict()
    assert (again["spp"], again["rcnn"]) == (result["spp"], result["rcnn"])
