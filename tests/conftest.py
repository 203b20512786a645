"""Shared by all tests: a cache of its own, and the real data where SPPDET_SHARED names it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numba
import pytest
import torch
from hypothesis import HealthCheck, settings
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

# Time on a busy machine says nothing about the code.
settings.register_profile("ci", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("nightly", settings.get_profile("ci"), max_examples=1000)  # --hypothesis-profile nightly
settings.load_profile("ci")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """The tests' matrices are small: threads that wait for one another on busy cores would cost minutes, in each of
    several processes (`pytest -n 2`) still more."""
    numba.set_num_threads(1)  # before torch's: if both share an OpenMP, numba's start sets its threads
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def no_waiting() -> Iterator[None]:
    """Files need not survive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(os, "sync", lambda: None, raising=False)
        yield


def save_blank(figure: Figure, file: Path, format: str, metadata: dict[str, str]) -> None:
    """Write a white picture of the figure's size and metadata."""
    info = PngInfo()
    for name, text in metadata.items():
        info.add_text(name, text)
    size = [round(float(side)) for side in figure.get_size_inches() * figure.dpi]
    Image.new("RGB", (size[0], size[1]), "white").save(file, format, pnginfo=info)


@pytest.fixture(autouse=True, scope="session")
def draw() -> Iterator[Callable[..., None]]:
    """Figures are left blank: to draw them takes most of an evaluation's time. Gives the method that draws."""
    with pytest.MonkeyPatch.context() as patch:
        method = Figure.savefig
        patch.setattr(Figure, "savefig", save_blank)
        yield method


@pytest.fixture
def figures(draw, monkeypatch) -> None:
    """Figures are drawn, for tests that look at them."""
    monkeypatch.setattr(Figure, "savefig", draw)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    """A fresh cache folder for each test, so that none reads another's or the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SPPDET_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and weights; tests that need it are skipped where SPPDET_SHARED is unset."""
    if not os.environ.get("SPPDET_SHARED"):
        pytest.skip("SPPDET_SHARED is not set")
    return Path(os.environ["SPPDET_SHARED"]).resolve()


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    """A generated data set: 15 images to train on, 3 of which are val, and 6 to test on."""
    from sppdet.shapes.dataset import generate_shapes

    return generate_shapes(tmp_path_factory.mktemp("place") / "shapes", train=15, test=6)


@pytest.fixture(scope="session")
def backbone() -> torch.nn.Module:
    """The smallest network, with random weights."""
    from sppdet.backbones.zoo import build_backbone

    return build_backbone("shapenet", "random")


@pytest.fixture
def calls(backbone) -> Iterator[list[tuple[int, ...]]]:
    """The shapes of the inputs of `backbone`, call by call."""
    shapes: list[tuple[int, ...]] = []
    hook = backbone.register_forward_hook(lambda _module, inputs, _output: shapes.append(tuple(inputs[0].shape)))
    yield shapes
    hook.remove()


@pytest.fixture(scope="session")
def trained(shapes) -> Path:
    """The folder of `shapes`, with weights, the runs `spp` and `crop` trained from them, and the cache they filled."""
    from factories import train_arguments

    from sppdet.backbones.zoo import build_backbone
    from sppdet.cli import main
    from sppdet.files.atomic import save_tensors

    place = shapes.parent
    save_tensors(place / "weights.safetensors", build_backbone("shapenet", "random").state_dict())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPPDET_CACHE", str(place / "cache"))
        for features in ("spp", "crop"):
            assert main([*train_arguments(place, place / features), "--features", features]) == 0
    return place
