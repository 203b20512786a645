"""Videos, crops, tables and data sets of `sppdet detect`, with a detector of known answers."""

import csv
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from factories import TINY, detect as found_at, stopping
from PIL import Image

from sppdet import videos
from sppdet.commands import detection_files
from sppdet.commands.detect import _describe, detect
from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.data.checks.check import check_data
from sppdet.data.dataset import read_dataset
from sppdet.detector import Detector
from sppdet.drawing import detections as drawing
from sppdet.errors import ConfigError, DataError
from sppdet.files.atomic import read_json
from sppdet.images import read_image
from sppdet.videos import Video, write_video

BOXES = [[4.25, 6.5, 40.125, 40], [10, 0, 64, 30.75], [1, 2, 9, 30]]
LABELS = [2, 1, 2]


@pytest.fixture(scope="module")
def detector() -> Detector:
    """Finds BOXES in every image; without calibration, so that scores are margins."""
    detector = Detector(TINY, ("cat", "dog"))
    detector.detect = lambda _: found_at(BOXES, [0.75, 0.5, 0.25], LABELS)
    return detector


@pytest.fixture
def photos(tmp_path) -> Path:
    """A folder with two photographs, one of which lies on its side in the file."""
    (tmp_path / "photos").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48), (90, 120, 30)).save(tmp_path / "photos/a.jpg")
    Image.new("RGB", (48, 64), (10, 20, 130)).save(tmp_path / "photos/b.jpg", exif=exif)
    return tmp_path / "photos"


@pytest.fixture
def film(tmp_path) -> Path:
    write_video(tmp_path / "film.mp4", [np.full((48, 64, 3), 20 * i, np.uint8) for i in range(12)], 10)
    return tmp_path / "film.mp4"


def files_in(folder: Path) -> set[str]:
    found = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return {str(file) for file in found if not file.parts[0].startswith(".")}


def test_a_video_and_its_frames(detector, film, tmp_path):
    out = tmp_path / "out"
    result = detect(detector, [str(film)], every=5, output=str(out))
    (entry,) = read_json(out / "detections.json")
    assert entry == result.as_dict()[0]
    assert {key: entry[key] for key in ("video", "picture", "rate", "every", "frames", "scores")} == {
        **{"video": str(film), "picture": str(out / "film.mp4"), "scores": "margin"},
        **{"rate": 10, "every": 5, "frames": 3},
    }
    assert [(row["frame"], row["class"]) for row in entry["detections"][:4]] == [
        *((0, "dog"), (0, "cat"), (0, "dog"), (5, "dog")),
    ]
    assert [row["box"] for row in entry["detections"]] == 3 * BOXES
    drawn = Video(out / "film.mp4")
    assert (drawn.rate, drawn.count) == (2, 3)
    assert str(result).splitlines() == [f"{film}: 3 frames, dog in 3, cat in 3", f"written to {out}"]
    detect(detector, [str(film)], every=12, output=str(out))
    assert Video(out / "film.mp4").count == 1


def test_a_damaged_video_does_not_lose_the_others(detector, film, photos, tmp_path, caplog):
    (photos / "no.mp4").write_bytes(b"no video")
    with caplog.at_level("INFO", "sppdet"):
        result = detect(detector, [str(photos), str(film)], output=str(tmp_path / "out"))
    assert "1/3 detect: 2 images" in caplog.messages
    assert any(line.startswith("3/3 film.mp4: ") for line in caplog.messages)
    assert [Path(entry["picture"]).name for entry in result.as_dict()] == ["a.jpg", "b.jpg", "film.mp4"]
    (error,) = result.errors
    assert str(error).startswith(f"{photos / 'no.mp4'}: cannot be decoded")
    assert files_in(tmp_path / "out") == {"a.jpg", "b.jpg", "film.mp4", "detections.json"}


def test_ctrl_c_keeps_what_was_seen_of_a_video(detector, film, tmp_path):
    with stopping(detection_files.DetectionFiles, "_rows", after=4), pytest.raises(KeyboardInterrupt):
        detect(detector, [str(film)], formats=["yolo"], output=str(tmp_path / "out"))
    (entry,) = read_json(tmp_path / "out/detections.json")
    assert entry["frames"] == Video(entry["picture"]).count == 4
    assert len(list((tmp_path / "out/yolo/labels/train").iterdir())) == 5  # the frame it was at


def test_frames_wait_in_the_output_folder_and_leave_it(detector, film, tmp_path, monkeypatch):
    places, write = [], drawing.write_picture
    monkeypatch.setattr(drawing, "write_picture", lambda path, picture: places.append(path) or write(path, picture))
    detect(detector, [str(film)], every=6, formats=["voc"], output=str(tmp_path / "out"))
    assert [place.parent.parent for place in places] == [tmp_path / "out"] * 2
    assert not any(place.parent.exists() for place in places)


def test_ctrl_c_before_the_first_image_keeps_the_detections_of_before(detector, photos, tmp_path):
    out = tmp_path / "out"
    before = detect(detector, [str(photos)], output=str(out)).as_dict()
    with stopping(detection_files.DetectionFiles, "add_image"), pytest.raises(KeyboardInterrupt):
        detect(detector, [str(photos)], output=str(out))
    assert read_json(out / "detections.json") == before
    assert files_in(out) == {"a.jpg", "b.jpg", "detections.json"}


def test_a_picture_without_its_detections_is_in_nobodys_way(detector, photos, tmp_path):
    out, (first, second) = tmp_path / "out", (str(photos / name) for name in ("a.jpg", "b.jpg"))
    before = detect(detector, [first], output=str(out)).as_dict()
    for drawn, kept in ((second, first), (first, first)):
        with stopping(detection_files.DetectionFiles, "_add"), pytest.raises(KeyboardInterrupt):
            detect(detector, [drawn], output=str(out))
        assert read_json(out / "detections.json") == before
        assert files_in(out) == {Path(kept).name, "detections.json"}
    detect(detector, [second, first], output=str(out))
    assert files_in(out) == {"a.jpg", "b.jpg", "detections.json"}


def test_ctrl_c_ends_a_webcam(detector, film, tmp_path, monkeypatch):
    opened = videos.cv2.VideoCapture
    monkeypatch.setattr(videos.cv2, "VideoCapture", lambda source, *_: opened(str(film if source == 7 else source)))
    clock = SimpleNamespace(monotonic=partial(next, count(0, 0.5)))
    monkeypatch.setattr(detection_files, "time", clock)  # half a second a frame, in which five are written
    with stopping(detection_files.DetectionFiles, "_rows", after=3):
        result = detect(detector, ["7"], output=str(tmp_path / "out"))
    (entry,) = result.as_dict()
    assert (entry["video"], entry["frames"], Path(entry["picture"]).name) == ("7", 3, "webcam-7.mp4")
    drawn = Video(entry["picture"])
    assert (drawn.rate, drawn.count) == (10, 15)


@pytest.mark.parametrize("format", ["voc", "coco", "yolo"])
def test_a_data_set_to_correct_is_read_back(detector, photos, film, tmp_path, format):
    out = tmp_path / "out"
    detect(detector, [str(photos), str(film)], every=6, formats=[format], output=str(out))
    check = check_data(DataConfig(root=str(out / format)), ProposalConfig(min_side=0))
    assert not check.errors
    assert {problem.kind for problem in check.problems} <= {"class without objects", "images of no split"}
    split = "default" if format == "voc" else "train"
    dataset = read_dataset(DataConfig(root=str(out / format), split=split, split_fractions=(1, 0, 0)))
    assert dataset.classes == ("cat", "dog")
    assert sorted(image.path.name for image in dataset.images) == [
        *("a.jpg", "b.jpg", "film_000000.jpg", "film_000006.jpg")
    ]
    for image in dataset.images:
        assert image.labels.tolist() == LABELS
        assert torch.allclose(image.boxes, torch.tensor(BOXES), atol=1e-4)
        assert image.read().shape == (3, 48, 64)
    (out / format / "corrected.txt").touch()
    with pytest.raises(ConfigError, match=rf"{format}: output: exists already"):
        detect(detector, [str(photos)], formats=[format], output=str(out))
    assert (out / format / "corrected.txt").exists()


def test_images_that_a_data_set_cannot_hold_are_refused_at_once(detector, photos, tmp_path):
    (photos / "a.jpg").rename(photos / "a")
    with pytest.raises(DataError, match="a: has no suffix of an image"):
        detect(detector, [str(photos / "a")], formats=["yolo"], output=str(tmp_path / "out"))
    detect(detector, [str(photos / "a")], formats=["csv"], output=str(tmp_path / "out"))


def test_a_table(detector, photos, film, tmp_path):
    out = tmp_path / "out"
    detect(detector, [str(photos / "a.jpg"), str(film)], every=12, formats=["csv"], output=str(out))
    with (out / "detections.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["frame"], row["class"]) for row in rows] == [
        *((str(photos / "a.jpg"), "", name) for name in ("dog", "cat", "dog")),
        *((str(film), "0", name) for name in ("dog", "cat", "dog")),
    ]
    assert [float(rows[0][key]) for key in ("score", "x1", "y1", "x2", "y2")] == [0.75, *BOXES[0]]
    detect(detector, [str(photos / "a.jpg")], output=str(out))
    assert files_in(out) == {"a.jpg", "detections.json"}  # the table was of an earlier detect
    (out / "detections.csv").write_text("mine")
    with pytest.raises(ConfigError, match=r"detections\.csv: output: is a file of yours"):
        detect(detector, [str(photos / "a.jpg")], formats=["csv"], output=str(out))


def test_crops(detector, photos, film, tmp_path):
    out = tmp_path / "out"
    detect(detector, [str(photos / "a.jpg"), str(film)], every=12, save_crops=True, output=str(out))
    dogs, cats = ["a_1", "a_3", "film_000000_1", "film_000000_3"], ["a_2", "film_000000_2"]
    expected = {*(f"dog/{name}.jpg" for name in dogs), *(f"cat/{name}.jpg" for name in cats)}
    assert files_in(out / "crops") == expected
    assert read_image(out / "crops/dog/a_1.jpg").shape == (3, 34, 37)
    assert read_image(out / "crops/cat/a_2.jpg").shape == (3, 31, 54)
    with pytest.raises(ConfigError, match="crops: output: exists already"):
        detect(detector, [str(photos)], save_crops=True, output=str(out))


def test_a_frame_replaces_no_image_of_its_name(detector, film, tmp_path):
    Image.new("RGB", (64, 48)).save(tmp_path / "film_000000.jpg")
    given = [str(tmp_path / "film_000000.jpg"), str(film)]
    detect(detector, given, every=12, save_crops=True, formats=["yolo"], output=str(tmp_path / "out"))
    assert len(files_in(tmp_path / "out/crops")) == 6
    assert files_in(tmp_path / "out/yolo/images/train") == {"film_000000.jpg", "film_000000-2.jpg"}


def test_boxes_without_area_are_in_no_crop_and_no_data_set(detector, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(detector, "detect", lambda _: found_at([[64, 6, 64, 40], *BOXES], [0.9, 0.75, 0.5, 0.25]))
    options = {"formats": ["yolo"], "save_crops": True, "output": str(tmp_path / "out")}
    (entry,) = detect(detector, [str(photos / "a.jpg")], **options).as_dict()
    assert len(entry["detections"]) == 4
    assert len(files_in(tmp_path / "out/crops")) == 3
    assert len((tmp_path / "out/yolo/labels/train/a.txt").read_text().splitlines()) == 3


def test_classes(detector, photos, tmp_path):
    (entry,) = detect(detector, [str(photos / "a.jpg")], classes=["cat"], output=str(tmp_path / "out")).as_dict()
    assert [row["box"] for row in entry["detections"]] == BOXES[1:2]
    with pytest.raises(ConfigError, match=r"classes: no such class \(expected cat or dog, got cow\)"):
        detect(detector, [str(photos)], classes=["cat", "cow"], output=str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_tiles(detector, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(detector, "detect", lambda image: seen.append(tuple(image.shape[1:])) or found_at())
    Image.new("RGB", (150, 60)).save(tmp_path / "wide.png")
    detect(detector, [str(tmp_path / "wide.png")], tile=100, output=str(tmp_path / "out"))
    assert seen == [(60, 100), (60, 100), (60, 150)]
    with pytest.raises(ConfigError, match="tile: too small"):
        detect(detector, [str(tmp_path / "wide.png")], tile=2, output=str(tmp_path / "out"))


@pytest.mark.parametrize(("width", "tile", "said"), [(2600, None, 1), (2600, 3000, 0), (2400, None, 0)])
def test_a_large_image_asks_for_tiles(detector, tmp_path, caplog, monkeypatch, width, tile, said):
    monkeypatch.setattr(detector, "config", replace(TINY, proposals=ProposalConfig()))
    Image.new("RGB", (width, 400)).save(tmp_path / "wide.png")
    detect(detector, [str(tmp_path / "wide.png")], tile=tile, output=str(tmp_path / "out"))
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warned == said * ["large images: objects under 4% of their width are missed without --tile"]


def test_every_frame_or_fewer(detector, film, tmp_path):
    with pytest.raises(ConfigError, match="every: out of range"):
        detect(detector, [str(film)], every=0, output=str(tmp_path / "out"))


def test_a_video_without_detections_is_described():
    assert _describe({"video": "a.mp4", "frames": 1, "detections": []}) == "a.mp4: 1 frame, nothing"
