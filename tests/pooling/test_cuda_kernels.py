"""The kernels for CUDA in Triton's interpreter, next to those of the CPU. tests/cuda runs them on a device."""

import importlib
import sys
from types import ModuleType

import pytest
import torch
from factories import random_windows
from torch import Tensor

from sppdet.pooling import kernels

pytest.importorskip("triton")


@pytest.fixture
def cuda_kernels(monkeypatch) -> ModuleType:
    """The module, imported anew so that its kernels are interpreted."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.delitem(sys.modules, "sppdet.pooling.cuda_kernels", raising=False)
    module = importlib.import_module("sppdet.pooling.cuda_kernels")
    yield module
    sys.modules.pop("sppdet.pooling.cuda_kernels", None)


def tied_cells(*shape: int) -> Tensor:
    """Whole numbers, so that there are ties, with NaN and rows of minus infinity."""
    cells = torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(0)).float()
    cells[0, 2, 3, 1], cells[1, 1], cells[0, 0, 0, 0] = torch.nan, -torch.inf, torch.inf
    return cells


@pytest.mark.parametrize("mode", ["max", "average"])
@pytest.mark.parametrize("levels", [(2, 1), (3, 2)], ids=str)
def test_forward_and_backward(cuda_kernels, levels, mode):
    cells, windows, index = tied_cells(2, 5, 6, 3), random_windows(3, 5, 6), torch.tensor([0, 1, 0])
    bins = sum(n * n for n in levels)
    results = []
    for module in (kernels, cuda_kernels):
        out, argmax = torch.full((3, bins * 3 + 5), 7.0), torch.full((3, bins, 3), -1, dtype=torch.int32)
        module.forward(cells, index, windows, levels, mode, out, 2, argmax if mode == "max" else None)
        assert (torch.cat([out[:, :2], out[:, -3:]], dim=1) == 7).all()  # other columns stay as they are
        pooled = out[:, 2:-3].unflatten(1, (bins, 3))
        gradient, spread = torch.arange(pooled.numel()).view_as(pooled).float(), torch.zeros_like(cells)
        module.backward(gradient, argmax.where(~pooled.isnan(), 0), index, windows, levels, mode, spread)
        results.append((pooled, argmax.where(~pooled.isnan(), 0), spread))
    for found, expected in zip(results[1], results[0], strict=True):
        rounding = 0 if mode == "max" else 1e-5
        torch.testing.assert_close(found, expected, rtol=rounding, atol=rounding, equal_nan=True)
    without = torch.empty(3, bins * 3)
    cuda_kernels.forward(cells, index, windows, levels, mode, without)
    torch.testing.assert_close(without, results[1][0].flatten(1), rtol=0, atol=0, equal_nan=True)


def test_no_windows(cuda_kernels):
    cells, nothing = torch.ones(1, 4, 4, 2), torch.zeros(0, 4, dtype=torch.int64)
    cuda_kernels.forward(cells, nothing[:, 0], nothing, (2, 1), "max", torch.empty(0, 10))
    spread = torch.zeros_like(cells)
    empty = torch.empty(0, 5, 2), torch.empty(0, 5, 2, dtype=torch.int32)
    cuda_kernels.backward(*empty, nothing[:, 0], nothing, (2, 1), "max", spread)
    assert not spread.any()
