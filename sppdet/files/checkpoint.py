"""Checkpoints of a gradient descent: weights, the optimizer's state, and its progress."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from sppdet.errors import WeightsError
from sppdet.files.atomic import check_finite, load_tensors, save_tensors, with_prefix
from sppdet.files.run_folder import run_key


def save_checkpoint(file: Path, model: nn.Module, optimizer: Optimizer, progress: Mapping[str, Any]) -> None:
    """Write everything that a training resumes from, atomically.

    progress: anything that is JSON-ready. A tensor `optimizer.INDEX.NAME` is the optimizer's state of one weight.
    """
    state = optimizer.state_dict()
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"optimizer.{i}.{name}": value for i, own in state["state"].items() for name, value in own.items()}
    save_tensors(file, tensors, {"progress": progress, "group": state["param_groups"][0]}, run_key(file))


def load_checkpoint(file: Path, model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Load the model and the optimizer in place, and return the progress. Raises WeightsError if they do not fit;
    the model stays as it was."""
    tensors, header = load_tensors(file, run_key(file))
    states: dict[int, dict[str, Tensor]] = {}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        for name, value in with_prefix("optimizer.", tensors).items():
            index, key = name.split(".")
            states.setdefault(int(index), {})[key] = value.clone()  # the file is memory-mapped
        check_finite(file, tensors)
        progress = dict(header["progress"])
        model.load_state_dict(with_prefix("model.", tensors))
        optimizer.load_state_dict({"state": states, "param_groups": [header["group"]]})
    except (KeyError, RuntimeError, ValueError) as error:
        model.load_state_dict(before)
        raise WeightsError("is not of this training, or of an older version; remove it", file=file) from error
    return progress
