"""`sppdet explain pooling`: its numbers, its table, and what shows in its picture."""

import json

import numpy as np
import pytest
from factories import read_png, run_text

from sppdet.pooling.coverage import SHADES

LEFT_OUT = tuple(bytes.fromhex(SHADES[0][1][1:]))


@pytest.fixture
def explain(figures, tmp_path, capsys):  # noqa: ARG001
    """The output of the command, and its picture uint8 (H, W, 3)."""

    def run(*arguments: str) -> tuple[str, np.ndarray]:
        path = tmp_path / "new/pooling.png"
        return run_text(capsys, "explain", "pooling", "--output", path, *arguments), read_png(path)

    return run


def left_out(picture: np.ndarray) -> np.ndarray:
    """(H, W): where it has the color of cells that no bin reads, in areas: not in letters."""
    same = (picture == LEFT_OUT).all(axis=2)
    return same[2:, 2:] & same[:-2, :-2] & same[2:, :-2] & same[:-2, 2:]


def test_14_cells_into_4_bins_at_a_glance(explain):
    out, picture = explain("--size", "14x14", "--levels", "4,2,1", "--form", "window")
    assert [" ".join(line.split()) for line in out.splitlines()[1:-1]] == [
        *("window 4x4 4x4 27 69", "window 2x2 2x2 0 0", "window 1x1 1x1 0 0"),
        *("exact 4x4 4x4 0 52", "exact 2x2 2x2 0 0", "exact 1x1 1x1 0 0"),
    ]
    assert out.endswith("pooling.png\n")
    unread = left_out(picture)
    height, width = unread.shape
    area = unread[: height // 2, : width // 3]
    assert area.sum() > 0.01 * area.size, "the last row and column of the first map"
    y, x = area.nonzero()
    side = y.max() - y.min()
    assert abs(x.max() - x.min() - side) < 0.05 * side, "as wide as high: an L of the whole map"
    assert (x > x.max() - side / 14).sum() + (y > y.max() - side / 14).sum() > 1.9 * area.sum() * 14 / 27
    assert not unread[: height // 2, width // 3 : -width // 8].any()
    assert not unread[height // 2 : -height // 10].any(), "the exact form leaves nothing out"


def test_the_same_as_json(explain):
    out, _ = explain("--size", "5x7", "--levels", "2,3", "--json")
    found = json.loads(out)
    assert set(found) == {"window", "exact"}
    assert [level["level"] for level in found["exact"]] == [2, 3]
    two, three = found["window"]
    # Of 5 the windows are 0 1 2 and 2 3 4, of 7 they are 0 to 3 and 3 to 6.
    assert two.pop("coverage") == [[(1 + (y == 2)) * (1 + (x == 3)) for x in range(7)] for y in range(5)]
    assert two == {"level": 2, "got": [2, 2], "left_out": 0, "shared": 7 + 5 - 1, "why_not": None}
    assert (three["got"], three["left_out"]) == ([4, 3], 0)
    assert three["why_not"] == "no level 3 on 5x7 cells: along 5, windows of 2 every 1 give 4 bins"


def test_refusals_are_printed(explain):
    out, _ = explain("--size", "11x9", "--levels", "6,4,3", "--form", "padded")
    assert "padded: no level 6 on 11x9 cells: along 9, a padding of 2 is more than half the window of 2\n" in out
    assert "no level 3" not in out
    out, picture = explain("--size", "11x3", "--levels", "4", "--form", "window")
    assert ["window", "4x4", "5x0", "33", "0", "refused"] in [line.split() for line in out.splitlines()]
    assert "window: no level 4 on 11x3 cells: along 11, windows of 3 every 2 give 5 bins" in out
    assert left_out(picture).any()


def test_the_window_of_the_general_form(explain):
    out, _ = explain("--size", "13x13", "--levels", "6", "--form", "general")
    assert ["general", "6x6", "6x6", "0", "105"] in [line.split() for line in out.splitlines()]
    window = ("--kernel", "2", "--stride", "3", "--padding", "1", "--ceil_mode")
    out, picture = explain("--size", "13x13", "--levels", "5", "--form", "general", *window)
    # Cells -1 0, 2 3, 5 6, 8 9, 11 12: nine of thirteen a side.
    assert ["general", "5x5", "5x5", str(13 * 13 - 9 * 9), "0"] in [line.split() for line in out.splitlines()]
    assert left_out(picture).any()


@pytest.mark.parametrize("form", ["window", "padded", "general", "roi_pool", "roi_align", "exact"])
def test_every_form_is_drawn(form, explain):
    out, picture = explain("--size", "9x40", "--levels", "3,1", "--form", form)
    names = {line.split()[0] for line in out.splitlines()[1:-1]}
    assert {form, "exact"} <= names | {name.rstrip(":") for name in names}
    assert left_out(picture).any() == (form in ("roi_align", "general"))
