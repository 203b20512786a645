import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sppdet.errors import DataError, SppdetError, WeightsError
from sppdet.files.atomic import content_key, json_ready, load_tensors, read_json, save_tensors, write_json, write_text
from sppdet.files.durable import cache_folder, new_folder, write_atomically

TENSORS = {
    "half": torch.arange(6, dtype=torch.float16).view(2, 3),
    "strided": torch.arange(12).view(3, 4).T,
    "empty": torch.zeros(0, 4),
    "one": torch.tensor(7, dtype=torch.int64),
}


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (RuntimeError("stopped"), RuntimeError, "^stopped"),
        (OSError(28, "No space left on device"), SppdetError, r"file\.txt: cannot be written: No space left"),
    ],
)
@pytest.mark.parametrize("old", [[], ["old"]])
def test_a_failed_write_leaves_nothing_or_the_old_file(tmp_path, error, kind, said, old):
    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise error

    for text in old:
        write_text(tmp_path / "file.txt", text)
    with pytest.raises(kind, match=said):
        write_atomically(tmp_path / "file.txt", fail)
    assert [path.read_text() for path in tmp_path.iterdir()] == old


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_files_get_the_mode_of_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "text", "x")
        save_tensors(tmp_path / "weights.safetensors", TENSORS)
    finally:
        os.umask(before)
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_writing_makes_folders_or_names_them(tmp_path, monkeypatch):
    write_text(tmp_path / "a" / "b" / "c.txt", "ü")
    assert (tmp_path / "a" / "b" / "c.txt").read_text(encoding="utf-8") == "ü"
    write_text(tmp_path / "file", "")
    with pytest.raises(SppdetError, match=r"c\.txt: cannot be written"):
        write_text(tmp_path / "file" / "c.txt", "")
    monkeypatch.setenv("SPPDET_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SppdetError, match=r"c\.txt: cannot be written: Not a directory .*\$SPPDET_CACHE"):
        write_text(tmp_path / "file" / "cache" / "c.txt", "")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SppdetError, match="folder: cannot be written"):
        write_text(tmp_path / "folder", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "file", "folder"]


def test_tensors_and_header_come_back(tmp_path):
    file = tmp_path / "t.safetensors"
    save_tensors(file, TENSORS, {"classes": ("a", "b"), "nan": float("nan")})
    tensors, header = load_tensors(file)
    assert header == {"classes": ["a", "b"], "nan": None}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


@pytest.mark.parametrize("damage", ["empty", "cut", "header", "text", "foreign", "missing"])
def test_damaged_tensors_are_named(tmp_path, damage):
    file = tmp_path / "t.safetensors"
    save_tensors(file, TENSORS)
    data = file.read_bytes()
    if damage == "foreign":
        save_file({"x": torch.zeros(2)}, file)
    elif damage == "missing":
        file.unlink()
    else:
        contents = {"empty": b"", "cut": data[:-3], "header": b"\xff" * 8 + data[8:], "text": b"hello, world" * 20}
        file.write_bytes(contents[damage])
    with pytest.raises(WeightsError, match=r"t\.safetensors"):
        load_tensors(file)


def test_content_key_changes_with_every_part_but_not_with_the_name(tmp_path):
    file = tmp_path / "image"
    file.write_bytes(b"abc")
    parts = [(), (file,), (file, 1), (1, file), (file, "1"), ("ab", "c"), ("a", "bc")]
    parts += [(file, 1, {"a": 1}), (file, 1, {"a": 2}), (file, [1, {"a": 1}])]
    keys = [content_key(*each) for each in parts]
    file.write_bytes(b"abd")
    keys.append(content_key(file))
    assert len(set(keys)) == len(keys)
    assert content_key({"a": 1, "b": (2, 3)}) == content_key({"b": [2, 3], "a": 1})
    (tmp_path / "a").write_bytes(b"same")
    (tmp_path / "b").write_bytes(b"same")
    assert content_key(tmp_path / "a") == content_key(tmp_path / "b")


def test_json_has_no_nan(tmp_path):
    value = {"ap": float("nan"), 3: (1, float("inf"), -0.5), "path": Path("x/y"), "none": None}
    assert json_ready(value) == {"ap": None, "3": [1, None, -0.5], "path": "x/y", "none": None}
    write_json(tmp_path / "v.json", value)
    assert read_json(tmp_path / "v.json") == json_ready(value)


@pytest.mark.parametrize(("data", "reason"), [(None, "not found"), (b"{", "is not JSON"), (b"\xff\xfe\x00", "JSON")])
def test_unreadable_json_is_named(tmp_path, data, reason):
    file = tmp_path / "v.json"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(SppdetError, match=reason) as caught:
        read_json(file)
    assert caught.value.file == file


def test_cache_folder_follows_the_environment(cache, monkeypatch):
    assert cache_folder() == cache
    monkeypatch.delenv("SPPDET_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "sppdet"


def test_a_new_folder_appears_when_it_is_complete(tmp_path):
    folder = tmp_path / "new"

    def fill(error: BaseException) -> None:
        with new_folder(folder) as unfinished:
            (unfinished / "file").write_text("half")
            assert not folder.exists()
            raise error

    with pytest.raises(DataError, match=r"new: cannot be written: No space left"):
        fill(OSError(28, "No space left on device"))
    with pytest.raises(KeyboardInterrupt):
        fill(KeyboardInterrupt())
    assert not list(tmp_path.iterdir())
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    with new_folder(tmp_path / "link") as unfinished:
        (unfinished / "file").write_text("whole")
    assert (tmp_path / "link").is_symlink()
    assert (folder / "file").read_text() == "whole"
    for taken in (folder, folder / "file"):
        with pytest.raises(DataError, match="holds other files"), new_folder(taken):
            pytest.fail("nothing may be written")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "new"]
