"""The only image decoder: a file, array or PIL image becomes uint8 (3, H, W) RGB. Also resizing and normalization."""

import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from mimetypes import guess_type
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from sppdet.errors import ConfigError, ImageError, InputError
from sppdet.runtime.limits import read_variable, way_out

logger = logging.getLogger(__name__)

ImageLike = str | PathLike[str] | Tensor | np.ndarray | Image.Image

JPEG, PNM = (".jpg", ".jpeg", ".jfif"), (".ppm", ".pgm", ".pbm", ".pnm")
IMAGE_SUFFIXES = (*JPEG, ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", *PNM)  # the most common first
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM")  # others, such as EPS, may run programs
ORIENTATION = 0x0112  # EXIF tag
STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # by orientation, an upright (H, W, 3) as it is in the file
    **{2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1], 8: lambda a: np.rot90(a, 3)},
    **{5: lambda a: a.swapaxes(0, 1), 6: np.rot90, 7: lambda a: a[::-1, ::-1].swapaxes(0, 1)},
}
STRIP = 1 << 20  # pixels that are converted at once, to take less memory
MOST_SCANS = 100  # of a JPEG, each of which takes as long as the whole picture
PIXELS, BITS = "SPPDET_MAX_PIXELS", "SPPDET_IMAGE_BITS"  # environment variables
BRIGHT = 1 << 14  # images of 16 bits without such a pixel were probably recorded with fewer bits
DARK = "the depth of its pixels is unknown: most of 16 bits are not used"
_opening = Lock()  # warnings are caught in all threads


def read_image(path: str | PathLike[str]) -> Tensor:
    """Decode a file to uint8 (3, H, W) RGB, upright by its EXIF orientation, other depths scaled to 8 bits.

    Float pixels are in [0, 1] or [0, 255]. Whole numbers of more than 8 bits are scaled from 0..65535, unless the
    environment variable SPPDET_IMAGE_BITS gives their depth; it is required if all are below a quarter of that.
    SPPDET_MAX_PIXELS replaces Pillow's limit of 179 megapixels (half as many of WebP). Decoding takes about 8 bytes per
    pixel (16 of WebP).
    Raises ImageError for a file that is missing, truncated, too large, of unknown depth or not an image of `FORMATS`.
    """
    with _decoding(path) as image:
        return _from_pil(image)


def check_image(path: str | PathLike[str]) -> None:
    """Raise ImageError if `read_image` would; a JPEG is decoded at an eighth of its size, which is faster."""
    with _decoding(path) as image:
        if image.format == "JPEG":
            image.draft(None, (image.width // 8, image.height // 8))
            image.load()
        else:
            _from_pil(image)


@contextmanager
def _decoding(path: str | PathLike[str]) -> Iterator[Image.Image]:
    """Open an image, and name the file in what goes wrong."""
    if not os.path.isfile(path):  # which a name of any length may be asked
        raise ImageError("image file not found", file=path)
    try:
        with _open(path) as image:
            if image.format == "WEBP":  # its decoder takes twice the memory
                check_pixels(2 * image.width * image.height, path)
            scans = Path(path).read_bytes().count(b"\xff\xda") if image.info.get("progressive") else 0
            if scans > MOST_SCANS:
                raise ImageError("would take too long to decode", expected=f"up to {MOST_SCANS} scans", got=scans)
            yield image
    except ImageError as error:
        raise error.in_file(path) from None
    except ConfigError:
        raise
    except Image.DecompressionBombError as error:
        check_pixels(int(re.findall(r"\d+", str(error))[0]), path)
        raise
    except Exception as error:  # damaged files make Pillow raise almost any exception
        if (guess_type(path)[0] or "").startswith("video/"):
            way = f"its frames as images: ffmpeg -i {Path(path).name} frame-%05d.jpg"
            raise ImageError("is a video", file=path, expected=way) from error
        raise ImageError(f"cannot be decoded: {error}", file=path) from error


def check_pixels(pixels: int, path: str | PathLike[str]) -> None:
    """Raise ImageError for a picture of more pixels than may be decoded."""
    if pixels > (read_variable(PIXELS) or 2 * (Image.MAX_IMAGE_PIXELS or pixels)):
        raise ImageError("too large", file=path, expected=way_out(PIXELS, pixels), got=f"{pixels} pixels")


def read_size(path: str | PathLike[str], stored: bool = False) -> tuple[int, int] | None:
    """Return (width, height) in the header of an image file, upright or as stored; None if it is missing or none."""
    if not os.path.isfile(path):
        return None
    try:
        with _open(path) as image:
            width, height = image.size
            if isinstance(image, TiffImageFile):  # Pillow's size of a TIFF may be upright already
                width, height = image.tag_v2[256], image.tag_v2[257]
            if image.format == "PNG" and not stored:  # Pillow would decode it to look for EXIF data after its pixels
                found = Path(path).read_bytes().lower().count(b"exif")
                stored = found == 0
                if found > 1:  # of which the last count
                    image.load()
            turned = not stored and _orientation(image) in (5, 6, 7, 8)
            return (height, width) if turned else (width, height)
    except Exception:  # damaged files make Pillow raise almost any exception
        return None


def as_image(image: ImageLike) -> Tensor:
    """Return an image file, tensor, array or PIL image as uint8 (3, H, W) RGB.

    Tensors are (3, H, W), arrays (H, W, 3); both uint8, or float in [0, 1]. Anything else raises InputError, and a file
    that cannot be decoded ImageError.
    """
    if isinstance(image, (str, PathLike)):
        return read_image(image)
    if not isinstance(image, (Tensor, np.ndarray)):
        if isinstance(image, Image.Image):
            return _from_pil(image)
        raise InputError(
            "unknown image type", field="image", expected="path, tensor, array or PIL image", got=type(image).__name__
        )
    expected = "uint8 or float in [0, 1], tensor (3, H, W) or array (H, W, 3)"
    channel_axis = 0 if isinstance(image, Tensor) else 2
    tensor = image if isinstance(image, Tensor) else _from_array(image, expected)
    if tensor.ndim != 3 or tensor.shape[channel_axis] != 3 or tensor.numel() == 0:
        raise InputError("wrong image shape", field="image", expected=expected, got=tuple(tensor.shape))
    if channel_axis == 2:
        tensor = tensor.permute(2, 0, 1)
    if tensor.is_floating_point():
        low, high = float(tensor.min()), float(tensor.max())
        if not (low >= 0 and high <= 1):
            raise InputError("float image out of range", field="image", expected=expected, got=f"[{low:g}, {high:g}]")
        tensor = (tensor * 255).round().to(torch.uint8)
    if tensor.dtype != torch.uint8:
        raise InputError("wrong image type", field="image", expected=expected, got=tensor.dtype)
    return tensor


def to_array(image: Tensor) -> np.ndarray:
    """Return a tensor uint8 (3, H, W) as a contiguous array (H, W, 3), without a copy if possible."""
    return np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())


def resize_array(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize an array (H, W, 3) to (height, width, 3): bilinear if it grows, area average if it shrinks."""
    shrinks = height * width < array.shape[0] * array.shape[1]
    return cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def shorter_side_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Return (height, width) of an image resized to a shorter side of `side` pixels, aspect kept up to rounding."""
    ratio = side / min(height, width)
    return max(1, round(height * ratio)), max(1, round(width * ratio))


def resize_shorter_side(image: Tensor, side: int) -> Tensor:
    """Resize an image uint8 (3, H, W) to a shorter side of `side` pixels (SPPnet, section 4.1)."""
    size = shorter_side_size(image.shape[1], image.shape[2], side)
    return torch.from_numpy(resize_array(to_array(image), *size)).permute(2, 0, 1)


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Normalize uint8 (B, 3, H, W) to float32 (x / 255 - mean) / std, channels-last; mean, std: (3,), same device."""
    scale = 1 / (255 * std)
    shift = -mean / std
    out = images.to(torch.float32, memory_format=torch.channels_last)
    return out.mul_(scale[:, None, None]).add_(shift[:, None, None])


def _from_array(array: np.ndarray, expected: str) -> Tensor:
    if array.dtype.kind not in "uf":
        raise InputError("wrong image type", field="image", expected=expected, got=array.dtype)
    native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    return torch.from_numpy(native if native.flags.writeable else native.copy())  # torch warns of read-only arrays


def _open(path: str | PathLike[str]) -> Image.Image:
    """Open an image file. Warnings of Pillow about EXIF data become one in the log that names the file."""
    with _opening, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        limit, own = read_variable(PIXELS), Image.MAX_IMAGE_PIXELS
        try:
            Image.MAX_IMAGE_PIXELS = -(-limit // 2) if limit else own  # Pillow refuses twice as many
            image = Image.open(path, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = own
        if image.format != "PNG":  # would be decoded here
            _orientation(image)
    if any(issubclass(warning.category, UserWarning) for warning in caught):
        logger.warning("%s: damaged EXIF data, read as far as possible", path, extra={"counted": True})
    return image


def _from_pil(image: Image.Image) -> Tensor:
    stored = str(getattr(image, "tile", ""))  # the format of the pixels in the file, such as 'I;16B'
    image.load()
    orientation = _orientation(image)
    size = (image.width, image.height) if orientation > 4 else (image.height, image.width)
    upright = np.empty((*size, 3), np.uint8)
    target = STORED.get(orientation, np.asarray)(upright)
    if image.mode[0] in "IF":
        low, high = (np.array([getattr(rows, name)() for _, rows in _strips(image)]) for name in ("min", "max"))
        bits = 12 if "I;12" in stored else read_variable(BITS)
        for y, rows in _strips(image):
            target[y : y + len(rows)] = _to_8_bits(rows, low.min(), high.max(), bits)[:, :, None]
    else:
        for y, rows in _strips(image, "RGB"):
            target[y : y + len(rows)] = rows
        if re.search(";16[BLN]", stored) and 0 < (high := upright.max()) < BRIGHT >> 8 and read_variable(BITS) != 16:
            way = f"images of 8 bits, or environment variable {BITS}=16 if they are dark"
            raise ImageError(DARK, expected=way, got=f"pixels up to {high << 8 | 255}")
    return torch.from_numpy(upright).permute(2, 0, 1)


def _strips(image: Image.Image, mode: str | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the first row and the pixels of strips of an image, in another mode if it is given."""
    rows = max(1, STRIP // image.width)
    for y in range(0, image.height, rows):
        strip = image.crop((0, y, image.width, min(y + rows, image.height))) if rows < image.height else image
        if mode and "transparency" in image.info:
            strip = strip.convert("RGBA")  # Pillow warns of a transparent palette that becomes RGB in one step
        yield y, np.asarray(strip.convert(mode) if mode else strip)


def _to_8_bits(gray: np.ndarray, low: Any, high: Any, bits: int | None) -> np.ndarray:
    """Return gray pixels, uint16, int32 or float32, as uint8. low, high: extremes of the image. Raises ImageError."""
    if gray.dtype.kind == "f":
        highest, expected = (1 if high <= 1 else 255), "pixels in [0, 1] or [0, 255]"
    else:
        highest = (1 << (bits or 16)) - 1
        expected = f"pixels in 0..{highest}"
        if bits is None and 0 < high < BRIGHT:
            used = next(depth for depth in (8, 10, 12, 14) if high < 1 << depth)
            way = f"environment variable {BITS}={used}, the bits it was recorded with, or 16 if it is dark"
            raise ImageError(DARK, expected=way, got=f"pixels up to {high}")
    if not (low >= 0 and high <= highest):
        raise ImageError("pixels out of range", expected=expected, got=f"[{low:g}, {high:g}]")
    return (gray.astype(np.float32) / (highest / 255)).round().astype(np.uint8)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1..8; 1 if there is none or the EXIF data are damaged."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
        return int(orientation) if orientation in STORED else 1
    except Exception:  # other tags may be malformed in many ways
        return 1
