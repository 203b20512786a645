"""Processes forked from this one, in which the threads of OpenMP are gone and CUDA does not work."""

import os

import torch

from sppdet.errors import ConfigError

_state = {"forked": False, "cuda": False}  # cuda: the parent used it


def is_forked() -> bool:
    """Return True in a process that was forked from one that had imported sppdet."""
    return _state["forked"]


def check_device(device: torch.device) -> None:
    """Raise ConfigError for CUDA in a process that was forked from one that used it."""
    if device.type == "cuda" and _state["forked"] and _state["cuda"]:
        reason = "CUDA does not work in a process that was forked from one that used it"
        expected = 'spawned processes: multiprocessing.get_context("spawn")'
        raise ConfigError(reason, field="device", expected=expected, got=device)


def _before() -> None:
    _state["cuda"] = _state["cuda"] or torch.cuda.is_initialized()


def _in_child() -> None:
    """Torch waits forever for OpenMP's threads, if its parent used them."""
    _state["forked"] = True
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_before, after_in_child=_in_child)
