"""Pyramid pooling as a custom operator of torch, with a gradient and shapes for torch.compile.

Its kernels are compiled by numba on the CPU and by Triton, which comes with torch's CUDA builds on Linux, on CUDA.
Maps on a device without kernels, such as CUDA on Windows, are pooled on the CPU.
"""

import logging
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from sppdet.pooling import kernels
from sppdet.pooling.checks import check_windows
from sppdet.pooling.forms import to_single

logger = logging.getLogger(__name__)


def to_kernel(maps: Tensor) -> Tensor:
    """Move maps to the CPU, unless there are kernels for their device."""
    on_cuda = maps.device.type == "cuda" and (torch.compiler.is_compiling() or has_kernels(maps.device))
    return maps if on_cuda else maps.cpu()


@cache
def has_kernels(device: torch.device) -> bool:
    """Try the kernels of a CUDA device: Triton may be missing, lack a C compiler, or not know an old GPU."""
    try:
        one, window = torch.ones(1, 1, 1, 1, device=device), torch.tensor([[0, 0, 1, 1]])
        kernels_of(device).forward(one, torch.zeros(1, dtype=torch.int64), window, (1,), "max", one.new_empty(1, 1))
    except Exception as error:  # of an import, of the compiler or of the driver
        logger.warning("regions are pooled on the CPU, as Triton does not work on %s: %s", device, error)
        return False
    return True


def channels_last(maps: Tensor) -> Tensor:
    """Convert maps (B, C, h, w) to the kernels' layout, float32 or float64 (B, h, w, C), without a copy if possible."""
    return to_single(maps).permute(0, 2, 3, 1).contiguous()


def kernels_of(device: torch.device) -> ModuleType:
    """The module with the kernels of this device, `forward` and `backward`."""
    if device.type == "cpu":
        return kernels
    from sppdet.pooling import cuda_kernels

    return cuda_kernels


@torch.library.custom_op("sppdet::pool_windows", mutates_args=(), device_types=("cpu", "cuda"))
def pool_windows(maps: Tensor, windows: Tensor, index: Tensor, levels: list[int], mode: str) -> tuple[Tensor, Tensor]:
    """Pool maps (B, C, h, w) in windows int64 (N, 4) of maps `index` int64 (N,) to (N, D).

    Returns with it the row-major cell of each maximum, int32 (N, bins, C); an empty tensor for average.
    """
    check_windows(windows, index, len(maps), *maps.shape[2:])
    cells = channels_last(maps)
    shape = len(windows), sum(n * n for n in levels), maps.shape[1]
    pooled = cells.new_empty(len(windows), shape[1] * shape[2])
    argmax = torch.empty(0 if mode == "average" else shape, dtype=torch.int32, device=maps.device)
    given = None if mode == "average" else argmax
    kernels_of(maps.device).forward(cells, index, windows, tuple(levels), mode, pooled, argmax=given)
    return pooled.to(maps.dtype), argmax


@pool_windows.register_fake
def _(maps: Tensor, windows: Tensor, _: Tensor, levels: list[int], mode: str) -> tuple[Tensor, Tensor]:
    bins, channels = sum(n * n for n in levels), maps.shape[1]
    argmax = (0,) if mode == "average" else (windows.shape[0], bins, channels)
    return maps.new_empty(windows.shape[0], bins * channels), maps.new_empty(argmax, dtype=torch.int32)


@torch.library.custom_op("sppdet::pool_windows_backward", mutates_args=(), device_types=("cpu", "cuda"))
def pool_windows_backward(
    gradient: Tensor, argmax: Tensor, windows: Tensor, index: Tensor, levels: list[int], mode: str, shape: list[int]
) -> Tensor:
    """Return the gradient (B, C, h, w) of maps of this shape from the gradient (N, D) of the pooled vectors."""
    batch, channels, height, width = shape
    exact = to_single(gradient)
    bins = exact.reshape(len(windows), sum(n * n for n in levels), channels).contiguous()
    cells = exact.new_zeros(batch, height, width, channels)
    kernels_of(cells.device).backward(bins, argmax, index, windows, tuple(levels), mode, cells)
    return cells.permute(0, 3, 1, 2).to(gradient.dtype)


@pool_windows_backward.register_fake
def _(gradient: Tensor, *others: Any) -> Tensor:
    batch, channels, height, width = others[-1]
    return gradient.new_empty(batch, height, width, channels).permute(0, 3, 1, 2)


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    maps, windows, index, ctx.levels, ctx.mode = inputs
    ctx.shape = list(maps.shape)
    ctx.set_materialize_grads(False)  # else argmax gets a gradient of zeros, as large as the output
    ctx.save_for_backward(output[1], windows, index)


def _backward(ctx: Any, gradient: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    if gradient is None:
        return (None,) * 5
    spread = pool_windows_backward(gradient, *ctx.saved_tensors, ctx.levels, ctx.mode, ctx.shape)
    return spread, None, None, None, None


pool_windows.register_autograd(_backward, setup_context=_keep_for_backward)
