"""Weights of a backbone: from torchvision's enum or from a file, checked key by key before they are used."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sppdet.backbones.backbone import Backbone
from sppdet.errors import WeightsError
from sppdet.files.atomic import with_prefix

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

# The pyramid levels that fc6 of a pretrained network reads, in the order of its columns (channel after channel within a
# level), and what its file calls fc6 and fc7. ZF-5's levels: the authors' model-defs/Zeiler_conv5.prototxt.
PRETRAINED = {
    "alexnet": ((6,), ("classifier.1", "classifier.4")),
    "caffenet": ((6,), ("fc6", "fc7")),
    "zf5": ((1, 2, 3, 6), ("fc6", "fc7")),
    "vgg16": ((7,), ("classifier.0", "classifier.3")),
    "vgg16_caffe": ((7,), ("fc6", "fc7")),
}


def load_weights(backbone: Backbone, weights: str | PathLike[str]) -> None:
    """Fill a backbone with weights.

    weights: a name of torchvision's weights enum for the network, or a file, .safetensors or torch.save's, that holds
    the state dict of torchvision's whole network or of a Backbone, as `convert_caffe` writes it, or a classifier or
    detector with such a Backbone. Weights of the enum bring the mean and std they were trained with; those of a
    Backbone bring its own.
    Raises WeightsError for weights that are missing, damaged, cannot be downloaded or belong to another network.
    """
    _fill(backbone, *read_weights(backbone.name, weights))


def read_weights(name: str, weights: str | PathLike[str]) -> tuple[dict[str, Any], Path | str]:
    """The whole state dict that `weights` names for a network, and the file or address it is from.

    Raises WeightsError for weights that are missing, damaged or cannot be downloaded.
    """
    entry = _torchvision_weights(name).get(str(weights))
    if entry is not None:
        preset = entry.transforms()
        return {**_download(entry), "mean": torch.tensor(preset.mean), "std": torch.tensor(preset.std)}, entry.url
    path = Path(weights).expanduser()
    if not path.is_file():
        names = list(_torchvision_weights(name)) or [f"torchvision has no weights for {name}"]
        expected = f"a weight file, 'random' or a name in torchvision ({', '.join(names)})"
        raise WeightsError("weights not found", file=path, field="backbone.weights", expected=expected)
    return _read(path), path


def _torchvision_weights(name: str) -> dict[str, WeightsEnum]:
    """Name to entry of torchvision's weights for a network; empty for a network that torchvision does not have."""
    from torchvision.models import get_model_weights, list_models

    return dict(get_model_weights(name).__members__) if name in list_models() else {}


def _download(entry: WeightsEnum) -> dict[str, Any]:
    try:
        with redirect_stdout(sys.stderr):  # torch announces the download on stdout, which is kept for results
            return entry.get_state_dict(map_location="cpu", check_hash=True, weights_only=True)
    except Exception as error:  # the network, the disk, the hash or a damaged file in torch's cache
        hint = "a connection, or a downloaded file named in backbone.weights"
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(f"cannot be downloaded: {reason}", file=entry.url, expected=hint) from error


def _read(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
            network = with_prefix("backbone.", state) or with_prefix("extractor.backbone.", state)
            return network or state  # of a classifier or detector, its network
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes lead these readers to almost any exception
        expected = "a state dict, which `sppdet convert` makes of Caffe's" if "caffe" in path.suffix else "a state dict"
        got = type(error).__name__
        raise WeightsError("is not a readable weight file", file=path, expected=expected, got=got) from error
    if not isinstance(state, dict):
        raise WeightsError("holds no weights", file=path, expected="a state dict", got=type(state).__name__)
    return state


def _fill(backbone: Backbone, state: dict[str, Any], source: Path | str) -> None:
    """Copy each tensor of the backbone from `state`, which may hold the other layers of torchvision's network too."""
    network = f"the weights of {backbone.name}"
    prefix = _layer_prefix(backbone.name, state)
    used: set[str] = set()
    for name, tensor in backbone.state_dict().items():
        key = prefix + name.removeprefix("layers.") if name.startswith("layers.") else name
        used.add(key)
        value = state.get(key)
        # What files from elsewhere may lack: our mean and std, and a counter that old versions of torch did not save.
        if value is None and (name in ("mean", "std") or name.endswith("num_batches_tracked")):
            continue
        if not isinstance(value, Tensor):
            raise WeightsError("key missing", file=source, field=key, expected=network, got=f"{len(state)} other keys")
        if value.shape != tensor.shape:
            shapes = f"{network}, {tuple(tensor.shape)}", tuple(value.shape)
            raise WeightsError("wrong shape", file=source, field=key, expected=shapes[0], got=shapes[1])
        tensor.copy_(value.detach())
    # A deeper network of the same family has every key asked for, and more of them: ResNet-34 contains ResNet-18.
    parts = {key.split(".")[0] for key in used}
    for key in state:
        if key not in used and str(key).split(".")[0] in parts:
            raise WeightsError("unknown key", file=source, field=str(key), expected=network)


def _layer_prefix(name: str, state: dict[str, Any]) -> str:
    """What a file puts before a layer's own name: a saved Backbone "layers.", torchvision "features." or nothing."""
    if not _torchvision_weights(name) or any(str(key).startswith("layers.") for key in state):
        return "layers."
    return "" if name.startswith("resnet") else "features."
