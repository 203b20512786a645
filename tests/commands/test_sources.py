"""Images and videos that `sppdet detect` is given, by name, folder or pattern."""

from pathlib import Path

import pytest

from sppdet.commands.sources import find_sources, picture_names
from sppdet.errors import DataError

NAMES = ("a.jpg", "film.MP4", "deep/b.png", "deep/er/c.jpg", "deep/clip.mov", ".hidden/d.jpg", "notes.txt", "e[1].jpg")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "images", "videos"),
    [
        (["."], ["a.jpg", "e[1].jpg"], ["film.MP4"]),
        (["a.jpg", ".", "a.jpg"], ["a.jpg", "e[1].jpg"], ["film.MP4"]),
        (["e[1].jpg", "nowhere.jpg", "nowhere.mp4"], ["e[1].jpg", "nowhere.jpg"], ["nowhere.mp4"]),
        (["**/*.jpg"], ["a.jpg", "deep/er/c.jpg", "e[1].jpg"], []),
        (["**"], ["a.jpg", "deep/b.png", "deep/er/c.jpg", "e[1].jpg"], ["deep/clip.mov", "film.MP4"]),
        (["d*/?.png", "deep/*"], ["deep/b.png"], ["deep/clip.mov"]),
        (["0", "rtsp://camera/x?a=[1]", "a.jpg"], ["a.jpg"], ["0", "rtsp://camera/x?a=[1]"]),
    ],
)
def test_sources(folder, paths, images, videos):
    assert find_sources(paths) == ([Path(name) for name in images], videos)
    absolute = [path if path[:1] in ("0", "r") else str(folder / path) for path in paths]
    named = [name if name[:1] in ("0", "r") else str(folder / name) for name in videos]
    assert find_sources(absolute) == ([folder / name for name in images], named)
    assert find_sources([*paths, *absolute]) == find_sources(paths)


def test_recursive(folder):
    images, videos = find_sources([str(folder)], recursive=True)
    assert [file.name for file in images] == ["a.jpg", "e[1].jpg", "b.png", "c.jpg"]
    assert [Path(name).name for name in videos] == ["film.MP4", "clip.mov"]


@pytest.mark.parametrize("pattern", ["*.bmp", "a**/b.jpg", "notes*", "nowhere/*"])
def test_a_pattern_without_images_is_named(folder, pattern):
    with pytest.raises(DataError) as error:
        find_sources([str(folder / pattern)])
    assert error.value.file == str(folder / pattern)


def test_names_of_pictures():
    videos = ["film.mp4", "0", "rtsp://me:secret@camera/garden.sdp?token=secret", "rtsp://camera"]
    names = picture_names([Path("film.jpg"), Path("b.png")], videos)
    assert names == ["film.jpg", "b.jpg", "film-2.mp4", "webcam-0.mp4", "garden.mp4", "image.mp4"]
