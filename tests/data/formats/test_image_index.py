import unicodedata

import pytest
from data_sets import write_image

from sppdet.data.formats.image_index import ImageIndex
from sppdet.errors import DataError


@pytest.mark.parametrize(
    "name",
    [
        *("sub/é a.jpg", "sub\\é a.jpg", "./sub/é a.jpg", "/data/upload/1/sub/é a.jpg", "C:\\photos\\sub\\é a.jpg"),
        *("é a.jpg", "sub/%C3%A9%20a.jpg", "http://localhost:8080/sub/%C3%A9%20a.jpg?d=1", "../other/sub/é a.jpg"),
        unicodedata.normalize("NFD", "sub/é a.jpg"),
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_an_image_is_found_by_any_form_of_its_name(tmp_path, name, form):
    path = tmp_path / unicodedata.normalize(form, "sub/é a.jpg")
    write_image(path)
    write_image(tmp_path / "sub/other.jpg")
    assert ImageIndex(tmp_path).find(name) == path


def test_of_several_images_of_one_name_the_nearest_is_found_or_none(tmp_path):
    for folder in ("train", "val", "deep/val"):
        write_image(tmp_path / folder / "1.jpg")
    index = ImageIndex(tmp_path)
    assert index.find("train/1.jpg") == tmp_path / "train/1.jpg"
    assert index.find("deep/val/1.jpg") == tmp_path / "deep/val/1.jpg"
    assert index.find("1.jpg", tmp_path / "deep/x.json") == tmp_path / "deep/val/1.jpg"
    assert index.find("1.jpg", tmp_path / "x_train.json") == tmp_path / "train/1.jpg"
    write_image(tmp_path / "trainval/1.jpg")
    assert ImageIndex(tmp_path).find("1.jpg", tmp_path / "x_trainval.json") == tmp_path / "trainval/1.jpg"
    assert index.find("2.jpg") is None
    assert index.find("") is None
    with pytest.raises(DataError, match=r"1\.jpg: several images have this name \(got deep/val/1\.jpg, "):
        index.find("1.jpg")
