"""Convert annotated images to another format."""

from typing import Any, Literal

from sppdet.commands.summary import Summary
from sppdet.config.data import DataFormat
from sppdet.wording import counted


def convert_data(
    source: str,
    *,
    to: Literal["voc", "coco", "yolo"],
    output: str,
    images: Literal["copy", "link"] = "copy",
    format: DataFormat = "auto",
    allow_outside: bool = False,
) -> Summary:
    """Convert annotated images to VOC layout, COCO or YOLO format, with all their splits.

    Boxes keep their pixels. Invalid ones are left out and reported, as in a training. YOLO format cannot mark difficult
    objects: they are left out and counted.

    Example: sppdet convert-data photos --to coco --output photos-coco

    Args:
        source: folder of the data in any format that train reads
        to: voc, coco or yolo
        output: new folder; one that holds anything is refused
        images: copy or link (hard links, on the same disk)
        format: format of the source; auto: found by looking
        allow_outside: read images outside of the source too: names with "..", absolute names, and links that lead out
    """
    from pathlib import Path

    from sppdet.config.data import DataConfig
    from sppdet.data.conversion.convert import convert_dataset

    done = convert_dataset(
        DataConfig(root=source, format=format, allow_outside=allow_outside), to, Path(output), images == "link"
    )
    splits = {}
    for split, part in done.parts.items():
        splits[split] = {
            "images": len(part),
            "background": sum(not len(image.labels) for image in part.images),
            "objects": sum(len(image.labels) for image in part.images),
            "difficult": sum(int(image.difficult.sum()) for image in part.images),
        }
    counts = ", ".join(f"{split} {numbers['images']}" for split, numbers in splits.items())
    values: dict[str, Any] = {"folder": output, "from": done.format, "to": to, "splits": splits}
    values |= {"renamed": done.renamed, "left_out": done.left_out}
    total = counted(sum(numbers["images"] for numbers in splits.values()), "image")
    return Summary(values, f"{counts}: {total} in {output}")
