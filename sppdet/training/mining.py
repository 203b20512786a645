"""One-vs-rest SVMs with hard-negative mining (R-CNN, section 2.3; SPPnet, section 4.1).

All classes share one pool of examples: a hard negative of one class serves every class it is a negative of. Memory is
`max_examples` rows of half-precision features and grows only as they are filled.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sppdet.config.heads import SVMConfig
from sppdet.errors import DataError
from sppdet.files.atomic import load_tensors, save_tensors
from sppdet.files.recorder import record
from sppdet.files.run_folder import run_key
from sppdet.heads.linear import Heads, LinearWeights, mean_norm
from sppdet.heads.svm import SVMProblem, SVMSolution, solve_svms
from sppdet.runtime.progress import progress
from sppdet.runtime.ranks import exchange, of_first, rank, spread, world
from sppdet.training.feature_cache import FeatureCache
from sppdet.training.room import count_objects, leave_room, take_shares
from sppdet.training.sampling import RECENT, hard_negatives, initial_svm_examples, svm_targets
from sppdet.wording import counted

logger = logging.getLogger(__name__)

# While mining, fits stop at this multiple of the gap: the hard negatives are known long before the last digits.
COARSE_GAP = 10


class ExamplePool:
    """A bounded pool of examples: features float16 (n, D), targets int8 (n, K), and sources int64 (n, 2), the
    index of the image and that of the region in it."""

    def __init__(self, capacity: int, dimension: int, classes: int) -> None:
        self._stores = (
            torch.empty(capacity, dimension, dtype=torch.float16),  # memory is taken as rows are filled
            torch.empty(capacity, classes, dtype=torch.int8),
            torch.empty(capacity, 2, dtype=torch.int64),
        )
        self._resize(0)

    def _resize(self, count: int) -> None:
        self.count, self.room = count, len(self._stores[0]) - count
        self.features, self.targets, self.sources = (store[:count] for store in self._stores)

    def add(self, image: int, indices: Tensor, features: Tensor, targets: Tensor) -> None:
        """Append regions `indices` of an image, up to the capacity."""
        before, n = self.count, min(len(indices), self.room)
        self._resize(before + n)
        self.features[before:], self.targets[before:] = features[:n].half(), targets[:n]
        self.sources[before:, 0], self.sources[before:, 1] = image, indices[:n]

    def of_image(self, image: int) -> Tensor:
        """Return the indices of the image's regions in the pool."""
        return self.sources[self.sources[:, 0] == image, 1]

    def refill(self, sources: Tensor, cache: FeatureCache, svm: SVMConfig) -> None:
        """Fill an empty pool with the regions `sources` (n, 2), pairs of image and index, in this order."""
        self._resize(len(sources))
        self.sources[:] = sources
        for i in progress(sources[:, 0].unique().tolist(), "examples of the fit before"):
            rows = (sources[:, 0] == i).nonzero().flatten()
            indices = sources[rows, 1]
            self.features[rows] = cache.features(i, indices).half().cpu()
            self.targets[rows] = svm_targets(cache.regions[i], self.targets.shape[1], svm)[indices]

    def keep(self, rows: Tensor) -> None:
        """Keep these rows, in ascending order, without a second copy of the features."""
        for place, part in zip(range(0, len(rows), 1024), rows.split(1024), strict=True):
            for store in self._stores:
                store[place : place + len(part)] = store[part]
        self._resize(len(rows))


@dataclass(frozen=True, eq=False)
class MiningState:
    """The state of mining: its examples, the factor that scales their features, and the SVMs fitted to them."""

    examples: ExamplePool
    scale: float
    solution: SVMSolution

    def linear(self, svm: SVMConfig) -> LinearWeights:
        """Return weight (K, D) and bias (K,) of the SVMs for unscaled features."""
        weights = self.solution.weights
        return weights[:, :-1] * self.scale, weights[:, -1] * svm.bias

    def margins(self, svm: SVMConfig) -> Tensor:
        """Compute the margins float32 (n, K) of the examples."""
        problem = SVMProblem(self.examples.features, self.examples.targets, self.scale, svm)
        return problem.all_margins(self.solution.weights)

    def save(self, path: Path) -> None:
        """Write the sources of the examples and the solution."""
        names = {"sources": self.examples.sources, "weights": self.solution.weights, "alpha": self.solution.alpha}
        save_tensors(path, names, {"scale": self.scale}, run_key(path))

    @classmethod
    def load(cls, path: Path, cache: FeatureCache, classes: int, svm: SVMConfig) -> MiningState:
        """Read the file of `save`, and the features of the examples from the cache, equal up to rounding."""
        tensors, header = load_tensors(path, run_key(path))
        examples = ExamplePool(svm.max_examples, cache.dimension, classes)
        examples.refill(tensors["sources"], cache, svm)
        unknown = np.full(classes, np.inf), np.zeros(classes)
        return cls(examples, header["scale"], SVMSolution(tensors["weights"], tensors["alpha"], *unknown))


def mine_svms(
    cache: FeatureCache,
    images: Sequence[int],
    classes: int,
    svm: SVMConfig,
    seed: int = 0,
    start: MiningState | None = None,
) -> MiningState:
    """Fit the SVMs of K classes to the regions of the images with these indices in the cache.

    start: the state to resume from, whose examples are kept. If max_examples cannot hold all objects, half of the room
    is for a random choice of them, of every class up to as many. Raises DataError if there is no object to learn from,
    ConfigError if the room does not hold two examples a class.
    """
    examples = start.examples if start else ExamplePool(svm.max_examples, cache.dimension, classes)
    objects = count_objects(cache.regions, images, classes)
    if start and objects.sum() >= examples.room:
        start = _evict(start, replace(svm, easy_margin=1e6))  # all that have no weight
    share, first = leave_room(svm, examples.room, objects, len(images))

    @lru_cache(RECENT)
    def targets(i: int) -> Tensor:
        return svm_targets(cache.regions[i], classes, svm)

    def choose(i: int) -> tuple[Tensor, Tensor]:
        chosen = initial_svm_examples(cache.regions[i], first, np.random.default_rng([seed, i]))
        if (share < 1).any():
            chosen = take_shares(chosen, cache.regions[i], share, np.random.default_rng([seed, i, 1]))
        return chosen, cache.features(i, chosen).half()

    for i, (chosen, features) in zip(progress(images, "first examples"), spread(images, choose), strict=True):
        examples.add(i, chosen, features, targets(i)[chosen])
    if not (examples.targets > 0).any():
        raise DataError("no object to learn from", field="data", expected="objects that are not difficult")
    scale = start.scale if start else svm.feature_norm / mean_norm(examples.features)
    coarse = replace(svm, gap=COARSE_GAP * svm.gap)
    mined = _refit(examples, start.solution if start else None, scale, coarse, seed)

    def find(i: int) -> tuple[Tensor, Tensor]:
        heads = Heads.from_linear("svm", mined.linear(svm)).to(cache.device)
        scores = cache.apply_to_features(i, heads.scores).cpu()
        hard = hard_negatives(cache.regions[i], scores, targets(i), examples.of_image(i), svm)
        return hard, cache.features(i, hard).half()

    for number in range(1, svm.passes + 1):
        order = np.random.default_rng([seed, number]).permutation(np.asarray(images)).tolist()
        added = new = 0
        found = spread(order, find)
        for count, i in enumerate(progress(order, f"hard negatives, pass {number}"), start=1):
            hard, features = next(found)
            added, new = added + len(hard), new + len(hard)
            examples.add(i, hard, features, targets(i)[hard])
            full = examples.room == 0
            if new >= svm.refit_every or full:
                mined = _evict(_refit(examples, mined.solution, scale, coarse, seed), svm)
                found, new = spread(order[count:], find), 0  # what others scored ahead is scored again
                # With little room, every few images would fill it and cause another fit.
                if full and examples.room < svm.max_examples / 10:
                    logger.warning("svm.max_examples=%d is full: mining stops early", svm.max_examples)
                    return _refit(examples, mined.solution, scale, svm, seed)
        if added == 0:
            break
    return _refit(examples, mined.solution, scale, svm, seed)


def _refit(examples: ExamplePool, start: SVMSolution | None, scale: float, svm: SVMConfig, seed: int) -> MiningState:
    problem = SVMProblem(examples.features, examples.targets, scale, svm)
    solution = _solve(problem, start, svm, seed)
    message = "svm: %s, %s, duality gap %.2f%%, objective %.4g"
    sizes = counted(examples.count, "example"), counted(solution.epochs, "epoch")
    logger.info(message, *sizes, 100 * solution.gap, solution.primal.sum())
    record("refit", examples=examples.count, objective=float(solution.primal.sum()), gap=solution.gap)
    return MiningState(examples, scale, solution)


def _solve(problem: SVMProblem, start: SVMSolution | None, svm: SVMConfig, seed: int) -> SVMSolution:
    """Fit the classes; each rank fits its part of them to all examples, in the order and for as many epochs as one
    process would.

    With the columns of the features divided instead, every block of examples waits for a sum over the ranks: two on one
    machine took 1.0 to 1.5 times as long as one.
    """
    if world() == 1:
        return solve_svms(problem, start, svm.gap, svm.epochs, seed)

    def agree(settled: bool, needed: np.ndarray) -> tuple[bool, np.ndarray]:
        of_ranks = exchange({"settled": torch.tensor(settled), "needed": torch.from_numpy(needed)})
        union = torch.cat([each["needed"] for each in of_ranks]).unique()
        return all(bool(each["settled"]) for each in of_ranks), union.numpy()

    part = slice(rank(), None, world())
    if start:
        bounds = start.primal[part], start.dual[part]
        start = SVMSolution(start.weights[part], start.alpha[:, part], *bounds, start.epochs)
    problem = replace(problem, targets=problem.targets[:, part].contiguous())
    own = solve_svms(problem, start, svm.gap, svm.epochs, seed, agree)
    primal, dual = torch.from_numpy(own.primal), torch.from_numpy(own.dual)
    parts = exchange({"w": own.weights, "a": own.alpha.T, "p": primal, "d": dual})
    weights, alpha, primal, dual = (_interleave([each[name] for each in parts]) for name in "wapd")
    return SVMSolution(weights, alpha.T.contiguous(), primal.numpy(), dual.numpy(), own.epochs)


def _interleave(parts: list[Tensor]) -> Tensor:
    """Join the rows of every rank's classes in the order of the classes."""
    joined = torch.cat(parts)
    for k, part in enumerate(parts):
        joined[k :: len(parts)] = part
    return joined


def _evict(mined: MiningState, svm: SVMConfig) -> MiningState:
    """Remove negatives far from every margin. They have no weight in the solution, so it stays the same."""
    examples, solution = mined.examples, mined.solution
    easy = (mined.margins(svm) < svm.easy_margin).all(dim=1)
    easy &= (examples.targets <= 0).all(dim=1) & (solution.alpha == 0).all(dim=1)
    rows = of_first((~easy).nonzero().flatten())
    examples.keep(rows)
    return replace(mined, solution=replace(solution, alpha=solution.alpha[rows]))
