"""Parameters of data and proposals."""

from typing import Literal

from sppdet.config.record import at_least, section

SearchMode = Literal["fast", "quality", "opencv_fast", "opencv_quality"]


@section("data")
class DataConfig:
    """Images and their annotations, in VOC layout or COCO format.

    Args:
        root: VOC year's folder, VOCdevkit or its parent; for COCO format the folder of images.
        split: image list in ImageSets/Main; for COCO format only a name.
        annotations: COCO-format annotation file; without it the data are in VOC layout.
        year: VOC year, if root holds more than one.
        classes: class names in the order of their labels; by default those in the data.
        max_images: maximum number of images; the first of the split are used.
    """

    root: str = ""
    split: str = "trainval"
    annotations: str | None = None
    year: str | None = None
    classes: list[str] | None = None
    max_images: int | None = at_least(1, None)


@section("proposals")
class ProposalConfig:
    """Selective search (Uijlings et al. 2013), or proposals made by another program.

    Args:
        mode: fast or quality (settings of the paper), or opencv_fast or opencv_quality (settings of OpenCV).
        width: pixels to resize the image to before the search, as in R-CNN; null: no resizing.
        min_side: least side of a box, in pixels of the resized image.
        limit: maximum number of boxes per image, best first; null: all.
        file: proposals of another program (COCO-style .json, .npz or R-CNN's .mat), used instead of selective search.
    """

    mode: SearchMode = "fast"
    width: int | None = at_least(1, 500)
    min_side: int = at_least(0, 20)
    limit: int | None = at_least(1, 2000)
    file: str | None = None
