"""Text on pictures: any script, legible, and as wide as measured."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from factories import detect
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import get_data_path
from matplotlib.font_manager import FontEntry, fontManager

from sppdet.drawing import text as texts
from sppdet.drawing.detections import SMALLEST, draw_enlarged
from sppdet.drawing.figures import new_figure, save_figure
from sppdet.drawing.mosaic import GAP, TILE, Tile, crop, draw_mosaic
from sppdet.drawing.text import LEGIBLE, contrast, drawable, fit, measure, write


@pytest.fixture(autouse=True)
def installed(monkeypatch) -> Iterator[list]:
    """The installed fonts that are found: only the usual one at first, whatever this machine has."""
    monkeypatch.setattr(fontManager, "ttflist", [one for one in fontManager.ttflist if one.name == "DejaVu Sans"])
    texts._find_font.cache_clear()
    yield fontManager.ttflist
    texts._find_font.cache_clear()


@pytest.fixture
def chinese(installed, tmp_path) -> None:
    """An installed font that has 漢, a square, and ASCII, which is blank, next to fonts that will not do."""
    names, pens = {ord(c): f"u{ord(c)}" for c in texts.NEEDED}, {".notdef": TTGlyphPen(None).glyph()}
    pens |= {name: TTGlyphPen(None).glyph() for name in names.values()}
    pen = TTGlyphPen(None)
    for step, place in zip((pen.moveTo, *[pen.lineTo] * 3), ((0, 0), (0, 900), (900, 900), (900, 0)), strict=True):
        step(place)
    pen.closePath()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([*pens, "square"])
    builder.setupCharacterMap({**names, ord("漢"): "square"})
    builder.setupGlyf({**pens, "square": pen.glyph()})
    builder.setupHorizontalMetrics(dict.fromkeys((*pens, "square"), (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "squares.ttf")
    (tmp_path / "damaged.ttf").write_bytes(b"no font")
    last = get_data_path() + "/fonts/ttf/LastResortHE-Regular.ttf"
    for name, file in {"A": "gone.ttf", "B": "damaged.ttf", "Last Resort": last, "Squares": "squares.ttf"}.items():
        installed.append(FontEntry(fname=str(tmp_path / file), name=name, style="normal", weight=400))


@pytest.mark.usefixtures("chinese", "figures")
def test_a_text_is_drawn_in_an_installed_font_that_has_all_of_it(tmp_path):
    canvas = np.full((40, 60, 3), 9, np.uint8)
    write(canvas, 0, 0, "漢 0.50", 20, (255, 255, 255))
    assert not canvas[4:18, 5:20].any()  # black on white
    assert measure("漢 0.50", 20)[0] == measure("漢", 20)[0] + 5 * 20
    assert fit("漢" * 30, " 0.50", 20, 200).startswith("漢漢")
    assert (drawable("漢 dog"), drawable("漢 собака")) == ("漢 dog", r"\u6f22 собака")
    figure = new_figure(3, 2)
    axes = figure.subplots()
    axes.set_yticks([0], ["漢"])
    axes.set_title("собака")
    save_figure(figure, tmp_path / "figure.png")
    (label,) = axes.get_yticklabels()
    assert (label.get_text(), label.get_fontfamily()) == ("漢", ["DejaVu Sans", "Squares"])


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("Eichhörnchen собака כלב", "Eichhörnchen собака כלב"),
        ("漢 dog", r"\u6f22 dog"),
        ("\U0001f99d", r"\U0001f99d"),
        ("a\x1b[3\u202e", r"a\x1b[3\u202e"),
    ],
)
def test_what_the_font_lacks_is_escaped(text, drawn):
    assert drawable(text) == drawn


def test_capitals_are_at_least_11_pixels_high_and_stay_on_their_plate():
    canvas = np.full((40, 200, 3), 9, np.uint8)
    write(canvas, 10, 5, "HEX", LEGIBLE, (255, 255, 255))
    width, height = measure("HEX", LEGIBLE)
    plate = canvas[5 : 5 + height, 10 : 10 + width]
    rows = np.flatnonzero((plate < 80).all(axis=2).any(axis=1))
    assert rows[-1] - rows[0] + 1 >= 11
    assert rows[-1] < height - 3  # room for descenders
    write(canvas, 190, 35, "beyond the canvas", LEGIBLE, (0, 0, 0))


def test_a_long_name_is_shortened_before_its_score():
    whole = fit("n" * 300, " 0.50", LEGIBLE, 200)
    assert whole.endswith("n… 0.50")
    assert measure(whole, LEGIBLE)[0] <= 200
    assert fit("dog", " 0.50", LEGIBLE, 200) == "dog 0.50"
    assert [contrast(color) for color in ((255, 255, 0), (0, 0, 200))] == [(0, 0, 0), (255, 255, 255)]


def test_small_images_are_enlarged_with_their_boxes():
    image = torch.zeros(3, 100, 150, dtype=torch.uint8)
    picture = draw_enlarged(image, detect([[50, 50, 100, 90]], [0.5]), ["漢"])
    factor = picture.shape[0] // 100
    assert picture.shape == (100 * factor, 150 * factor, 3)
    assert SMALLEST <= picture.shape[0] < 2 * SMALLEST
    assert picture[90 * factor - 1, 75 * factor].any()
    assert not picture[90 * factor + 3 :].any()
    large = torch.zeros(3, 400, 500, dtype=torch.uint8)
    assert draw_enlarged(large, detect()).shape == (400, 500, 3)


@pytest.mark.usefixtures("figures")
def test_figures_draw_any_name_without_a_warning(tmp_path):  # warnings are errors
    figure = new_figure(3, 2)
    axes = figure.subplots()
    axes.set_yticks([0], ["漢字"])
    axes.set_title("浣熊")
    save_figure(figure, tmp_path / "figure.png")
    assert axes.get_title() == r"\u6d63\u718a"


def test_a_mosaic_has_a_row_of_framed_tiles_for_each_title():
    pixels = np.full((30, 60, 3), 9, np.uint8)
    blue = (0, 0, 255)
    tile = Tile(crop(pixels, [10.2, -5, 70, 20]), "-0.50", blue)
    assert tile.pixels.shape == (20, 50, 3)
    assert crop(pixels, [59.9, 29.9, 59.95, 29.9]).shape == (1, 1, 3)
    one, two = draw_mosaic([("cat", [tile] * 5)]), draw_mosaic([("cat", [tile] * 5), ("x" * 999, [tile])])
    assert one.shape[1] == two.shape[1] == 5 * (TILE + GAP) + GAP
    assert (two[: len(one) - GAP] == one[:-GAP]).all()
    framed = (one == blue).all(axis=2)
    assert framed.sum() == 5 * (TILE**2 - (TILE - 8) ** 2)
