import pytest
from data_sets import write_text

from sppdet.data.files import list_images, read_text, short_names, stem_of
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


def test_links_are_followed_except_to_a_folder_that_they_lie_in(tmp_path):
    (tmp_path / "data/a/b").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    for name in ("data/a/x.png", "data/a/b/y.png", "other/z.png"):
        (tmp_path / name).touch()
    for link, target in {"a/up": "..", "a/b/top": "../..", "a/b/self": ".", "elsewhere": "../other"}.items():
        (tmp_path / "data" / link).symlink_to(target)
    found = [path.relative_to(tmp_path / "data").as_posix() for path in list_images(tmp_path / "data")]
    assert found == ["a/x.png", "a/b/y.png", "elsewhere/z.png"]


def test_links_that_lead_to_each_other_are_followed_once(tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.png").touch()
        (tmp_path / name / "other").symlink_to(f"../{other}")
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert found == ["a/a.png", "a/other/b.png", "b/b.png", "b/other/a.png"]


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


def test_names_are_short_where_they_are_unique():
    assert short_names(["x/a", "x/b", "y/b", "c"]) == {"x/a": "a", "x/b": "x/b", "y/b": "y/b", "c": "c"}
