import os
from pathlib import Path

import numpy as np
import pytest

from sppdet import videos
from sppdet.errors import ImageError, SppdetError
from sppdet.videos import Video, is_live, is_video, write_video


def pictures(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Gray pictures, each a little lighter than the one before, red at the left."""
    found = [np.full((height, width, 3), 20 + 10 * i, np.uint8) for i in range(count)]
    for picture in found:
        picture[:, : width // 2, 0] = 250
    return found


@pytest.fixture
def film(tmp_path) -> Path:
    assert write_video(tmp_path / "film.mp4", pictures(12), 12.5)
    return tmp_path / "film.mp4"


def test_frames_are_read_as_they_were_written(film):
    video = Video(film)
    assert (video.rate, video.count, video.live) == (12.5, 12, False)
    frames = list(video.frames())
    assert [number for number, _ in frames] == list(range(12))
    for (_, frame), picture in zip(frames, pictures(12), strict=True):
        difference = np.abs(frame.permute(1, 2, 0).numpy().astype(int) - picture)[8:-8]
        assert difference[:, :24].max() < 12
        assert difference[:, 40:].max() < 12


def test_every_so_many_frames(film):
    assert [number for number, _ in Video(film).frames(5)] == [0, 5, 10]


@pytest.mark.parametrize("content", [b"", b"\0\0\0\x18ftypmp42", b"#EXTM3U\n#EXTINF:3,\nfilm.mp4\n", b"film"])
def test_a_file_that_is_no_video_is_named(content, tmp_path, capfd):
    (tmp_path / "no.mp4").write_bytes(content)
    with pytest.raises(ImageError, match=r"no\.mp4: cannot be decoded: empty, damaged or no video"):
        Video(tmp_path / "no.mp4")
    with pytest.raises(ImageError, match=r"nowhere\.mp4: video file not found"):
        Video(tmp_path / "nowhere.mp4")
    assert capfd.readouterr().err == ""  # of what OpenCV and FFmpeg would say


def test_a_playlist_opens_no_other_file(film):
    """Under the name of a video, FFmpeg would read what it lists."""
    (film.parent / "list.mp4").write_text(f"ffconcat version 1.0\nfile {film.name}\n")
    with pytest.raises(ImageError, match="no video"):
        Video(film.parent / "list.mp4")
    assert "OPENCV_FFMPEG_CAPTURE_OPTIONS" not in os.environ


def test_a_file_that_ends_early_is_logged(film, caplog):
    video = Video(film)
    video.count = 20
    assert len(list(video.frames())) == 12
    assert caplog.messages == [f"{film}: ends after 12 of 20 frames: it may be damaged"]


def test_no_frame_is_an_error(film):
    video = Video(film)
    video._capture.release()
    with pytest.raises(ImageError, match=r"film\.mp4: no frame can be decoded"):
        list(video.frames())


def test_frames_that_are_too_large_are_refused(film, monkeypatch):
    monkeypatch.setenv("SPPDET_MAX_PIXELS", "3000")
    with pytest.raises(ImageError, match=r"film\.mp4: too large .*SPPDET_MAX_PIXELS=3072"):
        Video(film)


def test_ctrl_c_ends_a_video_that_stays(tmp_path):
    def interrupted(count: int):
        yield from pictures(count)
        raise KeyboardInterrupt

    assert not write_video(tmp_path / "film.mp4", interrupted(5), 10)
    assert Video(tmp_path / "film.mp4").count == 5
    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "none.mp4", interrupted(0), 10)
    assert [file.name for file in tmp_path.iterdir()] == ["film.mp4"]


def test_a_video_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(videos, "_holds", lambda *_: False)
    with pytest.raises(SppdetError, match=r"film\.mp4: cannot be written: the disk may be full"):
        write_video(tmp_path / "film.mp4", pictures(2), 10)
    assert not list(tmp_path.iterdir())


def test_pictures_of_another_size_are_resized(tmp_path):
    write_video(tmp_path / "film.mp4", [*pictures(2), *pictures(2, 96, 128)], 10)
    assert {tuple(frame.shape) for _, frame in Video(tmp_path / "film.mp4").frames()} == {(3, 48, 64)}


@pytest.mark.parametrize("rate", [0.001, 1 / 30, 29.97 / 7, 23.976, 119.88, 333.3, 1000])
def test_any_rate_can_be_written(tmp_path, rate):
    write_video(tmp_path / "film.mp4", pictures(3, 16, 16), rate)
    video = Video(tmp_path / "film.mp4")
    assert video.count == 3
    assert video.rate == pytest.approx(min(max(rate, 0.1), 240), rel=2e-3)


@pytest.mark.parametrize(("size", "written"), [((1, 1), (2, 2)), ((33, 51), (32, 50)), ((32, 9000), (28, 8000))])
def test_any_size_can_be_written(tmp_path, size, written):
    write_video(tmp_path / "film.mp4", pictures(1, *size), 10)
    ((_, frame),) = Video(tmp_path / "film.mp4").frames()
    assert tuple(frame.shape[1:]) == written


def test_names_of_videos_webcams_and_streams(tmp_path, monkeypatch):
    assert is_video("a/film.MP4")
    assert not is_video("a/film.gif")
    assert [is_live(name) for name in ("0", "rtsp://camera/1", "film.mp4", "x1")] == [True, True, False, False]
    monkeypatch.chdir(tmp_path)
    Path("0").touch()
    assert not is_live("0")


STREAMS = ("me:secret@127.0.0.1:1/x", *(f"me:a{c}secret@127.0.0.1:1/x" for c in "@/?"), "127.0.0.1:1/x?key=secret")


@pytest.mark.parametrize("source", ["98", *(f"rtsp://{name}" for name in STREAMS)])
def test_a_webcam_that_is_not_there_is_named_without_a_password(source, capfd):
    with pytest.raises(ImageError, match=r"(98|rtsp://127\.0\.0\.1:1/x): no such webcam, or no stream there") as error:
        Video(source)
    assert "secret" not in str(error.value)
    assert capfd.readouterr().err == ""
