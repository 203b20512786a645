"""Images that cannot be read, found before the work on them begins."""

from pathlib import Path

import pytest
import torch
from factories import as_boxes, image_file, random_image
from PIL import Image

from sppdet.data.checks.readable import find_unreadable, keep_readable
from sppdet.errors import DataError, ImageError
from sppdet.images import to_array
from sppdet.structures import Annotations, Dataset


def dataset_of(*images: Path | torch.Tensor) -> Dataset:
    return Dataset(
        "set", ("thing",), [Annotations(one, as_boxes([]), torch.zeros(0, dtype=torch.int64)) for one in images]
    )


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".gif", ".webp"])
@pytest.mark.parametrize("workers", [0, 2])
def test_truncated_images_of_every_kind_are_found(suffix, workers, tmp_path):
    whole, cut, none = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}", tmp_path / f"none{suffix}"
    Image.fromarray(to_array(random_image(90, 70))).save(whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert list(find_unreadable([whole, cut, none], workers)) == [cut, none]


def test_the_first_ten_are_named_and_all_are_counted(tmp_path, caplog):
    good, bad = image_file(tmp_path / "good.png", 8, 9), [tmp_path / f"{i}.png" for i in range(12)]
    sets = [dataset_of(good, *bad), dataset_of(random_image(8, 9), good, bad[0])]
    with pytest.raises(
        ImageError, match=r"12 of 13 images cannot be read .*9\.png: image file not found; 2 more"
    ) as caught:
        keep_readable(sets, False, 0)
    assert not any(f"{i}.png" in str(caught.value) for i in (10, 11))
    kept = keep_readable(sets, True, 0)
    assert [[image.id for image in one.images] for one in kept] == [["good"], [sets[1].images[0].id, "good"]]
    assert "12 of 13 images left out: " in caplog.text
    with pytest.raises(DataError, match="set: none of the images can be read"):
        keep_readable([dataset_of(*bad)], True, 0)
