"""Where the images and their proposals come from."""

from __future__ import annotations

from typing import Literal

from sppdet.config.record import at_least, section

SearchMode = Literal["fast", "quality", "opencv_fast", "opencv_quality"]


@section("data")
class DataConfig:
    """Where the images and their annotations are.

    Args:
        root: VOC layout: the year's folder, VOCdevkit or its parent. COCO format: the folder of images.
        split: image list in ImageSets/Main. For COCO format only a name.
        annotations: COCO-format annotation file; setting it means the data are in COCO format.
        year: VOC year, where root holds more than one.
        classes: class names in the order of their labels; found from the data when not given.
        max_images: only the first so many images of the split.
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
        mode: fast or quality, with the paper's settings; opencv_fast or opencv_quality, with those of OpenCV.
        width: the image is resized to this width first, as R-CNN did, and boxes are scaled back; null: as it is.
        min_side: boxes with a side under this many pixels of the searched image are dropped.
        limit: at most this many boxes an image, best first; null: all.
        file: proposals made by another program (COCO-style .json, .npz, R-CNN's .mat) in place of selective search.
    """

    mode: SearchMode = "fast"
    width: int | None = at_least(1, 500)
    min_side: int = at_least(0, 20)
    limit: int | None = at_least(1, 2000)
    file: str | None = None
