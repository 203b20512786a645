"""The machine that a program runs on."""

import logging
import platform
from functools import cache
from pathlib import Path

import torch

from sppdet.errors import ConfigError
from sppdet.runtime.forks import check_device

logger = logging.getLogger(__name__)


def processor_name() -> str:
    """The processor's name; Linux gives it in a file only."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def find_device(name: str) -> torch.device:
    """Return the device of this name, such as "cuda:1"; for "auto" CUDA if torch finds it, else the CPU.

    Raises ConfigError for one that is unknown or not there.
    """
    if name == "auto":
        return _choose_device()
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise ConfigError("unknown device", field="device", expected="auto, cpu or cuda", got=name)
    check_device(device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("torch finds no usable CUDA device on this machine", field="device", expected="cpu", got=name)
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        expected = " or ".join(f"cuda:{index}" for index in range(count))
        raise ConfigError("no such CUDA device", field="device", expected=expected, got=name)
    return device


@cache
def _choose_device() -> torch.device:
    """Cached, so that the choice is logged once. A GPU that this torch has no kernels for is not taken."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=device).add_(1)
    except RuntimeError as error:
        logger.warning("the GPU is not used: %s", error)
        device = torch.device("cpu")
    logger.info("device: %s, %s", device.type, hardware_name(device))
    return device


def hardware_name(device: torch.device) -> str:
    """The name of the GPU or processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
