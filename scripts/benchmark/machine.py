"""The machine that a benchmark runs on."""

import os
import platform
from importlib.metadata import version

import cv2
import torch

from sppdet.runtime.machine import processor_name

PACKAGES = ("torch", "torchvision", "numpy", "numba")


def describe_machine() -> dict[str, str | int]:
    """The processor, the cores that this process may run on, the GPU if any, the system, and versions that matter."""
    return {
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        **({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "opencv": cv2.__version__,
    }
