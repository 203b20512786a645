"""Parameters of data and proposals."""

from typing import Literal

from sppdet.config.record import at_least, fraction, section, seed
from sppdet.errors import ConfigError

DataFormat = Literal["auto", "voc", "coco", "yolo", "cvat", "xml"]
MAX_PIXELS = 4_000_000
SearchMode = Literal["fast", "quality", "opencv_fast", "opencv_quality"]


@section("data")
class DataConfig:
    """Images and their annotations: VOC layout, images with VOC XML, COCO or YOLO format.

    Args:
        root: folder of the data (for VOC the year's folder, VOCdevkit or its parent).
        split: train, val, trainval (both) or test, or the name of an image list in ImageSets/Main.
        format: voc, coco, yolo, cvat or xml (images with VOC XML, no lists); auto: found by looking at root.
        annotations: COCO-format annotation file of images in root; all of them are used.
        year: year of the data (VOC2007, train2017), if root holds more than one.
        classes: class names in the order of their labels, others are ignored; by default those in the data.
        max_images: maximum number of images; the first of the split are used.
        split_fractions: fractions of train, val and test, for data that have no splits.
        split_seed: seed of this division.
        skip_unreadable: leave out images that cannot be decoded, instead of stopping.
        split_file: images of train, val and test, as split.json of a run; instead of a division or the data's splits.
        allow_outside: read images outside of root too: names with "..", absolute names, and links that lead out.
        strict: stop at errors in the data; otherwise they are reported, and their images or objects left out.
    """

    root: str = ""
    split: str = "trainval"
    format: DataFormat = "auto"
    annotations: str | None = None
    year: str | None = None
    classes: list[str | int] | None = None
    max_images: int | None = at_least(1, None)
    split_fractions: tuple[float, ...] = fraction((0.7, 0.15, 0.15))
    split_seed: int = seed(0)
    skip_unreadable: bool = False
    split_file: str | None = None
    allow_outside: bool = False
    strict: bool = True

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes as text; names such as 0 are numbers in YAML."""
        return tuple(map(str, self.classes or ()))

    def check(self) -> None:
        if len(self.split_fractions) != 3 or abs(sum(self.split_fractions) - 1) > 1e-6:
            expected, got = "3 numbers that add up to 1", list(self.split_fractions)
            raise ConfigError("cannot be used", field="data.split_fractions", expected=expected, got=got)


@section("proposals")
class ProposalConfig:
    """Selective search (Uijlings et al. 2013), or proposals made by another program.

    Args:
        mode: fast or quality (settings of the paper), or opencv_fast or opencv_quality (settings of OpenCV).
        width: pixels to resize the image to before the search, as in R-CNN; null: no resizing.
        min_side: least side of a box, in pixels of the resized image.
        limit: maximum number of boxes per image, best first; null: all.
        file: proposals of another program (COCO-style .json, .npz or R-CNN's .mat), used instead of selective search.
        max_pixels: pixels above which the image to search is resized, whatever its width. The search takes about 200
            bytes for each (quality: 250) in each of its workers.
    """

    mode: SearchMode = "fast"
    width: int | None = at_least(1, 500, 100_000)
    min_side: int = at_least(0, 20)
    limit: int | None = at_least(1, 2000)
    file: str | None = None
    max_pixels: int = at_least(10_000, MAX_PIXELS)
