"""Lists of JSON that are parsed entry by entry."""

import json
import tracemalloc

import pytest
from hypothesis import given, strategies as st

from sppdet.files import bounded_json
from sppdet.files.bounded_json import JSONList

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Parts of a few characters, so that entries are cut anywhere, and the place of a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounded_json, "PART", 64)
        patch.setattr(bounded_json, "STREAMED", 0)
        yield tmp_path_factory.mktemp("lists") / "list.json"


@given(entries=st.lists(VALUES, max_size=6), indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_the_entries_are_those_of_the_whole_list_each_time(small, entries, indent, ascii_only):
    text = json.dumps(entries, indent=indent, ensure_ascii=ascii_only)
    small.write_text(f" \n{text}\n ", encoding="utf-8", errors="backslashreplace")
    found = JSONList.find(small)
    assert found
    assert list(found) == list(found) == json.loads(small.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "text", ["[", "[1", "[1,", "[1 2]", "[1,]", "[,1]", "[1]]", "[1] 2", '["a', "[{]", "[nul]", "[1}"]
)
def test_what_is_no_list_is_an_error(small, text):
    small.write_text(text)
    with pytest.raises(ValueError, match=r".+"):
        list(JSONList(small))


def test_a_fault_is_told_by_its_entry_without_reading_on(tmp_path, monkeypatch):
    monkeypatch.setattr(bounded_json, "PART", 1 << 12)
    monkeypatch.setattr(bounded_json, "LONGEST", 1 << 14)
    file = tmp_path / "long.json"
    file.write_text("[1, nope" + ", 2" * 200_000 + "]")
    tracemalloc.start()
    with pytest.raises(ValueError, match="entry 1: Expecting value"):
        list(JSONList(file))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < file.stat().st_size / 4


def test_other_files_are_not_taken_for_lists(small):
    small.write_text('{"annotations": []}')
    assert JSONList.find(small) is None
    small.write_text("[]", encoding="utf-16")
    assert JSONList.find(small) is None
    assert JSONList.find(small.parent) is None


def test_a_list_is_not_in_memory_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(bounded_json, "PART", 1 << 12)
    file = tmp_path / "long.json"
    file.write_text(json.dumps([{"bbox": [i, 2.5, 3, 4]} for i in range(30_000)]))
    tracemalloc.start()
    count = sum(1 for _ in JSONList(file))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 30_000
    assert peak < file.stat().st_size / 4
