"""Caffe's networks and their files; networks of timm are skipped without it."""

from pathlib import Path

import pytest
from caffe_files import NETWORKS, Layer, encode_network


@pytest.fixture(autouse=True)
def _skip_without_timm(request) -> None:
    if str(getattr(request.node, "callspec", None) and request.node.callspec.params.get("name")).startswith("timm/"):
        pytest.importorskip("timm")


@pytest.fixture(scope="session")
def networks() -> dict[str, list[Layer]]:
    return {name: original.make() for name, original in NETWORKS.items()}


@pytest.fixture(scope="session")
def files(networks, tmp_path_factory) -> dict[str, Path]:
    """A caffemodel of each network."""
    paths = {name: tmp_path_factory.mktemp("caffe") / f"{name}.caffemodel" for name in networks}
    for name, layers in networks.items():
        paths[name].write_bytes(encode_network(layers, NETWORKS[name].generation))
    return paths
