"""The check of annotated data: everything that is wrong with them, and what they hold."""

from collections.abc import Mapping, Sequence
from itertools import chain

from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.data.build import check_images
from sppdet.data.checks.boxes import check_boxes
from sppdet.data.checks.classes import check_names, check_presence
from sppdet.data.checks.files import check_copies, check_decoding, check_strays
from sppdet.data.checks.report import Check
from sppdet.data.dataset import Part, read_parts
from sppdet.data.entries import Entry
from sppdet.data.formats.source import Source
from sppdet.data.problems import Problems
from sppdet.data.records import names_of
from sppdet.data.splits import choose_splits
from sppdet.errors import SppdetError


def check_data(
    config: DataConfig, proposals: ProposalConfig, held_out: str = "", training: bool = False, decode: bool = True
) -> Check:
    """Check all images and annotations that `config` names, all splits together, without stopping at errors.

    proposals: their least size. held_out: a further split, or annotation file. training: report only what concerns
    config.split and `held_out`; the other splits are only searched for copies of their images. decode: decode each
    image, which takes most of the time. The problems of unreadable images need it.

    Raises ConfigError or DataError if there are no data of a known format.
    """
    source, read, rest = read_parts(config, [held_out] if held_out else [])
    used = _used(config, held_out, list(read)) if training else list(read)
    found = Problems(strict=False)
    classes = _class_names(config, source, read, found)
    errors = {p.kind for part in read.values() for p in part.problems.found if p.severity == "error"}
    undivided = [entry for entry in rest if entry.fault in errors]  # of data that are divided by seed
    left_out = {name: [*undivided, *part.records.left_out] for name, part in read.items()}
    parts, refused = {}, dict[str, set[str]]()
    for name, part in read.items():
        problems = Problems(strict=False)
        problems.found += part.problems.found
        images = part.records.images[: config.max_images]
        parts[name], of_other_size = check_images(
            images, classes, source.least_side, problems, config.classes is not None
        )
        refused[name] = _refused(part, left_out[name], of_other_size, classes)
        for image in parts[name]:
            check_boxes(image, proposals, problems)
        if name in used:
            found.found += problems.found
    check_names([read[name].records for name in used], config.class_names, source.root, found)
    check_presence({name: parts[name] for name in used}, classes, refused, source.root, found)
    check_copies(parts, found)
    if not training:
        every = [image for part in read.values() for image in part.records.images]
        if source.format == "voc":  # other lists
            every += source.read(None, Problems(strict=False)).images
        check_strays(every, chain(*left_out.values()), source.label_suffix, found)
    if decode:
        check_decoding(dict.fromkeys(image.source.path for name in used for image in parts[name]), found)
    entries = {**{name: part.entries() for name, part in read.items()}, "": rest}
    return Check(source.root, source.title, classes, parts, tuple(dict.fromkeys(found.found)), entries)


def _used(config: DataConfig, held_out: str, names: Sequence[str]) -> list[str]:
    if config.annotations:
        return list(names)
    return [*(choose_splits(config.split, names) or ()), *(choose_splits(held_out, names) or ())]


def _refused(part: Part, left_out: Sequence[Entry], of_other_size: Sequence[Entry], classes: Sequence[str]) -> set[str]:
    """Return the classes of the objects that errors refuse: all if there is one whose class is not known."""
    images = part.records.images
    if any(image.malformed for image in images) or any(entry.objects for entry in left_out):
        return set(classes)
    places = {entry.place for entry in of_other_size}
    return set(names_of([image for image in images if image.entry().place in places]))


def _class_names(config: DataConfig, source: Source, parts: Mapping[str, Part], problems: Problems) -> tuple[str, ...]:
    listed = dict.fromkeys(name for part in parts.values() for name in part.records.classes or ())
    classes = config.class_names or tuple(listed)
    if not classes and (config.split_file or not source.splits):
        classes = names_of([image for part in parts.values() for image in part.records.images])
    if not classes:
        try:
            classes = source.class_names(Problems(strict=False))
        except SppdetError as error:  # which those of the files may have caused
            if not any(problem.severity == "error" for part in parts.values() for problem in part.problems.found):
                problems.error("no classes", error)
    return classes
