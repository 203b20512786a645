"""Pictures of all formats that are read."""

import random
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sppdet.errors import ImageError
from sppdet.images import check_image, read_image, read_size
from torture.mutate import change_png, corrupt
from torture.target import Case, Target

SUFFIXES = (".jpg", ".png", ".bmp", ".tif", ".webp", ".gif", ".ppm")
MODES = {
    ".jpg": ("RGB", "L", "CMYK"),
    ".png": ("RGB", "P", "LA", "RGBA", "1", "I;16"),
    ".bmp": ("RGB", "P", "1"),
    ".tif": ("RGB", "P", "CMYK", "I;16", "F", "LAB"),
    ".webp": ("RGB", "RGBA"),
    ".gif": ("P", "L"),
    ".ppm": ("RGB", "L", "1", "I;16"),
}
OPTIONS = {
    ".jpg": ({}, {"progressive": True}, {"quality": 95, "subsampling": 0, "exif": 6}),
    ".png": ({}, {"exif": 5}),
    ".tif": ({}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}, {"compression": "packbits"}),
    ".webp": ({}, {"lossless": True}),
    ".gif": ({}, {"save_all": True}, {"transparency": 0}),
}


def targets() -> list[Target]:
    return [Target(f"image{suffix}", lambda folder, suffix=suffix: _prepare(folder, suffix)) for suffix in SUFFIXES]


def _prepare(folder: Path, suffix: str) -> Case:
    seeds = write_seeds(suffix)
    file = folder / f"a{suffix}"

    def make(rng: random.Random) -> bytes:
        data = rng.choice(seeds)
        return change_png(data, rng) if suffix == ".png" and rng.randrange(2) else corrupt(data, rng, seeds)

    def read(data: bytes) -> None:
        file.write_bytes(data)
        check_read(file)

    return Case(make, read)


def check_read(file: Path) -> None:
    """An image that is read has pixels, and the size that its header says."""
    size = read_size(file)
    assert size is None or (len(size) == 2 and all(isinstance(side, int) and side >= 0 for side in size))
    try:
        image = read_image(file)
    except ImageError:
        check_quietly(file)
        raise
    assert image.dtype == torch.uint8
    assert image.ndim == 3
    assert image.shape[0] == 3
    assert image.numel() > 0
    assert size == (image.shape[2], image.shape[1]), f"{size} in the header, {tuple(image.shape)} read"
    check_image(file)


def check_quietly(file: Path) -> None:
    """The quick look at a JPEG leaves out colors and details, and may find less wrong than the whole."""
    try:
        check_image(file)
    except ImageError:
        return


def write_seeds(suffix: str) -> list[bytes]:
    """Pictures of 23 x 17 pixels of one format, in all its modes and ways of writing."""
    pixels = np.random.default_rng(0).integers(0, 256, (17, 23, 3), dtype=np.uint8)
    color, gray, seeds = Image.fromarray(pixels), pixels[:, :, 0], []
    special = {"I;16": gray.astype(np.uint16) * 257, "F": gray.astype(np.float32) / 255}
    with tempfile.TemporaryDirectory() as folder:
        for mode in MODES[suffix]:
            image = Image.fromarray(special[mode]) if mode in special else color.convert(mode)
            for given in OPTIONS.get(suffix, ({},)):
                options = dict(given)
                if "exif" in options:
                    exif = Image.Exif()
                    exif[0x0112] = options.pop("exif")
                    options["exif"] = exif
                if "save_all" in options:
                    options["append_images"] = [image.rotate(90), image.rotate(180)]
                image.save(Path(folder, f"a{suffix}"), **options)
                seeds.append(Path(folder, f"a{suffix}").read_bytes())
    return seeds
