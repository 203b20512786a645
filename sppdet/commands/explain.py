"""Explain what a form of pooling does to a map of some size."""

from __future__ import annotations

import re
from collections.abc import Callable

from sppdet.errors import ConfigError
from sppdet.pooling.coverage import LevelReport, explain_level, plot_reports
from sppdet.pooling.forms import GeneralPooling, PaddedPooling, PoolingForm, WindowPooling
from sppdet.pooling.pyramid import SpatialPyramidPooling
from sppdet.pooling.roi import RoIAlign, RoIPooling

FORMS = ("window", "padded", "general", "roi_pool", "roi_align", "exact")


def explain_pooling(
    size: str,
    levels: str,
    form: str,
    output: str,
    kernel: int | None = None,
    stride: int | None = None,
    padding: int | None = None,
    ceil_mode: bool = False,
) -> dict[str, list[LevelReport]]:
    """Draw what the form, and the exact form below it, do to a map of `size` such as 14x14 (height, width) at `levels`
    such as 4,2,1: a picture in the file `output`, and the same as data, by the form's name.

    kernel, stride, padding: of the general form, by default 3, 2 and 0. Raises ConfigError.
    """
    if form not in FORMS:
        raise ConfigError("no such form", field="form", expected=", ".join(FORMS), got=form)
    for field, value in {"kernel": kernel, "stride": stride, "padding": padding}.items():
        if value is not None and form != "general":
            raise ConfigError("is of the general form only", field=field, got=f"form {form}")
    if ceil_mode and form not in ("window", "general"):
        raise ConfigError("is of the window and general forms only", field="ceil_mode", got=f"form {form}")
    if not output.endswith(".png"):
        raise ConfigError("unknown format", field="output", expected="a .png file", got=output)
    window = (3 if kernel is None else kernel, 2 if stride is None else stride, padding or 0)
    forms: dict[str, Callable[[int], PoolingForm]] = {
        "window": lambda n: WindowPooling((n,), ceil_mode=ceil_mode),
        "padded": lambda n: PaddedPooling((n,)),
        "general": lambda n: GeneralPooling(n, *window, ceil_mode),
        "roi_pool": RoIPooling,
        "roi_align": RoIAlign,
        "exact": lambda n: SpatialPyramidPooling((n,)),
    }
    height, width = _read_numbers("size", size, "14x14", r"(\d+)x(\d+)")
    wanted = _read_numbers("levels", levels, "4,2,1", r"\d+(?:,\d+)*")
    reports = {
        name: [explain_level(forms[name](n), (height, width), n) for n in wanted]
        for name in dict.fromkeys((form, "exact"))
    }
    plot_reports(reports, output)
    return reports


def _read_numbers(field: str, text: str, example: str, pattern: str) -> list[int]:
    """The numbers above 0 in a text of that pattern."""
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    if not re.fullmatch(pattern, text) or min(numbers) < 1:
        raise ConfigError("cannot be read", field=field, expected=f"whole numbers above 0, such as {example}", got=text)
    return numbers
