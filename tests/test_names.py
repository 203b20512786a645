"""Names that are hostile to a terminal, a file system or an encoding: of classes, images and folders."""

import io
import logging
import os
import sys
from pathlib import Path

import pytest
import torch
from factories import TINY, run_error
from matplotlib.image import imread
from PIL import Image

from sppdet.classification.crops import write_crops
from sppdet.cli import main
from sppdet.commands.sources import picture_names
from sppdet.data import download
from sppdet.data.division import divide
from sppdet.data.files import file_names
from sppdet.data.results.files import read_results, write_coco_results, write_voc_results
from sppdet.detector import Detector
from sppdet.drawing.figures import new_figure, save_figure
from sppdet.errors import DataError
from sppdet.files.atomic import write_text
from sppdet.structures import Annotations, Dataset, Detections

ESCAPE, LONG = "\x1b]0;owned\x07", 300 * "n"
BYTES = os.fsdecode(b"\xff")  # a name that is not UTF-8
HOSTILE = (f"a{ESCAPE}", "b\r\x9b2J", LONG, f"{BYTES}c", "half \ud800", "$\\frac{", "\u202egnp.exe")


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    """An image with an object of each of the hostile classes; its id leads elsewhere."""
    Image.new("RGB", (20, 20)).save(tmp_path / "image.png")
    boxes = torch.tensor([[0.0, 0, 10, 10]]).repeat(len(HOSTILE), 1)
    labels, difficult = torch.arange(1, 1 + len(HOSTILE)), torch.zeros(len(HOSTILE), dtype=torch.bool)
    return Dataset("own", HOSTILE, (Annotations(tmp_path / "image.png", boxes, labels, difficult, "../../planted"),))


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_results_errors_and_the_log_obey_no_name_and_lose_none(encoding, tmp_path, monkeypatch):
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding, "strict") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)

    def download_voc(*_: object) -> str:
        logging.getLogger("sppdet").info("log %s", ESCAPE)
        return f"é{BYTES}{ESCAPE}"

    monkeypatch.setattr(download, "download_voc", download_voc)
    assert main(["download", str(tmp_path)]) == 0
    assert main(["check-data", str(tmp_path / f"{BYTES}{ESCAPE}")]) == 1
    for stream in (out, err):
        stream.flush()
    printed = out.buffer.getvalue().decode(encoding)
    assert printed.splitlines()[0] == ("\\xe9" if encoding == "ascii" else "é") + r"\udcff\x1b]0;owned\x07"
    said = err.buffer.getvalue().decode(encoding)
    assert r"log \x1b]0;owned\x07" in said
    assert rf"{tmp_path}/\udcff\x1b]0;owned\x07: folder not found" in said
    assert ESCAPE not in said


def test_usage_is_explained_without_control_characters(capsys):
    assert ESCAPE not in run_error(capsys, "train", f"--{ESCAPE}", "1", code=2)


def test_files_of_images_have_names_that_any_system_takes():
    keys = ["../../planted", ESCAPE, LONG, f"{LONG}x", f"{BYTES}.v1", "a/b", "A_b", ".hidden", "..", ""]
    names = file_names(keys)
    assert len({name.casefold() for name in names}) == len(keys)
    for name in names:
        assert name == Path(name).name
        assert name.isprintable()
        assert len(os.fsencode(name)) <= 205
    assert (names[0], names[5], names[6]) == ("planted", "a_b", "A_b-2")
    assert picture_names([Path("x.jpg"), Path(f"{BYTES}.jpg"), Path("X.png")]) == ["x.jpg", "_.jpg", "X-2.jpg"]


def test_crops_stay_in_their_folder_whatever_the_ids_are(dataset, tmp_path):
    harmless = Dataset("own", tuple(map(str, range(len(HOSTILE)))), dataset.images)
    assert write_crops(harmless, tmp_path / "in/out") == len(HOSTILE)
    assert not list(tmp_path.rglob("planted*.png"))[len(HOSTILE) :]
    assert len(list((tmp_path / "in/out").glob("?/planted_?.png"))) == len(HOSTILE)


@pytest.mark.parametrize("name", [HOSTILE[0], LONG, HOSTILE[3]])
def test_a_class_that_cannot_name_a_folder_is_an_error_before_anything_is_written(dataset, tmp_path, name):
    with pytest.raises(DataError, match="cannot be the name of a folder"):
        write_crops(Dataset("own", (name, *HOSTILE[1:]), dataset.images), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("figures")
def test_detections_detectors_and_figures_of_any_classes(dataset, tmp_path, caplog):
    (image,) = dataset.images
    found = [Detections(image.boxes, image.labels, torch.linspace(0.9, 0.1, len(HOSTILE)))]
    write_voc_results(tmp_path / "comp4", found, dataset, "test")
    assert "cannot be part of a file name" in caplog.text
    assert not (tmp_path / "comp4").exists()
    write_coco_results(tmp_path / "found.json", found, dataset)
    assert torch.equal(read_results(tmp_path / "found.json", dataset)[0].labels, image.labels)
    Detector(TINY, HOSTILE).save(tmp_path / BYTES / "detector.safetensors")
    assert Detector.load(tmp_path / BYTES).classes == HOSTILE
    figure = new_figure(8, 4)
    axes = figure.subplots()
    axes.barh(range(len(HOSTILE)), range(len(HOSTILE)), label=HOSTILE[3])
    axes.set_yticks(range(len(HOSTILE)), labels=HOSTILE)
    axes.legend()
    save_figure(figure, tmp_path / f"{BYTES}.png")
    assert imread(tmp_path / f"{BYTES}.png").shape[2] == 4


def test_text_keeps_the_bytes_of_names(tmp_path):
    write_text(tmp_path / "a.csv", f"{BYTES},é\n")
    assert (tmp_path / "a.csv").read_bytes() == b"\xff,\xc3\xa9\n"
    write_text(tmp_path / "a.csv", "half \ud800\n")
    assert (tmp_path / "a.csv").read_text() == "half \\ud800\n"


def test_data_of_such_names_are_divided():
    names = [f"{BYTES}{i}" for i in range(9)]
    division = divide(names, [frozenset({"a"})] * 9, (0.6, 0.2, 0.2), 0)
    assert sorted(name for part in division.values() for name in part) == sorted(names)
