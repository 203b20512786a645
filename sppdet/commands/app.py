"""Open a page to play with detectors and classifiers in the browser."""

from __future__ import annotations

import logging
import os
import socket
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from sppdet.commands.summary import Summary
from sppdet.config.data import DataConfig
from sppdet.config.network import Device, Precision
from sppdet.errors import ConfigError

if TYPE_CHECKING:
    from sppdet.app.session import Model
    from sppdet.structures import Dataset

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"


def app(
    runs: list[str],
    *,
    port: int = 0,
    browser: bool | None = None,
    device: Device = "auto",
    precision: Precision = "fp32",
) -> Summary:
    """Open a page to play with detectors and classifiers in the browser.

    Drop an image on it, move the thresholds, click a box or draw one to see where its score comes from, let SPPnet and
    R-CNN race, walk through selective search's hierarchy. Needs pip install 'sppdet[app]'. The page is served to this
    machine only, at an address with a secret token, until Ctrl-C.

    Example: sppdet app runs/mine runs/other

    Args:
        runs: run folders, or files of detectors and classifiers
        port: port of 127.0.0.1; 0: any free one
        browser: open the page in a browser; by default if there is a display
    """
    try:
        import uvicorn

        from sppdet.app.server import create_app
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("sppdet"):
            raise
        raise ConfigError(f"needs {error.name}", field="app", expected="pip install 'sppdet[app]'") from None
    from secrets import token_urlsafe

    from sppdet.app.session import Session
    from sppdet.data.files import short_names

    if not 0 <= port < 1 << 16:
        raise ConfigError("out of range", field="port", expected="0..65535", got=port)
    token = token_urlsafe(24)
    with _listen(port) as connection:
        names = short_names(runs)
        models = [load_model(run, names[run], device, precision) for run in dict.fromkeys(runs)]
        application = create_app(Session(models), token)
        address = f"http://{HOST}:{connection.getsockname()[1]}/?token={token}"
        logger.info("open %s (Ctrl-C ends it)", address)
        if _has_display() if browser is None else browser:
            webbrowser.open(address)
        options = {"log_level": "warning", "access_log": False, "ws": "none", "lifespan": "off", "server_header": False}
        server = uvicorn.Server(uvicorn.Config(application, timeout_graceful_shutdown=1, **options))  # type: ignore[arg-type]
        try:
            server.run(sockets=[connection])
        except KeyboardInterrupt:  # the way to end it
            pass
        finally:
            application.state.stopped.set()
    return Summary({"runs": runs, "address": address}, f"{address} is closed")


def load_model(run: str, name: str, device: Device, precision: Precision) -> Model:
    """Load the detector or classifier of a run. Raises WeightsError if there is none."""
    from sppdet.app.session import Model
    from sppdet.classification.classifier import Classifier
    from sppdet.commands.inputs import data_of_run, load_run, read_data
    from sppdet.files.atomic import load_tensors
    from sppdet.files.run_folder import RunFolder

    folder = RunFolder(run)
    is_classifier = folder.classifier.is_file() and not (Path(run).is_dir() and folder.detector.is_file())
    if is_classifier and Path(run).is_file() and Path(run).suffix == ".safetensors":
        is_classifier = load_tensors(folder.classifier)[1].get("kind") == "classifier"
    if is_classifier:
        return Model(name, Classifier.load(run, device, precision))
    detector = load_run(run, device, precision)

    def read(split: str) -> Dataset:
        return read_data(data_of_run(run, DataConfig(split=split)), detector.classes, workers=2, decode=False)

    return Model(name, detector, read if folder.config.is_file() else None)


def _listen(port: int) -> socket.socket:
    """Return a socket that listens at this machine's own address. Raises ConfigError for a port that is in use."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        connection.bind((HOST, port))
        connection.listen()  # a browser that is quicker than the server waits
    except OSError as error:
        connection.close()
        way = "another, or 0 for any free one"
        raise ConfigError(f"cannot be used: {error.strerror}", field="port", expected=way, got=port) from None
    return connection


def _has_display() -> bool:
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
