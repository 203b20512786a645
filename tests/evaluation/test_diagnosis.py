"""A diagnosis as text and as a picture: that the numbers are there, and that bars have their lengths."""

import pytest
from factories import annotate, count_color, detect, read_png

from sppdet.errors import SppdetError
from sppdet.evaluation.diagnose import OUTCOMES, Diagnosis, diagnose
from sppdet.evaluation.plots import COLORS, plot_diagnosis

CLASSES = ("cat", "dog", "car", "tail $x")
PLACES = [[20 * k, 0, 20 * k + 10, 10 + k] for k in range(20)]


def diagnosis_of(*detected: int, classes=CLASSES) -> Diagnosis:
    """Five cats, then one dog, one car; found as cats, at the places given."""
    image = annotate(PLACES[:7], [1, 1, 1, 1, 1, 2, 3])
    found = detect([PLACES[k] for k in detected])
    return diagnose([found], [image], classes, [["cat", "dog"]] if classes else None)


def columns_of(table: str) -> dict[str, dict[str, str]]:
    """The cells of each row by the title of their column; columns are two blanks apart."""
    title, *rows = ([cell.strip() for cell in line.split("  ") if cell.strip()] for line in table.split("\n"))
    return {row[0]: dict(zip(title[-len(row[1:]) :], row[1:], strict=True)) for row in rows}


def test_tables() -> None:
    """A similar error, two right, another's, the first again: precisions 1/2, 2/3."""
    *tables, _notes = str(diagnosis_of(5, 0, 1, 6, 0)).split("\n\n")
    top, gains, sizes = map(columns_of, tables)
    assert [list(table) for table in (top, gains, sizes)] == [[*CLASSES, "mean"]] * 3
    shares = {"correct": "40.0", "localisation": "20.0", "similar": "20.0", "other": "20.0", "background": "0.0"}
    assert top["cat"] == {"objects": "5", **shares}
    assert top["dog"] == {"objects": "1", **dict.fromkeys(OUTCOMES, "-")}
    assert top["mean"] == shares
    nothing = dict.fromkeys(("localisation", "corrected", "other", "background", "other+background"), "+0.0")
    assert gains["cat"] == {"AP": "26.7", "similar": "+13.3", **nothing}  # 2 · 2/3 / 5; to 2 · 1 / 5
    assert set(gains["tail $x"].values()) == {"-"}
    assert gains["mean"]["AP"] == "8.9"  # of three classes
    # N = 0.15: 0.15 · 2/5 / (0.15 · 2/5 + 1) for two of five
    assert sizes["cat"]["all"] == "2.3 ± 1.4"
    assert sizes["dog"]["all"] == "0.0"
    assert sizes["tail $x"] == dict.fromkeys(("all", "XS", "S", "M", "L", "XL"), "-")
    *tables, _notes = str(diagnose([], [], [])).split("\n\n")
    assert [line.split()[0] for table in tables for line in table.split("\n")[1:]] == ["mean"] * 3


@pytest.mark.usefixtures("figures")
@pytest.mark.parametrize("diagnosis", [diagnosis_of(5, 0, 1, 6, 0), diagnosis_of(), diagnose([], [], [])])
def test_writes_a_png_or_names_its_place(diagnosis, tmp_path) -> None:
    path = tmp_path / "new" / "diagnosis.png"
    plot_diagnosis(diagnosis, path)
    read_png(path)
    assert [file.name for file in path.parent.iterdir()] == ["diagnosis.png"]
    with pytest.raises(SppdetError, match="cannot be written"):
        plot_diagnosis(diagnosis, path / "below a file.png")


@pytest.mark.usefixtures("figures")
def test_bars_are_as_long_as_the_shares(tmp_path) -> None:
    """Of the left half, which shows the class and the mean: two fifths are right, a fifth each is of three kinds."""
    plot_diagnosis(diagnosis_of(5, 0, 1, 6, 0), tmp_path / "a.png")
    pixels = read_png(tmp_path / "a.png")
    pixels = pixels[len(pixels) // 8 :, : pixels.shape[1] // 2]  # without the legend
    counts = {outcome: count_color(pixels, color) for outcome, color in COLORS.items()}
    assert counts.pop("background") == 0
    assert min(counts.values()) > 1000
    shares = {outcome: count / sum(counts.values()) for outcome, count in counts.items()}
    assert shares == pytest.approx({"correct": 0.4, "localisation": 0.2, "similar": 0.2, "other": 0.2}, abs=0.02)
