"""Each path on a CUDA device next to the CPU, on generated inputs.

`pytest tests/cuda --cpu-only` runs every test on CPU tensors instead, to find mistakes in the tests without a GPU. In
any other run the tests are skipped if torch finds no CUDA device.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sppdet.shapes.dataset import generate_shapes


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cpu-only", action="store_true", help="run the tests of tests/cuda on CPU tensors")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker("cuda")


@pytest.fixture(scope="session", autouse=True)
def device(request) -> str:
    """The device to test: "cuda", or "cpu" with --cpu-only."""
    if request.config.getoption("--cpu-only", default=False):
        return "cpu"
    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device")
    return "cuda"


@pytest.fixture(autouse=True)
def single_precision() -> Iterator[None]:
    """Convolutions and products of float32 without TF32, whose mantissa of 10 bits would hide small mistakes."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    """A generated data set: 20 images to train on, 4 of which are val, and 6 to test on."""
    return generate_shapes(tmp_path_factory.mktemp("cuda") / "shapes", train=20, test=6)
