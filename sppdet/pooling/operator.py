"""Pyramid pooling on the CPU as an operator of torch, which autograd and torch.compile see through its declarations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sppdet.pooling import kernels


def to_blocks(maps: Tensor) -> Tensor:
    """Maps (B, C, h, w) as the kernels read them: float32 or float64 (G, B, h, w, BLOCK), zeros where C ends."""
    batch, channels, height, width = maps.shape
    groups = -(-channels // kernels.BLOCK)
    exact = maps if maps.dtype in (torch.float32, torch.float64) else maps.float()
    if groups * kernels.BLOCK > channels:
        exact = F.pad(exact, (0, 0, 0, 0, 0, groups * kernels.BLOCK - channels))
    split = exact.reshape(batch, groups, kernels.BLOCK, height, width)
    return split.permute(1, 0, 3, 4, 2).contiguous()


def from_blocks(blocks: Tensor, channels: int) -> Tensor:
    """The inverse of `to_blocks`: (B, C, h, w)."""
    groups, batch, height, width, size = blocks.shape
    return blocks.permute(1, 0, 4, 2, 3).reshape(batch, groups * size, height, width)[:, :channels].contiguous()


@torch.library.custom_op("sppdet::pool_windows", mutates_args=(), device_types="cpu")
def pool_windows(maps: Tensor, windows: Tensor, image: Tensor, levels: list[int], mode: str) -> tuple[Tensor, Tensor]:
    """Maps (B, C, h, w) pooled in windows int64 (N, 4) of images int64 (N,): (N, D), and for max the row-major cell of
    each maximum, int32 (N, bins, C); for average nothing."""
    blocks, grid = to_blocks(maps), np.array(levels, np.int64)
    pooled = blocks.new_empty(len(windows), int((grid**2).sum()), maps.shape[1])
    arrays = blocks.numpy(), image.numpy(), windows.numpy(), grid
    if mode == "average":
        argmax = torch.empty(0, dtype=torch.int32)
        kernels.average_forward(*arrays, pooled.numpy())
    else:
        argmax = torch.empty(pooled.shape, dtype=torch.int32)
        kernels.max_forward_with_argmax(*arrays, kernels.nest_levels(tuple(levels)), pooled.numpy(), argmax.numpy())
    return pooled.flatten(1).to(maps.dtype), argmax


@pool_windows.register_fake
def _(maps: Tensor, windows: Tensor, _image: Tensor, levels: list[int], mode: str) -> tuple[Tensor, Tensor]:
    bins, channels = sum(n * n for n in levels), maps.shape[1]
    argmax = (0,) if mode == "average" else (windows.shape[0], bins, channels)
    return maps.new_empty(windows.shape[0], bins * channels), maps.new_empty(argmax, dtype=torch.int32)


@torch.library.custom_op("sppdet::pool_windows_backward", mutates_args=(), device_types="cpu")
def pool_windows_backward(
    gradient: Tensor, argmax: Tensor, windows: Tensor, image: Tensor, levels: list[int], mode: str, shape: list[int]
) -> Tensor:
    """The gradient (B, C, h, w) of maps of that shape from the gradient (N, D) of what was pooled."""
    batch, channels, height, width = shape
    exact = gradient if gradient.dtype in (torch.float32, torch.float64) else gradient.float()
    bins = exact.reshape(len(windows), sum(n * n for n in levels), channels).contiguous().numpy()
    groups = -(-channels // kernels.BLOCK)
    blocks = exact.new_zeros(groups, batch, height, width, kernels.BLOCK)
    if mode == "average":
        kernels.average_backward(bins, image.numpy(), windows.numpy(), np.array(levels, np.int64), blocks.numpy())
    else:
        kernels.max_backward(bins, argmax.numpy(), image.numpy(), blocks.flatten(2, 3).numpy())
    return from_blocks(blocks, channels).to(gradient.dtype)


@pool_windows_backward.register_fake
def _(gradient: Tensor, *others: Any) -> Tensor:
    return gradient.new_empty(others[-1])


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    maps, windows, image, ctx.levels, ctx.mode = inputs
    ctx.shape = list(maps.shape)
    ctx.save_for_backward(output[1], windows, image)


def _backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    spread = pool_windows_backward(gradient, *ctx.saved_tensors, ctx.levels, ctx.mode, ctx.shape)
    return spread, None, None, None, None


pool_windows.register_autograd(_backward, setup_context=_keep_for_backward)
