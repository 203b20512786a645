"""Fine-tuning: what is drawn, what changes, what stays, and going on after an interruption."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from contracts import assert_same_tensors
from factories import random_maps, stopping

from sppdet.backbones.backbone import last_conv_blocks
from sppdet.backbones.fully_connected import build_fully_connected
from sppdet.backbones.zoo import build_backbone
from sppdet.boxes import decode_boxes
from sppdet.config.data import ProposalConfig
from sppdet.config.detector import CropConfig, DetectorConfig, SPPConfig
from sppdet.config.heads import SoftmaxConfig
from sppdet.config.network import BackboneConfig, FCConfig
from sppdet.config.training import FinetuneConfig, TrainConfig
from sppdet.data.formats.voc import read_voc
from sppdet.errors import SppdetError, WeightsError
from sppdet.features.build import build_extractor
from sppdet.files.atomic import save_tensors
from sppdet.heads.linear import Heads
from sppdet.images import read_image
from sppdet.proposals.cache import propose
from sppdet.shapes.scene import SHAPES
from sppdet.training import finetune as module
from sppdet.training.finetune import finetune, sample_image
from sppdet.training.sampling import ImageRegions

K = len(SHAPES)


@pytest.fixture(scope="module")
def regions(shapes) -> list[ImageRegions]:
    images = read_voc(shapes, "trainval").images[:6]
    proposals = propose(images, ProposalConfig(width=None, limit=60), 0)
    return [ImageRegions.from_annotations(image, boxes) for image, boxes in zip(images, proposals, strict=True)]


@pytest.fixture
def config() -> TrainConfig:
    return TrainConfig(
        backbone=BackboneConfig("shapenet", "random"),
        spp=SPPConfig((120, 150)),
        crop=CropConfig(size=48, context=4),
        softmax=SoftmaxConfig(regions_per_image=16),
        finetune=FinetuneConfig(epochs=2, blocks=2, learning_rate=0.01, regions_per_image=16),
    )


def build(config: DetectorConfig):
    """Region features and random heads on them, the same each time."""
    backbone = build_backbone("shapenet", "random")
    source = build_extractor(config, backbone, build_fully_connected(config, backbone))
    weights = [random_maps(n, source.dimension) / 100 for n in (K + 1, 4 * K)]
    return source, Heads.from_linear("softmax", *((weight, torch.zeros(len(weight))) for weight in weights))


@pytest.fixture
def run(regions, tmp_path):
    """Fine-tuning with these files, the first for its state and the second for its start."""

    def finetuned(source, heads, config: TrainConfig, file: str = "file", start: str = "start") -> Path:
        files = [tmp_path / f"{name}.safetensors" for name in (file, start)]
        finetune(source, heads, regions, config, *files)
        return files[0]

    return finetuned


def weights_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_mirrored_examples_have_mirrored_boxes_and_targets(regions):
    config, sampling = FinetuneConfig(), SoftmaxConfig(regions_per_image=24)
    image = regions[0]
    drawn = {}
    for seed in range(20):
        examples = sample_image(image, config, sampling, np.random.default_rng(seed))
        still = sample_image(image, replace(config, flip=False), sampling, np.random.default_rng(seed))
        mirrored = not torch.equal(examples.pixels, still.pixels)
        drawn[mirrored] = examples, still
        assert torch.equal(examples.labels, still.labels)
    assert set(drawn) == {False, True}
    examples, still = drawn[True]
    width = still.pixels.shape[2]
    assert torch.equal(examples.pixels, still.pixels.flip(2))
    assert torch.equal(
        examples.boxes[:, [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1]) + torch.tensor([width, 0, width, 0]), still.boxes
    )
    found = (still.labels > 0).nonzero().flatten()
    assert len(found)
    moved, unmirrored = (decode_boxes(one.boxes[found], one.targets[found]) for one in (examples, still))
    torch.testing.assert_close(width - moved[:, [2, 0]], unmirrored[:, [0, 2]])
    objects = image.annotations.boxes
    assert all((objects - box).abs().amax(dim=1).min() < 1e-2 for box in unmirrored)


def test_background_has_no_targets(regions):
    examples = sample_image(regions[0], FinetuneConfig(), SoftmaxConfig(regions_per_image=64), np.random.default_rng(0))
    assert (examples.labels == 0).any()
    assert (examples.targets[examples.labels == 0] == 0).all()


@pytest.mark.parametrize("features", ["spp", "crop", "roi_pool", "roi_align"])
def test_features_with_gradients_are_those_of_the_detector(config, regions, features):
    config = replace(config, features=features, spp=SPPConfig((120,)), fc=FCConfig(1, 32))
    source, _ = build(config)
    image, boxes = read_image(regions[0].annotations.path), regions[0].boxes
    pooled = source.pool(image, boxes, 0.7)
    expected = source.encode(image).features(boxes)
    torch.testing.assert_close(source.layers[0](pooled).relu(), expected, rtol=0, atol=2e-3 * float(expected.max()))


@pytest.mark.parametrize("features", ["spp", "crop"])
def test_gradients_through_half_precision_are_near_the_full_ones(config, regions, features):
    image, boxes = read_image(regions[0].annotations.path), regions[0].boxes
    gradients = []
    for precision in ("fp32", "bf16"):
        backbone = build_backbone("shapenet", "random", precision=precision).requires_grad_(True)
        source = build_extractor(replace(config, features=features), backbone)
        pooled = source.pool(image, boxes, 0.0)
        assert pooled.dtype == torch.float32
        pooled.square().sum().backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in backbone.parameters()]))
    exact, rounded = gradients
    assert not torch.equal(exact, rounded)
    assert torch.cosine_similarity(exact, rounded, dim=0) > 0.99


@pytest.mark.parametrize("features", ["spp", "crop", "roi_align"])
def test_an_image_may_have_no_examples(config, features):
    source, _ = build(replace(config, features=features))
    pooled = source.pool(torch.zeros(3, 60, 80, dtype=torch.uint8), torch.zeros(0, 4), 0.0)
    assert pooled.shape == (0, source.pooled_dimension)


def test_dropout_is_of_pooled_features_where_there_are_no_layers(config, regions):
    examples = sample_image(regions[0], config.finetune, config.softmax, np.random.default_rng(0))
    source, _ = build(config)
    whole, part = (module._features(source, examples, dropout) for dropout in (0.0, 0.25))
    left = part != 0
    assert 0.7 < float(left.sum() / (whole != 0).sum()) < 0.8
    torch.testing.assert_close(part[left], whole[left] / 0.75)


def test_each_share_has_its_scale(config, regions):
    source, _ = build(config)
    image, boxes = read_image(regions[0].annotations.path), regions[0].boxes
    low, lower, high = (source.pool(image, boxes, share) for share in (0.0, 0.49, 0.5))
    assert torch.equal(low, lower)
    assert not torch.equal(low, high)


def test_rescaled_heads_give_the_same(config):
    source, heads = build(config)
    features = torch.rand(5, source.dimension) * 30
    before = heads(features)
    heads.rescale(0.25)
    assert "scale" in heads.state_dict()
    torch.testing.assert_close(heads(features), before)
    logits, offsets = heads.split(before)
    for _ in range(2):
        torch.testing.assert_close(heads.scores(features), logits.softmax(1)[:, 1:])
        torch.testing.assert_close(heads.offsets(features), offsets)
        heads.fold_scale()
        assert "scale" not in heads.state_dict()


@pytest.mark.parametrize(("features", "depth", "blocks"), [("spp", 0, 2), ("spp", 1, 0), ("spp", 1, 1), ("crop", 0, 1)])
def test_what_is_asked_for_is_trained_and_nothing_else(config, run, features, depth, blocks):
    config = replace(config, features=features, fc=FCConfig(depth, 16))
    config = replace(config, finetune=replace(config.finetune, blocks=blocks))
    source, heads = build(config)
    before, layers, start = weights_of(source.backbone), source.layers and weights_of(source.layers), weights_of(heads)
    trained = {id(p) for p in last_conv_blocks(source.backbone, blocks).parameters()}
    run(source, heads, config)
    for name, value in source.backbone.named_parameters():
        assert torch.equal(before[name], value) == (id(value) not in trained), name
        assert not value.requires_grad
    for name, value in source.backbone.named_buffers():
        assert torch.equal(before[name], value), name
    for name, value in source.layers.named_parameters() if source.layers else ():
        assert not torch.equal(layers[name], value), name
    assert not torch.equal(start["bias"], heads.bias)


def test_the_loss_falls(config, run, caplog):
    config = replace(config, finetune=replace(config.finetune, epochs=8))
    with caplog.at_level("INFO", "sppdet"):
        run(*build(config), config)
    losses = [float(record.args[1]) for record in caplog.records if "mean loss" in record.msg]
    assert len(losses) == 8
    assert losses[-1] < 0.7 * losses[0]


def test_an_interrupted_fine_tuning_goes_on(config, run):
    config = replace(config, fc=FCConfig(1, 16))
    whole = run(*build(config), config, "whole")
    assert whole.with_suffix(".png").is_file()
    with pytest.raises(KeyboardInterrupt), stopping(module, "_loss", after=8):
        run(*build(config), config, "cut")
    source, heads = build(config)
    assert_same_tensors(run(source, heads, config, "cut"), whole)
    again, same = build(config)
    run(again, same, config, "cut")  # nothing is left to do
    assert torch.equal(heads.weight, same.weight)


def test_all_begin_with_the_same(config, run):
    first = run(*build(config), config, "first")
    source, heads = build(config)
    trained = last_conv_blocks(source.backbone, config.finetune.blocks)
    for weights in (*trained.parameters(), *heads.parameters()):
        weights.data += 0.1
    assert_same_tensors(run(source, heads, config, "second"), first)


def test_a_loss_that_is_not_finite_and_an_older_file_are_errors(config, run, tmp_path):
    config = replace(config, finetune=replace(config.finetune, learning_rate=2e9, clip=1e9))
    with pytest.raises(SppdetError, match=r"finetune\.learning_rate"):
        run(*build(config), config)
    save_tensors(tmp_path / "file.safetensors", {}, {"epochs": 1})
    with pytest.raises(WeightsError, match=r"file\.safetensors: is another file, or of another run"):
        run(*build(config), config)
