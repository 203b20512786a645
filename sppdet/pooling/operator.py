"""Pyramid pooling on the CPU as a custom operator of torch, with a gradient and shapes for torch.compile."""

from typing import Any

import torch
from torch import Tensor

from sppdet.pooling import kernels
from sppdet.pooling.forms import to_single


def channels_last(maps: Tensor) -> Tensor:
    """Convert maps (B, C, h, w) to the kernels' layout, float32 or float64 (B, h, w, C), without a copy if possible."""
    return to_single(maps).permute(0, 2, 3, 1).contiguous()


def run_kernel(
    cells: Tensor, windows: Tensor, index: Tensor, levels: list[int], mode: str, pooled: Tensor, argmax: Tensor | None
) -> None:
    """Pool cells (B, h, w, C) in windows into pooled (N, bins, C). Max without `argmax` drops NaN, and is faster."""
    bins = kernels.lay_out(tuple(levels), nested=mode == "max")
    arrays = cells.numpy(), index.numpy(), windows.numpy(), bins, pooled.numpy()
    if mode == "average":
        kernels.average_forward(*arrays)
    elif argmax is None:
        kernels.max_forward(*arrays)
    else:
        kernels.max_forward_with_argmax(*arrays, argmax.numpy())


@torch.library.custom_op("sppdet::pool_windows", mutates_args=(), device_types="cpu")
def pool_windows(maps: Tensor, windows: Tensor, index: Tensor, levels: list[int], mode: str) -> tuple[Tensor, Tensor]:
    """Pool maps (B, C, h, w) in windows int64 (N, 4) of maps `index` int64 (N,) to (N, D).

    Returns with it the row-major cell of each maximum, int32 (N, bins, C); an empty tensor for average.
    """
    cells = channels_last(maps)
    pooled = cells.new_empty(len(windows), sum(n * n for n in levels), maps.shape[1])
    argmax = torch.empty(0 if mode == "average" else pooled.shape, dtype=torch.int32)
    run_kernel(cells, windows, index, levels, mode, pooled, argmax)
    return pooled.flatten(1).to(maps.dtype), argmax


@pool_windows.register_fake
def _(maps: Tensor, windows: Tensor, _: Tensor, levels: list[int], mode: str) -> tuple[Tensor, Tensor]:
    bins, channels = sum(n * n for n in levels), maps.shape[1]
    argmax = (0,) if mode == "average" else (windows.shape[0], bins, channels)
    return maps.new_empty(windows.shape[0], bins * channels), maps.new_empty(argmax, dtype=torch.int32)


@torch.library.custom_op("sppdet::pool_windows_backward", mutates_args=(), device_types="cpu")
def pool_windows_backward(
    gradient: Tensor, argmax: Tensor, windows: Tensor, index: Tensor, levels: list[int], mode: str, shape: list[int]
) -> Tensor:
    """Return the gradient (B, C, h, w) of maps of this shape from the gradient (N, D) of the pooled vectors."""
    batch, channels, height, width = shape
    exact = to_single(gradient)
    bins = exact.reshape(len(windows), sum(n * n for n in levels), channels).contiguous().numpy()
    cells = exact.new_zeros(batch, height, width, channels)
    if mode == "average":
        layout = kernels.lay_out(tuple(levels), nested=False)
        kernels.average_backward(bins, index.numpy(), windows.numpy(), layout, cells.numpy())
    else:
        kernels.max_backward(bins, argmax.numpy(), index.numpy(), cells.flatten(1, 2).numpy())
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
