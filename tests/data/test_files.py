import unicodedata

import pytest
from data_sets import write_image, write_text

from sppdet.data.files import ImageIndex, list_images, read_text, split_word, stem_of
from sppdet.errors import DataError
from sppdet.images import IMAGE_SUFFIXES


def test_images_of_all_suffixes_are_listed_and_hidden_ones_are_not(tmp_path):
    for i, suffix in enumerate((*IMAGE_SUFFIXES, ".JPG", ".txt")):
        write_text(tmp_path / f"{i:02d}{suffix}", "")
    for hidden in ("._00.jpg", ".ipynb_checkpoints/00.jpg", "__MACOSX/00.jpg", "sub/.x/00.jpg"):
        write_text(tmp_path / hidden, "")
    write_text(tmp_path / "sub/z.png", "")
    assert [path.name for path in list_images(tmp_path)] == [
        *(f"{i:02d}{suffix}" for i, suffix in enumerate((*IMAGE_SUFFIXES, ".JPG"))),
        "z.png",
    ]


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


@pytest.mark.parametrize(
    ("name", "word"),
    [
        *(("train", "train"), ("train2017", "train"), ("instances_val2017", "val"), ("Valid", "val")),
        *(("validation", "val"), ("my-test.v2", "test"), ("TRAINING", "train"), ("trainval", "trainval")),
        *(("_annotations.coco", None), ("trains", None), ("latest", None), ("train_test", None), ("", None)),
    ],
)
def test_split_words(name, word):
    assert split_word(name) == word


def test_stems_lose_suffixes_of_images_and_labels_only():
    assert [stem_of(name) for name in ("a.jpg", "b/v1.5", "x.TIFF", "x.xml", "a_jpg.rf.0a", "c\\d.png")] == [
        *("a", "b/v1.5", "x", "x", "a_jpg.rf.0a", "c/d")
    ]


def test_text_is_utf_8_or_marked(tmp_path):
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "a.txt").write_bytes("é\n".encode(encoding))
        assert read_text(tmp_path / "a.txt") == "é\n"
    (tmp_path / "a.txt").write_bytes("é".encode("cp1252"))
    with pytest.raises(DataError, match=r"a\.txt: is not text in UTF-8"):
        read_text(tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"b\.txt: cannot be read"):
        read_text(tmp_path / "b.txt")
