import re
from pathlib import Path

import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from sppdet.data.formats.image_folder import read_image_folder
from sppdet.errors import DataError


@pytest.fixture
def root(tmp_path) -> Path:
    names = ("dog/2.png", "dog/10.PNG", "dog/old/1.jpg", "dog/old/older/b.bmp", "cat/z.jpeg", "cat/a.webp", "Cow/x.tif")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "dog/note.txt").write_text("text")
    (tmp_path / "list.csv").write_text("text")
    return tmp_path


def test_it_is_torchvisions_reading_or_labels_are_those_of_the_classes_given(root):
    ours, theirs = read_image_folder(root), ImageFolder(root)
    assert list(ours.classes) == theirs.classes == ["Cow", "cat", "dog"]
    assert [(str(file), label) for file, label in zip(ours.files, ours.labels.tolist(), strict=True)] == theirs.samples
    images = read_image_folder(root, ("zebra", "dog", "cat", "Cow"))
    assert images.labels.tolist() == [3, 2, 2, 1, 1, 1, 1]
    assert images.classes == ("zebra", "dog", "cat", "Cow")


@pytest.mark.parametrize(
    ("folder", "classes", "named"),
    [
        ("nowhere", None, "nowhere: folder not found"),
        ("Cow", None, "Cow: holds no folders"),
        (".", ("cat", "dog"), "Cow: unknown class (expected cat or dog, got Cow)"),
    ],
)
def test_what_is_wrong_is_named(root, folder, classes, named):
    with pytest.raises(DataError, match=re.escape(named)):
        read_image_folder(root / folder, classes)


def test_a_class_without_images_is_an_error(root):
    (root / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no images in the folder"):
        read_image_folder(root)


def test_files_that_systems_leave_are_left_out(root):
    expected = read_image_folder(root)
    for name in ("dog/._2.png", ".ipynb_checkpoints/2.png", "__MACOSX/dog/._2.png", "cat/.cache/1.png"):
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_bytes(b"")
    found = read_image_folder(root)
    assert (found.classes, found.files) == (expected.classes, expected.files)
