"""The report's speed-ups are ratios of its medians, and its table shows its numbers."""

import json
from dataclasses import replace

import pytest

from sppdet.comparison.paper import TIMING
from sppdet.comparison.report import MIN_MAP_IMAGES


def without_total(comparison):
    unknown = {name: {**rows, "total": [float("nan")]} for name, rows in comparison.timings.seconds.items()}
    return replace(comparison, timings=replace(comparison.timings, seconds=unknown))


def test_speedups_are_ratios_of_the_medians(comparison) -> None:
    assert comparison.others == ["spp"]
    expected = {"conv": 220, "without_proposals": 38, "total": 50.0 / 3.25}
    assert comparison.speedup["spp"] == pytest.approx(expected)
    swapped = replace(comparison, baseline="spp").speedup["rcnn"]
    assert swapped["conv"] == pytest.approx(1 / 220)


def test_json_has_every_key_and_no_nan(comparison) -> None:
    values = replace(without_total(comparison), maps={}).as_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert set(values) >= {
        *("images", "regions", "device", "threads", "torch", "baseline", "stages", "spread", "totals", "speedup"),
        *("growth", "throughput", "maps", "differences", "paper"),
    }
    assert values["speedup"]["spp"]["total"] is None
    assert values["maps"] == values["differences"] == {}
    assert values["growth"]["spp"] == {"100": 0.31, "2000": 1.24}
    assert values["throughput"]["ratio"] == 45.4 / 46.1
    whole = comparison.as_dict()
    assert whole["shared"] == {"spp": 0.183}
    assert whole["maps"]["spp"]["map_voc07"] == 0.3456
    assert whole["differences"]["spp"]["map_voc07"] == pytest.approx(0.0239)


def test_the_papers_speedups_are_those_of_its_seconds() -> None:
    seconds = TIMING["seconds"]
    for scales in ("spp_1_scale", "spp_5_scales"):
        ours = seconds[scales]
        assert ours["conv"] + ours["fc"] == pytest.approx(ours["total"])
        assert seconds["rcnn"]["total"] / ours["total"] == pytest.approx(TIMING["speedup"][scales], abs=0.5)
        zf5 = seconds["rcnn_zf5"]["conv"] + ours["fc"]
        assert zf5 / ours["total"] == pytest.approx(TIMING["speedup_zf5_both"][scales], abs=0.5)


def test_table_shows_the_numbers(comparison) -> None:
    text = str(comparison)
    stages = text.split("\n\n")[1]
    lines = {line.split("  ")[0]: line for line in stages.splitlines()}
    assert "44.0 [39.6, 48.4]" in lines["conv"]
    assert "0.0075 [0.0067, 0.0083]" in lines["preprocess"]
    assert "50.0 [45.0, 55.0]" in text
    assert "3.25 [" in text
    for part in (
        *("220x", "38x", "64x (102x)", "24x (38x)", "169x (271x)", "2.25", "1.24", "45.4", "46.1", "0.985", "58.0%"),
        *("32.2 (31.2 to 33.1)", "34.6", "+2.4 (+2.4 to +2.4)"),
        *("321 random boxes", "Some CPU, 2 threads", "torch 2.x", "batch 4"),
        "spp: 18.3% of the regions share their cells with another",
    ):
        assert part in text
    assert max(map(len, text.splitlines())) <= 120


def test_table_leaves_out_what_was_not_measured_and_an_unknown_time_is_a_dash(comparison) -> None:
    bare = replace(comparison, growth={}, throughput=None, maps={}, timings=replace(comparison.timings, topped_up=0))
    text = str(bare)
    for part in ("mAP on these", "Crops per second", "seconds by regions", "random boxes", "\n\n\n"):
        assert part not in text
    text = str(without_total(comparison))
    assert "nan" not in text
    assert any(line.startswith("total") and "- [" in line for line in text.splitlines())


@pytest.mark.parametrize(("images", "said"), [(MIN_MAP_IMAGES - 1, True), (MIN_MAP_IMAGES, False)])
def test_table_says_from_how_many_images_on_there_is_an_map(comparison, images, said) -> None:
    text = str(replace(comparison, images=images, maps={}))
    assert (f"mAP: needs {MIN_MAP_IMAGES} images; these are {images}\n" in text) == said
