"""The folder of a run: the names of its files, and the checks that they belong together."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sppdet.config.data import DataConfig
from sppdet.config.record import as_dict, from_dict
from sppdet.errors import ConfigError, SppdetError, WeightsError
from sppdet.files.atomic import REMEDY, check_finite, content_key, load_tensors, read_json, write_json
from sppdet.files.durable import remove_leftovers
from sppdet.files.owned import hold_folder
from sppdet.files.run_check import check_run
from sppdet.runtime.ranks import rank

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from torch import Tensor

T = TypeVar("T")
V = TypeVar("V", dict[str, Any], list[Any])
Kind = Literal["detector", "classifier"]

# These say how a run is carried out, not what it gives; a resumed run may change them, and move to another device.
EXECUTION_KEYS = ("workers", "cache_gb", "output", "device", "tensorboard", "data.allow_outside")
ADVICE = "choose another folder or remove it"
OF_EACH_CLASS: dict[Kind, str] = {"detector": "thresholds", "classifier": "head.last.bias"}  # one value


class RunFolder:
    """The folder of a training and of its evaluations; data/README.md lists its files."""

    def __init__(self, run: str | PathLike[str]) -> None:
        """`run`: the folder, or the detector's or classifier's file in it, which may have another name."""
        path = Path(run)
        self._file = path if path.is_file() else None
        self.path = path.parent if self._file else path
        self.detector = self._file or path / "detector.safetensors"
        self.classifier = self._file or path / "classifier.safetensors"
        self.config = self.path / "config.json"
        self.data_hash = self.path / "data.json"
        self.images = self.path / "images.json"
        self.split = self.path / "split.json"
        self.readme = self.path / "README.md"
        self.val = self.path / "val.json"
        self.val_picture = self.path / "val.jpg"
        self.labels_picture = self.path / "labels.png"
        self.examples_picture = self.path / "examples.jpg"
        self.mined = self.path / "mined.safetensors"
        features = self.path / "features"
        self.features = features.readlink() if rank() and features.is_symlink() else features  # those of rank 0
        self.training_state = self.path / "training.safetensors"
        self.training_history = self.path / "training.json"

    def heads(self, name: str) -> Path:
        """The file of the heads fitted in the step `name`."""
        return self.path / f"heads-{name}.safetensors"

    def finetuned(self, name: str) -> Path:
        """The file of the network fine-tuned in the step `name`."""
        return self.path / f"finetuned-{name}.safetensors"

    def evaluation(self, data: DataConfig) -> Path:
        """The folder of the evaluation on `data`: RUN/SPLIT, or RUN/SPLIT-20 on the first 20 images.

        With an annotation file SPLIT is its name. Data of another folder than those of the training, where that is
        known, have a key of their place in the name: RUN/SPLIT-1a2b3c.
        """
        name = Path(data.annotations).stem if data.annotations else data.split
        trained = self._trained_data()
        if trained and self._place(data) != self._place(trained):
            name += f"-{content_key(self._place(data))[:6]}"
        return self.path / (name if data.max_images is None else f"{name}-{data.max_images}")

    def _place(self, data: DataConfig) -> list[object]:
        """Return what tells data from others: their folders, and how they are divided."""
        folders = [data.root, Path(data.annotations).parent if data.annotations else None]
        own = data.split_file in (None, str(self.split))
        division = [data.split_fractions, data.split_seed] if own else data.split_file
        return [data.year, division, *(folder and str(Path(folder).resolve()) for folder in folders)]

    def find(self, kind: Kind) -> Path:
        """Return the detector's or classifier's file. Raises WeightsError if the run has none, or is another file."""
        if self._file and self._file.suffix != ".safetensors":
            raise WeightsError(f"is not a {kind}", file=self._file, expected=f"a run folder or {kind}.safetensors")
        file = self.detector if kind == "detector" else self.classifier
        check_run(self._file or self.path)
        if not file.is_file() and self.config.is_file() and not (self.detector.is_file() or self.classifier.is_file()):
            command = "classify train" if "view" in _read(self.config, dict) else "train"
            way = f"sppdet {command} --config {self.config} --output {self.path}, which resumes it"
            raise WeightsError("the training is not finished", file=self.path, expected=way)
        if not file.is_file():
            others = ", ".join(sorted(path.name for path in self.path.glob("*.safetensors")))
            raise WeightsError("file not found", file=file, got=f"a folder with {others}" if others else None)
        return file

    @contextmanager
    def open(self, kind: Kind) -> Iterator[tuple[Path, dict[str, Tensor], dict[str, Any]]]:
        """Give the detector's or classifier's file, its tensors and its header to a block that builds it.

        Raises WeightsError if the file is missing, damaged or not of this kind, its weights are not finite or its
        classes do not fit; what is raised in the block by a header or tensors of another kind means that as well.
        """
        file = self.find(kind)
        tensors, header = load_tensors(file)
        if header.get("kind") != kind:
            raise WeightsError(f"is not a {kind}", file=file, expected=f"a run folder or {kind}.safetensors")
        check_finite(file, tensors)
        _check_classes(file, header.get("classes"), tensors.get(OF_EACH_CLASS[kind]))
        try:
            yield file, tensors, header
        except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            raise WeightsError(f"is not a {kind}", file=file, got=error) from error

    def classes(self, kind: Kind) -> tuple[str, ...]:
        """Read the classes of the detector or classifier, for which its network is not built. Raises WeightsError."""
        with self.open(kind) as (_, _, header):
            return tuple(header["classes"])

    def load_config(self, kind: type[T]) -> T:
        """Read the configuration of the training back as a record of this class.

        Raises SppdetError if there is no config.json, ConfigError if a key of it is unknown.
        """
        return from_dict(kind, _read(self.config, dict), self.config)

    def load_data(self) -> DataConfig:
        """Read the data that the run was trained on. Raises ConfigError if the run has no config.json that says so."""
        trained = self._trained_data()
        if trained is None:
            reason = "the run does not say which data it was trained on"
            raise ConfigError(reason, file=self.config, field="data.root", expected="a folder: --data.root PATH")
        return trained

    def _trained_data(self) -> DataConfig | None:
        values = _read(self.config, dict).get("data") if self.config.is_file() else None
        if not isinstance(values, dict) or not values.get("root"):
            return None
        return from_dict(DataConfig, values, self.config)

    def check_config(self, config: DataclassInstance) -> None:
        """Raise ConfigError if the run was started with another configuration.

        EXECUTION_KEYS may differ. Keys that are younger than the run had their defaults.
        """
        if self.has_weights():  # otherwise nothing here depends on a configuration yet
            self._check_same(config, _read(self.config, dict))

    @contextmanager
    def hold(self, config: DataclassInstance) -> Iterator[None]:
        """Keep other processes from the folder while the block trains in it.

        If another one trains this configuration there, it is waited for. Raises ConfigError if another one trains
        another configuration, or as `check_config` does, or if the folder is not a run's and holds anything.
        """

        def check_owner(owner: dict[str, Any]) -> None:
            if isinstance(owner.get("config"), dict):
                self._check_same(config, owner["config"])

        with hold_folder(self.path, "run", as_dict(config), check_owner):
            self.check_config(config)
            yield

    def _check_same(self, config: DataclassInstance, other: dict[str, Any]) -> None:
        defaults = flatten(as_dict(type(config)()))
        started, now = defaults | flatten(other), flatten(as_dict(config))
        different = [key for key in now if key not in EXECUTION_KEYS and started.get(key) != now[key]]
        if different:
            expected, got = (", ".join(f"{key}={each.get(key)}" for key in different) for each in (started, now))
            reason = f"holds a run of another configuration; {ADVICE}"
            raise ConfigError(reason, file=self.path, field="output", expected=expected, got=got)

    def begin(self, config: DataclassInstance, key: str) -> None:
        """Record the configuration of a new run and a hash of its training data, or check those of an older one.

        Raises ConfigError if the run was started with different data. Runs without a recorded hash are accepted.
        """
        key = content_key(key, _own_settings(config))  # the same in a later version that has more keys
        if not self.has_weights():
            write_json(self.config, as_dict(config))
        if self.has_weights() and self.data_hash.is_file() and read_json(self.data_hash) != key:
            reason = f"was started with other images, annotations, proposals or weights; {ADVICE}"
            raise ConfigError(reason, file=self.path, field="output")
        write_json(self.data_hash, key)

    def record_images(self, keys: Sequence[str]) -> None:
        """Record the content keys of the images that the run is trained on, and a key of them all."""
        write_json(self.images, {"images": keys, "key": content_key(keys)})

    def trained_on(self, keys: Sequence[str]) -> int:
        """Return how many of the images with these content keys the run was trained on; 0 if it has no record.

        Raises SppdetError if the record is damaged: a number that is too small looks like a fair evaluation.
        """
        if not self.images.is_file():
            return 0
        record = _read(self.images, dict)
        images = record.get("images")
        if not isinstance(images, list) or record.get("key") != content_key(images):
            expected = "the keys that were written: copy it again, or remove it to go without this check"
            raise SppdetError("is damaged", file=self.images, expected=expected)
        known = {str(key) for key in images}
        return sum(key in known for key in keys)

    def tidy(self) -> None:
        """Remove what a training leaves that is killed right after it has written its detector or classifier."""
        remove_leftovers(self.path.resolve())
        shutil.rmtree(self.features, ignore_errors=True)

    def has_weights(self) -> bool:
        """Return True if a step of a training has been done."""
        return any(self.path.glob("*.safetensors"))


def _read(file: Path, kind: type[V]) -> V:
    """Read a JSON file of a run. Raises SppdetError if it is missing or damaged."""
    content = read_json(file)
    if not isinstance(content, kind):
        raise SppdetError("is damaged", file=file, expected=REMEDY)
    return content


def run_key(file: Path) -> str:
    """Return the key of a file of a run: its name, and what the run was begun with."""
    begun = file.with_name("data.json")
    return content_key(file.name, read_json(begun) if begun.is_file() else None)


def _check_classes(file: Path, classes: object, outputs: Tensor | None) -> None:
    """Raise WeightsError unless there are names for as many classes as the weights have."""
    names = classes if isinstance(classes, list) else []
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise WeightsError("is damaged", file=file, field="classes", expected="different names", got=classes)
    if outputs is not None and tuple(outputs.shape) != (len(names),):
        expected = f"{len(outputs) if outputs.ndim else 0}, as the weights have"
        raise WeightsError("wrong number", file=file, field="classes", expected=expected, got=len(names))


def _own_settings(config: DataclassInstance) -> dict[str, Any]:
    """Return the settings that differ from their defaults and decide what a run gives."""
    defaults = flatten(as_dict(type(config)()))
    own = flatten(as_dict(config)).items()
    return {key: value for key, value in own if key not in EXECUTION_KEYS and value != defaults.get(key)}


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"svm": {"C": 1}} as {"svm.C": 1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
