"""The example in the help of each command."""

import logging
import shlex
import tarfile
import webbrowser
from collections.abc import Iterator
from functools import partial
from hashlib import md5
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from shutil import copy, copytree

import pytest
from caffe_files import caffenet, encode_network
from factories import serving, train_arguments

from sppdet.cli import COMMANDS, build_parser, function_of, main
from sppdet.data import download

EACH = [(name, *part) for name, group in COMMANDS.items() for part in ([[each] for each in group] or [[]])]
# Each finds what those before it left.
IN_ORDER = [
    *("check-data", "convert-data", "proposals", "train", "evaluate", "diagnose", "detect", "explain pooling"),
    *("explain detection", "combine", "compare", "report", "export", "info", "runs", "plan", "learning-curve"),
    *("ablate", "app", "cache", "convert", "download", "demo"),
    *("classify crops", "classify train", "classify evaluate", "classify predict"),
]


def example(command: tuple[str, ...]) -> list[str]:
    """The words of the example, without the program."""
    doc = str(function_of(*command).__doc__)
    (given,) = [part.strip() for part in doc.split("\n\n") if part.strip().startswith("Example: ")]
    program, *words = shlex.split(given.removeprefix("Example: "))
    assert program == "sppdet"
    assert words[: len(command)] == list(command)
    return words


@pytest.mark.parametrize("command", EACH, ids=" ".join)
def test_it_is_understood(command, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    words = example(command)
    options = build_parser(words).parse_args(words)
    assert options.subcommand == command[0]


class Handler(SimpleHTTPRequestHandler):
    """Serves the files of the present folder."""

    def log_message(self, *_):
        pass


@pytest.fixture
def folder(trained, tmp_path, monkeypatch) -> Iterator[None]:
    """The present folder: the files that the examples name, and a small archive to download."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPPDET_CACHE", str(trained / "cache"))
    copytree(Path(__file__).parents[2] / "configs", "configs")
    copytree(trained / "shapes", "photos")
    copytree(trained / "crop", "runs/other")
    for run, images in (("200", "9"), ("800", "15")):
        arguments = [*train_arguments(trained, Path("runs", run)), "--data.max_images", images]
        assert main([*arguments, "--features", "spp", "--quiet"]) == 0
    for split in ("train", "test"):
        assert main([*example(("classify", "crops")), "--data.split", split, "--quiet"]) == 0
    assert main(["evaluate", "runs/other", "--quiet"]) == 0
    first, second, *_ = sorted(Path("photos/JPEGImages").iterdir())
    copy(first, "photo.jpg")
    Path("holiday").mkdir()
    copy(second, "holiday")
    Path("bvlc_reference.caffemodel").write_bytes(encode_network(caffenet()))
    with tarfile.open("photos.tar", "w") as tar:
        tar.add("photos", "VOCdevkit/VOC2007")
    table = {"2007": [download.Archive("photos.tar", md5(Path("photos.tar").read_bytes()).hexdigest())]}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        monkeypatch.setattr(download, "download_voc", partial(download.download_voc, base_url=url, table=table))
        yield


def ctrl_c(*_, **__):
    raise KeyboardInterrupt


def test_every_command_has_its_place():
    assert sorted(IN_ORDER) == sorted(map(" ".join, EACH))


@pytest.mark.slow
@pytest.mark.usefixtures("folder", "small_demo", "figures")
def test_it_runs(capsys, caplog, monkeypatch):
    monkeypatch.setattr(webbrowser, "open", bool)
    monkeypatch.setattr("uvicorn.Server.run", ctrl_c)  # the page has no other end
    for command in IN_ORDER:
        words = example(tuple(command.split()))
        caplog.clear()
        capsys.readouterr()
        assert main([*words, "--quiet"]) == 0, command
        out, err = capsys.readouterr()
        assert out, command
        told = [record for record in caplog.records if record.name.startswith("sppdet")]
        assert all(record.levelno >= logging.WARNING for record in told), command
        assert len(err.splitlines()) <= len(told), f"{command}: a quiet command only warns"
        for given, made in pairwise(words):
            assert given != "--output" or Path(made).exists(), command
