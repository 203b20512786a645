"""The fastest batch is found, and the bare network passes the very crops that R-CNN mode does."""

import pytest
import torch

from sppdet.comparison import throughput
from sppdet.comparison.throughput import Throughput, find_best_batch, measure_throughput, with_best_batch
from sppdet.errors import ConfigError


def test_best_batch_is_the_fastest(detector, monkeypatch) -> None:
    """On a clock by which a pass of B crops takes (B - 4)^2 + 1 seconds a crop, 4 is the best."""
    crops = detector.with_features("crop")
    passed: list[int] = []

    class ScriptedClock:
        def __enter__(self) -> "ScriptedClock":
            self.first = len(passed)
            return self

        def __exit__(self, *_error) -> None: ...

        @property
        def seconds(self) -> dict[str, float]:
            return {"conv": sum(batch * ((batch - 4) ** 2 + 1.0) for batch in passed[self.first :])}

    monkeypatch.setattr(throughput, "Stopwatch", ScriptedClock)
    monkeypatch.setattr(throughput, "MIN_TIMED_CROPS", 8)
    hook = crops.backbone.register_forward_hook(lambda _module, inputs, _output: passed.append(len(inputs[0])))
    assert find_best_batch(crops, (1, 2, 4, 8)) == 4
    assert find_best_batch(crops, (8, 2, 1)) == 2
    hook.remove()


def test_rcnn_gets_its_best_batch_and_sppnet_which_has_no_crops_stays(detector, monkeypatch) -> None:
    monkeypatch.setattr(throughput, "find_best_batch", lambda _detector: 7)
    assert with_best_batch(detector) is detector
    crops = detector.with_features("crop")
    best = with_best_batch(crops)
    assert best.config.crop.batch_size == best.extractor.config.batch_size == 7
    assert crops.config.crop.batch_size == 5
    assert best.backbone is crops.backbone
    assert best.heads is crops.heads
    assert best.thresholds is crops.thresholds
    with pytest.raises(ConfigError, match="features"):
        measure_throughput("spp", detector)


def test_both_pass_the_same_batches(detector, monkeypatch) -> None:
    monkeypatch.setattr(throughput, "MIN_TIMED_CROPS", 8)
    crops = detector.with_features("crop")
    seen: list[torch.Tensor] = []
    hook = crops.backbone.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].clone()))
    found = measure_throughput("crop", crops, rounds=2)
    hook.remove()
    assert len(seen) == 3 * 2 * 2  # a warm-up and two rounds, of two batches, by both
    for ours, bare in zip(seen[::2], seen[1::2], strict=True):
        assert torch.equal(ours, bare)
        assert len(ours) == 5
        assert bare.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(seen[0], seen[2])
    assert found.bare_best_batch == 5
    assert found.crops_per_second > 0


def test_ratio() -> None:
    found = Throughput("crop", 95.0, 100.0, 4)
    assert found.ratio == pytest.approx(0.95)
    numbers = {"crops_per_second": 95.0, "bare_crops_per_second": 100.0, "bare_best_batch": 4, "ratio": 0.95}
    assert found.as_dict() == {"detector": "crop", **numbers}
