import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from factories import random_image, watch

from sppdet.backbones.zoo import build_backbone
from sppdet.classification import training as module
from sppdet.classification.classifier import Classifier
from sppdet.classification.training import Epochs, train_classifier
from sppdet.config.network import FCConfig
from sppdet.data.image_folder import read_image_folder
from sppdet.errors import ConfigError, DataError


def state_of(folder: str) -> bytes:
    return Path(folder, "classifier.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("view", "blocks"),
    [("full", 0), ("full", 1), ("crop", 0), ("crop", 1), ("crop", None), ("warp", 0), ("warp", 1), ("warp", None)],
)
def test_colors_are_learnt(config, view, blocks, caplog):
    config = replace(config, view=view, blocks=blocks, fit=replace(config.fit, epochs=6))
    config = replace(config, data=replace(config.data, val=config.data.train))
    with caplog.at_level("INFO", "sppdet"):
        classifier = train_classifier(config)
    assert classifier.config.view == view
    result = json.loads(Path(config.output, "val.json").read_text())
    assert result["top1"]["mean"] > 0.8
    assert result["images"] == 18
    course = json.loads(Path(config.output, "training.json").read_text())
    assert [epoch["size"] for epoch in course] == [32, 40] * 3
    assert course[-1]["loss"] < course[0]["loss"]
    assert "accuracy on" in caplog.text
    assert sorted(path.name for path in Path(config.output).iterdir()) == [
        *("classifier.safetensors", "config.json", "data.json", "training.json", "training.png", "val.json")
    ]
    loaded = Classifier.load(config.output)
    image = random_image(50, 40)
    assert torch.equal(loaded([image]), classifier([image]))


@pytest.mark.parametrize(("blocks", "depth"), [(0, 0), (0, 1), (2, 0), (None, 0)])
def test_what_is_asked_for_is_trained_and_nothing_else(config, blocks, depth):
    config = replace(config, blocks=blocks, fc=FCConfig(depth, 16), fit=replace(config.fit, epochs=1))
    classifier = train_classifier(config)
    before = build_backbone("shapenet", "random").state_dict()
    changed = {name for name, value in classifier.backbone.state_dict().items() if not torch.equal(value, before[name])}
    convolutions = [f"layers.{i}.weight" for i in (0, 3, 7, 11, 14)]
    if blocks is None:
        assert {*convolutions, "layers.1.running_mean", "layers.1.weight"} <= changed
    else:
        assert changed == set(convolutions[len(convolutions) - blocks :])


def test_the_features_have_the_norm_that_is_asked_for(config, colors):
    config = replace(config, feature_norm=3.5, flip=False)
    classifier = train_classifier(config)
    epochs = Epochs(read_image_folder(colors), config)
    shown = [epochs.read(sample) for batch in epochs.plan(0) for sample in batch]
    norms = (classifier.head.features(classifier.pool(shown)) * classifier.head.scale).norm(dim=1)
    assert float(norms.mean()) == pytest.approx(3.5, rel=1e-3)


def test_a_frozen_network_is_asked_once_for_each_image_and_size(config, monkeypatch):
    passes = watch(monkeypatch, Classifier, "maps")
    config = replace(config, flip=False, fit=replace(config.fit, epochs=8))
    train_classifier(config)
    # The smallest size, the features' norm, two sizes.
    assert sum(len(images) for _, images in passes) == 1 + 18 + 2 * 18
    passes.clear()
    train_classifier(replace(config, memory_gb=1e-9, output=f"{config.output}-without"))
    assert sum(len(images) for _, images in passes) == 1 + 18 + 8 * 18


@pytest.mark.parametrize("memory", [4.0, 0.0])
def test_the_same_seed_gives_the_same_classifier(config, memory):
    config = replace(config, memory_gb=memory, fit=replace(config.fit, epochs=1))
    outputs = [f"{config.output}-{i}" for i in range(3)]
    for output, seed in zip(outputs, (0, 0, 1), strict=True):
        train_classifier(replace(config, output=output, seed=seed))
    first, same, other = map(state_of, outputs)
    assert first == same != other


@pytest.mark.parametrize("blocks", [0, 2])
def test_an_interrupted_training_goes_on(config, monkeypatch, blocks):
    config = replace(config, blocks=blocks)
    train_classifier(config)
    cut = replace(config, output=f"{config.output}-cut")
    fit = module.fit

    def interrupt(model, batches, *rest):
        def some(epoch):
            for i, batch in enumerate(batches(epoch)):
                if (epoch, i) == (2, 1):
                    raise KeyboardInterrupt
                yield batch

        return fit(model, some, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(module, "fit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train_classifier(cut)
    assert not Path(cut.output, "classifier.safetensors").exists()
    train_classifier(cut)
    assert state_of(cut.output) == state_of(config.output)


def test_a_finished_run_is_left_alone_and_another_configuration_is_an_error(config, monkeypatch):
    config = replace(config, fit=replace(config.fit, epochs=1))
    train_classifier(config)
    monkeypatch.setattr(module, "fit", None)
    assert train_classifier(replace(config, workers=1)).classes == ("blue", "green", "red")
    with pytest.raises(ConfigError, match=r"expected seed=0, got seed=3"):
        train_classifier(replace(config, seed=3))


def test_the_data_are_looked_at_before_the_training(config, colors, tmp_path):
    (tmp_path / "val/purple").mkdir(parents=True)
    (tmp_path / "val/purple/0.png").write_bytes((colors / "red/0.png").read_bytes())
    with pytest.raises(DataError, match="purple: unknown class"):
        train_classifier(replace(config, data=replace(config.data, val=str(tmp_path / "val"))))
    with pytest.raises(DataError, match=r"too few classes .expected 2 folders or more, got purple"):
        train_classifier(replace(config, data=replace(config.data, train=str(tmp_path / "val"))))
