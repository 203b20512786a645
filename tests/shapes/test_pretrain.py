import logging
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from contracts import assert_boxes
from factories import as_boxes, stopping
from PIL import Image

from sppdet.backbones.zoo import build_backbone
from sppdet.boxes import box_iou
from sppdet.config.network import BackboneConfig, NetworkConfig, PyramidConfig
from sppdet.errors import SppdetError
from sppdet.shapes import pretrain as module
from sppdet.shapes.pretrain import Pretraining, pretrain
from sppdet.structures import Annotations, Dataset

SETTINGS = Pretraining(sizes=(32, 40))
SETTINGS = replace(SETTINGS, fit=replace(SETTINGS.fit, epochs=6, batch_size=16))
NETWORK = NetworkConfig(BackboneConfig("shapenet", "random"), PyramidConfig((2, 1)))


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    """Images of four objects on a gray ground: red ones of the first class, blue ones of the second."""
    rng = np.random.default_rng(0)
    images = []
    for i in range(8):
        pixels = np.full((160, 160, 3), 128, np.uint8)
        labels = [1 + (i + k) % 2 for k in range(4)]
        corners = np.array([(80 * (k % 2), 80 * (k // 2)) for k in range(4)]) + rng.integers(5, 30, (4, 2))
        for (x, y), label in zip(corners, labels, strict=True):
            pixels[y : y + 40, x : x + 40] = (220, 30, 30) if label == 1 else (30, 30, 220)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        boxes = as_boxes(np.hstack([corners, corners + 40]))
        images.append(Annotations(tmp_path / f"{i}.png", boxes, torch.tensor(labels)))
    return Dataset("colors", ("red", "blue"), tuple(images))


def test_a_network_learns_to_tell_crops_apart(dataset, tmp_path, caplog):
    before = build_backbone("shapenet", "random").state_dict()
    with caplog.at_level(logging.INFO, "sppdet"):
        classifier = pretrain(NETWORK, dataset, SETTINGS, 0, tmp_path / "state.safetensors")
    assert classifier.classes == ("background", "red", "blue")
    (accuracy,) = re.findall(r"fit: ([\d.]+) of", caplog.text)
    assert float(accuracy) > 0.8  # of three about equal classes, one of them background
    for name, value in classifier.backbone.state_dict().items():
        assert torch.equal(before[name], value) == (name in ("mean", "std")), name
    assert not any(module.training for module in classifier.modules())
    assert not any(parameter.requires_grad for parameter in classifier.parameters())


def test_the_same_seed_gives_the_same_network(dataset, tmp_path):
    def weights(seed: int, name: str) -> torch.Tensor:
        settings = Pretraining((32,), fit=replace(SETTINGS.fit, epochs=1))
        classifier = pretrain(NETWORK, dataset.subset([0, 1]), settings, seed, tmp_path / f"{name}.safetensors")
        return torch.cat([value.flatten().float() for value in classifier.state_dict().values()])

    first = weights(0, "first")
    assert torch.equal(first, weights(0, "same"))
    assert not torch.equal(first, weights(1, "other"))


def test_an_interrupted_pretraining_goes_on(dataset, tmp_path):
    whole = pretrain(NETWORK, dataset, SETTINGS, 0, tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt), stopping(module, "_batches", after=3):
        pretrain(NETWORK, dataset, SETTINGS, 0, tmp_path / "cut.safetensors")
    again = pretrain(NETWORK, dataset, SETTINGS, 0, tmp_path / "cut.safetensors")
    torch.testing.assert_close(again.state_dict(), whole.state_dict(), rtol=0, atol=0)


def test_a_loss_that_is_not_finite_and_a_file_that_is_no_image_are_errors(dataset, tmp_path):
    hasty = replace(SETTINGS, fit=replace(SETTINGS.fit, learning_rate=1e9))
    with pytest.raises(SppdetError, match="the training has diverged"):
        pretrain(NETWORK, dataset, hasty, 0, tmp_path / "state.safetensors")
    Path(dataset.images[0].path).write_bytes(b"not an image")
    with pytest.raises(SppdetError, match=re.escape(str(tmp_path / "0.png"))):
        pretrain(NETWORK, dataset, SETTINGS, 0, tmp_path / "state.safetensors")


def test_an_epoch_shows_every_object_once_and_background_beside_it(dataset):
    images = [np.array(Image.open(image.path)) for image in dataset.images]
    batches = list(module._batches(images, dataset, 32, SETTINGS, np.random.default_rng(0)))
    assert all(crops.shape[1:] == (3, 32, 32) and crops.dtype == torch.uint8 for crops, _ in batches)
    assert [len(labels) for _, labels in batches[:-1]] == [16] * (len(batches) - 1)
    labels = torch.cat([labels for _, labels in batches])
    assert torch.bincount(labels).tolist() == [24, 16, 16]  # 0.75 of 32 objects
    crops = torch.cat([crops for crops, _ in batches]).float().mean(dim=(2, 3))
    assert (crops[labels == 1].argmax(1) == 0).all()  # red
    assert (crops[labels == 2].argmax(1) == 2).all()  # blue


def test_background_overlaps_no_object_much():
    objects = torch.tensor([[20.0, 20, 90, 80], [60, 50, 110, 95]])
    boxes = list(module._background_boxes(np.zeros((100, 120, 3)), objects, 40, np.random.default_rng(0)))
    assert len(boxes) == 40
    assert_boxes(as_boxes(np.array(boxes)), (100, 120))
    assert float(box_iou(torch.from_numpy(np.array(boxes)), objects.double()).max()) < 0.3
    whole = torch.tensor([[0.0, 0, 30, 30]])  # an image that is all object
    assert list(module._background_boxes(np.zeros((30, 30, 3)), whole, 2, np.random.default_rng(0))) == []


@pytest.mark.parametrize("box", [[0.2, 0.2, 0.4, 0.4], [-20, -9, 5, 3], [58, 38, 90, 70], [0, 0, 60, 40]])
def test_any_box_gives_a_crop(box):
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    crop = module._crop(image, np.array(box, dtype=np.float64), 16, np.random.default_rng(0))
    assert (crop.shape, crop.dtype) == ((16, 16, 3), np.uint8)
