"""What a check of data found, as a record, a table and JSON."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sppdet.data.build import CheckedImage
from sppdet.data.entries import Entry
from sppdet.data.problems import Problem
from sppdet.drawing.tables import align

FILES_SHOWN = 3  # of each kind of problem, in the table


@dataclass(frozen=True, eq=False)
class Check:
    """All problems of data, and their images.

    origin: format. parts: images without errors, by name of the split. entries: all images by name of the split, and
    under "" those of none of the splits.
    """

    root: Path
    origin: str
    classes: tuple[str, ...]
    parts: Mapping[str, Sequence[CheckedImage]]
    problems: tuple[Problem, ...]
    entries: Mapping[str, Sequence[Entry]]

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
