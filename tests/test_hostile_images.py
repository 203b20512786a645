"""Image files that would run a program, or take the machine's memory or time."""

import os
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image

from sppdet import images
from sppdet.errors import ImageError
from sppdet.images import read_image, read_size

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n0 0 9 9 rectfill\nshowpage\n%%EOF\n"


def test_a_postscript_file_named_jpg_runs_no_program(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(EpsImagePlugin, "has_ghostscript", lambda: True)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")
    monkeypatch.setattr(subprocess, "check_call", lambda *command, **_: started.append(command))
    (tmp_path / "a.jpg").write_bytes(EPS)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.format == "EPS"
    with pytest.raises(ImageError, match=r"a\.jpg: cannot be decoded"):
        read_image(tmp_path / "a.jpg")
    assert read_size(tmp_path / "a.jpg") is None
    assert not started


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.tif", "a.webp", "a.gif", "a.ppm", "a.pgm", "a.pbm"])
def test_all_formats_whose_suffixes_are_read_are_decoded(tmp_path, name):
    Image.new("RGB" if name != "a.pbm" else "1", (9, 7)).save(tmp_path / name)
    assert read_image(tmp_path / name).shape == (3, 7, 9)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "P", "LA", "I;16", "F"])
def test_strips_give_the_pixels_of_the_whole(tmp_path, monkeypatch, orientation, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (23, 31), dtype=np.uint8)
    gray = {"I;16": pixels.astype(np.uint16) * 257, "F": pixels.astype(np.float32)}
    image = Image.fromarray(gray[mode]) if mode in gray else Image.fromarray(pixels).convert("RGB").convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    name = "a.tif" if mode == "F" else "a.png"
    image.save(tmp_path / name, exif=exif)
    whole = read_image(tmp_path / name)
    monkeypatch.setattr(images, "STRIP", 100)
    assert torch.equal(read_image(tmp_path / name), whole)


def test_the_memory_of_a_picture_is_at_most_ten_bytes_a_pixel_with_those_that_pillow_holds(tmp_path, monkeypatch):
    """A GIF of a few bytes took 15 bytes for each of its pixels; Pillow's own, up to 4, are not traced."""
    side = 1500
    Image.new("P", (side, side)).save(tmp_path / "a.gif", transparency=0)
    monkeypatch.setattr(images, "STRIP", side * 20)
    tracemalloc.start()
    try:
        read_image(tmp_path / "a.gif")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * side**2


def test_webp_has_half_the_limit(tmp_path, monkeypatch):
    Image.new("RGB", (20, 30)).save(tmp_path / "a.webp")
    monkeypatch.setenv("SPPDET_MAX_PIXELS", "1000")
    with pytest.raises(ImageError, match=r"a\.webp: too large .*SPPDET_MAX_PIXELS=1200, got 1200 pixels"):
        read_image(tmp_path / "a.webp")
    monkeypatch.setenv("SPPDET_MAX_PIXELS", "1200")
    assert read_image(tmp_path / "a.webp").shape == (3, 30, 20)


def test_a_jpeg_of_many_scans_is_refused(tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.jpg", progressive=True)
    data = (tmp_path / "a.jpg").read_bytes()
    start = data.rindex(b"\xff\xda")
    assert read_image(tmp_path / "a.jpg").shape == (3, 16, 16)
    (tmp_path / "a.jpg").write_bytes(data[:start] + data[start:-2] * 100 + data[-2:])
    with pytest.raises(ImageError, match="take too long"):
        read_image(tmp_path / "a.jpg")


def test_a_pipe_in_place_of_a_picture_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    assert read_size(tmp_path / "a.jpg") is None
    with pytest.raises(ImageError, match="not found"):
        read_image(Path(tmp_path / "a.jpg"))
