"""A detector as an ONNX file, run by onnxruntime: boxes and scores are those of torch."""

import json
import re
import shutil
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from factories import CLASSES, TINY, image_file, random_boxes, random_detector, random_image, run_error
from torch import Tensor, nn

from sppdet.backbones.backbone import Backbone
from sppdet.backbones.efficientnet_lite import WithLastMap
from sppdet.boxes import clip_boxes
from sppdet.cli import main
from sppdet.config.detector import SPPConfig
from sppdet.config.network import BackboneConfig, PyramidConfig
from sppdet.detector import Detector
from sppdet.errors import ConfigError, SppdetError
from sppdet.export import DetectorGraph, export_detector
from sppdet.features.build import build_extractor
from sppdet.heads.linear import Heads
from sppdet.images import resize_shorter_side
from sppdet.postprocess import move_boxes

README = Path(__file__).parents[1] / "scripts" / "README.md"
SIZES = [(60, 80, 40), (200, 64, 1), (33, 34, 3), (90, 120, 0)]  # height, width, number of boxes


def skip_pooling() -> Detector:
    """Two maps, the second with negative values; windows rounded as in Fast R-CNN; softmax."""
    torch.manual_seed(0)
    rest = nn.Sequential(nn.Conv2d(8, 4, 3, stride=2, padding=1), nn.MaxPool2d(3, 1, 1))
    layers = nn.Sequential(nn.Conv2d(3, 8, 7, stride=8, padding=3), nn.ReLU(), WithLastMap(rest))
    pyramid, backbone = PyramidConfig((3, 1, 2), (2, 1)), BackboneConfig("two maps", tap="skip")
    config = replace(TINY, head="softmax", spp=SPPConfig((64,), "round"), pyramid=pyramid, backbone=backbone)
    extractor = build_extractor(config, Backbone("two maps", layers, (8, 4)))
    heads = Heads("softmax", 3, extractor.dimension)
    nn.init.normal_(heads.weight, std=0.1)
    return Detector(config, CLASSES, extractor, heads)


def run(session: onnxruntime.InferenceSession, side: int, image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    size = np.array(image.shape[1:])
    given = {"image": resize_shorter_side(image, side).numpy(), "proposals": boxes.numpy(), "size": size}
    moved, scores = session.run(["boxes", "scores"], given)
    return torch.from_numpy(moved), torch.from_numpy(scores)


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[Detector, Path, Any]:
    """A detector, its file in a folder of its own, and what the command said; to export takes a few seconds."""
    detector, place = skip_pooling(), tmp_path_factory.mktemp("place")
    run, file = place / "detector.safetensors", place / "new" / "detector.onnx"
    detector.save(run)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as output:
        patch.setattr("sppdet.commands.inputs.load_run", lambda *_: detector)
        assert main(["export", str(run), "--output", str(file), "--json"]) == 0
    return detector, file, json.loads(output.getvalue())


@pytest.mark.slow
def test_onnxruntime_gives_what_torch_gives(exported):
    detector, file, said = exported
    assert said.pop("difference") < 1e-4
    assert said == {"output": str(file), "format": "onnx", "classes": list(CLASSES)}
    session = onnxruntime.InferenceSession(file)
    for height, width, count in SIZES:
        image, boxes = random_image(height, width), torch.tensor([width, height] * 2) / 60 * random_boxes(count)
        moved, scores = run(session, 64, image, boxes)
        outputs = detector.heads(detector.encode(image).features(boxes))
        expected, activated = move_boxes(detector.heads, outputs, boxes)
        torch.testing.assert_close(scores, activated, rtol=0, atol=1e-4)
        torch.testing.assert_close(moved, clip_boxes(expected, height, width), rtol=1e-4, atol=1e-3)


def test_the_file_stands_alone_and_explains_itself(exported):
    detector, file, _ = exported
    assert [each.name for each in file.parent.iterdir()] == ["detector.onnx"]  # with its weights
    model = onnx.load(file, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(file)
    assert [(each.name, each.shape) for each in (*session.get_inputs(), *session.get_outputs())] == [
        ("image", [3, "height", "width"]),
        ("proposals", ["regions", 4]),
        ("size", [2]),
        ("boxes", ["regions", 3, 4]),
        ("scores", ["regions", 3]),
    ]
    settings = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
    assert settings["classes"] == list(CLASSES)
    assert settings["thresholds"] == detector.thresholds.tolist()
    assert (settings["shorter_side"], settings["min_score"], settings["nms_iou"]) == (64, -1.0, 0.3)


def test_the_example_of_the_readme_finds_what_the_detector_finds(exported, tmp_path, monkeypatch, capsys):
    detector, file, _ = exported
    monkeypatch.chdir(tmp_path)
    shutil.copy(file, "detector.onnx")
    image_file(tmp_path / "photo.png", 90, 120).rename("photo.jpg")
    (block,) = re.findall(r"```python\n((?:(?!```).)*onnxruntime.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.setattr("sppdet.selective_search", lambda _: random_boxes())
    exec(block, {})
    found = detector.detect("photo.jpg", random_boxes())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(found) > 0
    assert {line.split()[0] for line in lines} == {CLASSES[label - 1] for label in found.labels}


def test_a_graph_that_gives_other_scores_is_not_written(tmp_path, monkeypatch):
    detector = random_detector()
    model = onnx.helper.make_model(onnx.parser.parse_graph(CONSTANT))
    monkeypatch.setattr("sppdet.export._build", lambda _: model)
    with pytest.raises(SppdetError, match="scores: the exported graph gives other scores"):
        export_detector(detector, tmp_path / "detector.onnx")
    assert not list(tmp_path.iterdir())


CONSTANT = """graph (uint8[3, h, w] image, float[n, 4] proposals, int64[2] size) => (float[1] scores) {
    scores = Constant <value = float[1] {9.0}> ()
}"""


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"features": "crop"}, r"features: cannot be exported to ONNX \(expected spp or roi_pool, got crop\)"),
        ({"features": "roi_align"}, "features: .*, got roi_align"),
        ({"pyramid": PyramidConfig((2, 1), mode="average")}, r"pyramid.mode: .*\(expected max, got average\)"),
        ({"spp": SPPConfig((64, 96))}, r"spp.scales: .*\(expected one scale, got \[64, 96\]\)"),
    ],
)
def test_what_cannot_be_exported(changes, named):
    with pytest.raises(ConfigError, match=named):
        DetectorGraph(random_detector(replace(TINY, **changes)))


def test_mistakes_of_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random_detector().save("detector.safetensors")
    Path("mine.onnx").write_text("mine")
    assert "mine.onnx: output: exists already" in run_error(capsys, "export", ".", "--output", "mine.onnx")
    assert Path("mine.onnx").read_text() == "mine"
    assert "expected a .onnx file, got mine.pb" in run_error(capsys, "export", ".", "--output", "mine.pb")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert "needs onnxscript (expected pip install 'sppdet[export]')" in run_error(capsys, "export", ".")
    assert not Path("detector.onnx").exists()
