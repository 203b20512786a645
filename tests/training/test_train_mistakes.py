"""What a training refuses, and what it leaves behind then: nothing."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from contracts import raised
from factories import random_detector

from sppdet.backbones.zoo import build_backbone
from sppdet.config.data import DataConfig
from sppdet.config.network import BackboneConfig
from sppdet.config.record import as_dict
from sppdet.config.training import FinetuneConfig
from sppdet.data.formats.voc import read_voc
from sppdet.errors import ConfigError, DataError, WeightsError
from sppdet.files.atomic import save_tensors, write_json
from sppdet.files.run_folder import RunFolder
from sppdet.training import train as stages
from sppdet.training.train import train

pytestmark = pytest.mark.usefixtures("warm_cache")


def test_val_of_other_classes_and_too_few_images_are_errors(config, shapes):
    dataset = read_voc(shapes, "val")
    with pytest.raises(DataError, match="val: other classes than the training images"):
        train(replace(config, data=DataConfig()), dataset, replace(dataset, classes=dataset.classes[::-1]))
    with pytest.raises(DataError, match="too few images"):
        train(replace(config, data=replace(config.data, max_images=1)))


def test_a_run_does_not_go_on_with_other_annotations(small, own_data):
    """MiningState negatives are positions among regions: of other objects they would be other regions."""
    config = replace(small, data=replace(small.data, root=str(own_data)))
    for _ in range(2):  # the second time the same
        train(config)
        (Path(config.output) / "detector.safetensors").unlink()
    file = sorted((own_data / "Annotations").iterdir())[0]
    file.write_text(re.sub(r"<difficult>0", "<difficult>1", file.read_text(), count=1))
    before = sorted((path, path.stat().st_mtime_ns) for path in Path(config.output).glob("[!.]*"))
    with pytest.raises(ConfigError, match="other images, annotations, proposals or weights") as caught:
        train(config)
    assert str(caught.value.file) == config.output
    assert sorted((path, path.stat().st_mtime_ns) for path in Path(config.output).glob("[!.]*")) == before


def test_wrong_blocks_and_weights_are_named_before_any_image_is_searched(config, tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "propose", None)
    assert raised(ConfigError, train, replace(config, finetune=FinetuneConfig(blocks=6))).field == "finetune.blocks"
    save_tensors(tmp_path / "other.safetensors", build_backbone("squeezenet1_1", "random").state_dict())
    with pytest.raises(WeightsError, match=r"other\.safetensors: layers\.0\.weight"):
        train(replace(config, backbone=BackboneConfig("shapenet", str(tmp_path / "other.safetensors"))))


def test_data_come_first_and_nothing_is_left_behind_by_a_mistake(config, own_data, tmp_path):
    weights = tmp_path / "other.safetensors"
    save_tensors(weights, build_backbone("squeezenet1_1", "random").state_dict())
    wrong = replace(config, backbone=BackboneConfig("shapenet", str(weights)))
    with pytest.raises(DataError, match="nowhere: folder not found"):
        train(replace(wrong, data=DataConfig(root="nowhere")))
    own = replace(wrong, data=DataConfig(root=str(own_data)))
    with pytest.raises(WeightsError, match=r"other\.safetensors"):
        train(own)
    (own_data / "ImageSets/Main/val.txt").unlink()
    (own_data / "ImageSets/Main/trainval.txt").write_text("missing")
    with pytest.raises(DataError, match="missing"):
        train(own)
    with pytest.raises(ConfigError, match="memory_gb"):
        train(replace(config, memory_gb=1.0))
    assert not Path(config.output).exists()


def test_weights_without_their_configuration_are_an_error(config):
    save_tensors(Path(config.output) / "detector.safetensors", {"weight": torch.zeros(1)})
    with pytest.raises(Exception, match=r"config\.json: file not found"):
        train(config)


def test_a_detector_of_another_configuration_is_not_the_runs(config):
    run = RunFolder(config.output)
    write_json(run.config, as_dict(config))
    random_detector().save(run.detector)
    with pytest.raises(WeightsError, match="is of another configuration"):
        train(config)
