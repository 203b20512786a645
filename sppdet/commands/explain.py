"""Explain how a part of a detector works."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from sppdet.commands.summary import Summary
from sppdet.errors import ConfigError

if TYPE_CHECKING:
    from sppdet.pooling.forms import PoolingForm


def pooling(
    *,
    size: str,
    levels: str = "6,3,2,1",
    form: str = "window",
    kernel: int | None = None,
    stride: int | None = None,
    padding: int | None = None,
    ceil_mode: bool = False,
    output: str = "runs/pooling.png",
) -> Summary:
    """Show which cells of a map the bins of a form of pooling read, leave out and share.

    The exact form is drawn below it for comparison.

    Args:
        size: height and width of the map in cells, such as 14x14
        levels: bins per side of each level, such as 4,2,1
        form: window, padded, general, roi_pool, roi_align or exact
        kernel: cells per window, general form; 3 if not given
        stride: cells between windows, general form; 2 if not given
        padding: cells around the map, general form; 0 if not given
        ceil_mode: windows that end outside the map, window and general forms
        output: PNG file of the figure
    """
    from sppdet.drawing.figures import is_own_figure
    from sppdet.files.owned import refuse_existing
    from sppdet.pooling.coverage import explain_level, format_reports, plot_reports
    from sppdet.pooling.forms import GeneralPooling, PaddedPooling, WindowPooling
    from sppdet.pooling.pyramid import SpatialPyramidPooling
    from sppdet.pooling.roi import RoIAlign, RoIPooling

    for field, value in {"kernel": kernel, "stride": stride, "padding": padding}.items():
        if value is not None and form != "general":
            raise ConfigError("is an option of the general form only", field=field, got=f"form {form}")
    if ceil_mode and form not in ("window", "general"):
        raise ConfigError("is an option of the window and general forms only", field="ceil_mode", got=f"form {form}")
    if not output.endswith(".png"):
        raise ConfigError("unknown format", field="output", expected="a .png file", got=output)
    if not is_own_figure(output):
        refuse_existing(output)
    window = (3 if kernel is None else kernel, 2 if stride is None else stride, padding or 0)
    forms: dict[str, Callable[[int], PoolingForm]] = {
        "window": lambda n: WindowPooling((n,), ceil_mode=ceil_mode),
        "padded": lambda n: PaddedPooling((n,)),
        "general": lambda n: GeneralPooling(n, *window, ceil_mode),
        "roi_pool": RoIPooling,
        "roi_align": RoIAlign,
        "exact": lambda n: SpatialPyramidPooling((n,)),
    }
    if form not in forms:
        raise ConfigError("no such form", field="form", expected=", ".join(forms), got=form)
    height, width = _read_numbers("size", size, "14x14", r"(\d+)x(\d+)")
    wanted = _read_numbers("levels", levels, "4,2,1", r"\d+(?:,\d+)*")
    reports = {
        name: [explain_level(forms[name](n), (height, width), n) for n in wanted]
        for name in dict.fromkeys((form, "exact"))
    }
    plot_reports(reports, output)
    values = {name: [each.as_dict() for each in levels] for name, levels in reports.items()}
    return Summary(values, f"{format_reports(reports)}\nwritten to {output}")


def _read_numbers(field: str, text: str, example: str, pattern: str) -> list[int]:
    """Return the positive integers in a text that matches the pattern."""
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    if not re.fullmatch(pattern, text) or min(numbers) < 1:
        raise ConfigError("cannot be read", field=field, expected=f"whole numbers above 0, such as {example}", got=text)
    return numbers
