"""Hits, false alarms and misses, worked out by hand."""

import pytest
import torch
from factories import annotate, detect
from report_pages import FAR, LARGE, A, B, C, small_data, small_report, small_run

from sppdet.report import cards as cards_module
from sppdet.report.cards import make_cards
from sppdet.report.data import ReportData
from sppdet.report.gallery import find_cases
from sppdet.report.thumbnails import Thumbnails
from sppdet.structures import Annotations, Dataset


def cases(run) -> dict[str, list[tuple]]:
    found: dict[str, list[tuple]] = {}
    for (kind, label), each in find_cases(run).cases.items():
        rows = [(case.image, label, list(case.box), case.score and round(case.score, 3), case.error) for case in each]
        found[kind] = found.get(kind, []) + rows
    return found


def test_kinds(tmp_path) -> None:
    assert cases(small_run(small_data(tmp_path))) == {
        "hit": [(1, 1, A, 0.5, ""), (0, 1, A, 0.9, "")],  # the lowest score first
        "false alarm": [(0, 1, B, 0.8, "similar"), (0, 1, FAR, 0.7, "background")],  # the highest score first
        "miss": [(0, 1, LARGE, None, ""), (0, 2, B, None, "")],
    }


def test_thresholds_make_hits_misses(tmp_path) -> None:
    found = cases(small_run(small_data(tmp_path), threshold=0.75))
    assert found["hit"] == [(0, 1, A, 0.9, "")]
    assert found["false alarm"] == [(0, 1, B, 0.8, "similar")]
    assert found["miss"] == [(0, 1, LARGE, None, ""), (1, 1, A, None, ""), (0, 2, B, None, "")]  # the largest first


def test_the_diagonal_of_the_confusion_matrix_counts_the_hits(tmp_path) -> None:
    run = small_run(small_data(tmp_path))
    gallery = find_cases(run)
    assert gallery.counts() == {"hit": 2, "false alarm": 2, "miss": 2}
    assert run.confusion.tolist() == [[0, 1, 0], [1, 2, 0], [0, 1, 0]]


def test_classes_take_turns(tmp_path) -> None:
    run = small_run(small_data(tmp_path))
    assert [(case.kind, case.label) for case in find_cases(run).in_turn()] == [
        *[("false alarm", 1), ("miss", 1), ("miss", 2), ("hit", 1)],
        *[("false alarm", 1), ("hit", 1)],
    ]


def test_drawn_detections_are_those_kept_and_those_that_find_an_object() -> None:
    """Of a hundred below the threshold, the one that finds the object is drawn although others score higher."""
    many = detect([[k, 0, k + 1, 1] for k in range(100)], [0.2] * 100)
    found = detect([*many.boxes.tolist(), C], [*many.scores.tolist(), 0.01])
    run = small_run(Dataset("d", ("cat",), (annotate([C]),)), [found])
    (drawn,) = find_cases(run).drawn
    assert len(drawn) == 20
    assert [one.object for one in drawn] == [-1] * 19 + [0]


def test_cards_know_missed_objects_and_doubts(tmp_path) -> None:
    data = small_report(small_data(tmp_path))
    cards = make_cards(data, Thumbnails(data.dataset.images, 10**6))
    assert [(card["kind"], card["id"], card["shown"]) for card in cards["cases"][:2]] == [
        ("false alarm", "one", "80%"),
        ("miss", "one", ""),
    ]
    first = next(layer for layer in cards["layers"] if layer["image"] == 0)
    assert [one["missed"] for one in first["truth"]] == [False, True, True]
    assert [(one["object"], one["kept"]) for one in first["detections"]] == [(0, True), (-1, True), (-1, True)]
    doubts = [(card["kind"], card["class"], card["labeled"]) for card in cards["doubts"]]
    assert doubts == [("wrong class", "cat", "dog"), ("missing box", "cat", None)]


def test_images_that_differ_are_side_by_side(tmp_path) -> None:
    dataset = small_data(tmp_path)
    blind = small_run(dataset, [detect([LARGE], [0.9]), detect([A], [0.9])], "blind")
    data = ReportData([small_run(dataset), blind], dataset)
    cards = make_cards(data, Thumbnails(dataset.images, 10**6))
    assert cards["pairs"] == [{"image": 0, "id": "one"}]
    assert {(layer["run"], layer["image"]) for layer in cards["layers"]} >= {(0, 0), (1, 0)}


def test_there_are_no_more_bytes_than_allowed_and_no_images_that_are_gone(tmp_path) -> None:
    dataset = small_data(tmp_path)
    one = len(Thumbnails(dataset.images, 10**6).get(0).uri)
    thumbnails = Thumbnails(dataset.images, one + 10)
    assert [bool(thumbnails.get(k)) for k in (0, 1, 0)] == [True, False, True]
    (tmp_path / "0.jpg").write_bytes(b"no picture")
    gone = Thumbnails(dataset.images, 10**6)
    assert gone.get(0) is None
    assert (gone.unreadable, list(gone.made())) == (1, [])
    cards = make_cards(small_report(dataset), gone)
    assert {card["image"] for card in cards["cases"]} == {1}
    assert gone.unreadable == 1


def test_there_are_no_more_boxes_than_allowed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(cards_module, "BOXES", 6)  # the first image has 3 objects and 3 detections
    data = small_report(small_data(tmp_path))
    cards = make_cards(data, Thumbnails(data.dataset.images, 10**6))
    assert {card["image"] for card in cards["cases"]} == {0}
    assert [layer["image"] for layer in cards["layers"]] == [0]


@pytest.mark.parametrize(("size", "expected"), [((3000, 30), (400, 4)), ((30, 20), (30, 20)), ((5000, 2), (400, 1))])
def test_thumbnails_are_small(size, expected) -> None:
    image = torch.zeros(3, size[1], size[0], dtype=torch.uint8)
    empty = Annotations(image, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    thumbnail = Thumbnails([empty], 10**6).get(0)
    assert (thumbnail.width, thumbnail.height) == expected
    assert (thumbnail.full_width, thumbnail.full_height) == size
