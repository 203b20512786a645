"""The bins of a pyramid in the order in which a kernel fills them."""

import functools
from collections.abc import Sequence

import numpy as np


@functools.cache
def lay_out(levels: tuple[int, ...], nested: bool) -> np.ndarray:
    """Return the bins int64 (bins, 6) in the order in which they are filled, nested ones last.

    A bin: place in the vector, bins per side n of its level, row i and column j; m and first, the bins per side of the
    level that it is nested in and the first of its (m / n)^2 bins there, or 0 and 0 if it reads the map.
    """
    starts = np.cumsum([0, *(n * n for n in levels)]).tolist()
    parents = nest_levels(levels).tolist() if nested else [-1] * len(levels)
    bins = []
    for k in sorted(range(len(levels)), key=lambda k: parents[k] >= 0):
        n, m = levels[k], levels[parents[k]] if parents[k] >= 0 else 0
        for i, j in np.ndindex(n, n):
            first = starts[parents[k]] + (i * m + j) * (m // n) if m else 0
            bins.append((starts[k] + i * n + j, n, i, j, m, first))
    return np.array(bins, np.int64)


def nest_levels(levels: Sequence[int]) -> np.ndarray:
    """Return parents int64 (L,): for each level the index of the finest finer level that it divides, or -1.

    The parent of a nested level always reads the map itself: a finest multiple has no multiple of its own.
    """
    parents = np.full(len(levels), -1, np.int64)
    for k, n in enumerate(levels):
        finer = [(m, -p) for p, m in enumerate(levels) if m % n == 0 and (m > n or p < k)]
        if finer:
            parents[k] = -max(finer)[1]
    return parents
