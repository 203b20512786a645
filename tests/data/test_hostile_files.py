"""Text files and folders that would hang a program or take the machine's memory."""

import json
import os
import time

import pytest

from sppdet.data import files
from sppdet.data.files import list_files, read_text
from sppdet.data.formats.xml import parse_xml
from sppdet.data.formats.yolo_names import read_names, splits_of_yaml
from sppdet.errors import DataError, SppdetError
from sppdet.files.atomic import read_json

LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 10)]
)


@pytest.mark.parametrize("text", [LAUGHS + "\nnames: [cat]", "names: &n [*n]", "names: " + "[" * 3000])
def test_yaml_of_aliases_or_depth_is_refused_at_once(tmp_path, text):
    (tmp_path / "data.yaml").write_text(text)
    start = time.perf_counter()
    with pytest.raises(DataError, match=r"data\.yaml: is not YAML: .*(more than 100000 values|deep)"):
        read_names(tmp_path, tmp_path / "data.yaml")
    assert time.perf_counter() - start < 5


def test_aliases_of_few_values_are_read(tmp_path):
    (tmp_path / "data.yaml").write_text("one: &one [cat, dog]\nnames: *one")
    assert read_names(tmp_path, tmp_path / "data.yaml") == ("cat", "dog")


@pytest.mark.parametrize(
    "text", ["[" * 100_000 + "]" * 100_000, '{"a":' * 101 + "1" + "}" * 101, "[" * 3000, '"' * 9999]
)
def test_json_that_is_deep_or_none_is_refused_at_once(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    start = time.perf_counter()
    with pytest.raises(SppdetError, match=r"a\.json: is not JSON"):
        read_json(tmp_path / "a.json")
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_with_brackets_in_texts_is_read(tmp_path, encoding):
    value = {"a": "[" * 500 + '\\"', "b": [[[{"c": "]}" * 300 + '"'}]]], "d": "\\", "e": [1, 2.5, None]}
    (tmp_path / "a.json").write_bytes(json.dumps(value).encode(encoding))
    assert read_json(tmp_path / "a.json") == value


@pytest.mark.parametrize(("name", "read"), [("a.json", read_json), ("a.txt", read_text), ("a.xml", parse_xml)])
def test_the_bytes_of_a_file_are_limited(tmp_path, monkeypatch, name, read):
    (tmp_path / name).write_text("[1, 2, 3]")
    monkeypatch.setenv("SPPDET_MAX_BYTES", "8")
    with pytest.raises(SppdetError, match=rf"{name}: too large .*SPPDET_MAX_BYTES=9, got 9 bytes"):
        read(tmp_path / name)


def test_folders_of_links_that_double_at_each_level_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_LINKS", 500)
    for k in range(20):
        (tmp_path / f"{k:02d}").mkdir()
        for name in "ab":
            (tmp_path / f"{k:02d}" / name).symlink_to(f"../{k + 1:02d}")
    with pytest.raises(DataError, match=r"links that lead to each other .*up to 500 linked folders"):
        list_files(tmp_path)


def test_the_disk_is_asked_about_no_file_but_links(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.txt").touch()
    (tmp_path / "c").symlink_to("a/b.txt")
    asked: list[str] = []
    is_folder = os.path.isdir
    monkeypatch.setattr(os.path, "isdir", lambda path: asked.append(path) or is_folder(path))
    assert list_files(tmp_path) == [tmp_path / "c", tmp_path / "a/b.txt"]
    assert asked == [str(tmp_path / "c")]


def test_pipes_are_not_waited_for_nor_links_to_themselves_followed(tmp_path):
    os.mkfifo(tmp_path / "a.txt")
    (tmp_path / "self").symlink_to("self")
    assert list_files(tmp_path) == []
    for read in (read_text, parse_xml):
        with pytest.raises(DataError, match=r"a\.txt: is no file"):
            read(tmp_path / "a.txt")


@pytest.mark.parametrize("entry", ["x" * 300, "images/" + "y" * 5000])
def test_a_name_too_long_for_a_file_is_none_that_is_there(tmp_path, entry):
    (tmp_path / "data.yaml").write_text(f"train: {entry}\nnames: [cat]\n")
    assert splits_of_yaml(tmp_path / "data.yaml", []) == {}
    with pytest.raises(DataError, match="cannot be read"):
        read_text(tmp_path / entry)
