"""A learning curve: the mAP of detectors trained on nested shares of the training images, and what more would give."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sppdet.comparison.extrapolation import MOST_TIMES, Estimate, Extrapolation, resampled_maps
from sppdet.drawing.tables import align, points, with_interval
from sppdet.evaluation.bootstrap import LEVEL, BootstrapMAP, Seeds
from sppdet.evaluation.power_law import PARAMETERS
from sppdet.wording import counted

VAGUE = 0.2  # width of the interval of the limit, above which it is no more than a guess


@dataclass(frozen=True)
class Share(Seeds):
    """Detectors trained on as many images, one for each seed, which also chooses the images.

    runs: their mAPs on the same held-out images. missing: classes that one of these shares has no object of.
    """

    images: int
    runs: tuple[BootstrapMAP, ...]
    missing: tuple[str, ...] = ()

    @cached_property
    def mean(self) -> BootstrapMAP:
        """Mean mAP over the seeds; its resamples draw images and seeds."""
        return BootstrapMAP.over_seeds(self.runs)

    def as_dict(self) -> dict[str, Any]:
        values = {"std": self.std, "maps": self.maps, "missing": self.missing}
        return {"images": self.images, **self.mean.as_dict(), **values}


@dataclass(frozen=True)
class LearningCurve:
    """Shares by size. multiples: of the largest share's images, to predict for. goal: VOC07 mAP to reach, if any."""

    shares: Sequence[Share]
    multiples: Sequence[float]
    goal: float | None
    folder: str

    @cached_property
    def extrapolation(self) -> Extrapolation | None:
        """The curve through the shares; None for fewer than 3, through which many would pass."""
        if len(self.shares) < PARAMETERS:
            return None
        return Extrapolation(
            tuple(one.images for one in self.shares), resampled_maps([one.mean for one in self.shares])
        )

    @property
    def gains(self) -> list[BootstrapMAP]:
        """The mAP of each share but the first, minus that of the one before it, paired."""
        return [b.mean.minus(a.mean) for a, b in zip(self.shares, self.shares[1:], strict=False)]

    @property
    def notes(self) -> list[str]:
        """Reasons to trust the curve less."""
        notes = [
            f"{counted(share.images, 'image')} without objects of {', '.join(share.missing)}: an AP of about 0 there"
            " makes the curve steeper"
            for share in self.shares
            if share.missing
        ]
        if len(self.shares[0].runs) == 1:
            notes.append("one seed: the intervals leave out which images are in a share; --seeds [0,1,2] has it")
        if self.extrapolation is None:
            return [*notes, "no curve: many would pass through fewer than 3 shares"]
        check, limit = self.extrapolation.check, self.extrapolation.limit.interval
        if check is None:
            notes.append("the curve passes through any 3 shares: nothing checks it")
        elif not check[1].interval[0] <= 0 <= check[1].interval[1]:
            notes.append("the curve of the smaller shares misses the largest: trust it less than its intervals say")
        if limit[1] - limit[0] > VAGUE:
            notes.append("the limit is hardly known: add images in steps, and measure again after each")
        if max(self.multiples, default=0) > (span := self.shares[-1].images / self.shares[0].images):
            notes.append(f"the shares span a factor of {span:.3g}: a prediction for more than as many times is a guess")
        return notes

    def as_dict(self) -> dict[str, Any]:
        gains = [None, *(gain.as_dict() for gain in self.gains)]
        values: dict[str, Any] = {
            "shares": [one.as_dict() | {"gain": gain} for one, gain in zip(self.shares, gains, strict=True)],
            "held_out": len(self.shares[0].mean.images),
            **dict.fromkeys(("fit", "check", "goal")),
            "predictions": [],
            "notes": self.notes,
        }
        if fit := self.extrapolation:
            law = {key: float(getattr(fit.laws, key)[0]) for key in ("floor", "height", "exponent")}
            values["fit"] = {**law, "images": fit.laws.images, **_numbers(limit=fit.limit)}
            values["check"] = fit.check and _numbers(map_voc07=fit.check[0], minus_measured=fit.check[1])
            values["goal"] = self.goal and {"map_voc07": self.goal, **_numbers(images=fit.needed(self.goal))}
            for one in map(fit.predict, self.multiples):
                numbers = _numbers(map_voc07=one.map_voc07, gain=one.gain)
                values["predictions"].append({"multiple": one.multiple, "images": one.images, **numbers})
        return values

    def __str__(self) -> str:
        several = len(self.shares[0].runs) > 1
        rows = [["images", "VOC07 mAP, % (95%)", *(["±"] if several else []), "gain, points (95%)"]]
        gains = [with_interval(gain.map_voc07, gain.interval_voc07, "+") for gain in self.gains]
        for share, gain in zip(self.shares, ["", *gains], strict=True):
            maps = with_interval(share.mean.map_voc07, share.mean.interval_voc07)
            rows.append([str(share.images), maps, *([points(share.std)] if several else []), gain])
        lines = [align(rows), f"on {counted(len(self.shares[0].mean.images), 'held-out image')}"]
        lines += self._describe_curve(self.extrapolation) if self.extrapolation else []
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes), f"written to {self.folder}"])

    def _describe_curve(self, fit: Extrapolation) -> list[str]:
        """Return the lines on what more images would give."""
        largest, law = self.shares[-1].images, fit.laws
        formula = f"{law.floor[0]:.3f} + {law.height[0]:.3f} * (images / {largest})^-{law.exponent[0]:.2f}"
        lines = [f"1 - mAP = {formula}: approaches a mAP of {_percent(fit.limit)}"]
        for one in map(fit.predict, self.multiples):
            gain = with_interval(one.gain.value, one.gain.interval, "+")
            lines.append(
                f"with {one.multiple:g}x the images ({one.images}): about {_percent(one.map_voc07)}, {gain} points"
            )
        if self.goal is not None:
            needed = fit.needed(self.goal)
            about, low, high = map(self._round, (needed.value, *needed.interval))
            interval = f" ({low} to {high})" if low != high else ""
            lines.append(f"a mAP of {points(self.goal)}% needs {about} images{interval}")
        if fit.check:
            predicted, missed = fit.check
            said = f"the smaller shares predict {points(predicted.value)}% for {largest} images"
            off = with_interval(missed.value, missed.interval, "+")
            lines.append(f"check: {said}, {off} points from the measured mAP")
        return lines

    def _round(self, images: float) -> str:
        """Return a number of images with two significant digits."""
        most = MOST_TIMES * self.shares[-1].images
        return f"more than {most}" if images > most else f"{float(f'{images:.2g}'):.0f}"


def _percent(estimate: Estimate) -> str:
    low, high = estimate.interval
    return f"{points(estimate.value)}% ({points(low)} to {points(high)})"


def _numbers(**estimates: Estimate) -> dict[str, Any]:
    """Return the values by name, and their intervals, as they are in the JSON output, where infinity is null."""
    intervals = {name: one.interval for name, one in estimates.items()}
    return {**{name: one.value for name, one in estimates.items()}, "interval": {**intervals, "level": LEVEL}}
