"""The check of annotated data: everything that is wrong with them, and what they hold, in one record."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.data.checks.boxes import check_boxes
from sppdet.data.checks.files import check_copies, check_decoding, check_strays
from sppdet.data.dataset import Part, read_parts
from sppdet.data.formats.find import FORMATS, Source
from sppdet.data.problems import Problem, Problems
from sppdet.data.records import CheckedImage, check_images, names_of
from sppdet.data.split import choose_splits
from sppdet.drawing.tables import align
from sppdet.errors import SppdetError

FILES_SHOWN = 3  # of each kind of problem, in the table


@dataclass(frozen=True, eq=False)
class Check:
    """All problems of data, and their images. origin: format. parts: images without errors, by name of the split."""

    root: Path
    origin: str
    classes: tuple[str, ...]
    parts: Mapping[str, Sequence[CheckedImage]]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.severity == "error"]

    def kinds(self) -> dict[tuple[str, str], list[Problem]]:
        """Return the problems by severity and kind: errors first, then the most frequent kinds."""
        groups: dict[tuple[str, str], list[Problem]] = defaultdict(list)
        for problem in self.problems:
            groups[problem.severity, problem.kind].append(problem)
        return dict(sorted(groups.items(), key=lambda group: (group[0][0], -len(group[1]), group[0][1])))

    def objects(self) -> dict[str, dict[str, int]]:
        """Return the number of objects of each class in each part, by class and part."""
        counts = {name: Counter(t.name for image in part for t in image.objects) for name, part in self.parts.items()}
        return {label: {name: count[label] for name, count in counts.items()} for label in self.classes}

    def as_dict(self) -> dict[str, Any]:
        parts = {
            name: {
                "images": len(images),
                "without_objects": sum(not image.objects for image in images),
                "objects": sum(len(image.objects) for image in images),
            }
            for name, images in self.parts.items()
        }
        kinds = [{"kind": kind, "severity": grade, "count": len(all_)} for (grade, kind), all_ in self.kinds().items()]
        errors = len(self.errors)
        counts = {"errors": errors, "warnings": len(self.problems) - errors, "kinds": kinds}
        summary = {"root": str(self.root), "format": self.origin, **counts, "splits": parts, "classes": self.objects()}
        return {"problems": [problem._asdict() for problem in self.problems], "summary": summary}

    def __str__(self) -> str:
        objects = [["objects", *self.parts]]
        objects += [[name, *map(str, counts.values())] for name, counts in self.objects().items()]
        for title, wanted in (("images", lambda _: True), ("without objects", lambda image: not image.objects)):
            objects.append([title, *(str(sum(map(wanted, images))) for images in self.parts.values())])
        tables = [f"{self.root} ({self.origin})", align(objects)]
        if not self.problems:
            return "\n\n".join([*tables, "nothing wrong found"])
        rows, lines = [["kind", "severity", "count"]], ["first files"]
        for (severity, kind), problems in self.kinds().items():
            rows.append([kind, severity, str(len(problems))])
            files = dict.fromkeys(self._short(problem.file) for problem in problems if problem.file)
            lines.append(", ".join(list(files)[:FILES_SHOWN]))
        table = "\n".join(f"{row}  {line}".rstrip() for row, line in zip(align(rows).split("\n"), lines, strict=True))
        first = [f"{kind}: {self._line(problems[0])}" for (_, kind), problems in self.kinds().items()]
        return "\n\n".join([*tables, table, "The first of each kind:\n" + "\n".join(first)])

    def _line(self, problem: Problem) -> str:
        return str(problem._replace(file=self._short(problem.file) if problem.file else None))

    def _short(self, file: str) -> str:
        path = Path(file)
        return str(path.relative_to(self.root)) if path != self.root and path.is_relative_to(self.root) else file


def check_data(
    config: DataConfig, proposals: ProposalConfig, held_out: str = "", training: bool = False, decode: bool = True
) -> Check:
    """Check all images and annotations that `config` names, all splits together, without stopping at errors.

    proposals: their least size. held_out: a further split, or annotation file. training: report only what concerns
    config.split and `held_out`; the other splits are only searched for copies of their images. decode: decode each
    image, which takes most of the time. The problems of unreadable images need it.

    Raises ConfigError or DataError if there are no data of a known format.
    """
    source, read = read_parts(config, [held_out] if held_out else [])
    used = _used(config, held_out, list(read)) if training else list(read)
    found = Problems(strict=False)
    classes = _class_names(config, source, read, found)
    parts = {}
    for name, part in read.items():
        problems = Problems(strict=False)
        problems.found += part.problems.found
        images = part.records.images[: config.max_images]
        ignored = Counter[str]() if config.classes is not None else None
        parts[name] = check_images(images, classes, source.least_side, problems, ignored)
        for image in parts[name]:
            check_boxes(image, proposals, problems)
        if name in used:
            found.found += problems.found
    _check_names(config, source, {name: read[name] for name in used}, found)
    _check_presence(source, classes, {name: parts[name] for name in used}, found)
    check_copies(parts, found)
    if not training:
        every = [image for part in read.values() for image in part.records.images]
        if source.format == "voc":  # other lists
            every += source.read(None, Problems(strict=False)).images
        check_strays(source.format, every, found)
    if decode:
        check_decoding(dict.fromkeys(image.source.path for name in used for image in parts[name]), found)
    return Check(source.root, FORMATS[source.format], classes, parts, tuple(dict.fromkeys(found.found)))


def _used(config: DataConfig, held_out: str, names: Sequence[str]) -> list[str]:
    if config.annotations:
        return list(names)
    return [*(choose_splits(config.split, names) or ()), *(choose_splits(held_out, names) or ())]


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


def _check_names(config: DataConfig, source: Source, parts: Mapping[str, Part], problems: Problems) -> None:
    """Report names of classes that differ in case or blanks only, unless all are in config.classes."""
    things = [(image, thing) for part in parts.values() for image in part.records.images for thing in image.objects]
    counts = Counter(thing.name for _, thing in things)
    alike: dict[str, set[str]] = defaultdict(set)
    for name in (*counts, *(name for part in parts.values() for name in part.records.classes or ())):
        alike["".join(name.casefold().split())].add(name)
    for names in alike.values():
        rare, *others = sorted(names, key=lambda name: (counts[name], name))
        if others and not names <= set(config.class_names):
            image = next((one for one in things if one[1].name == rare), None)
            file, field = (image[0].file, image[1].field) if image else (source.root, None)
            text = " and ".join(f'"{name}" ({counts[name]} objects)' for name in (rare, *others))
            problems.warn("class names alike", f"classes {text} differ in case or blanks only", file, field)


def _check_presence(
    source: Source, classes: Sequence[str], parts: Mapping[str, Sequence[CheckedImage]], problems: Problems
) -> None:
    """Report classes without objects, or with difficult ones only, in all parts or in one."""
    present = {
        name: {thing.name for image in images for thing in image.objects if not thing.difficult}
        for name, images in parts.items()
        if images
    }
    for label in classes:
        missing = [name for name in present if label not in present[name]]
        if missing:
            where = ", ".join(missing) if len(missing) < len(present) else "any split"
            message = f"class {label} has no objects, except difficult ones, in {where}"
            problems.warn("class without objects", message, source.root, where)
