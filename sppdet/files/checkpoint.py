"""Where a training by gradient descent stands: weights, the optimizer's memory, and what is known of the steps done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from sppdet.errors import WeightsError
from sppdet.files.atomic import load_tensors, save_tensors, with_prefix


def save_checkpoint(file: Path, model: nn.Module, optimizer: Optimizer, progress: Mapping[str, Any]) -> None:
    """Write all that a training goes on from, atomically. `progress` is JSON-ready; `optimizer.INDEX.NAME` is what the
    optimizer remembers of a weight."""
    state = optimizer.state_dict()
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"optimizer.{i}.{name}": value for i, of in state["state"].items() for name, value in of.items()}
    save_tensors(file, tensors, {"progress": progress, "group": state["param_groups"][0]})


def load_checkpoint(file: Path, model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Take up the work of `file`: its progress. Raises WeightsError where it is not of such a model."""
    tensors, header = load_tensors(file)
    memory: dict[int, dict[str, Tensor]] = {}
    for name, value in with_prefix("optimizer.", tensors).items():
        index, key = name.split(".")
        memory.setdefault(int(index), {})[key] = value.clone()  # out of the file it is mapped from
    try:
        progress = dict(header["progress"])
        model.load_state_dict(with_prefix("model.", tensors))
        optimizer.load_state_dict({"state": memory, "param_groups": [header["group"]]})
    except (KeyError, RuntimeError, ValueError) as error:
        raise WeightsError("is not of this training, or of an older version; remove it", file=file) from error
    return progress
