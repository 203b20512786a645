"""Names of classes that are probably one, and classes without objects to train on."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from sppdet.data.build import CheckedImage
from sppdet.data.problems import Problems
from sppdet.data.records import Records
from sppdet.wording import counted


def check_names(parts: Sequence[Records], wanted: Sequence[str], root: Path, problems: Problems) -> None:
    """Report names of classes that differ in case or blanks only, unless all are `wanted`. root: of the data."""
    things = [(image, thing) for part in parts for image in part.images for thing in image.objects]
    counts = Counter(thing.name for _, thing in things)
    alike: dict[str, set[str]] = defaultdict(set)
    for name in (*counts, *(name for part in parts for name in part.classes or ())):
        alike["".join(name.casefold().split())].add(name)
    for names in alike.values():
        rare, *others = sorted(names, key=lambda name: (counts[name], name))
        if others and not names <= set(wanted):
            image = next((one for one in things if one[1].name == rare), None)
            file, field = (image[0].file, image[1].field) if image else (root, None)
            numbers = {name: counted(counts[name], "object") for name in (rare, *others)}
            text = " and ".join(f'"{name}" ({number})' for name, number in numbers.items())
            problems.warn("class names alike", f"classes {text} differ in case or blanks only", file, field)


def check_presence(
    parts: Mapping[str, Sequence[CheckedImage]],
    classes: Sequence[str],
    refused: Mapping[str, set[str]],
    root: Path,
    problems: Problems,
) -> None:
    """Report classes without objects, or with difficult ones only, in all parts or in one.

    refused: by part, the classes that may have objects there which errors refuse: these are reported already.
    root: of the data.
    """
    present = {
        name: refused[name] | {thing.name for image in images for thing in image.objects if not thing.difficult}
        for name, images in parts.items()
        if images
    }
    for label in classes:
        missing = [name for name in present if label not in present[name]]
        if missing:
            where = ", ".join(missing) if len(missing) < len(present) else "any split"
            message = f"class {label} has no objects, except difficult ones, in {where}"
            problems.warn("class without objects", message, root, where)
