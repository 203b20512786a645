"""What is read is what was written."""

import json
import logging

import numpy as np
import pytest
import torch
from factories import watch
from safetensors.torch import save_file

from sppdet.errors import WeightsError
from sppdet.files import atomic
from sppdet.files.atomic import check_finite, load_cached, load_tensors, read_safetensors, save_tensors
from sppdet.files.digest import digest

TENSORS = {"half": torch.randn(70, 50, generator=torch.Generator().manual_seed(0)).half(), "n": torch.arange(9)}


def test_every_flipped_bit_is_found(tmp_path):
    file = tmp_path / "t.safetensors"
    save_tensors(file, TENSORS, {"classes": ["a", "b"]}, key="k")
    data = file.read_bytes()
    for position in np.random.default_rng(0).choice(8 * len(data), 400, replace=False).tolist():
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        file.write_bytes(flipped)
        with pytest.raises(WeightsError, match=r"t\.safetensors"):
            load_tensors(file, "k")


@pytest.mark.parametrize("count", [0, 1, 4095, 4096, 4097, 20000])
def test_the_digest_tells_swapped_and_changed_data(count):
    data = torch.from_numpy(np.random.default_rng(1).integers(0, 256, count, dtype=np.uint8))
    known = digest("", {"a": data})
    assert known == digest("", {"a": data.clone()})
    others = [digest("x", {"a": data}), digest("", {"b": data}), digest("", {"a": data.view(torch.int8)})]
    for i in range(0, count, 997):
        changed = data.clone()
        changed[i] += 1
        others.append(digest("", {"a": changed}))
    if count > 8192:
        others += [digest("", {"a": data.roll(shift)}) for shift in (8, 4096)]
    assert known not in others
    assert len(set(others)) == len(others)


def test_equal_files_have_equal_bytes(tmp_path):
    for name in ("a", "b"):
        save_tensors(tmp_path / name, TENSORS, {"b": 1, "a": 2}, "k")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_in_the_place_of_another_is_named(tmp_path):
    save_tensors(tmp_path / "a", TENSORS, key="a")
    with pytest.raises(WeightsError, match=r"another file.*remove the file"):
        load_tensors(tmp_path / "a", "b")


@pytest.mark.parametrize(
    ("content", "said"), [({"format": 2}, "a newer"), ({"kind": "detector"}, "an older"), ([], "an older")]
)
def test_another_format_is_named(tmp_path, content, said):
    save_file(TENSORS, tmp_path / "a", {"sppdet": json.dumps(content)})
    with pytest.raises(WeightsError, match=f"has the format of {said} sppdet .expected 1"):
        load_tensors(tmp_path / "a")


def test_files_of_other_programs_have_no_digest(tmp_path):
    save_file(TENSORS, tmp_path / "a")
    assert read_safetensors(tmp_path / "a")[1] is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_not_written(tmp_path, value):
    with pytest.raises(WeightsError, match="a: b: not finite"):
        save_tensors(tmp_path / "a", {"b": torch.tensor([1, value]).half()})
    assert not list(tmp_path.iterdir())


def test_a_cache_entry_that_is_damaged_or_of_another_key_is_told_and_a_missing_one_not(tmp_path, caplog):
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    with caplog.at_level(logging.WARNING):
        assert load_cached(one) is None
        save_tensors(one, TENSORS, key="one")
        assert load_cached(one) is not None
        assert not caplog.records
        two.write_bytes(one.read_bytes())
        assert load_cached(two) is None
    (record,) = caplog.records
    assert record.getMessage() == f"{two}: damaged cache entry, computed again"
    assert record.counted


def test_numbers_of_8_bits_are_looked_at(tmp_path):
    check_finite(tmp_path, {"a": torch.ones(2).to(torch.float8_e5m2)})
    with pytest.raises(WeightsError, match="a: not finite"):
        check_finite(tmp_path, {"a": torch.tensor([float("inf")]).to(torch.float8_e5m2)})


def test_the_digest_of_a_cache_entry_is_compared_once_for_each_state_of_the_file(tmp_path, monkeypatch):
    calls = watch(monkeypatch, atomic, "_digest")
    file = tmp_path / "one.safetensors"
    for number in (1, 2):
        save_tensors(file, TENSORS, {"number": number}, key="one")
        calls.clear()
        for _ in range(3):
            assert load_cached(file) is not None
        assert len(calls) == 1
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert load_cached(file) is None
