"""The data set that a configuration names, in any format."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from sppdet.config.data import DataConfig
from sppdet.data.build import CountedDataset, build_dataset
from sppdet.data.division import Division, divide, image_names, read_division, select
from sppdet.data.entries import BEYOND, Entry
from sppdet.data.files import short_names
from sppdet.data.formats.find import find_source
from sppdet.data.formats.source import Source
from sppdet.data.problems import Problems
from sppdet.data.records import AnnotatedImage, Records, names_of
from sppdet.data.splits import NAMED, PARTS, STANDARD, choose_splits
from sppdet.errors import ConfigError, DataError
from sppdet.files.atomic import write_json
from sppdet.structures import Dataset
from sppdet.wording import counted, did_you_mean


def read_dataset(
    config: DataConfig, classes: tuple[str, ...] | None = None, problems: Problems | None = None
) -> Dataset:
    """Read the images and annotations that `config` names, in the format that is found.

    classes: names of labels 1..K, such as a detector's; by default config.classes, then those of the data. If
    config.classes is given, objects of classes that are not among the labels are ignored and counted. If the data have
    no splits of their own, they are divided by config.split_seed, or as in config.split_file. Problems are collected in
    `problems`, if given, which may be told not to raise them; otherwise they are raised (if config.strict) or logged.

    Raises ConfigError if no root is given, DataError if the data cannot be read. The error's field is "split" for a
    split that the data do not have: a training then does without the default `val`.
    """
    return read_counted(config, classes, problems).dataset


def read_counted(
    config: DataConfig, classes: tuple[str, ...] | None = None, problems: Problems | None = None
) -> CountedDataset:
    """Read as `read_dataset` does, and return all images of the split as well, also those left out."""
    found = Problems(config.strict) if problems is None else problems
    source = _find(config)
    records, origin, divided = _read_split(source, config, found)
    known = records.classes or names_of(divided or records.images)
    chosen = classes or config.class_names or records.classes or ()
    if not chosen:
        chosen = known if divided else source.class_names(found)
    if config.classes and not classes:
        _check_classes(config.class_names, known, bool(records.classes), source.root, found)
    images, most = records.images, config.max_images
    beyond = [] if most is None else [image.entry(BEYOND) for image in images[most:]]
    result = build_dataset(
        Path(config.annotations).stem if config.annotations else f"{source.name} {config.split}",
        records._replace(images=images[:most], left_out=[*records.left_out, *beyond]),
        chosen,
        source.least_side,
        found,
        ignore_others=config.classes is not None,
        origin=f"{source.title}{origin}",
    )
    if problems is None:
        found.log()
    return result


def record_division(config: DataConfig, file: Path) -> DataConfig:
    """Divide the data, if they have no splits of their own, and write the names of the images of each part to `file`.

    Returns the configuration that reads the parts from the file, or the same if there is nothing to divide.
    """
    source = _find(config)
    if config.split_file or not _is_divided(source, config):
        return config
    images = source.read(None, Problems(strict=False)).images  # errors are raised when the images are read
    division = _division(source, config, images)
    write_json(file, {"seed": config.split_seed, "fractions": config.split_fractions, **division})
    return replace(config, split_file=str(file))


class Part(NamedTuple):
    """All of a split, or of an annotation file. problems: of its files; parts by seed share theirs."""

    records: Records
    problems: Problems

    def entries(self) -> list[Entry]:
        """Return all images for the counts, without a check of their sizes and boxes."""
        return [*(image.entry() for image in self.records.images), *self.records.left_out]


class Parts(NamedTuple):
    """All parts of the data, by name. rest: images of none of them, and annotations without an image."""

    source: Source
    parts: dict[str, Part]
    rest: list[Entry]


def read_parts(config: DataConfig, others: Sequence[str] = ()) -> Parts:
    """Read all parts of the data, by name, without stopping at errors in their files.

    Parts are train, val and test, by the data's own names, and config.split and `others` if there are such splits. An
    image of train or val is not in trainval again. With config.annotations, `others` are further annotation files.
    Raises ConfigError or DataError if there are no data, or if they are of no known format.
    """
    source = _find(config)
    if config.annotations:
        files = [config.annotations, *(file for file in others if Path(file).suffix)]
        paths = {Path(file).as_posix(): find_source(replace(config, annotations=file)) for file in files}
        short = short_names(paths)
        return Parts(source, {short[path]: _collect(each, None) for path, each in paths.items()}, [])
    if _is_divided(source, config):
        whole = _collect(source, None)
        names = image_names(whole.records.images, source.root)
        division = _division(source, config, whole.records.images)
        parts = {}
        for name in (name for name in PARTS if division[name]):
            images = [whole.records.images[i] for i in select(name, names, division, source.root)]
            parts[name] = Part(whole.records._replace(images=images, left_out=()), whole.problems)
        places = {entry.place for part in parts.values() for entry in part.entries()}
        undivided = [entry for entry in whole.entries() if entry.place not in places] if parts else []
        return Parts(source, parts or {PARTS[0]: whole}, [*undivided, *_rest(source, None)])
    wanted = [split for name in PARTS for split in choose_splits(name, source.splits) or ()]
    wanted += [name for name in ("trainval", config.split, *others) if name in source.splits]
    parts = {name: _collect(source, [name]) for name in dict.fromkeys(wanted)}
    if "trainval" in parts:
        known = {image.path for name, part in parts.items() if name in PARTS[:2] for image in part.records.images}
        records = parts["trainval"].records
        rest = [image for image in records.images if image.path not in known]
        parts["trainval"] = parts["trainval"]._replace(records=records._replace(images=rest))
    filled = {name: part for name, part in parts.items() if part.records.images or part.problems.found}
    return Parts(source, filled, _rest(source, list(parts)))


def _rest(source: Source, splits: Sequence[str] | None) -> list[Entry]:
    return Part(source.read_rest(splits), Problems(strict=False)).entries()


def _collect(source: Source, splits: Sequence[str] | None) -> Part:
    problems, records = Problems(strict=False), Records([])
    with problems.collect("unusable file"):
        records = source.read(splits, problems)
    return Part(records, problems)


def _find(config: DataConfig) -> Source:
    if not config.root:
        expected = "a folder: --data.root PATH, or dataset= in Python"
        raise ConfigError("no data given", field="data.root", expected=expected)
    return find_source(config)


def _is_divided(source: Source, config: DataConfig) -> bool:
    """Return True if a split is a part by seed: there are no splits, or, but in VOC layout, none to evaluate on."""
    if config.annotations or config.split_file:
        return not config.annotations
    if source.format == "voc":
        return config.split not in source.splits and not any(map(source.splits.__contains__, NAMED))
    return not any(choose_splits(split, source.splits) for split in ("val", "test"))


def _read_split(
    source: Source, config: DataConfig, problems: Problems
) -> tuple[Records, str, Sequence[AnnotatedImage]]:
    """Return the records of a split, what it is a split of, and the images of all parts if they are divided here."""
    if config.annotations:
        return source.read(None, problems), "", ()
    if not _is_divided(source, config):
        splits = choose_splits(config.split, source.splits) or [config.split]  # which read refuses
        return source.read(splits, problems), f", splits {_list(source.splits)}", ()
    records = source.read(None, problems)
    division = _division(source, config, records.images)
    names = image_names(records.images, source.root)
    images = [records.images[i] for i in select(config.split, names, division, source.root)]
    listed = {name for part in division.values() for name in part}
    for count, which in ((len(set(names) - listed), "not in the split"), (len(listed - set(names)), "missing")):
        if count and config.split_file:
            problems.warn("images of the split", f"{counted(count, 'image')} {which}", config.split_file)
    sizes = ", ".join(f"{part} {len(division[part])}" for part in division)
    how = f"as in {config.split_file}" if config.split_file else f"by seed {config.split_seed}"
    return records._replace(images=images, left_out=()), f", divided {how} into {sizes}", records.images


def _list(splits: Sequence[str]) -> str:
    """Return the usual splits, and the number of the others, such as VOC's lists of single classes."""
    usual = [split for split in splits if split in NAMED or split in STANDARD]
    others = len(splits) - len(usual)
    return ", ".join([*sorted(usual), *([f"{others} others"] if others else [])])


def _division(source: Source, config: DataConfig, images: Sequence[AnnotatedImage]) -> Division:
    if config.split_file:
        return read_division(Path(config.split_file))
    classes = [frozenset(thing.name for thing in image.objects) for image in images]
    return divide(image_names(images, source.root), classes, config.split_fractions, config.split_seed)


def _check_classes(wanted: Sequence[str], known: Sequence[str], listed: bool, root: Path, problems: Problems) -> None:
    """Raise DataError for wanted classes that a file of the data does not list, or if no object is of any of them."""
    missing = [name for name in wanted if name not in known]
    if missing and (listed or len(missing) == len(wanted)):
        message, field = "no such class in the data", "data.classes"
        raise DataError(message, file=root, field=field, expected=tuple(known), got=missing[0])
    for name in missing:
        question = did_you_mean(name, known)
        message = f"no objects of class {name}" + (f" ({question})" if question else "")
        problems.warn("class without objects", message, root, "data.classes")
