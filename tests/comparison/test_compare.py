"""The comparison of real, tiny detectors from beginning to end."""

import json
from dataclasses import replace

import pytest
import torch

from sppdet.comparison import compare, throughput, timing
from sppdet.comparison.compare import compare_detectors, write_comparison
from sppdet.errors import ConfigError, DataError, InputError
from sppdet.evaluation.voc import evaluate_voc
from sppdet.images import read_image
from sppdet.runtime.stopwatch import STAGES


@pytest.fixture(autouse=True)
def few_crops(monkeypatch) -> None:
    """The search for the best batch is the longest part; here it need not be exact."""
    monkeypatch.setattr(throughput, "BATCH_SIZES", {"cpu": (1, 2)})
    monkeypatch.setattr(throughput, "MIN_TIMED_CROPS", 2)


@pytest.fixture
def comparison(detector, dataset, caplog):
    with caplog.at_level("INFO", "sppdet"):
        return compare_detectors({"tiny": detector}, dataset.subset(range(2)), regions=20, growth_regions=(5, 10))


def test_one_detector_meets_its_other_mode(comparison) -> None:
    assert comparison.baseline == "tiny-crop"
    assert comparison.others == ["tiny"]
    assert comparison.images == 2
    assert comparison.detectors["tiny-crop"]["batch"] in (1, 2)
    assert comparison.throughput.bare_best_batch == comparison.detectors["tiny-crop"]["batch"]
    assert comparison.maps == comparison.differences == {}
    stages = comparison.as_dict()["stages"]
    for name in ("tiny", "tiny-crop"):
        assert set(stages[name]) == set(STAGES)
        assert all(seconds > 0 for seconds in stages[name].values())
        assert list(comparison.growth[name]) == [5, 10]
    assert stages["tiny"]["proposals"] == stages["tiny-crop"]["proposals"]
    assert comparison.speedup["tiny"]["conv"] == stages["tiny-crop"]["conv"] / stages["tiny"]["conv"]


@pytest.mark.usefixtures("comparison")
def test_its_stages_are_numbered(caplog) -> None:
    lines = [record.getMessage() for record in caplog.get_records("setup")]
    numbered = [line for line in lines if line[1:3] == "/3"]
    assert numbered == ["1/3 compare: 3 rounds", "2/3 growth: 2 sizes", "3/3 throughput: 6 rounds"]


@pytest.mark.usefixtures("figures")
def test_files_are_written(comparison, tmp_path) -> None:
    written = write_comparison(comparison, str(tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == [
        "compare.json",
        "growth.png",
        "stages.png",
    ]
    assert json.loads((tmp_path / "out/compare.json").read_text()) == comparison.as_dict() == written.as_dict()
    assert str(written) == f"{comparison}\nwritten to {tmp_path / 'out'}"
    for name in ("stages.png", "growth.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    write_comparison(replace(comparison, growth={}), str(tmp_path / "other"))
    assert sorted(path.name for path in (tmp_path / "other").glob("[!.]*")) == ["compare.json", "stages.png"]


@pytest.mark.parametrize(
    ("features", "options", "baseline", "others"),
    [
        ({"a": "crop"}, {}, "a", ["a-spp"]),
        ({"spp": "spp", "rcnn": "crop"}, {"baseline": "spp"}, "spp", ["rcnn"]),
        ({"a": "spp", "b": "spp"}, {}, "a", ["b"]),
    ],
)
def test_one_meets_its_other_mode_and_two_each_other(detector, dataset, features, options, baseline, others) -> None:
    several = {name: detector.with_features(kind) for name, kind in features.items()}
    found = compare_detectors(several, dataset.subset([0]), regions=5, growth_regions=(), **options)
    assert (found.baseline, found.others) == (baseline, others)
    assert found.growth == {}
    assert (found.throughput is None) == ("crop" not in features.values())


def test_any_number_are_compared_with_the_baseline(detector, dataset, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(compare, "MIN_MAP_IMAGES", 3)
    several = {"a": detector, "b": detector.with_features("crop"), "c": detector}
    found = compare_detectors(several, dataset, regions=5, growth_regions=(3,))
    assert (found.baseline, found.others) == ("b", ["a", "c"])
    assert set(found.speedup) == set(found.differences) == {"a", "c"}
    assert found.differences["a"].map_voc07 == found.maps["a"].map_voc07 - found.maps["b"].map_voc07
    assert set(found.growth) == set(several)
    write_comparison(found, str(tmp_path / "out"))
    assert len(list((tmp_path / "out").glob("[!.]*"))) == 3
    text = str(found)
    for line in ("times faster than b", "conv  ", "without proposals", "total  "):
        assert len(next(row for row in text.splitlines() if row.startswith(line)).split()) >= 4
    assert all(any(row.startswith(f"{name} ") for row in text.splitlines()) for name in several)


def test_map_is_that_of_the_timed_detections(detector, dataset, monkeypatch) -> None:
    monkeypatch.setattr(compare, "MIN_MAP_IMAGES", 3)
    boxes = torch.tensor([[10.0, 10, 40, 40]])  # the objects themselves, so that something is found
    monkeypatch.setattr(timing, "propose_image", lambda *_: boxes)
    found = compare_detectors({"spp": detector}, dataset, regions=1, growth_regions=())
    expected = [detector.detect(read_image(image.path), boxes) for image in dataset.images]
    alone = evaluate_voc(expected, dataset.images, dataset.classes)
    assert alone.map_voc07 > 0
    assert found.maps["spp"].map_voc07 == pytest.approx(alone.map_voc07)
    assert list(found.maps) == ["spp"]  # its counterpart was not trained itself
    fewer = compare_detectors({"spp": detector}, dataset.subset([0, 1]), regions=1, growth_regions=())
    assert fewer.maps == {}


def test_what_cannot_be_compared_is_an_error_at_once(detector, dataset, monkeypatch) -> None:
    monkeypatch.setattr(compare, "time_detectors", None)
    with pytest.raises(InputError, match="detectors"):
        compare_detectors({}, dataset)
    with pytest.raises(DataError, match="images"):
        compare_detectors({"a": detector}, dataset.subset([]))
    with pytest.raises(DataError, match="classes"):
        compare_detectors({"a": detector}, replace(dataset, classes=("cat", "dog", "hen")))
    with pytest.raises(ConfigError, match="baseline"):
        compare_detectors({"a": detector}, dataset, baseline="b")


@pytest.mark.parametrize(("calls", "images"), [(8, 1), (10, 2), (11, 3)])
def test_ctrl_c_keeps_what_was_measured(detector, dataset, calls, images, tmp_path, monkeypatch, caplog):
    """Two detectors: four calls for the estimate, two to warm up, then two an image."""
    proposals = replace(detector.config.proposals, limit=7)
    detector = detector.with_config(replace(detector.config, proposals=proposals))
    detect, count = type(detector).detect, iter(range(100))

    def stop(*given: object) -> object:
        if next(count) > calls:
            raise KeyboardInterrupt
        return detect(*given)

    monkeypatch.setattr(type(detector), "detect", stop)
    with caplog.at_level("INFO", "sppdet"):
        found = compare_detectors({"spp": detector}, dataset.subset(range(3)), growth_regions=(3,))
        assert (found.images, found.interrupted, found.growth, found.throughput) == (images, True, {}, None)
        assert found.regions == 7
        assert {len(rows["conv"]) for rows in found.timings.seconds.values()} == {images}
        with pytest.raises(KeyboardInterrupt):
            write_comparison(found, str(tmp_path / "out"))
    assert json.loads((tmp_path / "out/compare.json").read_text())["images"] == images
    assert "3 images with" in caplog.text
    assert f"measured, written to {tmp_path / 'out'}" in caplog.text
