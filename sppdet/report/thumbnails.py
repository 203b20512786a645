"""Small pictures inside of the page, up to a number of bytes."""

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from typing import NamedTuple

from PIL import Image

from sppdet.errors import ImageError
from sppdet.images import resize_array, to_array
from sppdet.structures import Annotations

LONGEST_SIDE = 400  # pixels
QUALITY = 68


class Thumbnail(NamedTuple):
    """A JPEG as a data URI, its width and height in pixels, and those of the image."""

    uri: str
    width: int
    height: int
    full_width: int
    full_height: int


class Thumbnails:
    """Thumbnails of images by their index, made when they are first asked for, until one exceeds `budget` bytes.

    unreadable: number of images asked for that cannot be read.
    """

    def __init__(self, images: Sequence[Annotations], budget: int) -> None:
        self._images, self._left = images, budget
        self._known: dict[int, Thumbnail | None] = {}
        self.unreadable = 0

    def get(self, index: int) -> Thumbnail | None:
        """Return the thumbnail of an image; None if it cannot be read, or if there is no room for it."""
        if index not in self._known and self._left > 0:
            try:
                made = make_thumbnail(self._images[index])
                self._left -= len(made.uri)
                self._known[index] = made if self._left >= 0 else None
            except ImageError:
                self.unreadable += 1
                self._known[index] = None
        return self._known.get(index)

    def made(self) -> dict[int, Thumbnail]:
        """Return all thumbnails by index."""
        return {index: one for index, one in sorted(self._known.items()) if one}


def make_thumbnail(image: Annotations) -> Thumbnail:
    """Return the thumbnail of an image, which is not enlarged. Raises ImageError if its file cannot be read."""
    pixels = to_array(image.read())
    height, width = pixels.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    small_height, small_width = max(1, round(scale * height)), max(1, round(scale * width))
    small = Image.fromarray(resize_array(pixels, small_height, small_width))
    file = BytesIO()
    small.save(file, "JPEG", quality=QUALITY, optimize=True)
    uri = f"data:image/jpeg;base64,{b64encode(file.getvalue()).decode()}"
    return Thumbnail(uri, small_width, small_height, width, height)
