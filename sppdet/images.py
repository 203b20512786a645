"""The only image decoder: a file, array or PIL image becomes uint8 (3, H, W) RGB. Also resizing and normalization."""

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from mimetypes import guess_type
from os import PathLike
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
import torch
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from sppdet.errors import ConfigError, ImageError, InputError

logger = logging.getLogger(__name__)

ImageLike = str | PathLike[str] | Tensor | np.ndarray | Image.Image

IMAGE_SUFFIXES = (  # of all commands and formats, the most common first
    *(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
ORIENTATION = 0x0112  # EXIF tag
TURNS = {  # by orientation, what makes the image upright, in Pillow's words
    **{2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM"},
    **{5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"},
}
PIXELS, BITS = "SPPDET_MAX_PIXELS", "SPPDET_IMAGE_BITS"  # environment variables
BRIGHT = 1 << 14  # images of 16 bits without such a pixel were probably recorded with fewer bits
DARK = "the depth of its pixels is unknown: most of 16 bits are not used"
_opening = Lock()  # warnings are caught in all threads


def read_image(path: str | PathLike[str]) -> Tensor:
    """Decode a file to uint8 (3, H, W) RGB, upright by its EXIF orientation, other depths scaled to 8 bits.

    Float pixels are in [0, 1] or [0, 255]. Whole numbers of more than 8 bits are scaled from 0..65535, unless the
    environment variable SPPDET_IMAGE_BITS gives their depth; it is required if all are below a quarter of that.
    SPPDET_MAX_PIXELS replaces Pillow's limit of 179 megapixels.
    Raises ImageError for a file that is missing, truncated, too large, of unknown depth or not an image.
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
    if not Path(path).is_file():
        raise ImageError("image file not found", file=path)
    try:
        with _open(path) as image:
            yield image
    except ImageError as error:
        raise error.in_file(path) from None
    except ConfigError:
        raise
    except Image.DecompressionBombError as error:
        pixels = re.findall(r"\d+", str(error))[0]
        way = f"a higher limit: environment variable {PIXELS}={pixels}"
        raise ImageError("too large", file=path, expected=way, got=f"{pixels} pixels") from error
    except Exception as error:  # damaged files make Pillow raise almost any exception
        if (guess_type(path)[0] or "").startswith("video/"):
            way = f"its frames as images: ffmpeg -i {Path(path).name} frame-%05d.jpg"
            raise ImageError("is a video", file=path, expected=way) from error
        raise ImageError(f"cannot be decoded: {error}", file=path) from error


def read_size(path: str | PathLike[str], stored: bool = False) -> tuple[int, int] | None:
    """Return (width, height) of an image file, upright by its EXIF orientation or as stored, from its header only.

    None if the file is missing or not an image.
    """
    try:
        with _open(path) as image:
            width, height = image.size
            if isinstance(image, TiffImageFile):  # Pillow's size of a TIFF may be upright already
                width, height = image.tag_v2[256], image.tag_v2[257]
            # Pillow would decode a PNG to look for EXIF data after its pixels.
            plain = stored or (image.format == "PNG" and b"exif" not in Path(path).read_bytes().lower())
            turned = not plain and _orientation(image) in (5, 6, 7, 8)
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
        if limit := _variable(PIXELS):
            Image.MAX_IMAGE_PIXELS = -(-limit // 2)  # Pillow warns above it, and refuses above twice as many
        image = Image.open(path)
        if image.format != "PNG":  # would be decoded here
            _orientation(image)
    if any(issubclass(warning.category, UserWarning) for warning in caught):
        logger.warning("%s: damaged EXIF data, read as far as possible", path, extra={"counted": True})
    return image


def _from_pil(image: Image.Image) -> Tensor:
    stored = str(getattr(image, "tile", ""))  # the format of the pixels in the file, such as 'I;16B'
    image.load()
    turn = TURNS.get(_orientation(image))
    image = image if turn is None else image.transpose(Image.Transpose[turn])
    if image.mode[0] in "IF":
        array = np.repeat(_to_8_bits(np.asarray(image), 12 if "I;12" in stored else _variable(BITS))[:, :, None], 3, 2)
    else:
        if "transparency" in image.info:
            image = image.convert("RGBA")  # Pillow warns of a transparent palette that becomes RGB in one step
        array = np.asarray(image.convert("RGB"))
        if re.search(";16[BLN]", stored) and 0 < array.max() < BRIGHT >> 8 and _variable(BITS) != 16:
            way = f"images of 8 bits, or environment variable {BITS}=16 if they are dark"
            raise ImageError(DARK, expected=way, got=f"pixels up to {array.max() << 8 | 255}")
    return torch.from_numpy(array.copy()).permute(2, 0, 1)


def _to_8_bits(gray: np.ndarray, bits: int | None) -> np.ndarray:
    """Return gray pixels, uint16, int32 or float32, of any depth as uint8. Raises ImageError if it is not known."""
    low, high = gray.min(), gray.max()
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


def _variable(name: str) -> int | None:
    """Return an environment variable that is a positive whole number; None if it is not set."""
    text = os.environ.get(name)
    if text and not (text.isdecimal() and int(text)):
        raise ConfigError("cannot be used", field=name, expected="a positive whole number", got=text)
    return int(text) if text else None


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1..8; 1 if there is none or the EXIF data are damaged."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
        return int(orientation) if orientation in TURNS else 1
    except Exception:  # other tags may be malformed in many ways
        return 1
