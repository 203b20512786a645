"""Proposal files that would take the process or the machine's memory."""

import io
import json
import struct
import zipfile

import numpy as np
import pytest
from scipy.io import savemat

from sppdet.errors import DataError
from sppdet.proposals import mat
from sppdet.proposals.files import read_proposals


def cells(values: list) -> np.ndarray:
    array = np.empty((1, len(values)), dtype=object)
    array[0, :] = values
    return array


@pytest.fixture
def mat_file(tmp_path):
    boxes = cells([np.array([[1.0, 1, 10, 20]]), np.ones((3, 5), np.uint8)])
    savemat(tmp_path / "p.mat", {"images": cells(["a", "b"]), "boxes": boxes, "other": np.zeros(3)})
    return tmp_path / "p.mat"


def test_no_byte_of_a_mat_file_ends_in_another_error(mat_file):
    """scipy's reader ended the process for about one such file in a hundred."""
    whole, rng = mat_file.read_bytes(), np.random.default_rng(0)
    refused = 0
    for k in range(400):
        data = bytearray(whole)
        for _ in range(1 + k % 3):
            data[rng.integers(128, len(data))] = rng.choice([0, 1, 4, 14, 15, 127, 128, 255, rng.integers(256)])
        mat_file.write_bytes(data[: rng.integers(len(data))] if k % 5 == 0 else data)
        try:
            read_proposals(mat_file, ["a"])
        except DataError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("compressed", [False, True])
def test_a_mat_file_is_read_as_scipy_does_compressed_or_not(tmp_path, compressed):
    boxes = [np.array([[1, 2, 3, 4], [5, 6, 7, 8]], dtype) for dtype in (np.int16, np.float32)]
    content = {"images": cells(["x", "ä"]).T, "boxes": cells(boxes)}
    savemat(tmp_path / "p.mat", content, do_compression=compressed)
    for found in read_proposals(tmp_path / "p.mat", ["x", "ä"]):
        assert found.tolist() == [[1, 0, 4, 3], [5, 4, 8, 7]]


def test_what_a_mat_file_unpacks_to_is_limited_and_the_limit_can_be_raised(tmp_path, monkeypatch):
    savemat(tmp_path / "p.mat", {"images": cells(["a"]), "boxes": cells([np.zeros((99_999, 4))])}, do_compression=True)
    assert (tmp_path / "p.mat").stat().st_size < 10_000
    monkeypatch.setenv("SPPDET_MAX_BYTES", "1000000")
    with pytest.raises(DataError, match=r"p\.mat: too large .*higher limit: environment variable SPPDET_MAX_BYTES="):
        read_proposals(tmp_path / "p.mat", ["a"])
    monkeypatch.setenv("SPPDET_MAX_BYTES", "9999999")
    assert len(read_proposals(tmp_path / "p.mat", ["a"])[0]) == 99_999


def test_the_cells_of_a_mat_file_are_counted(mat_file, monkeypatch):
    monkeypatch.setattr(mat, "MOST_CELLS", 1)
    with pytest.raises(DataError, match="more than 1 cells"):
        read_proposals(mat_file, ["a"])


def test_what_an_npz_unpacks_to_is_limited_before_it_is_unpacked(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "p.npz", a=np.zeros((99_999, 4)), b=np.zeros((1, 4)))
    monkeypatch.setenv("SPPDET_MAX_BYTES", "1000000")
    with pytest.raises(DataError, match=r"p\.npz: too large .*SPPDET_MAX_BYTES=3200096, got 3200096 bytes"):
        read_proposals(tmp_path / "p.npz", ["a"])
    assert len(read_proposals(tmp_path / "p.npz", ["b"])[0]) == 1  # arrays that nobody asks for do not count


def test_the_limit_that_an_npz_names_is_of_all_that_is_read(tmp_path, monkeypatch):
    np.savez(tmp_path / "p.npz", a=np.ones((100, 4)), b=np.ones((100, 4)), c=np.ones((100, 4)))
    monkeypatch.setenv("SPPDET_MAX_BYTES", "4000")
    with pytest.raises(DataError, match="SPPDET_MAX_BYTES=9984, "):
        read_proposals(tmp_path / "p.npz", ["a", "b", "c"])


def test_an_npz_that_says_it_is_larger_than_it_is(tmp_path):
    header = str({"descr": "<f8", "fortran_order": False, "shape": (10**14, 4)}).encode().ljust(117) + b"\n"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    (tmp_path / "p.npz").write_bytes(stream.getvalue())
    with pytest.raises(DataError, match=r"p\.npz: is not a readable"):
        read_proposals(tmp_path / "p.npz", ["a"])


@pytest.mark.parametrize("box", [[0, 0, 1e30, 5], [-1e9, 0, 5, 5]])
def test_huge_coordinates_are_refused(tmp_path, box):
    (tmp_path / "p.json").write_text(json.dumps([{"image_id": 1, "bbox": box}]))
    with pytest.raises(DataError, match=r"image 1, boxes: out of range .*up to 10000000 pixels"):
        read_proposals(tmp_path / "p.json", [1])


def test_a_variable_without_numbers_is_no_array_of_its_size(mat_file):
    file = mat.MatFile(mat_file, ["boxes"])
    assert file.array((6, [0, 4], [])).shape == (0, 4)
    with pytest.raises(ValueError, match="neither text nor real numbers"):
        file.array((6, [922_746_881, 234_881_024], []))
