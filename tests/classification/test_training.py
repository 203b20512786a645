import shlex
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from factories import random_image, stopping, watch

from sppdet.backbones.zoo import build_backbone
from sppdet.classification import training as module
from sppdet.classification.classifier import Classifier, new_classifier
from sppdet.classification.epochs import Epochs
from sppdet.classification.training import train_classifier
from sppdet.classification.views import resize_to_view
from sppdet.cli import main
from sppdet.config.classification import FoldersConfig
from sppdet.config.network import FCConfig
from sppdet.data.formats.image_folder import read_image_folder
from sppdet.errors import ConfigError, DataError, ImageError
from sppdet.files.atomic import read_json
from sppdet.images import read_image


def test_batch_normalization_is_trained_in_one_process(config, monkeypatch):
    monkeypatch.setattr(module, "world", lambda: 2)
    with pytest.raises(ConfigError, match="blocks: batch normalization is trained in one process"):
        train_classifier(replace(config, blocks=None))


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
    result = read_json(Path(config.output, "val.json"))
    assert result["top1"]["mean"] > 0.8
    assert result["images"] == 18
    course = read_json(Path(config.output, "training.json"))
    assert [epoch["size"] for epoch in course] == [32, 40] * 3
    assert course[-1]["loss"] < course[0]["loss"]
    assert "accuracy on" in caplog.text
    titles = ["features", "fit", "classify"] if blocks == 0 and view != "crop" else ["fit", "classify"]
    numbered = [line.split(":")[0] for line in caplog.messages if line[1:3] == f"/{len(titles)}"]
    assert numbered == [f"{k}/{len(titles)} {title}" for k, title in enumerate(titles, start=1)]
    assert sorted(path.name for path in Path(config.output).glob("[!.]*")) == [
        *("README.md", "classifier.safetensors", "config.json", "data.json", "images.json"),
        *("metrics.jsonl", "results.csv", "training.json", "training.png", "val.json"),
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
def test_an_interrupted_training_goes_on(config, blocks):
    config = replace(config, blocks=blocks)
    train_classifier(config)
    cut = replace(config, output=f"{config.output}-cut")
    with pytest.raises(KeyboardInterrupt), stopping(module.F, "cross_entropy", after=9):  # in the third of epochs of 4
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


@pytest.fixture
def epochs(colors, config) -> Epochs:
    return Epochs(read_image_folder(colors), config)


def test_sizes_alternate_or_are_drawn_from_their_range(epochs):
    def sizes(order, seed=0):
        config = replace(epochs.config, sizes=(224, 180), size_order=order, seed=seed)
        return [Epochs(epochs.images, config).size(epoch) for epoch in range(300)]

    assert sizes("alternate") == [224, 180] * 150
    drawn = sizes("random")
    assert (min(drawn), max(drawn)) == (180, 224)
    assert len(set(drawn)) > 40
    assert drawn == sizes("random") != sizes("random", seed=1)


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own(epochs):
    orders = []
    for epoch in range(3):
        batches = epochs.plan(epoch)
        assert [len(batch) for batch in batches] == [5, 5, 5, 3]
        assert len(batches) == epochs.steps
        order = [sample.index for batch in batches for sample in batch]
        assert sorted(order) == list(range(18))
        assert {sample.size for batch in batches for sample in batch} == {(32, 40, 32)[epoch]}
        assert batches == epochs.plan(epoch)
        orders.append(tuple(order))
    assert len(set(orders)) == 3


def test_half_of_the_images_are_mirrored_where_asked_for(epochs, colors, config):
    def mirrored(each: Epochs) -> Counter[bool]:
        return Counter(s.mirrored for epoch in range(30) for batch in each.plan(epoch) for s in batch)

    assert 230 < mirrored(epochs)[True] < 310  # of 540
    assert mirrored(Epochs(read_image_folder(colors), replace(config, flip=False)))[True] == 0


@pytest.mark.parametrize("view", ["full", "crop", "warp"])
def test_pixels_are_those_of_the_plan(epochs, colors, config, view):
    epochs = Epochs(read_image_folder(colors), replace(config, view=view))
    seen = list(epochs.pixels(1))
    assert len(seen) == 4
    for (pixels, labels), batch in zip(seen, epochs.plan(1), strict=True):
        assert labels.tolist() == [sample.index // 6 for sample in batch]
        for image, sample in zip(pixels, batch, strict=True):
            file = colors / epochs.images.classes[sample.index // 6] / f"{sample.index % 6}.png"
            expected = resize_to_view(read_image(file), 40, view, sample.crop_position)
            assert torch.equal(image, expected.flip(2) if sample.mirrored else expected)
    places = {sample.crop_position for batch in epochs.plan(1) for sample in batch}
    assert (len(places) == 18) == (view == "crop")


def test_an_image_that_cannot_be_read_is_an_error(epochs):
    epochs.images.files[7].write_bytes(b"text")
    with pytest.raises(ImageError, match=r"green.1\.png"):
        list(epochs.pixels(0))


def test_all_unreadable_images_are_named_before_anything_is_written(config, colors):
    for name in ("green/1.png", "red/0.png"):
        (colors / name).write_bytes(b"text")
    with pytest.raises(ImageError, match=r"2 of 18 images cannot be read .*green.1\.png.*red.0\.png"):
        train_classifier(config)
    with pytest.raises(DataError, match="nowhere"):
        train_classifier(replace(config, data=replace(config.data, train="nowhere")))
    assert not Path(config.output).exists()


def test_unreadable_images_are_left_out_where_asked_for(config, colors, tmp_path, caplog):
    val = tmp_path / "val"
    shutil.copytree(colors, val)
    for file in (colors / "green/1.png", val / "red/0.png", val / "red/2.png"):
        file.write_bytes(b"text")
    data = FoldersConfig(str(colors), str(val), skip_unreadable=True)
    config = replace(config, data=data, fit=replace(config.fit, epochs=1))
    train_classifier(config)
    assert "3 of 36 images left out: " in caplog.text
    result = read_json(Path(config.output, "val.json"))
    assert {name: of_class["images"] for name, of_class in result["per_class"].items()} == {
        "blue": 6,
        "green": 6,
        "red": 4,
    }
    assert len(read_json(Path(config.output, "images.json"))["images"]) == 17
    (colors / "photo.png").write_bytes((colors / "red/1.png").read_bytes())
    for name in ("README.md", "val.json"):  # as if it had been killed before
        Path(config.output, name).unlink()
        train_classifier(config)
        assert read_json(Path(config.output, "val.json")) == result
    text = Path(config.output, "README.md").read_text()
    assert f"Accuracy on 16 images of `data.val`: top1 {result['top1']['mean']:.2%}." in text
    for folder, fate, kept, left_out, others in ((colors, "trained on", 17, 1, 1), (val, "measured on", 16, 2, 0)):
        every = len(list(folder.rglob("*.png")))
        rows = [f"| {fate} | {kept} |", f"| unreadable image | {left_out} |"]
        rows += [f"| other image files | {others} |"] * bool(others)
        table = "\n".join([f"| in `{folder}` | image files |", "|---|--:|", *rows, f"| all | {every} |"])
        assert table in text
        assert kept + left_out + others == every
    assert f"| green | 5 | 6 | {result['per_class']['green']['top1']:.2%} |" in text
    again = next(line for line in text.splitlines() if line.startswith("sppdet classify train"))
    assert main(shlex.split(again)[1:]) == 0
    assert state_of(f"{config.output}-again") == state_of(config.output)
    for file in (colors / "red").iterdir():
        file.write_bytes(b"text")
    with pytest.raises(DataError, match="class red: none of its images can be read"):
        train_classifier(replace(config, output=str(tmp_path / "other")))


def test_what_a_frozen_network_pools_is_computed_once(epochs, config, monkeypatch):
    classifier = new_classifier(config, epochs.images.classes)
    passes = watch(monkeypatch, classifier.backbone, "forward")
    views = epochs.views()
    assert len(views) <= 2 * 2 * 18  # two sizes, mirrored or not
    epochs.pool(views, classifier)
    assert sum(len(images) for (images,) in passes) == len(views)
    for epoch in range(epochs.config.fit.epochs):
        for (rows, labels), batch in zip(epochs.pooled(epoch), epochs.plan(epoch), strict=True):
            assert labels.tolist() == [sample.index // 6 for sample in batch]
            assert rows.dtype == torch.float32
            if epoch < 2:
                expected = classifier.pool([epochs.read(sample) for sample in batch])
                torch.testing.assert_close(rows, expected, rtol=1e-3, atol=1e-3)


def test_memory_is_foreseen(epochs, colors, config):
    assert epochs.pooled_bytes(100) == 2 * 100 * 18 * 2 * 2  # half precision, images, sizes, mirrored or not
    single = Epochs(read_image_folder(colors), replace(config, flip=False, sizes=(32,)))
    assert single.pooled_bytes(100) == 2 * 100 * 18
    drawn = Epochs(read_image_folder(colors), replace(config, flip=False, sizes=(32, 4000), size_order="random"))
    assert drawn.pooled_bytes(100) == 2 * 100 * 18 * 4  # one an epoch
