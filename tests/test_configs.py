"""The shipped YAML files and scripts."""

import ast
import importlib
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sppdet.backbones.weights import PRETRAINED
from sppdet.backbones.zoo import build_backbone
from sppdet.cli import build_parser
from sppdet.config.load import load_config
from sppdet.config.network import FCConfig
from sppdet.config.training import TrainConfig
from sppdet.features.build import build_extractor

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
SCRIPTS = sorted(path for path in (ROOT / "scripts").glob("*.py") if path.stem != "tutorial")


def parse(*arguments: str) -> TrainConfig:
    parser = build_parser(["train"])
    options = parser.instantiate(parser.parse_args(["train", *arguments])).train
    return TrainConfig(**{name: options[name] for name in TrainConfig.__dataclass_fields__})


def opening_comment(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return [line.removeprefix("#").strip() for line in lines[:end]]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_command_in_the_opening_comment_trains_with_this_file(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (command,) = [line for line in opening_comment(path) if line.startswith("sppdet train")]
    arguments = shlex.split(command)[2:]
    assert arguments[:2] == ["--config", f"configs/{path.name}"]
    assert "--data.root" in arguments
    config = parse(*arguments)
    assert config == parse("--config", str(path), "--data.root", config.data.root)  # --output is the file's own


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_python_reads_the_same_and_options_come_before_the_file(path):
    config = load_config(path)
    assert config == parse("--config", str(path))
    assert config.output.startswith("runs/")
    config = parse("--config", str(path), "--svm.C", "0.5", "--spp.scales", "[480,576]")
    assert config.svm.C == 0.5
    assert config.spp.scales == (480, 576)


def test_there_are_scripts_and_configurations_which_are_what_their_names_say():
    configs = {path.stem: parse("--config", str(path)) for path in CONFIGS}
    assert (configs["sppnet_voc07"].features, configs["rcnn_voc07"].features) == ("spp", "crop")
    assert configs["sppnet_voc07"].pyramid == configs["rcnn_voc07"].pyramid
    assert configs["sppnet_voc07"].backbone == configs["rcnn_voc07"].backbone
    assert len({config.output for config in configs.values()}) == len(configs)
    assert {path.stem for path in CONFIGS} >= {"sppnet_voc07", "rcnn_voc07", "finetuned_voc07", "quick"}
    assert {path.stem for path in SCRIPTS} >= {"train_voc", "evaluate", "compare_speed", "download_voc"}


@pytest.mark.parametrize("path", [path for path in CONFIGS if "voc07" in path.stem], ids=lambda path: path.stem)
def test_a_configuration_for_voc_builds_its_network_and_says_how_long_it_takes_and_how_good_it_is(path):
    comment = " ".join(opening_comment(path))
    assert "mAP" in comment
    assert "hour" in comment.lower() or "ime" in comment
    config = parse("--config", str(path))
    backbone = build_backbone(config.backbone.name, "random")
    needed = PRETRAINED.get(config.backbone.name)
    if needed and config.fc.depth:
        assert tuple(config.pyramid.levels) == needed[0] or needed[0][0] in config.pyramid.levels
    assert build_extractor(replace(config, fc=FCConfig()), backbone).pooled_dimension > 0


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_short_and_says_how_it_is_called(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 30
    tree = ast.parse(text, path.name)
    assert re.search(rf"python scripts/{path.name}\b", ast.get_docstring(tree) or "")
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                assert hasattr(module, alias.name), f"{path.name} imports {alias.name} of {node.module}"


def test_a_script_answers_to_help():
    ended = subprocess.run(
        [sys.executable, ROOT / "scripts/train_voc.py", "--help"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "--weights" in ended.stdout
