"""The machine that a program runs on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

from sppdet.errors import ConfigError

PACKAGES = ("torch", "torchvision", "numpy", "numba")


def processor_name() -> str:
    """The processor's name; Linux gives it in a file only."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def describe_machine() -> dict[str, str | int]:
    """The processor, the cores that this process may run on, the system, and the versions that decide the speed."""
    import cv2

    return {
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "opencv": cv2.__version__,
    }


def find_device(name: str) -> torch.device:
    """Raises ConfigError for one that is unknown or not there."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError("unknown device", field="device", expected="cpu or cuda", got=name) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("torch finds no usable CUDA device on this machine", field="device", expected="cpu", got=name)
    return device
