"""The only image decoder: a file, array or PIL image becomes uint8 (3, H, W) RGB. Also resizing and normalization."""

from os import PathLike
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from sppdet.errors import ImageError, InputError

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


def read_image(path: str | PathLike[str]) -> Tensor:
    """Decode a file to uint8 (3, H, W) RGB, upright by its EXIF orientation, 16-bit depth scaled to 8.

    Raises ImageError for a file that is missing, truncated or not an image.
    """
    if not Path(path).is_file():
        raise ImageError("image file not found", file=path)
    try:
        with Image.open(path) as image:
            return _from_pil(image)
    except Exception as error:  # damaged files make Pillow raise almost any exception
        raise ImageError(f"cannot be decoded: {error}", file=path) from error


def read_size(path: str | PathLike[str]) -> tuple[int, int] | None:
    """Return (width, height) of an image file, upright by its EXIF orientation, from its header only.

    None if the file is missing or not an image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            if isinstance(image, TiffImageFile):  # Pillow's size of a TIFF may be upright already
                width, height = image.tag_v2[256], image.tag_v2[257]
            # Pillow would decode a PNG to look for EXIF data after its pixels.
            plain = image.format == "PNG" and b"exif" not in Path(path).read_bytes().lower()
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


def _from_pil(image: Image.Image) -> Tensor:
    image.load()
    turn = TURNS.get(_orientation(image))
    image = image if turn is None else image.transpose(Image.Transpose[turn])
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        gray = np.asarray(image).astype(np.float32) / 257
        array = np.repeat(np.clip(gray, 0, 255).round().astype(np.uint8)[:, :, None], 3, axis=2)
    else:
        if "transparency" in image.info:
            image = image.convert("RGBA")  # Pillow warns of a transparent palette that becomes RGB in one step
        array = np.asarray(image.convert("RGB"))
    return torch.from_numpy(array.copy()).permute(2, 0, 1)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1..8; 1 if there is none or the EXIF data are damaged."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
        return int(orientation) if orientation in TURNS else 1
    except Exception:  # other tags may be malformed in many ways
        return 1
