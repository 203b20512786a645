"""The command: JSON, table and files of all parts, which are measured once."""

import json

import pytest
from benchmark import heads, views
from benchmark.command import main
from benchmark.config import BenchmarkConfig
from PIL import Image

from sppdet.errors import ConfigError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_networks")]


FIRST = {  # of each part, the ratios that its results begin with
    "proposals": ["ratio_vs_opencv_fast", "ratio_vs_opencv_quality"],
    "pooling": [
        *(f"ratio_vs_{name}" for name in ("roi_pool", "roi_pool_nested", "adaptive_loop", "copy")),
        "ratio_backward_vs_roi_pool",
    ],
    "heads": list(heads.RATIOS),
    "detect": ["ratio_vs_rcnn_conv", "ratio_vs_rcnn_without_proposals", "ratio_vs_rcnn_total"],
    "train": ["ratio_fill_vs_bare_network"],
    "finetune": ["ratio_finetune_vs_bare_network"],
    "views": list(views.RATIOS),
}


@pytest.fixture
def arguments(tmp_path, shapes) -> list[str]:
    return [
        *("pooling", "--data.root", str(shapes), "--data.max_images", "2", "--threads", "[1]", "--rounds", "1"),
        *("--regions", "5", "--growth", "[3,6]", "--output", str(tmp_path / "out")),
    ]


def test_all_parts_leave_json_and_figures(measured):
    benchmark, folder = measured
    result = json.loads((folder / "benchmark.json").read_text())
    assert json.loads(json.dumps(benchmark.as_dict())) == result
    assert list(result) == [*FIRST, "machine"]
    for name, first in FIRST.items():
        part = benchmark.parts[name]
        assert list(result[name])[: len(first)] == first
        assert all(value > 0 for ratio, value in part.ratios.items() if "dlib" not in ratio)  # need not be installed
        with Image.open(folder / f"{name}.png") as picture:
            assert picture.width > 400
    seconds = result["proposals"]["rows"][0]["seconds"]["sppdet fast"]
    assert list(seconds) == ["median_s", "quartiles_s", "rounds", "first_call_s"]
    curve = result["proposals"]["growth"]["pixels"]["curves"]["sppdet fast"]
    assert set(curve) == {"seconds", "slope", "intercept", "residual"}
    assert {"processor", "cores", "torch", "numba", "opencv"} <= set(result["machine"])


def test_one_part_as_json(arguments, tmp_path, capsys):
    assert main([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == json.loads((tmp_path / "out/benchmark.json").read_text())
    assert captured.err.endswith(f"written to {tmp_path / 'out'}\n")


def test_one_part_as_a_table_ratios_first(arguments, tmp_path, capsys):
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["pooling:", "median", "ratios,", "by", "threads", "1"]
    assert lines[1].split()[0] == "ratio_vs_roi_pool"
    assert any("slope" in line and "intercept" in line for line in lines)
    assert lines[-1] == f"written to {tmp_path / 'out'}"
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["benchmark.json", "pooling.png"]


def test_an_unknown_part_is_an_error_before_anything_is_measured(arguments, tmp_path, capsys):
    assert main(["poling", *arguments]) == 1
    said = "parts: no such part (expected proposals, pooling, heads, detect, train, finetune, views, got poling)"
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"regions": -1}, {"growth": ()}, {"widths": (5, 0)}, {"scales": ()}])
def test_parameters_out_of_range_are_errors(wrong):
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))}: out of range"):
        BenchmarkConfig(**wrong)
