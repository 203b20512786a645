import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from contracts import assert_boxes
from factories import examples, proposal_file
from hypothesis import given, strategies as st
from scipy.io import savemat

from sppdet.errors import DataError, SppdetError
from sppdet.proposals.files import read_proposals


def write_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def cells(values: list) -> np.ndarray:
    array = np.empty((1, len(values)), dtype=object)
    for i, value in enumerate(values):
        array[0, i] = value
    return array


def test_json_list_is_sorted_by_score_and_aligned_with_the_ids(tmp_path):
    entries = [
        {"image_id": 7, "bbox": [1, 2, 3, 4], "score": 0.1},
        {"image_id": "cat", "bbox": [0.5, 0, 2, 2]},
        {"image_id": 7, "bbox": [5, 6, 7, 8], "score": 0.9},
        {"image_id": 7, "bbox": [0, 0, 1, 1], "score": 0.1},
        {"image_id": "cat", "bbox": [9, 9, 1, 1]},
    ]
    cat, seven = read_proposals(write_json(tmp_path / "p.json", entries), ["cat", 7])
    assert cat.tolist() == [[0.5, 0, 2.5, 2], [9, 9, 10, 10]]
    assert seven.tolist() == [[5, 6, 12, 14], [1, 2, 4, 6], [0, 0, 1, 1]]
    assert cat.dtype == torch.float32


def test_json_dict_may_list_images_without_boxes(tmp_path):
    content = {"images": [{"id": 1}, {"id": 2}], "annotations": [{"image_id": 2, "bbox": [1, 1, 1, 1]}]}
    file = write_json(tmp_path / "p.json", content)
    assert [len(boxes) for boxes in read_proposals(file, [1, 2])] == [0, 1]
    with pytest.raises(DataError, match=r"p\.json: image 3"):
        read_proposals(file, [3])


def test_npz_with_and_without_scores(tmp_path):
    plain, scored = np.array([[1, 2, 3, 4], [0, 0, 9, 9]]), np.array([[1.5, 2, 3, 4, -1], [0, 0, 9, 9, 2]])
    np.savez(tmp_path / "p.npz", **{"000005": plain, "7": scored, "none": np.zeros((0, 4))})
    first, second, third = read_proposals(tmp_path / "p.npz", ["000005", 7, "none"])
    assert first.tolist() == plain.tolist()
    assert second.tolist() == [[0, 0, 9, 9], [1.5, 2, 3, 4]]
    assert third.shape == (0, 4)


@pytest.mark.parametrize("dtype", [np.float64, np.uint16, np.float32])
def test_mat_is_one_based_inclusive_and_row_first(tmp_path, dtype):
    boxes = [np.array([[1, 1, 10, 20], [3, 5, 3, 5]], dtype=dtype), np.zeros((0, 0))]
    savemat(tmp_path / "p.mat", {"boxes": cells(boxes), "images": cells(["000005", "000007"]).T})
    empty, five = read_proposals(tmp_path / "p.mat", ["000007", "000005"])
    assert five.tolist() == [[0, 0, 20, 10], [4, 2, 5, 3]]
    assert empty.shape == (0, 4)


def test_mat_with_numbers_for_ids(tmp_path):
    savemat(tmp_path / "p.mat", {"boxes": cells([np.array([[1.0, 2, 3, 4]])]), "images": np.array([[42.0]])})
    assert read_proposals(tmp_path / "p.mat", [42])[0].tolist() == [[1, 0, 4, 3]]


corner = st.floats(0, 5000, width=32)
some_boxes = st.lists(st.tuples(corner, corner, corner, corner), max_size=5).map(
    lambda rows: torch.tensor([[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in rows]).reshape(-1, 4)
)


@examples(30)
@given(first=some_boxes, second=some_boxes, suffix=st.sampled_from([".npz", ".json"]))
def test_written_boxes_are_read_back_exactly(first, second, suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"p{suffix}"
        back = read_proposals(proposal_file(path, ["a", 12], [first, second]), [12, "a"])
    for boxes in back:
        assert_boxes(boxes)
    assert torch.equal(back[0], second)
    assert torch.equal(back[1], first)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([0, 0, 1], "bbox"),
        ([0, 0, -1, 1], "wrong order"),
        ([0, 0, 1, float("nan")], "not finite"),
        ([0, 0, 1, 1e300], "not finite"),
        ([0, 0, 1, "1"], "bbox"),
        ([0, 0, 1, None], "bbox"),
        (5, "bbox"),
    ],
)
def test_wrong_json_boxes_name_file_image_and_field(tmp_path, box, message):
    file = write_json(tmp_path / "p.json", [{"image_id": 7, "bbox": [0, 0, 1, 1]}, {"image_id": 7, "bbox": box}])
    with pytest.raises(DataError, match=rf"p\.json: image 7, (bbox|boxes): .*{message}|image 7, bbox") as caught:
        read_proposals(file, [7])
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [5, None, {"boxes": []}, [5], [{"bbox": [0, 0, 1, 1]}], [{"image_id": 1}]])
def test_other_json_is_refused(tmp_path, content):
    with pytest.raises(DataError, match=r"p\.json: is not COCO-style"):
        read_proposals(write_json(tmp_path / "p.json", content), [1])


def test_scores_for_some_boxes_only_are_refused(tmp_path):
    entries = [{"image_id": 1, "bbox": [0, 0, 1, 1]}, {"image_id": 1, "bbox": [0, 0, 1, 1], "score": 1}]
    with pytest.raises(DataError, match="image 1, bbox"):
        read_proposals(write_json(tmp_path / "p.json", entries), [1])


@pytest.mark.parametrize(
    "array",
    [
        np.array([[None]], dtype=object),  # pickled
        np.zeros((3, 3)),
        np.ones(4),
        np.array([["a", "b", "c", "d"]]),
        np.array([[5.0, 0, 4, 9]]),
        np.full((1, 4), np.inf),
        np.full((1, 4), 0x7FF0000000000001).view(np.float64),  # signaling NaN
    ],
)
def test_wrong_arrays_name_file_image_and_field(tmp_path, array):
    np.savez(tmp_path / "p.npz", five=array)
    with pytest.raises(DataError, match=r"p\.npz: image five, boxes: " if array.dtype != object else r"p\.npz"):
        read_proposals(tmp_path / "p.npz", ["five"])


@pytest.mark.parametrize("name", ["p.npz", "p.mat", "p.json", "p.txt"])
def test_damaged_missing_and_unknown_files_are_named(tmp_path, name):
    with pytest.raises(DataError, match=name):
        read_proposals(tmp_path / name, ["five"])
    (tmp_path / name).write_bytes(b"PK\x03\x04 not what it says")
    with pytest.raises(SppdetError, match=name):
        read_proposals(tmp_path / name, ["five"])


def test_damage_within_an_npz_is_found(tmp_path):
    path = tmp_path / "p.npz"
    proposal_file(path, ["five"], [torch.arange(4000, dtype=torch.float32).reshape(-1, 4)])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"p\.npz"):
        read_proposals(path, ["five"])


def test_mat_without_its_variables_is_refused(tmp_path):
    savemat(tmp_path / "p.mat", {"images": cells(["a"])})
    with pytest.raises(DataError, match=r"p\.mat: boxes"):
        read_proposals(tmp_path / "p.mat", ["a"])
    savemat(tmp_path / "p.mat", {"images": cells(["a"]), "boxes": cells([np.ones((1, 4))] * 2)})
    with pytest.raises(DataError, match=r"p\.mat: boxes.*expected 1, got 2"):
        read_proposals(tmp_path / "p.mat", ["a"])
