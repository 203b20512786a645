"""`sppdet explain detection`: the picture and the numbers of one box."""

import pytest
from factories import read_png, run_json, run_text

from sppdet.cli import main


@pytest.fixture
def image(place):
    return sorted((place / "shapes/JPEGImages").iterdir())[0]


@pytest.mark.usefixtures("figures")
@pytest.mark.parametrize("name", ["spp", "crop"])
def test_the_best_detection_is_explained(place, image, name, tmp_path, capsys):
    out = tmp_path / "evidence.png"
    text = run_text(capsys, "explain", "detection", place / name, image, "--output", out)
    assert "= bias" in text
    assert text.endswith(f"written to {out}\n")
    assert len({tuple(pixel) for pixel in read_png(out)[::7, ::7].reshape(-1, 3).tolist()}) > 50


def test_a_box_and_a_class_of_one_s_own(place, image, tmp_path, capsys):
    out = tmp_path / "evidence.png"
    found = run_json(
        *(capsys, "explain", "detection", place / "spp", image, "--box", "8,8,60,50", "--class", "star"),
        *("--output", out),
    )
    assert found["class"] == "star"
    assert found["box"] == [8, 8, 60, 50]
    assert found["bias"] + sum(part["total"] for part in found["maps"]) == pytest.approx(found["score"], abs=1e-4)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--class", "unicorn"), "class: no such class (expected cross, disc, "),
        (("--box", "1,2,3"), "box: no box in the image (expected x1,y1,x2,y2 in "),
        (("--box", "0,0,9999,10"), "box: no box in the image"),
        (("--output", "evidence.jpg"), "output: unknown format (expected a .png file, got evidence.jpg)"),
    ],
)
def test_mistakes(place, image, options, error, capsys):
    assert main(["explain", "detection", str(place / "spp"), str(image), *options]) == 1
    assert error in capsys.readouterr().err
