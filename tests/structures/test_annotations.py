from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sppdet.errors import ImageError, InputError
from sppdet.structures import Annotations

BOXES = torch.tensor([[0.0, 1, 5, 6], [2, 2, 2, 9]])
NONE = torch.zeros(0, dtype=torch.int64)


def annotations(name: str = "a", labels: tuple[int, ...] = (1, 2)) -> Annotations:
    return Annotations(f"{name}.jpg", BOXES, torch.tensor(labels))


def test_annotations_check_themselves():
    annotations()
    with pytest.raises(InputError, match="labels"):
        annotations(labels=(1,))
    with pytest.raises(InputError, match="out of range"):
        annotations(labels=(0, 1))
    with pytest.raises(InputError, match="difficult"):
        Annotations("a.jpg", BOXES, torch.tensor([1, 1]), torch.zeros(2))


def test_annotations_of_a_file_take_its_name_for_their_id_and_are_frozen():
    image = annotations("000005")
    assert (image.id, image.path, image.difficult.tolist()) == ("000005", Path("000005.jpg"), [False, False])
    assert repr(image) == "Annotations('000005': 000005.jpg, 2 objects)"
    with pytest.raises(ImageError, match=r"000005\.jpg: image file not found"):
        image.cache_key()
    with pytest.raises(FrozenInstanceError):
        annotations().id = "b"  # type: ignore[misc]


@pytest.mark.parametrize("form", [np.asarray, Image.fromarray, lambda array: torch.from_numpy(array).permute(2, 0, 1)])
def test_annotations_of_an_image_in_memory_hold_its_pixels(form):
    array = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    image = Annotations(form(array), BOXES, torch.tensor([1, 2]))
    assert image.path is None
    assert np.array_equal(image.read().permute(1, 2, 0), array)
    same, other = Annotations(array.copy(), BOXES, torch.tensor([1, 2])), Annotations(~array, BOXES, image.labels)
    assert (same.id, same.cache_key("svm")) == (image.id, image.cache_key("svm"))
    assert image.cache_key("svm") != image.cache_key("softmax")
    turned = Annotations(array.reshape(9, 6, 3), BOXES[:0], NONE)
    assert image.cache_key() not in (other.cache_key(), turned.cache_key())
    assert repr(image) == f"Annotations({image.id!r}: 9x6 pixels, 2 objects)"
    assert replace(image, id=7).id == 7
