"""The command that opens the page: what it loads, where it listens, and how it ends."""

import builtins
import socket
import urllib.request
import webbrowser
from threading import Thread

import pytest
from app_parts import make_classifier
from factories import random_detector, run_error

from sppdet.cli import main
from sppdet.commands.app import _listen, app, load_model

uvicorn = pytest.importorskip("uvicorn")


@pytest.fixture
def runs(tmp_path) -> list[str]:
    """A detector's run, a classifier's, and their files."""
    random_detector().save(tmp_path / "spp/detector.safetensors")
    make_classifier().save(tmp_path / "classifier/classifier.safetensors")
    folders = [tmp_path / "spp", tmp_path / "classifier"]
    return [str(path) for folder in folders for path in (folder, next(folder.glob("*.safetensors")))]


def test_both_kinds_of_runs_are_loaded(runs, trained):
    kinds = [type(load_model(run, "x", "cpu", "fp32").network).__name__ for run in runs]
    assert kinds == ["Detector", "Detector", "Classifier", "Classifier"]
    model = load_model(str(trained / "spp"), "spp", "cpu", "fp32")
    assert len(model.split("test")) == 6
    assert load_model(runs[0], "x", "cpu", "fp32").read is None


def test_the_page_is_served_to_this_machine_until_it_is_stopped(runs, monkeypatch):
    """Ctrl-C is how it ends: no error."""
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    run = uvicorn.Server.run
    pages: list[str] = []

    def visit(server: uvicorn.Server) -> None:
        while not server.started:
            pass
        pages.append(urllib.request.urlopen(opened[0]).read().decode())
        server.should_exit = True

    def run_and_interrupt(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        assert sockets[0].getsockname()[0] == "127.0.0.1"
        visitor = Thread(target=visit, args=(server,))
        visitor.start()
        run(server, sockets)
        visitor.join()
        raise KeyboardInterrupt

    monkeypatch.setattr(uvicorn.Server, "run", run_and_interrupt)
    result = app([runs[0]], browser=True)
    assert "<title>sppdet</title>" in pages[0]
    assert result.as_dict() == {"runs": [runs[0]], "address": opened[0]}
    assert opened[0].startswith("http://127.0.0.1:")


def test_errors_come_before_the_network(runs, capsys, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "port: cannot be used" in run_error(capsys, "app", runs[0], "--port", taken.getsockname()[1])
    with _listen(0) as own:
        socket.create_connection(own.getsockname(), 1).close()  # before the server runs
    assert "port: out of range" in run_error(capsys, "app", runs[0], "--port", "70000")
    assert "file not found" in run_error(capsys, "app", f"{runs[0]}/none")
    importing = builtins.__import__

    def refuse(name, *rest):
        if name == "uvicorn":
            raise ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn")
        return importing(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert main(["app", runs[0]]) == 1
    assert "needs uvicorn (expected pip install 'sppdet[app]')" in capsys.readouterr().err
