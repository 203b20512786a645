"""The learning curve of generated images, from nested shares to its files."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from contracts import assert_same_tensors
from factories import read_png, run_json, run_text, train_arguments, train_config, watch

from sppdet.commands.learning_curve import learning_curve
from sppdet.comparison import shares as module
from sppdet.config.data import DataConfig
from sppdet.config.training import FinetuneConfig, TrainConfig
from sppdet.errors import ConfigError
from sppdet.training.feature_cache import FeatureCache
from sppdet.training.train import train


@pytest.fixture
def config(shapes, tmp_path) -> TrainConfig:
    return train_config(shapes, tmp_path / "curve")


@pytest.mark.slow
@pytest.mark.usefixtures("figures")
def test_the_largest_share_is_the_training_and_the_rest_is_read_again(config, monkeypatch, tmp_path):
    computed = watch(monkeypatch, FeatureCache, "_compute")
    curve = learning_curve(config, shares=(0.25, 0.5, 1.0), seeds=(0, 1), goal=0.5)
    assert [(share.images, len(share.runs)) for share in curve.shares] == [(3, 2), (6, 2), (12, 2)]
    assert len(computed) == 15  # each image once, for all shares and seeds
    train(replace(config, output=str(tmp_path / "whole")))
    val = json.loads((tmp_path / "whole/val.json").read_text())
    assert curve.shares[-1].maps[0] == pytest.approx(val["map_voc07"], abs=1e-12)
    heads = [folder / "heads-train.safetensors" for folder in (tmp_path / "whole", tmp_path / "curve/12-images-seed0")]
    assert_same_tensors(*heads)
    assert len(curve.shares[0].mean.images) == val["images"] == 3
    folder = Path(config.output)
    assert read_png(folder / "learning_curve.png").ndim == 3
    written = json.loads((folder / "learning_curve.json").read_text())
    assert [one["maps"] for one in written["shares"]] == [list(share.maps) for share in curve.shares]
    assert len(written["predictions"]) == 2
    monkeypatch.setattr("sppdet.training.train.Trainer.fit", lambda *_: pytest.fail("trained again"))
    again = learning_curve(config, shares=(0.25, 0.5, 1.0), seeds=(0, 1), goal=0.5)
    assert again.as_dict() == curve.as_dict()
    changed = replace(config, svm=replace(config.svm, C=0.02))
    with pytest.raises(ConfigError, match="another configuration"):
        learning_curve(changed, shares=(0.5,))


@pytest.mark.slow
def test_the_test_images_if_they_are_asked_for(config):
    curve = learning_curve(replace(config, val="test"), shares=(0.2, 1.0))
    assert [share.images for share in curve.shares] == [3, 15]
    assert len(curve.shares[0].mean.images) == 6
    assert not curve.as_dict()["predictions"]


@pytest.mark.slow
def test_a_network_that_is_tuned_is_tuned_from_the_start_for_each_share(config):
    tuned = replace(
        config, finetune=FinetuneConfig(epochs=1, blocks=1), data=DataConfig(root=config.data.root, max_images=8)
    )
    alone = learning_curve(replace(tuned, output=f"{config.output}-alone"), shares=(1.0,))
    both = learning_curve(tuned, shares=(0.5, 1.0))
    assert both.shares[-1].maps == alone.shares[-1].maps
    folders = sorted(Path(tuned.output).glob("*-seed0"))
    assert [folder.name for folder in folders] == ["4-images-seed0", "7-images-seed0"]
    assert not any((folder / "features").exists() for folder in folders)


def test_the_command_prints_a_table_or_json(trained, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SPPDET_CACHE", str(trained / "cache"))
    _, *options = train_arguments(trained, tmp_path / "curve")
    command = ["learning-curve", *options, "--shares", "[0.25,1.0]"]
    table = run_text(capsys, *command).splitlines()
    assert [line.split()[0] for line in table[:3]] == ["images", "3", "12"]
    assert table[3] == "on 3 held-out images"
    assert table[-1] == f"written to {tmp_path / 'curve'}"
    values = run_json(capsys, *command)
    assert values == json.loads((tmp_path / "curve/learning_curve.json").read_text())
    assert [one["images"] for one in values["shares"]] == [3, 12]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shares": ()}, "shares: cannot be used"),
        ({"shares": (0.5, 0.5)}, "shares: cannot be used"),
        ({"shares": (0.5, 1.5)}, "shares: out of range"),
        ({"shares": (0.0, 0.5)}, "shares: out of range"),
        ({"shares": (0.49, 0.5)}, "shares: cannot be used .*shares of 6, 6"),
        ({"seeds": (1, 1)}, "seeds: cannot be used"),
        ({"multiples": (0.5,)}, "multiples: out of range"),
        ({"goal": 45.0}, "goal: out of range"),
    ],
)
def test_what_gives_no_curve_is_refused_before_anything_is_trained(config, monkeypatch, options, said):
    monkeypatch.setattr(module, "prepare", lambda *_: pytest.fail("trained"))
    with pytest.raises(ConfigError, match=said):
        learning_curve(config, **options)
    assert not Path(config.output).exists()
