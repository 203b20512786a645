"""Fitting one-vs-rest SVMs with hard-negative mining (R-CNN, section 2.3; SPPnet, section 4.1).

All classes share one set of examples: a hard negative of any class serves every class it is a negative of. Memory is
`max_examples` rows of half-precision features and grows only as they are filled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sppdet.config.training import SVMConfig
from sppdet.errors import ConfigError, DataError
from sppdet.files.atomic import load_tensors, save_tensors
from sppdet.heads.linear import LinearHead, mean_norm
from sppdet.heads.svm import SVMProblem, SVMSolution, solve_svms
from sppdet.training.feature_cache import FeatureCache
from sppdet.training.sampling import hard_negatives, initial_svm_examples, svm_targets

logger = logging.getLogger(__name__)

# While mining, fits stop at this many times the gap: which negatives are hard shows long before the last digits.
COARSE_GAP = 10


class ExamplePool:
    """A bounded set of examples: features float16 (n, D), targets int8 (n, K), and which region each is."""

    def __init__(self, capacity: int, dimension: int, classes: int) -> None:
        self._features = torch.empty(capacity, dimension, dtype=torch.float16)  # pages are taken as rows are filled
        self._targets = torch.empty(capacity, classes, dtype=torch.int8)
        self._sources = torch.empty(capacity, 2, dtype=torch.int64)
        self.count = 0

    @property
    def features(self) -> Tensor:
        return self._features[: self.count]

    @property
    def targets(self) -> Tensor:
        return self._targets[: self.count]

    @property
    def sources(self) -> Tensor:
        return self._sources[: self.count]

    @property
    def room(self) -> int:
        return len(self._features) - self.count

    def add(self, image: int, indices: Tensor, features: Tensor, targets: Tensor) -> None:
        """Append regions `indices` of an image; those beyond the capacity are left out."""
        n = min(len(indices), self.room)
        place = slice(self.count, self.count + n)
        self._features[place], self._targets[place] = features[:n].half(), targets[:n]
        self._sources[place, 0], self._sources[place, 1] = image, indices[:n]
        self.count += n

    def of_image(self, image: int) -> Tensor:
        """Indices of the image's regions that are here."""
        return self.sources[self.sources[:, 0] == image, 1]

    def restore(self, sources: Tensor, cache: FeatureCache, targets_of: Callable[[int], Tensor]) -> None:
        """Fill an empty set with the regions `sources` (n, 2) of (image, index), in this order."""
        self.count = len(sources)
        self._sources[: self.count] = sources
        for i in tqdm(sources[:, 0].unique().tolist(), desc="examples", unit="image"):
            rows = (sources[:, 0] == i).nonzero().flatten()
            indices = sources[rows, 1]
            self._features[rows] = cache.features(i, indices).half().cpu()
            self._targets[rows] = targets_of(i)[indices]

    def keep(self, rows: Tensor) -> None:
        """Drop all but these ascending rows, without a second copy of the features."""
        for place, part in zip(range(0, len(rows), 1024), rows.split(1024), strict=True):
            for store in (self._features, self._targets, self._sources):
                store[place : place + len(part)] = store[part]
        self.count = len(rows)


@dataclass(frozen=True, eq=False)
class MiningState:
    """Where mining stands: its examples, the number that scales their features, and the SVMs fitted to them."""

    examples: ExamplePool
    scale: float
    solution: SVMSolution

    def head(self, config: SVMConfig) -> LinearHead:
        """The SVMs on unscaled features."""
        weights = self.solution.weights
        return LinearHead("svm", weights[:, :-1] * self.scale, weights[:, -1] * config.bias)

    def save(self, path: Path) -> None:
        """Write which regions the examples are, and the solution."""
        names = {"sources": self.examples.sources, "weights": self.solution.weights, "alpha": self.solution.alpha}
        save_tensors(path, names, {"scale": self.scale})

    @classmethod
    def load(cls, path: Path, cache: FeatureCache, classes: int, config: SVMConfig) -> MiningState:
        """Read what `save` wrote, and the features of the examples from the cache again: after fully connected layers,
        which now see other rows at a time, up to rounding."""
        tensors, header = load_tensors(path)
        examples = ExamplePool(config.max_examples, cache.dimension, classes)
        examples.restore(tensors["sources"], cache, lambda i: svm_targets(cache.regions[i], classes, config))
        unknown = np.full(classes, np.inf), np.zeros(classes)
        return cls(examples, header["scale"], SVMSolution(tensors["weights"], tensors["alpha"], *unknown))


def mine_svms(
    cache: FeatureCache,
    images: Sequence[int],
    classes: int,
    config: SVMConfig,
    seed: int = 0,
    start: MiningState | None = None,
) -> MiningState:
    """SVMs of K classes from the regions of the images at these positions of the cache.

    With a `start`, the images come on top of those that it was mined from. Raises DataError where there is no object to
    learn from, ConfigError where max_examples cannot hold the objects.
    """
    targets = {i: svm_targets(cache.regions[i], classes, config) for i in images}
    examples = start.examples if start else ExamplePool(config.max_examples, cache.dimension, classes)
    first = _leave_room(config, examples.room, sum(int((targets[i] > 0).any(dim=1).sum()) for i in images), len(images))
    for i in tqdm(images, desc="first examples", unit="image"):
        chosen = initial_svm_examples(cache.regions[i], first, np.random.default_rng([seed, i]))
        examples.add(i, chosen, cache.features(i, chosen), targets[i][chosen])
    if not (examples.targets > 0).any():
        raise DataError("no object to learn from", field="data", expected="objects that are not difficult")
    scale = start.scale if start else config.feature_norm / mean_norm(examples.features)
    rough = replace(config, gap=COARSE_GAP * config.gap)
    mined = _refit(examples, start.solution if start else None, scale, rough, seed)
    for number in range(1, config.passes + 1):
        order = np.random.default_rng([seed, number]).permutation(np.asarray(images)).tolist()
        found = new = 0
        for i in tqdm(order, desc=f"hard negatives, pass {number}", unit="image"):
            scores = cache.map_features(i, mined.head(config).to(cache.device).scores).cpu()
            hard = hard_negatives(cache.regions[i], scores, targets[i], examples.of_image(i), config)
            found, new = found + len(hard), new + len(hard)
            examples.add(i, hard, cache.features(i, hard), targets[i][hard])
            full = examples.room == 0
            if new >= config.refit_every or full:
                mined = _evict(_refit(examples, mined.solution, scale, rough, seed), config)
                new = 0
                # With little room made, every few images would fill it and fit again.
                if full and examples.room < config.max_examples / 10:
                    logger.warning("svm.max_examples=%d is full: mining stops early", config.max_examples)
                    return _refit(examples, mined.solution, scale, config, seed)
        if found == 0:
            break
    return _refit(examples, mined.solution, scale, config, seed)


def _leave_room(config: SVMConfig, room: int, objects: int, images: int) -> SVMConfig:
    """With so few random negatives an image that half of what the objects leave is free for hard ones."""
    if objects >= room:
        needed = config.max_examples - room + objects
        expected = f"more than the {needed} objects" if room == config.max_examples else f"more than {needed}"
        raise ConfigError("too few", field="svm.max_examples", expected=expected, got=config.max_examples)
    share = (room - objects) // (2 * max(1, images))
    return replace(config, random_negatives=min(config.random_negatives, share))


def _problem(examples: ExamplePool, scale: float, config: SVMConfig) -> SVMProblem:
    return SVMProblem(
        examples.features, examples.targets, scale, config.bias, config.C, config.positive_weight, config.loss
    )


def _refit(examples: ExamplePool, start: SVMSolution | None, scale: float, config: SVMConfig, seed: int) -> MiningState:
    problem = _problem(examples, scale, config)
    solution = solve_svms(problem, start, config.gap, config.epochs, seed)
    message = "svm: %d examples, %d epochs, duality gap %.2f%%, objective %.4g"
    logger.info(message, examples.count, solution.epochs, 100 * solution.gap, solution.primal.sum())
    return MiningState(examples, scale, solution)


def _evict(mined: MiningState, config: SVMConfig) -> MiningState:
    """Drop negatives far from every margin. Only those without weight in the solution go, so it stays as it is."""
    examples, solution = mined.examples, mined.solution
    problem = _problem(examples, mined.scale, config)
    parts = torch.arange(examples.count).split(2048)
    easy = torch.cat(
        [(problem.margins(solution.weights, problem.rows(part)) < config.easy_margin).all(dim=0) for part in parts]
    )
    easy &= (examples.targets <= 0).all(dim=1) & (solution.alpha == 0).all(dim=1)
    rows = (~easy).nonzero().flatten()
    examples.keep(rows)
    return replace(mined, solution=replace(solution, alpha=solution.alpha[rows]))
