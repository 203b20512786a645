from pathlib import Path

from sppdet.commands.detect import _picture_names


def test_pictures_of_one_stem_are_numbered():
    files = [Path(name) for name in ("a/x.jpg", "b/x.png", "y.jpg", "c/x.jpg")]
    assert _picture_names(files) == ["x.jpg", "x-2.jpg", "y.jpg", "x-3.jpg"]


def test_no_picture_overwrites_another():
    names = _picture_names([Path("a/x.jpg"), Path("b/x.jpg"), Path("x-2.jpg")])
    assert len(set(names)) == 3
