"""The accuracy of classifiers as a record that prints itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sppdet.config.classification import ViewsConfig
from sppdet.config.record import as_dict
from sppdet.drawing.tables import percent


@dataclass(frozen=True)
class Mean:
    """A mean over images and its `level` confidence interval over `resamples` resamples of them, if there are any.

    The interval covers the choice of test images only, not the seed of the training.
    """

    mean: float
    interval: tuple[float, float] | None = None
    level: float | None = None
    resamples: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) if self.interval else {"mean": self.mean}

    def __str__(self) -> str:
        if not self.interval or not self.level:
            return percent(self.mean)
        low, high = (100 * end for end in self.interval)
        return f"{percent(self.mean)} ({low:.1f} to {high:.1f}; {100 * self.level:.0f}% of {self.resamples} resamples)"


@dataclass(frozen=True)
class ClassAccuracy:
    """The fraction of the test `images` of one class that are classified correctly."""

    top1: float
    images: int


@dataclass(frozen=True)
class Accuracy:
    """The accuracy on `images` test images, of one classifier or the mean of several.

    topk: by "top1" and, of more than 5 classes, "top5". per_class: by name. runs: the top-1 accuracy of each run.
    against: the accuracy of other runs on the same images. difference: how much higher it is here, paired.
    """

    topk: dict[str, Mean]
    per_class: dict[str, ClassAccuracy]
    images: int
    runs: dict[str, float] | None = None
    views: ViewsConfig | None = None
    against: Accuracy | None = None
    difference: dict[str, Mean] | None = None

    def as_dict(self) -> dict[str, Any]:
        values: dict[str, Any] = {key: mean.as_dict() for key, mean in self.topk.items()}
        values |= {"per_class": {name: asdict(each) for name, each in self.per_class.items()}, "images": self.images}
        if self.runs is not None and self.views is not None:
            values |= {"runs": self.runs, "views": as_dict(self.views)}
        if self.against and self.difference:
            values["against"] = self.against.as_dict()
            values["difference"] = {key: mean.as_dict() for key, mean in self.difference.items()}
        return values

    def __str__(self) -> str:
        lines = [(name, percent(each.top1), f"{each.images} images") for name, each in self.per_class.items()]
        lines += [(key, str(mean), f"{self.images} images") for key, mean in self.topk.items()]
        if self.runs and len(self.runs) > 1:
            lines.append(("top1 of each", " ".join(map(percent, self.runs.values())), ""))
        if self.against and self.difference:
            for key, mean in self.difference.items():
                lines.append((f"{key}, others", str(self.against.topk[key]), ""))
                lines.append((f"{key}, more", str(mean), "(percentage points)"))
        return "\n".join(f"{name:16} {value:>7}   {note}".rstrip() for name, value, note in lines)
