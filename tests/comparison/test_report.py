"""The report's speed-ups are ratios of its medians, and its table shows its numbers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sppdet.comparison.report import MAP_IMAGES, PAPER, Comparison, format_table
from sppdet.comparison.throughput import Throughput


@pytest.fixture
def comparison() -> Comparison:
    return made_up()


def made_up() -> Comparison:
    rcnn = {"proposals": 2.0, "prepare": 1.5, "conv": 44.0, "pooling": 1.25, "heads": 0.35, "nms": 0.0421}
    spp = {"proposals": 2.0, "prepare": 0.0075, "conv": 0.2, "pooling": 0.61, "heads": 0.35, "nms": 0.0419}
    stages = {"rcnn": rcnn, "spp": spp}
    totals = {"rcnn": {"without_proposals": 47.5, "total": 50.0}, "spp": {"without_proposals": 1.25, "total": 3.25}}
    rows = {name: {**stages[name], **totals[name]} for name in stages}
    return Comparison(
        images=5,
        regions=2000,
        topped_up=321,
        shared={"spp": 0.183},
        device="cpu",
        machine="Some CPU",
        threads=2,
        torch="2.x",
        baseline="rcnn",
        detectors={"rcnn": {"features": "crop", "batch": 4}, "spp": {"features": "spp", "scales": [688]}},
        stages=stages,
        spread={name: {row: [0.9 * v, 1.1 * v] for row, v in values.items()} for name, values in rows.items()},
        totals=totals,
        growth={"rcnn": {100: 2.25, 2000: 47.4}, "spp": {100: 0.31, 2000: 1.24}},
        throughput=Throughput("rcnn", 45.4, 46.1, 4),
        map_voc07={"rcnn": 0.3217, "spp": 0.3456},
    )


def test_speedups_are_ratios_of_the_medians(comparison) -> None:
    assert comparison.compared == "spp"
    assert comparison.speedup == {
        "conv": pytest.approx(220),
        "without_proposals": pytest.approx(38),
        "total": pytest.approx(50.0 / 3.25),
    }
    swapped = replace(comparison, baseline="spp").speedup
    assert swapped["conv"] == pytest.approx(1 / 220)


def test_json_has_every_key_and_no_nan(comparison) -> None:
    unknown = {name: {**sums, "total": float("nan")} for name, sums in comparison.totals.items()}
    values = replace(comparison, totals=unknown, map_voc07={"rcnn": None, "spp": None}).as_dict()
    text = json.dumps(values, allow_nan=False)
    assert json.loads(text) == values
    assert set(values) >= {
        *("images", "regions", "device", "threads", "torch", "baseline", "stages", "spread", "totals", "speedup"),
        *("growth", "throughput", "map_voc07", "map_images", "paper"),
    }
    assert values["speedup"]["total"] is None
    assert values["map_images"] == 0
    assert values["growth"]["spp"] == {"100": 0.31, "2000": 1.24}
    assert values["throughput"]["ratio"] == 45.4 / 46.1
    assert comparison.as_dict()["map_images"] == 5


def test_the_papers_speedups_are_those_of_its_seconds() -> None:
    seconds = PAPER["seconds"]
    for scales in ("spp_1_scale", "spp_5_scales"):
        ours = seconds[scales]
        assert ours["conv"] + ours["fc"] == pytest.approx(ours["total"])
        assert seconds["rcnn"]["total"] / ours["total"] == pytest.approx(PAPER["speedup"][scales], abs=0.5)
        zf5 = seconds["rcnn_zf5"]["conv"] + ours["fc"]
        assert zf5 / ours["total"] == pytest.approx(PAPER["speedup_zf5_both"][scales], abs=0.5)


def test_table_shows_the_numbers(comparison) -> None:
    text = format_table(comparison)
    stages = text.split("\n\n")[1]
    lines = {line.split("  ")[0]: line for line in stages.splitlines()}
    assert "44.0 [39.6, 48.4]" in lines["conv"]
    assert "0.0075 [0.0067, 0.0083]" in lines["prepare"]
    assert "50.0 [45.0, 55.0]" in text
    assert "3.25 [" in text
    for number in ("220x", "38x", "64x (102x)", "24x (38x)", "169x (271x)", "2.25", "1.24", "45.4", "46.1", "0.985"):
        assert number in text
    for part in ("0.3217", "0.3456", "0.580", "321 random boxes", "Some CPU, 2 threads", "torch 2.x", "batch 4"):
        assert part in text
    assert max(map(len, text.splitlines())) <= 120


def test_table_leaves_out_what_was_not_measured(comparison) -> None:
    bare = replace(comparison, growth={}, throughput=None, map_voc07={"rcnn": None, "spp": None}, topped_up=0)
    text = format_table(bare)
    for part in ("VOC07 mAP", "Crops a second", "seconds by regions", "random boxes", "\n\n\n"):
        assert part not in text


@pytest.mark.parametrize(("images", "said"), [(MAP_IMAGES - 1, True), (MAP_IMAGES, False)])
def test_table_says_from_how_many_images_on_there_is_an_map(comparison, images, said) -> None:
    text = format_table(replace(comparison, images=images, map_voc07={"rcnn": None, "spp": None}))
    assert (f"mAP: shown from {MAP_IMAGES} images on; these are {images}\n" in text) == said


def test_an_unknown_time_is_a_dash(comparison) -> None:
    unknown = {name: {**sums, "total": float("nan")} for name, sums in comparison.totals.items()}
    text = format_table(replace(comparison, totals=unknown))
    assert "nan" not in text
    assert any(line.startswith("total") and "- [" in line for line in text.splitlines())


def test_the_share_of_windows_pooled_once_is_told(comparison) -> None:
    assert "spp: 18.3% of the regions fall on the cells of another" in format_table(comparison)
    assert comparison.as_dict()["shared"] == {"spp": 0.183}
