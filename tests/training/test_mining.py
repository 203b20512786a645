from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
import torch
from factories import annotate
from svm_oracle import primal_of
from torch import Tensor

from sppdet.config.heads import SVMConfig
from sppdet.errors import ConfigError, DataError
from sppdet.heads.linear import Heads
from sppdet.heads.svm import SVMProblem, solve_svms
from sppdet.training import mining
from sppdet.training.mining import ExamplePool, MiningState, mine_svms
from sppdet.training.sampling import RECENT, ImageRegions, Regions, svm_targets

IMAGES, PROPOSALS, DIMENSION = 30, 60, 16
CONFIG = SVMConfig(C=0.01, random_negatives=2, passes=4, refit_every=50, gap=0.005, epochs=500)
EVERYTHING = list(range(IMAGES))


@dataclass
class ArrayCache:
    """The part of FeatureCache that `mine_svms` uses, from arrays."""

    regions: list[ImageRegions]
    rows: list[Tensor]
    dimension: int = DIMENSION

    def features(self, i: int, indices: Tensor | None = None) -> Tensor:
        return self.rows[i] if indices is None else self.rows[i][indices]

    def apply_to_features(self, i: int, function: Callable[[Tensor], Tensor]) -> Tensor:
        return function(self.rows[i])

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")


def planted(i: int) -> list[int]:
    """The regions of image i that are made to look like an object of the first class."""
    return [2 + 7 * (i % 8), 3 + 7 * (i % 8)] if i % 3 == 0 else []


@pytest.fixture
def images() -> ArrayCache:
    """Images of one object of each of two classes and proposals that overlap nothing, features of norm 1.

    Classes lie along the first two axes, background around the origin of these. In every third image two of 60
    proposals lie near the first class, but for the third axis: a random start of two an image misses nearly all."""
    rng = np.random.default_rng(0)
    regions, rows = [], []
    for i in range(IMAGES):
        corners = np.stack(np.meshgrid(np.arange(8) * 20, np.arange(8) * 20), axis=-1).reshape(-1, 2)[: PROPOSALS + 2]
        boxes = torch.from_numpy(np.hstack([corners, corners + 15])).float()
        annotations = annotate(boxes[:2], [1, 2], name=f"{i}")
        regions.append(ImageRegions.from_annotations(annotations, boxes[2:]))
        features = rng.normal(size=(PROPOSALS + 2, DIMENSION))
        features[:, :3] *= 0.3
        features[0, 0] = features[1, 1] = 6
        features[planted(i), 0] = 5
        features[planted(i), 2] = 4
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        rows.append(torch.from_numpy(features).half().float())
    return ArrayCache(regions, rows)


def fit(images: ArrayCache, config: SVMConfig = CONFIG, seed: int = 0, chosen: Sequence[int] = EVERYTHING) -> Heads:
    return Heads.from_linear("svm", mine_svms(images, list(chosen), 2, config, seed).linear(config))  # type: ignore[arg-type]


@pytest.fixture
def problems(monkeypatch) -> list[SVMProblem]:
    """Every problem that was solved, with copies of its arrays."""
    solved: list[SVMProblem] = []

    def solve(problem: SVMProblem, *arguments, **settings):
        solved.append(replace(problem, features=problem.features.clone(), targets=problem.targets.clone()))
        return solve_svms(problem, *arguments, **settings)

    monkeypatch.setattr(mining, "solve_svms", solve)
    return solved


def planted_scores(cache: ArrayCache, head: Heads) -> Tensor:
    """The first class's scores of the regions made to look like it."""
    return torch.cat([head.scores(cache.rows[i])[planted(i), 0] for i in range(IMAGES)])


def everything(cache: ArrayCache) -> SVMProblem:
    """All regions of all images, whose features have norm 1, as examples at once."""
    targets = torch.cat([svm_targets(regions, 2, CONFIG) for regions in cache.regions])
    return SVMProblem(torch.cat(cache.rows).half(), targets, CONFIG.feature_norm, CONFIG)


def objective(cache: ArrayCache, head: Heads) -> np.ndarray:
    weights = torch.cat([head.weight / CONFIG.feature_norm, head.bias[:, None] / CONFIG.bias], dim=1)
    return primal_of(everything(cache), weights)


def objective_of_everything(cache: ArrayCache) -> np.ndarray:
    """The best there is."""
    problem = everything(cache)
    return primal_of(problem, solve_svms(problem, gap=0.01, epochs=500).weights)


def test_mining_finds_what_the_random_start_missed_and_ends_near_the_solution_on_all_regions(images):
    before, after = fit(images, replace(CONFIG, passes=0)), fit(images)
    assert planted_scores(images, before).median() > 0  # taken for objects
    assert planted_scores(images, after).max() < 0
    objects = torch.stack([rows[0] for rows in images.rows])
    assert after.scores(objects)[:, 0].min() > 0.5
    best = objective_of_everything(images)
    start, mined = objective(images, before), objective(images, after)
    assert (mined >= best * 0.985).all()
    assert (mined <= best * 1.04).all()
    assert start[0] > best[0] * 1.2


def test_a_small_bound_is_kept_and_holds_every_object(images, problems, caplog):
    fit(images, replace(CONFIG, max_examples=80, random_negatives=50, hard_margin=-9.0, easy_margin=-99.0))
    assert max(len(problem.features) for problem in problems) == 80
    for problem in problems:
        assert (problem.targets > 0).sum(dim=0).tolist() == [IMAGES, IMAGES]
    assert "svm.max_examples=80 is full" in caplog.text
    assert len(problems) < 5  # it does not fit again for every image


def test_of_more_objects_than_memory_holds_a_random_choice_is_learnt_from(images, problems, caplog):
    every = images.regions[4].annotations  # of the second class there are few, and all are kept
    rare = replace(every, difficult=torch.tensor([False, True]))
    for i in range(4, IMAGES):
        images.regions[i] = replace(images.regions[i], annotations=replace(rare, id=f"{i}"))
    bounded = replace(CONFIG, max_examples=34)  # as many as there are objects
    first = mine_svms(images, EVERYTHING, 2, bounded, seed=1)  # type: ignore[arg-type]
    assert max(len(problem.features) for problem in problems) <= 34
    positives = (problems[0].targets > 0).sum(dim=0).tolist()
    assert 7 <= positives[0] <= 19  # 13 of 30 are expected
    assert positives[1] == 4
    assert 1 <= (problems[0].targets < 0).all(dim=1).sum() <= 17  # random negatives, fewer than images
    assert "svm.max_examples=34 holds about 17 of 34 objects" in caplog.text
    again = mine_svms(images, EVERYTHING, 2, bounded, seed=1)  # type: ignore[arg-type]
    assert torch.equal(again.solution.weights, first.solution.weights)
    more = mine_svms(images, EVERYTHING, 2, bounded, start=first)  # type: ignore[arg-type]
    assert 17 <= more.examples.count <= 34
    with pytest.raises(ConfigError, match=r"svm\.max_examples: too few \(expected at least 4, got 3\)"):
        fit(images, replace(CONFIG, max_examples=3))


def test_memory_does_not_grow_with_the_number_of_images(images, monkeypatch):
    """Regions, targets and boxes of the last few images alone stay in memory."""
    alive, most = WeakSet[object](), 0

    def watched(value: Any) -> Any:
        nonlocal most
        alive.add(value)
        most = max(most, len(alive))
        return value

    targets = mining.svm_targets
    monkeypatch.setattr(mining, "svm_targets", lambda *arguments: watched(targets(*arguments)))
    monkeypatch.setattr(ImageRegions, "from_annotations", lambda each, _: watched(replace(each)))
    many = 5 * RECENT
    regions = Regions([images.regions[i % IMAGES] for i in range(many)], [torch.zeros(0, 4)] * many)  # type: ignore[misc]
    cache = ArrayCache(regions, [images.rows[i % IMAGES] for i in range(many)])  # type: ignore[arg-type]
    mine_svms(cache, range(many), 2, replace(CONFIG, passes=1))  # type: ignore[arg-type]
    assert most <= 2 * RECENT + 2
    assert len(regions.part([3, 1])) == 2
    assert regions.part([3, 1])[1].annotations.id == "1"


def test_eviction_drops_only_what_has_no_weight(images, problems):
    # Everything is mined (above -9) and what lies under -1.2 dropped again at the next refit.
    head = fit(images, replace(CONFIG, hard_margin=-9.0, passes=1, refit_every=600, gap=0.02))
    sizes = [len(problem.features) for problem in problems]
    assert max(sizes) < IMAGES * (PROPOSALS + 2)
    assert (objective(images, head) <= objective_of_everything(images) * 1.05).all()


def test_a_solution_survives_eviction_before_it_has_converged(images, monkeypatch):
    """Weights are the sum over the examples kept of their dual variables: what has weight is never dropped."""
    starts = []

    def solve(problem: SVMProblem, start, *arguments, **settings):
        if start is not None:
            rows = problem.features[: len(start.alpha)].float() * problem.scale
            rows = torch.cat([rows, torch.full((len(rows), 1), problem.svm.bias)], dim=1)
            starts.append(((start.alpha * problem.targets[: len(rows)]).T @ rows, start.weights))
        return solve_svms(problem, start, *arguments, **settings)

    monkeypatch.setattr(mining, "solve_svms", solve)
    fit(images, replace(CONFIG, epochs=1, easy_margin=0.5, passes=2))
    assert len(starts) > 2
    for expected, weights in starts:
        torch.testing.assert_close(weights, expected, rtol=1e-3, atol=1e-4)


def test_examples_are_not_taken_twice(images, problems):
    fit(images, replace(CONFIG, easy_margin=-99.0, refit_every=100, passes=2, gap=0.05))
    rows = problems[-1].features
    assert len(rows.unique(dim=0)) == len(rows)


def test_a_refit_at_the_end_of_a_pass_does_not_end_mining(images, problems):
    """With a refit after every negative, no new ones are left at the end of any pass."""
    fit(images, replace(CONFIG, refit_every=1, hard_negatives=1, passes=2, gap=0.1), chosen=range(6))
    assert len(problems) > 1 + 6


def test_only_the_images_asked_for_are_seen(images, problems):
    for i in range(15, IMAGES):
        images.rows[i].fill_(torch.nan)
    head = fit(images, chosen=range(15))
    assert head.weight.isfinite().all()
    assert (problems[0].targets > 0).sum() == 30


def test_the_same_seed_gives_the_same_head(images):
    first, second, other = (fit(images, replace(CONFIG, passes=1), seed) for seed in (0, 0, 1))
    assert torch.equal(first.weight, second.weight)
    assert not torch.equal(first.weight, other.weight)


def test_nothing_to_learn_from_is_an_error(images):
    for i, regions in enumerate(images.regions):
        annotations = replace(regions.annotations, difficult=torch.ones(2, dtype=torch.bool))
        images.regions[i] = replace(regions, annotations=annotations)
    with pytest.raises(DataError, match="no object to learn from"):
        fit(images)


def test_mining_goes_on_in_other_images_from_what_was_saved(images, tmp_path):
    first = mine_svms(images, EVERYTHING[:20], 2, CONFIG)  # type: ignore[arg-type]
    first.save(tmp_path / "mined.safetensors")
    restored = MiningState.load(tmp_path / "mined.safetensors", images, 2, CONFIG)  # type: ignore[arg-type]
    for name in ("features", "targets", "sources"):
        assert torch.equal(getattr(restored.examples, name), getattr(first.examples, name))
    count = first.examples.count
    ends = [mine_svms(images, EVERYTHING[20:], 2, CONFIG, 0, start) for start in (first, restored)]  # type: ignore[arg-type]
    assert torch.equal(ends[0].solution.weights, ends[1].solution.weights)
    assert set(ends[0].examples.sources[:, 0].tolist()) == set(EVERYTHING)
    assert ends[0].examples.count > count
    assert ends[0].solution.gap <= CONFIG.gap
    at_once = fit(images)
    for i in EVERYTHING:
        continued = Heads.from_linear("svm", ends[0].linear(CONFIG)).scores(images.rows[i])
        assert (continued - at_once.scores(images.rows[i])).abs().max() < 0.5


def test_examples_keep_and_drop_rows():
    rng = np.random.default_rng(0)
    examples = ExamplePool(5000, 3, 2)
    features = torch.from_numpy(rng.normal(size=(4000, 3))).half()
    targets = torch.from_numpy(rng.integers(-1, 2, (4000, 2))).to(torch.int8)
    for image in range(4):
        part = slice(1000 * image, 1000 * image + 1000)
        examples.add(image, torch.arange(1000), features[part].float(), targets[part])
    assert examples.room == 1000
    rows = torch.from_numpy(np.sort(rng.choice(4000, 3000, replace=False)))
    examples.keep(rows)
    assert torch.equal(examples.features, features[rows])
    assert torch.equal(examples.targets, targets[rows])
    for image in range(4):
        assert torch.equal(examples.of_image(image), rows[rows // 1000 == image] % 1000)
    examples.add(7, torch.arange(4000), features, targets)
    assert examples.room == 0
    assert torch.equal(examples.features[3000:], features[:2000])
    assert len(examples.of_image(7)) == 2000
