"""Pixels of more than 8 bits."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sppdet.errors import ConfigError, ImageError
from sppdet.images import (
    as_image,
    read_image,
)
from sppdet.structures import Annotations


def picture(height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_tensor(array: np.ndarray) -> Tensor:
    return torch.tensor(array).permute(2, 0, 1)


def gray_file(folder: Path, values: np.ndarray, name: str) -> Path:
    Image.fromarray(values).save(folder / name)
    return folder / name


GRAYS = np.array([[0, 51, 255], [102, 153, 204]], np.uint8)


def test_16_bits_are_scaled(tmp_path):
    gray = np.array([[0, 257, 65535], [128, 129, 32896]], np.uint16)
    Image.fromarray(gray).save(tmp_path / "deep.png")
    image = read_image(tmp_path / "deep.png")
    assert image[0].tolist() == [[0, 1, 255], [0, 1, 128]]
    assert torch.equal(image, image[:1].expand(3, -1, -1))
    color = picture().astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "color.png"), color[:, :, ::-1])
    assert torch.equal(read_image(tmp_path / "color.png"), as_tensor(picture()))


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (GRAYS / np.float32(255), "fraction.tif"),
        (GRAYS.astype(np.float32), "float.tif"),
        (GRAYS.astype(np.int32) * 257, "whole.tif"),
        (GRAYS.astype(np.uint16) * 257, "deep.png"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_depths_are_scaled(tmp_path, values, name):
    file = gray_file(tmp_path, values, name)
    assert torch.equal(read_image(file), torch.tensor(GRAYS).expand(3, -1, -1))
    with Image.open(file) as image:
        assert torch.equal(as_image(image), torch.tensor(GRAYS).expand(3, -1, -1))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.float32([[-0.1, 1]]), r"\[0, 1\] or \[0, 255\], got \[-0.1, 1\]"),
        (np.float32([[0, np.nan]]), "out of range"),
        (np.float32([[0, 4095]]), "out of range"),
        (np.int32([[-1, 60000]]), r"0\.\.65535, got \[-1, 60000\]"),
        (np.int32([[0, 70000]]), "out of range"),
    ],
)
def test_pixels_out_of_range_are_refused(tmp_path, values, message):
    with pytest.raises(ImageError, match=rf"odd\.tif: .*{message}"):
        read_image(gray_file(tmp_path, values, "odd.tif"))


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("name", ["gray.png", "gray.tif"])
def test_fewer_than_16_bits_need_their_depth(tmp_path, monkeypatch, bits, name):
    stored = (GRAYS.astype(np.float64) / 255 * ((1 << bits) - 1)).round().astype(np.uint16)
    file = gray_file(tmp_path, stored, name)
    with pytest.raises(ImageError, match=rf"{name}: .*depth .*SPPDET_IMAGE_BITS={bits}, .* 16 .*{stored.max()}"):
        read_image(file)
    annotations = Annotations(file, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    content, key = annotations.cache_key(), annotations.cache_key("search")
    monkeypatch.setenv("SPPDET_IMAGE_BITS", str(bits))
    assert torch.equal(read_image(file), torch.tensor(GRAYS).expand(3, -1, -1))
    assert annotations.cache_key() == content
    assert annotations.cache_key("search") != key
    monkeypatch.setenv("SPPDET_IMAGE_BITS", "16")
    assert read_image(file)[0].tolist() == (stored / 257).round().tolist()
    monkeypatch.setenv("SPPDET_IMAGE_BITS", "7")
    with pytest.raises(ImageError, match=r"out of range .*0\.\.127"):
        read_image(file)
    monkeypatch.setenv("SPPDET_IMAGE_BITS", "many")
    with pytest.raises(ConfigError, match=r"SPPDET_IMAGE_BITS: .*number, got many"):
        read_image(file)


def test_color_of_fewer_than_16_bits(tmp_path, monkeypatch):
    file = tmp_path / "color.png"
    cv2.imwrite(str(file), picture().astype(np.uint16) * 16)
    with pytest.raises(ImageError, match=r"color\.png: .*depth .*8 bits.* SPPDET_IMAGE_BITS=16"):
        read_image(file)
    monkeypatch.setenv("SPPDET_IMAGE_BITS", "16")
    assert torch.equal(read_image(file), as_tensor(picture()[:, :, ::-1] // 16))
    black = gray_file(tmp_path, np.zeros((2, 3), np.uint16), "black.png")
    monkeypatch.delenv("SPPDET_IMAGE_BITS")
    assert not read_image(black).any()
