"""Nested shares of the training images, and the detectors trained on them, all evaluated on the same images."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from sppdet.comparison.learning_curve import Share
from sppdet.config.training import TrainConfig
from sppdet.data.division import mix
from sppdet.errors import ConfigError
from sppdet.evaluation.bootstrap import BootstrapMAP, bootstrap_map
from sppdet.files.atomic import load_tensors, save_tensors
from sppdet.files.run_folder import RunFolder, run_key
from sppdet.structures import Annotations, Detections
from sppdet.training.hold_out import Split
from sppdet.training.train import prepare
from sppdet.wording import counted

logger = logging.getLogger(__name__)


def nested_shares(split: Split, fractions: Sequence[float], seed: int) -> dict[int, list[int]]:
    """Return the indices of the images of each share, by its size; a larger share holds the smaller ones.

    The images that are not held out are shared: at random, but each share has its fraction of every class. Copies of an
    image count once and stay together. Raises ConfigError for fractions that give equal shares or none, or a share
    without objects.
    """
    pool, classes = split.first_fit, split.dataset.classes
    present = [frozenset(classes[label - 1] for label in _labels([split.dataset.images[i]])) for i in pool]
    order = mix([split.keys[i] for i in pool], present, seed)
    sizes = sorted(round(fraction * len(order)) for fraction in fractions)
    got = ", ".join(map(str, sizes))
    if len(set(sizes)) < len(sizes) or not sizes or sizes[0] < 1 or sizes[-1] > len(order):
        expected = f"different fractions of {counted(len(order), 'image')}, from 1 image to all"
        raise ConfigError("cannot be used", field="shares", expected=expected, got=f"shares of {got or 'none'}")
    firsts = {size: set(order[:size]) for size in sizes}
    shares = {size: [i for i in pool if split.keys[i] in first] for size, first in firsts.items()}
    if not _labels([split.dataset.images[i] for i in shares[sizes[0]]]):
        raise ConfigError("a share without objects", field="shares", expected="larger shares", got=f"shares of {got}")
    return shares


def evaluate_shares(config: TrainConfig, split: Split, fractions: Sequence[float], seeds: Sequence[int]) -> list[Share]:
    """Train and evaluate a detector for each share and seed, in folders of their own under `config.output`.

    Each seed has shares of its own. Trainings of earlier calls on the same data are resumed. Raises ConfigError as
    `nested_shares` does, or if a folder holds another run.
    """
    of_seed = {seed: nested_shares(split, fractions, seed) for seed in seeds}
    sizes = list(of_seed[seeds[0]])
    runs: dict[int, list[BootstrapMAP]] = {size: [] for size in sizes}
    held_out, classes = _labels([split.dataset.images[i] for i in split.held_out]), split.dataset.classes
    missing: dict[int, set[int]] = {size: set() for size in sizes}
    for seed, shares in of_seed.items():
        for number, (size, share) in enumerate(shares.items(), start=1):
            logger.info("share %d of %d: %s, seed %d", number, len(sizes), counted(size, "image"), seed)
            folder = Path(config.output) / f"{size}-images-seed{seed}"
            runs[size].append(_evaluate_share(replace(config, seed=seed, output=str(folder)), split, share))
            missing[size] |= held_out - _labels([split.dataset.images[i] for i in share])
    names = {size: tuple(classes[label - 1] for label in sorted(missing[size])) for size in sizes}
    return [Share(size, tuple(runs[size]), names[size]) for size in sizes]


def _evaluate_share(config: TrainConfig, split: Split, share: Sequence[int]) -> BootstrapMAP:
    """Train on the images with these indices, as the first fit of `train` does, and evaluate on those held out."""
    run = RunFolder(config.output)
    with run.hold(config):
        return _evaluate_held(config, run, split, share)


def _evaluate_held(config: TrainConfig, run: RunFolder, split: Split, share: Sequence[int]) -> BootstrapMAP:
    chosen = sorted([*share, *split.held_out])
    place = {i: n for n, i in enumerate(chosen)}
    final_fit, held_out = [place[i] for i in share], [place[i] for i in split.held_out]
    dataset, keys = split.dataset.subset(chosen), [split.keys[i] for i in chosen]
    trainer = prepare(config, run, split._replace(dataset=dataset, final_fit=final_fit, held_out=held_out, keys=keys))
    file = run.path / "detections.safetensors"
    if not file.is_file():
        _save(file, trainer.detect(trainer.fit("train", final_fit), held_out))
        shutil.rmtree(run.features, ignore_errors=True)
    return bootstrap_map(_load(file), [dataset.images[i] for i in held_out], dataset.classes)


def _save(file: Path, detections: Sequence[Detections]) -> None:
    """Write detections as tensors: unlike a file of results, it needs no ids, and held-out copies may have the same."""
    columns = {key: torch.cat([getattr(one, key) for one in detections]) for key in ("boxes", "labels", "scores")}
    counts = torch.tensor([len(one.scores) for one in detections])
    save_tensors(file, {**columns, "counts": counts}, key=run_key(file))


def _load(file: Path) -> list[Detections]:
    tensors = load_tensors(file, run_key(file))[0]
    columns = (tensors[key].split(tensors["counts"].tolist()) for key in ("boxes", "labels", "scores"))
    return [Detections(*three) for three in zip(*columns, strict=True)]


def _labels(images: Sequence[Annotations]) -> set[int]:
    """Return the labels of the objects that are not difficult."""
    return {label for image in images for label in image.labels[~image.difficult].tolist()}
