"""Fitting one-vs-rest SVMs with hard-negative mining (R-CNN, section 2.3; SPPnet, section 4.1).

All classes share one set of examples: a hard negative of any class serves every class it is a negative of. Memory is
`max_examples` rows of half-precision features and grows only as they are filled.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sppdet.config import SVMConfig
from sppdet.errors import ConfigError, DataError
from sppdet.heads.linear import LinearHead
from sppdet.heads.softmax import mean_norm
from sppdet.heads.svm import SVMProblem, SVMSolution, solve_svms
from sppdet.training.feature_cache import FeatureCache
from sppdet.training.sampling import hard_negatives, initial_svm_examples, svm_targets

log = logging.getLogger("sppdet")

# While mining, fits stop at this many times the gap: which negatives are hard shows long before the last digits.
ROUGH = 5


class Examples:
    """A bounded set of examples: features float16 (n, D), targets int8 (n, K), and which region each is."""

    def __init__(self, capacity: int, dimension: int, classes: int) -> None:
        self._features = torch.empty(capacity, dimension, dtype=torch.float16)  # pages are taken as rows are filled
        self._targets = torch.empty(capacity, classes, dtype=torch.int8)
        self._source = torch.empty(capacity, 2, dtype=torch.int64)
        self.count = 0

    @property
    def features(self) -> Tensor:
        return self._features[: self.count]

    @property
    def targets(self) -> Tensor:
        return self._targets[: self.count]

    @property
    def room(self) -> int:
        return len(self._features) - self.count

    def add(self, image: int, indices: Tensor, features: Tensor, targets: Tensor) -> None:
        """Append regions `indices` of an image; those beyond the capacity are left out."""
        n = min(len(indices), self.room)
        place = slice(self.count, self.count + n)
        self._features[place], self._targets[place] = features[:n].half(), targets[:n]
        self._source[place, 0], self._source[place, 1] = image, indices[:n]
        self.count += n

    def of_image(self, image: int) -> Tensor:
        """Indices of the image's regions that are here."""
        source = self._source[: self.count]
        return source[source[:, 0] == image, 1]

    def keep(self, rows: Tensor) -> None:
        """Drop all but these ascending rows, without a second copy of the features."""
        for place, part in zip(range(0, len(rows), 1024), rows.split(1024), strict=True):
            for store in (self._features, self._targets, self._source):
                store[place : place + len(part)] = store[part]
        self.count = len(rows)


def fit_svm_head(
    cache: FeatureCache, images: Sequence[int], classes: int, config: SVMConfig, seed: int = 0
) -> LinearHead:
    """SVMs of K classes from the regions of the images at these positions of the cache.

    Raises DataError where there is no object to learn from, ConfigError where max_examples cannot hold the objects.
    """
    targets = {i: svm_targets(cache.regions[i], classes, config) for i in images}
    examples = Examples(config.max_examples, cache.dimension, classes)
    start = _leave_room(config, sum(int((targets[i] > 0).any(dim=1).sum()) for i in images), len(images))
    for i in tqdm(images, desc="first examples", unit="image"):
        chosen = initial_svm_examples(cache.regions[i], start, np.random.default_rng([seed, i]))
        examples.add(i, chosen, cache.features(i, chosen), targets[i][chosen])
    if not (examples.targets > 0).any():
        raise DataError("no object to learn from", field="data", expected="objects that are not difficult")
    scale = config.feature_norm / mean_norm(examples.features)
    rough = replace(config, gap=ROUGH * config.gap)
    solution = _refit(examples, None, scale, rough, seed)
    for number in range(1, config.passes + 1):
        order = np.random.default_rng([seed, number]).permutation(np.asarray(images)).tolist()
        found = new = 0
        for i in tqdm(order, desc=f"hard negatives, pass {number}", unit="image"):
            features = cache.features(i)
            head = _head(solution, scale, config).to(features.device)
            scores = head.scores(features).cpu()
            hard = hard_negatives(cache.regions[i], scores, targets[i], examples.of_image(i), config)
            found, new = found + len(hard), new + len(hard)
            examples.add(i, hard, features[hard.to(features.device)], targets[i][hard])
            full = examples.room == 0
            if new >= config.refit_every or full:
                solution = _evict(examples, _refit(examples, solution, scale, rough, seed), scale, config)
                new = 0
                # With little room made, every few images would fill it and fit again.
                if full and examples.room < config.max_examples / 10:
                    log.warning("svm.max_examples=%d is full: mining stops early", config.max_examples)
                    return _head(_refit(examples, solution, scale, config, seed), scale, config)
        if found == 0:
            break
    return _head(_refit(examples, solution, scale, config, seed), scale, config)


def _leave_room(config: SVMConfig, objects: int, images: int) -> SVMConfig:
    """With so few random negatives an image that half of what the objects leave is free for hard ones."""
    if objects >= config.max_examples:
        raise ConfigError(
            "too few", field="svm.max_examples", expected=f"more than the {objects} objects", got=config.max_examples
        )
    share = (config.max_examples - objects) // (2 * max(1, images))
    return replace(config, random_negatives=min(config.random_negatives, share))


def _problem(examples: Examples, scale: float, config: SVMConfig) -> SVMProblem:
    return SVMProblem(
        examples.features, examples.targets, scale, config.bias, config.C, config.positive_weight, config.loss
    )


def _refit(examples: Examples, start: SVMSolution | None, scale: float, config: SVMConfig, seed: int) -> SVMSolution:
    problem = _problem(examples, scale, config)
    solution = solve_svms(problem, start, config.gap, config.epochs, seed)
    message = "svm: %d examples, %d epochs, duality gap %.2f%%, objective %.4g"
    log.info(message, examples.count, solution.epochs, 100 * solution.gap, solution.primal.sum())
    return solution


def _evict(examples: Examples, solution: SVMSolution, scale: float, config: SVMConfig) -> SVMSolution:
    """Drop negatives far from every margin. Only those without weight in the solution go, so it stays as it is."""
    problem = _problem(examples, scale, config)
    parts = torch.arange(examples.count).split(2048)
    easy = torch.cat([(problem.rows(part) @ solution.weights.T < config.evict).all(dim=1) for part in parts])
    easy &= (examples.targets <= 0).all(dim=1) & (solution.alpha == 0).all(dim=1)
    rows = (~easy).nonzero().flatten()
    examples.keep(rows)
    return SVMSolution(solution.weights, solution.alpha[rows], solution.primal, solution.dual)


def _head(solution: SVMSolution, scale: float, config: SVMConfig) -> LinearHead:
    """The solution on unscaled features."""
    return LinearHead("svm", solution.weights[:, :-1] * scale, solution.weights[:, -1] * config.bias)
