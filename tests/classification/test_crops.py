from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sppdet.classification.crops import write_crops
from sppdet.errors import ConfigError, DataError
from sppdet.structures import Annotations, Dataset

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    """An image with four objects, of which one is difficult and one lies at the edge."""
    Image.fromarray(PIXELS).save(tmp_path / "image.png")
    boxes = torch.tensor([[10.0, 5, 30, 25], [0, 0, 60, 40], [50, 30, 60, 40], [10.4, 5.6, 20.2, 15.9]])
    labels, difficult = torch.tensor([1, 2, 2, 1]), torch.tensor([False, True, False, False])
    return Dataset("own", ("cat", "dog"), (Annotations(tmp_path / "image.png", boxes, labels, difficult),))


def crops_in(folder: Path) -> dict[str, np.ndarray]:
    return {str(path.relative_to(folder)): np.array(Image.open(path)) for path in sorted(folder.rglob("*.png"))}


def test_every_object_that_is_not_difficult_is_a_crop(dataset, tmp_path):
    assert write_crops(dataset, tmp_path / "out") == 3
    expected = {
        "cat/image_1.png": PIXELS[5:25, 10:30],
        "cat/image_4.png": PIXELS[5:16, 10:21],
        "dog/image_3.png": PIXELS[30:40, 50:60],
    }
    found = crops_in(tmp_path / "out")
    assert set(found) == set(expected)
    for name, pixels in expected.items():
        assert np.array_equal(found[name], pixels)


def test_context_grows_boxes_as_far_as_the_image_goes(dataset, tmp_path):
    write_crops(dataset, tmp_path / "out", context=0.5)
    found = crops_in(tmp_path / "out")
    assert np.array_equal(found["cat/image_1.png"], PIXELS[0:35, 0:40])
    assert np.array_equal(found["dog/image_3.png"], PIXELS[25:40, 45:60])
    with pytest.raises(ConfigError, match="context"):
        write_crops(dataset, tmp_path / "out", context=-0.1)


def test_the_same_command_goes_on_and_another_is_an_error(dataset, tmp_path):
    write_crops(dataset, tmp_path / "out")
    (tmp_path / "out/dog/image_3.png").unlink()
    assert write_crops(dataset, tmp_path / "out") == len(crops_in(tmp_path / "out")) == 3
    with pytest.raises(ConfigError, match="output: holds something else"):
        write_crops(dataset, tmp_path / "out", context=0.1)
    with pytest.raises(ConfigError, match="output: holds something else"):
        write_crops(dataset, tmp_path)


@pytest.mark.parametrize("name", ["../dog", "a/b", "a\\b", "..", " "])
def test_a_class_must_be_able_to_name_a_folder(dataset, tmp_path, name):
    wrong = Dataset("own", ("cat", name), dataset.images)
    with pytest.raises(DataError, match="cannot be the name of a folder"):
        write_crops(wrong, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_object_beside_the_image_is_an_error(dataset, tmp_path):
    Image.fromarray(PIXELS[:20, :40]).save(tmp_path / "image.png")
    with pytest.raises(DataError, match=r"image\.png: box outside the image"):
        write_crops(dataset, tmp_path / "out")
