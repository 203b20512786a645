"""Detections written and read again, and what is said about files that cannot be used."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from contracts import assert_detections
from factories import annotate
from hypothesis import given, strategies as st

from sppdet.data.results.files import read_results, write_coco_results, write_voc_results
from sppdet.errors import DataError, SppdetError
from sppdet.files import bounded_json
from sppdet.structures import Dataset, Detections

GOOD = {"image_id": "000005", "category_id": 3, "bbox": [0, 0, 1, 1], "score": 1}
VOC_IDS = ("000005", "000007", "2008_000002")


def dataset_of(ids=VOC_IDS, classes=("car", "traffic_car", "dining table"), categories=(3, 90, 7)) -> Dataset:
    return Dataset("set", classes, [annotate(name=name) for name in ids], categories)


def read_entries(folder: Path, entries: object, ids=VOC_IDS) -> list[Detections]:
    """The detections read from a file with these entries."""
    (folder / "out.json").write_text(json.dumps(entries))
    return read_results(folder / "out.json", dataset_of(ids))


def detect(*rows) -> Detections:
    """Detections of rows (label, score, x1, y1, x2, y2)."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return Detections(table[:, 2:], table[:, 0].long(), table[:, 1])


def rows_of(found: Detections) -> list[tuple[float, ...]]:
    return sorted((label, score, *box.tolist()) for box, label, score in found)


def check_round_trip(folder: Path, detections: list[Detections], ids=VOC_IDS) -> None:
    dataset = dataset_of(ids)
    write_coco_results(folder / "out.json", detections, dataset)
    write_voc_results(folder / "out", detections, dataset, "my_split")
    for path in (folder / "out.json", folder / "out"):
        again = read_results(path, dataset)
        assert [rows_of(part) for part in again] == [rows_of(part) for part in detections]
        for part in again:
            assert_detections(part, len(dataset.classes))


FOUND = [
    detect((1, 0.9, 10, 20, 30.5, 40.25), (2, 0.1, 0, 0, 5, 5), (3, -1.7, 1, 2, 3, 4)),
    Detections.empty(),
    detect((2, 1e-30, 0.1, 0.2, 499.9, 333.3)),
]


def test_both_forms(tmp_path) -> None:
    write_coco_results(tmp_path / "out.json", FOUND, dataset_of())
    entries = json.loads((tmp_path / "out.json").read_text())
    assert len(entries) == 4
    assert entries[0] == GOOD | {"bbox": [10, 20, 20.5, 20.25], "score": float(np.float32(0.9))}
    write_voc_results(tmp_path / "out", FOUND, dataset_of(), "test")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "comp4_det_test_car.txt",
        "comp4_det_test_dining table.txt",
        "comp4_det_test_traffic_car.txt",
    ]
    fields = (tmp_path / "out/comp4_det_test_car.txt").read_text().split()
    assert fields[0] == "000005"
    assert [float(value) for value in fields[1:]] == [float(np.float32(0.9)), 11, 21, 30.5, 40.25]


@pytest.mark.parametrize("ids", [VOC_IDS, (5, 17, 400), ("my photo 1", "my photo 2", "1 1 1 1 1 1")])
def test_both_forms_give_back_the_same(ids, tmp_path) -> None:
    check_round_trip(tmp_path, FOUND, ids)


@pytest.mark.parametrize(("found", "warned"), [(18, False), (17, True)])
def test_many_images_without_detections_are_a_warning(found, warned, tmp_path, caplog) -> None:
    read_entries(tmp_path, [GOOD | {"image_id": i} for i in range(found)], range(20))
    assert caplog.messages == [f"{tmp_path / 'out.json'}: 3 of 20 images have no detections"] * warned


pixel = st.floats(0, 4096, width=32).map(lambda value: value if value > 2**-29 else 0.0)
detection = st.builds(
    lambda label, score, x, y: (label, score, min(x), min(y), max(x), max(y)),
    st.integers(1, 3),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.tuples(pixel, pixel),
    st.tuples(pixel, pixel),
)


@given(st.lists(detection, max_size=6))
def test_round_trip_is_exact(tmp_path_factory, rows) -> None:
    check_round_trip(tmp_path_factory.mktemp("results"), [detect(*rows), Detections.empty(), detect(*rows[:1])])


def test_equal_scores_keep_the_files_order(tmp_path) -> None:
    entries = [GOOD | {"bbox": [x, 0, 1, 1], "score": 0.5 + x % 2} for x in range(1000)]
    order = read_entries(tmp_path, entries)[0].boxes[:, 0].tolist()
    assert order == [*range(1, 1000, 2), *range(0, 1000, 2)]


@pytest.mark.parametrize(
    ("ids", "written", "position"),
    [(VOC_IDS, "000007", 1), (VOC_IDS, 7, 1), (VOC_IDS, 2008000002, 2), ((7, 9, 8), "9", 1), (("007", "07", 7), 7, 2)],
)
def test_images_are_found_by_id_or_number(ids, written, position, tmp_path) -> None:
    found = read_entries(tmp_path, [GOOD | {"image_id": written}], ids)
    assert [len(part) for part in found] == [int(k == position) for k in range(3)]


BAD = {
    "image_id": ["000006", 6, [5]],
    "category_id": [4, True, 3.5],
    "bbox": [[0, 0, 1], "0 0 1 1", [0, 0, -1, 1], [0, 0, 1, None], [3e38, 0, 3e38, 1]],
    "score": [float("nan"), float("inf"), 1e39, 10**400, "high", None, True],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in BAD.items() for value in (*values, "missing")]
)
def test_a_bad_entry_is_named(field, value, tmp_path) -> None:
    entry = {**GOOD, field: value}
    if value == "missing":
        del entry[field]
    with pytest.raises(DataError, match=rf"out\.json: entry 1, {field}: {'missing' if value == 'missing' else ''}"):
        read_entries(tmp_path, [GOOD, entry])


def test_a_box_may_be_as_large_as_float32_holds(tmp_path) -> None:
    assert len(read_entries(tmp_path, [GOOD, GOOD | {"bbox": [0, 0, 3e38, 3e38]}])[0]) == 2


def test_an_ambiguous_number_is_not_guessed(tmp_path) -> None:
    with pytest.raises(DataError, match="image_id"):
        read_entries(tmp_path, [GOOD | {"image_id": 7}], ("007", "07", "8"))


@pytest.mark.parametrize(("text", "message"), [("{}", "a list"), ("[3]", "entry 0"), ("[{", "not JSON")])
def test_a_file_of_something_else_is_named(text, message, tmp_path) -> None:
    (tmp_path / "out.json").write_text(text)
    with pytest.raises(SppdetError, match=rf"out\.json: .*{message}"):
        read_results(tmp_path / "out.json", dataset_of())


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("000006 0.5 1 1 2 2", "line 3, id"),
        ("000005 0.5 1 1 2", "line 3"),
        ("000005 high 1 1 2 2", "line 3, score"),
        ("000005 nan 1 1 2 2", "line 3, score"),
        ("000005 0.5 1 1 inf 2", "line 3, x2"),
        ("000005 0.5 1 5 2 2", "line 3, x1 y1 x2 y2"),
    ],
)
def test_a_bad_line_is_named(line, field, tmp_path) -> None:
    (tmp_path / "comp4_det_test_car.txt").write_text(f"000005 0.5 1 1 2 2\n\n{line}\n")
    with pytest.raises(DataError, match=rf"comp4_det_test_car\.txt: {field}: "):
        read_results(tmp_path, dataset_of())


def test_a_class_is_the_longest_name_that_fits_and_one_that_cannot_be_a_file_name_has_no_file(tmp_path, caplog) -> None:
    (tmp_path / "comp4_det_test_traffic_car.txt").write_text("000005 0.5 1 1 2 2\n")
    assert read_results(tmp_path, dataset_of())[0].labels.tolist() == [2]
    write_voc_results(tmp_path / "comp4", [], dataset_of((), ("and/or", "fine"), (1, 2)), "test")
    assert "class 'and/or' cannot be part of a file name" in caplog.text
    assert not (tmp_path / "comp4").exists()


@pytest.mark.parametrize(
    ("files", "content", "message"),
    [
        (["test_boat"], b"", "comp4_det_test_boat.txt"),
        (["test_racecar"], b"", "comp4_det_test_racecar.txt"),
        (["val_car", "test_car"], b"", "second file of class car"),
        (["test_car"], b"\xff\xff", "not text in UTF-8"),
        ([], b"", "no detections in this folder"),
    ],
)
def test_a_folder_that_cannot_be_read_is_named(files, content, message, tmp_path) -> None:
    for name in files:
        (tmp_path / f"comp4_det_{name}.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_results(tmp_path, dataset_of())


@pytest.mark.parametrize("written", ["é.jpg", "e\u0301.jpg", "C:\\photos\\é.jpg", "/data/é", "./é.png", "é"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("id", ["é", "e\u0301", 3])
def test_files_of_other_systems_are_taken(id, encoding, written, tmp_path) -> None:
    image = annotate(name="e\u0301")
    dataset = Dataset("set", ("café",), [annotate(name="x"), replace(image, id=id)])
    entry = {"image_id": written, "category_id": "cafe\u0301", "bbox": [0, 0, 1, 1], "score": 1}
    (tmp_path / "out.json").write_text(json.dumps({"annotations": [entry]}, ensure_ascii=False), encoding=encoding)
    (tmp_path / "det_test_cafe\u0301.txt").write_text(f"{written}\t1 1 1 1 1\r\n", encoding=encoding)
    for place in (tmp_path / "out.json", tmp_path):
        assert [len(part) for part in read_results(place, dataset)] == [0, 1]


def test_ids_that_match_nothing_are_counted(tmp_path) -> None:
    entries = [GOOD, GOOD | {"image_id": "a"}, GOOD | {"image_id": 6}, GOOD | {"image_id": 5.0, "category_id": "90"}]
    expected = (
        r"entry 1, image_id: is not of the data, as 2 of 4 here .expected one of '000005', '000007', '2008_0.*'a'"
    )
    with pytest.raises(DataError, match=expected):
        read_entries(tmp_path, entries)
    assert read_entries(tmp_path, [entries[0], entries[3]])[0].labels.tolist() == [1, 2]


def test_a_missing_place_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        read_results(tmp_path / "nowhere", dataset_of())


def test_a_large_file_is_read_in_parts_with_the_same_result_and_errors(tmp_path, monkeypatch) -> None:
    write_coco_results(tmp_path / "out.json", FOUND, dataset_of())
    whole = read_results(tmp_path / "out.json", dataset_of())
    monkeypatch.setattr(bounded_json, "STREAMED", 0)
    monkeypatch.setattr(bounded_json, "PART", 64)
    for one, other in zip(read_results(tmp_path / "out.json", dataset_of()), whole, strict=True):
        for name in ("boxes", "labels", "scores"):
            assert torch.equal(getattr(one, name), getattr(other, name))
    with pytest.raises(DataError, match=r"entry 1, image_id: is not of the data, as 1 of 2 here"):
        read_entries(tmp_path, [GOOD, GOOD | {"image_id": 9}])
    unknown = json.dumps(GOOD | {"image_id": 9})
    for text, message in (("[{}", "entry 0, image_id: missing"), (f"[{unknown}, no]", "is not JSON: entry 1")):
        (tmp_path / "out.json").write_text(text)
        with pytest.raises(SppdetError, match=rf"out\.json: .*{message}"):
            read_results(tmp_path / "out.json", dataset_of())
