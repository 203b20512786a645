"""Spatial pyramid pooling next to torchvision's roi_pool, torch's adaptive pooling, and a copy of the output."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_pool

from benchmark.config import BenchmarkConfig
from benchmark.measure import (
    Growth,
    Part,
    Ratios,
    Run,
    Timing,
    clock_all,
    clocked,
    measure_growth,
    measure_part,
    take_turns,
)
from sppdet.pooling.pyramid import SpatialPyramidPooling
from sppdet.runtime.machine import find_device

LEVELS = (6, 3, 2, 1)
MAP = (512, 43, 57)  # channels, cells: SqueezeNet's conv5 of a VOC image whose shorter side is 688
BATCH = (32, 256, 13, 13)  # whole maps: a classifier's conv5 of images of 224 pixels
SHORTEST = 2  # cells; about the 20 pixels that are the least side of a proposal
GROWTH_ROUNDS = 3
CALLS = 10  # in a row on CUDA, where the processor prepares one while the device works on another

RATIOS: Ratios = {
    "ratio_vs_roi_pool": ("roi_pool x4", "sppdet"),
    "ratio_vs_roi_pool_nested": ("roi_pool nested", "sppdet"),
    "ratio_vs_adaptive_loop": ("adaptive loop", "sppdet"),
    "ratio_vs_copy": ("sppdet", "copy"),
    "ratio_backward_vs_roi_pool": ("roi_pool x4 backward", "sppdet backward"),
    "ratio_forward_backward_vs_roi_pool": ("roi_pool x4 forward+backward", "sppdet forward+backward"),
    "ratio_batch_vs_adaptive": ("AdaptiveMaxPool2d a level", "sppdet batch"),
    "ratio_batch_forward_backward_vs_adaptive": (
        "AdaptiveMaxPool2d a level forward+backward",
        "sppdet batch forward+backward",
    ),
}


def benchmark_pooling(config: BenchmarkConfig) -> Part:
    """Time max pooling of `config.regions` random windows of one map, forward and backward.

    roi_pool is given contiguous maps, to which it would convert others; the other contestants get channels-last maps.
    On CUDA all but the loop are called CALLS times in a row.
    `bit_equal` in the result: our output equals that of `adaptive_max_pool2d`. A batch of whole maps is pooled as well,
    next to torch's own layers.
    """
    device = find_device(config.device)
    maps = torch.randn(1, *MAP, generator=torch.Generator().manual_seed(0)).to(device)
    windows = random_windows(max(config.regions, *config.growth), MAP[1], MAP[2])
    chosen = windows[: config.regions]
    batch = channels_last(torch.randn(*BATCH, generator=torch.Generator().manual_seed(1)).to(device))

    def measure(threads: int) -> dict[str, Timing]:
        timings = take_turns(forward_runs(maps, chosen), config.rounds, f"pooling, {threads} threads")
        timings |= take_turns(backward_runs(maps, chosen), config.rounds, f"backward, {threads} threads")
        return timings | take_turns(batch_runs(batch), config.rounds, f"batch, {threads} threads")

    def conclude() -> tuple[list[Growth], dict[str, Any]]:
        rounds = min(GROWTH_ROUNDS, config.rounds)
        growth = measure_growth("regions", config.growth, lambda count: forward_runs(maps, windows[:count]), rounds)
        same = torch.equal(SpatialPyramidPooling(LEVELS)(channels_last(maps), chosen), by_adaptive(maps, chosen))
        return [growth], {"regions": len(chosen), "map": MAP, "batch": BATCH, "levels": LEVELS, "bit_equal": same}

    return measure_part(config.threads, RATIOS, measure, conclude)


def random_windows(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Draw windows int64 (N, 4) inside a map of height x width cells. Their sides are log-uniform from SHORTEST to the
    whole map: like those of proposals, many are small and a few cover the map."""
    rng = np.random.default_rng(seed)
    limit = np.array([width, height])
    shortest = np.minimum(SHORTEST, limit)
    sides = np.exp(rng.uniform(np.log(shortest), np.log(limit + 1), (count, 2))).astype(np.int64).clip(1, limit)
    corners = rng.integers(0, limit - sides + 1)
    return torch.from_numpy(np.concatenate([corners, corners + sides], axis=1))


def channels_last(maps: Tensor) -> Tensor:
    """Return the maps (B, C, h, w) in channels-last layout."""
    return maps.contiguous(memory_format=torch.channels_last)


def calls_on(maps: Tensor) -> int:
    """The number of calls in a row on the device of the maps."""
    return CALLS if maps.device.type == "cuda" else 1


def forward_runs(maps: Tensor, windows: Tensor) -> dict[str, Run]:
    """Contestants on contiguous maps (1, C, h, w) and windows int64 (N, 4)."""
    pool, cells, corners = SpatialPyramidPooling(LEVELS), channels_last(maps), as_corners(windows).to(maps)
    source = pool(cells, windows)
    buffer = torch.empty_like(source)
    work: dict[str, Callable[[], object]] = {
        "sppdet": lambda: pool(cells, windows, out=buffer),
        "roi_pool x4": lambda: roi_pool_levels(maps, corners),
        "roi_pool nested": lambda: roi_pool_nested(maps, corners),
        "copy": lambda: buffer.copy_(source),
    }
    return clock_all(work, calls_on(maps)) | {"adaptive loop": clocked(lambda: adaptive_levels(cells, windows))}


def backward_runs(maps: Tensor, windows: Tensor) -> dict[str, Run]:
    """Our layer and four roi_pool calls: forward and backward, and backward alone."""
    pool, corners = SpatialPyramidPooling(LEVELS), as_corners(windows).to(maps)
    cells, plain = channels_last(maps).requires_grad_(), maps.clone().requires_grad_()
    contestants = {
        "sppdet": (partial(_listed, pool, cells, windows), cells),
        "roi_pool x4": (partial(roi_pool_levels, plain, corners), plain),
    }
    work: dict[str, Callable[[], object]] = {}
    for name, (forward, leaf) in contestants.items():
        pooled = forward()
        gradients = [torch.ones_like(level) for level in pooled]
        work[f"{name} forward+backward"] = partial(_forward_backward, forward, leaf, gradients)
        work[f"{name} backward"] = partial(torch.autograd.grad, pooled, leaf, gradients, retain_graph=True)
    return clock_all(work, calls_on(maps))


def batch_runs(maps: Tensor) -> dict[str, Run]:
    """Our layer and `AdaptiveLevels` on a batch of whole maps (B, C, h, w): forward, and forward and backward."""
    pool, leaf = SpatialPyramidPooling(LEVELS), maps.clone().requires_grad_()
    gradient = maps.new_ones(len(maps), pool.out_features(maps.shape[1]))
    work: dict[str, Callable[[], object]] = {}
    for name, layer in {"sppdet batch": pool, "AdaptiveMaxPool2d a level": AdaptiveLevels()}.items():
        work[name] = partial(layer, maps)
        work[f"{name} forward+backward"] = partial(_forward_backward, partial(_listed, layer, leaf), leaf, [gradient])
    return clock_all(work, calls_on(maps))


class AdaptiveLevels(nn.Module):
    """Pyramid pooling from torch's own layers: (B, D), in channel-major order."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.AdaptiveMaxPool2d(n) for n in LEVELS)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([level(maps).flatten(1) for level in self.levels], dim=1)


def as_corners(windows: Tensor) -> Tensor:
    """Return windows in roi_pool's form, float32 (N, 5): image, then inclusive corners."""
    return torch.cat([windows.new_zeros(len(windows), 1), windows[:, :2], windows[:, 2:] - 1], dim=1).float()


def roi_pool_levels(maps: Tensor, corners: Tensor) -> list[Tensor]:
    """Call roi_pool once per level: (N, C, n, n) each."""
    return [roi_pool(maps, corners, n) for n in LEVELS]


def roi_pool_nested(maps: Tensor, corners: Tensor) -> list[Tensor]:
    """Call roi_pool for the finest level and take its maxima for the coarser ones."""
    finest = roi_pool(maps, corners, LEVELS[0])
    groups = [(finest.unflatten(2, (n, -1)).unflatten(4, (n, -1))) for n in LEVELS[1:]]  # (N, C, n, m, n, m)
    return [finest, *(group.amax(dim=(3, 5)) for group in groups)]


def adaptive_levels(maps: Tensor, windows: Tensor) -> list[list[Tensor]]:
    """Pool maps (1, C, h, w) window by window, level by level: (1, C, n, n) each. On channels-last maps with a batch
    dimension adaptive pooling is many times faster than on (C, h, w)."""
    return [[F.adaptive_max_pool2d(maps[..., y1:y2, x1:x2], n) for n in LEVELS] for x1, y1, x2, y2 in windows.tolist()]


def by_adaptive(maps: Tensor, windows: Tensor) -> Tensor:
    """Return the expected output of `SpatialPyramidPooling`, (N, D): bins in row-major order, channels-last."""
    windowed = adaptive_levels(maps, windows)
    return torch.stack([torch.cat([level.permute(0, 2, 3, 1).flatten() for level in levels]) for levels in windowed])


def _listed(layer: nn.Module, *arguments: Tensor) -> list[Tensor]:
    return [layer(*arguments)]


def _forward_backward(forward: Callable[[], list[Tensor]], leaf: Tensor, gradients: Sequence[Tensor]) -> object:
    return torch.autograd.grad(forward(), leaf, gradients)
