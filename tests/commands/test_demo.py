import json
from pathlib import Path

import pytest
from PIL import Image

from sppdet.commands.demo import demo


def check_files_and_numbers(folder: Path, real: bool) -> dict:
    """The result of a demonstration in this folder, after a look at all that it says and writes."""
    done = demo(real=real, output=str(folder), workers=0)
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
    assert json.loads((folder / "demo.json").read_text()) == result
    comparison = json.loads((folder / "compare/compare.json").read_text())
    assert set(comparison["stages"]) == {"SPPnet", "R-CNN"}
    assert comparison["baseline"] == "R-CNN"
    with Image.open(folder / "detections.png") as sheet:
        assert sheet.width > sheet.height  # three images a row, two rows

    text = str(done)
    assert ("cutouts of photographs" in text) == ("do not say how well" in text) == result["real"] == real
    assert f"{100 * result['spp']['map_voc07']:.1f}%" in text
    assert all(file in text for file in result["files"])
    return result


@pytest.mark.usefixtures("small_demo", "figures")
def test_the_demonstration_of_shapes_ends_with_its_numbers_and_files_and_trains_nothing_again(tmp_path, monkeypatch):
    result = check_files_and_numbers(tmp_path, real=False)
    monkeypatch.setattr("sppdet.shapes.pretrain.pretrain", None)
    monkeypatch.setattr("sppdet.training.train.propose", None)
    again = demo(output=str(tmp_path), workers=0).as_dict()
    assert (again["spp"], again["rcnn"]) == (result["spp"], result["rcnn"])


@pytest.mark.slow
@pytest.mark.usefixtures("small_demo", "figures")
def test_the_demonstration_of_cutouts_ends_with_its_numbers_and_files(tmp_path):
    check_files_and_numbers(tmp_path, real=True)
