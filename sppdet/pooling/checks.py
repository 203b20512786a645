"""Checks of what pooling layers are given; all raise InputError. The operators would read beyond the maps."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sppdet.errors import InputError
from sppdet.structures import check_tensor

FARTHEST = 4096  # cells from the origin of a map; samples of longer boxes would fill the memory


def check_maps(maps: object) -> None:
    """Check that maps are float (B, C, h, w) with cells."""
    _check_map(maps, "maps", "(B, C, h, w) with cells, float", 4)


def split_list(maps: Sequence[Tensor]) -> list[Tensor]:
    """Convert maps (C, h, w) of different sizes, but of one C, type and device, to batches of one."""
    if not isinstance(maps, list | tuple):
        raise InputError("cannot be pooled", field="maps", expected="a tensor or list", got=type(maps).__name__)
    if not maps:
        raise InputError("cannot be pooled", field="maps", expected="one or more", got="none")
    for i, one in enumerate(maps):
        _check_map(one, f"maps[{i}]", "(C, h, w) with cells, float", 3)
        first = maps[0]
        if (len(one), one.dtype, one.device) != (len(first), first.dtype, first.device):
            expected = f"({len(first)}, h, w) as maps[0], {_kind(first)} on {first.device}"
            got = f"{tuple(one.shape)}, {_kind(one)} on {one.device}"
            raise InputError("cannot be pooled", field=f"maps[{i}]", expected=expected, got=got)
    return [one[None] for one in maps]


def check_regions(regions: Tensor, name: str, dtype: torch.dtype, index: Tensor | None, batch: int) -> Tensor:
    """Check that regions are (N, 4) of this type; return `index`, the map int64 (N,) of each, by default the only one.

    Looks at no values.
    """
    check_tensor(regions, name, dtype, None, 4)
    if index is not None:
        check_tensor(index, "index", torch.int64, len(regions))
        return index
    if batch > 1:
        raise InputError("not given", field="index", expected=f"the map of each of {name}", got=f"{batch} maps")
    return torch.zeros(len(regions), dtype=torch.int64, device=regions.device)


def check_windows(windows: Tensor, index: Tensor, batch: int, height: int, width: int) -> None:
    """Check the values of windows and index, which have passed `check_regions`."""
    x1, y1, x2, y2 = windows.unbind(1)
    good = (x1 >= 0) & (y1 >= 0) & (x2 > x1) & (y2 > y1) & (x2 <= width) & (y2 <= height)
    _check_places(windows, "windows", good, f"half-open windows with cells, inside {height}x{width}", index, batch)


def check_boxes(boxes: Tensor, index: Tensor, batch: int, scale: float) -> None:
    """Check the values of boxes and index, which have passed `check_regions`. scale: ratio of cells to coordinates."""
    farthest, near = FARTHEST / scale, (boxes.double().abs() * scale <= FARTHEST).all(dim=1)  # NaN is not
    good = near & (boxes[:, :2] <= boxes[:, 2:]).all(dim=1)
    expected = f"x1 <= x2, y1 <= y2, within -{farthest:g}..{farthest:g}, {FARTHEST} cells"
    _check_places(boxes, "boxes", good, expected, index, batch)


def check_out(out: object, start: int | None, rows: int, length: int) -> Tensor:
    """Return the columns of `out` from `start`, (rows, length); without a start it must have no others."""
    got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
    if start is None:
        fits, expected = got == (rows, length), f"({rows}, {length})"
    else:
        fits = isinstance(got, tuple) and len(got) == 2 and got[0] == rows and 0 <= start <= got[1] - length
        expected = f"({rows}, {start + length} or more), to write from column {start}"
    if not isinstance(out, Tensor) or not fits:
        raise InputError("wrong shape", field="out", expected=expected, got=got)
    return out[:, (start or 0) :][:, :length]


def _check_map(maps: object, name: str, expected: str, axes: int) -> None:
    if not isinstance(maps, Tensor):
        raise InputError("cannot be pooled", field=name, expected=expected, got=type(maps).__name__)
    if maps.ndim != axes or maps.numel() == 0 or not maps.is_floating_point():
        raise InputError("cannot be pooled", field=name, expected=expected, got=f"{tuple(maps.shape)}, {_kind(maps)}")


def _kind(maps: Tensor) -> str:
    return str(maps.dtype).removeprefix("torch.")


def _check_places(regions: Tensor, name: str, good: Tensor, expected: str, index: Tensor, batch: int) -> None:
    there = (index >= 0) & (index < batch)
    if not (good & there).all():  # one look at a GPU
        if good.all():
            got = int(index[~there][0])
            raise InputError("out of range", field="index", expected=f"0..{batch - 1}", got=got)
        raise InputError("cannot be pooled", field=name, expected=expected, got=regions[~good][0].tolist())
