from dataclasses import replace
from typing import Any, get_type_hints

import pytest

from sppdet.config.classification import ClassifierConfig, FitConfig, TrainClassifierConfig, ViewsConfig
from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.config.detector import CropConfig, DetectorConfig, RoIConfig, SelectionConfig, SPPConfig
from sppdet.config.heads import HeadSections, SoftmaxConfig, SVMConfig
from sppdet.config.network import FCConfig, NetworkConfig, PyramidConfig
from sppdet.config.training import BoxRegressionConfig, FinetuneConfig, TrainConfig
from sppdet.errors import ConfigError

NAN = float("nan")
OUT_OF_RANGE: list[tuple[type, str, list[tuple[str, Any]]]] = [
    (SVMConfig, "svm.", [("C", 0), ("C", NAN), ("feature_norm", 0.0), ("max_examples", 0)]),
    (SoftmaxConfig, "softmax.", [("regions_per_image", 0), ("foreground", 1.1)]),
    (BoxRegressionConfig, "box_regression.", [("ridge", 0)]),
    (FinetuneConfig, "finetune.", [("epochs", -1), ("learning_rate", -1e-3), ("weight_decay", -1e-3), ("clip", 0)]),
    (FinetuneConfig, "finetune.", [("batch_size", 0), ("regions_per_image", 0), ("scales", (480, 0))]),
    (FinetuneConfig, "finetune.", [("feature_norm", 0), ("dropout", 1.0)]),
    (SPPConfig, "spp.", [("scales", ()), ("scales", (0,)), ("scales", (688, -1))]),
    (CropConfig, "crop.", [("context", -1), ("batch_size", 0)]),
    (RoIConfig, "roi.", [("size", 0), ("samples", 0)]),
    (PyramidConfig, "pyramid.", [("levels", ()), ("last_levels", ()), ("last_levels", (0,))]),
    (SelectionConfig, "selection.", [("nms_iou", -0.1), ("vote_iou", 1.1)]),
    (FCConfig, "fc.", [("depth", 3), ("depth", -1), ("width", 0)]),
    (ProposalConfig, "proposals.", [("width", 0), ("limit", 0)]),
    (DataConfig, "data.", [("max_images", 0), ("split_seed", -1), ("split_fractions", (0.5, 0.5, 1.5))]),
    (FitConfig, "fit.", [("epochs", 0), ("batch_size", -1), ("learning_rate", 0.0), ("label_smoothing", 1.0)]),
    (ViewsConfig, "views.", [("sizes", (0,)), ("window", 0)]),
    (ClassifierConfig, "", [("sizes", ()), ("sizes", (32, 0))]),
    (TrainClassifierConfig, "", [("dropout", 1.0), ("workers", 0), ("feature_norm", 0.0), ("seed", -1)]),
    (TrainConfig, "", [("seed", -1), ("workers", -1), ("memory_gb", 1.5)]),
]


@pytest.mark.parametrize(
    ("kind", "section", "name", "value"),
    [(kind, section, *row) for kind, section, rows in OUT_OF_RANGE for row in rows],
)
def test_a_value_out_of_range_is_refused_when_the_record_is_made(kind, section, name, value):
    with pytest.raises(ConfigError, match="out of range") as caught:
        kind(**{name: value})
    assert caught.value.field == f"{section}{name}"
    with pytest.raises(ConfigError, match="out of range"):
        replace(kind(), **{name: value})


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (DetectorConfig, {"head": "foo"}, r"head: cannot be used \(expected svm or softmax, got foo\)"),
        (DetectorConfig, {"features": "hog"}, "features: .*spp, crop, roi_pool or roi_align, got hog"),
        (DetectorConfig, {"spp": 688}, r"spp: cannot be used \(expected keys, got 688\)"),
        (SPPConfig, {"scales": 688}, r"spp\.scales: .*expected a list, got 688"),
        (SPPConfig, {"scales": (688.5,)}, r"spp\.scales: .*expected a list"),
        (SPPConfig, {"window_rule": "nearest"}, "paper, code or round, got nearest"),
        (SPPConfig, {"scale_rule": "round"}, "paper or code, got round"),
        (SVMConfig, {"C": "0.1"}, r"svm\.C: .*expected a number, got 0\.1"),
        (SVMConfig, {"epochs": 1.5}, r"svm\.epochs: .*expected a whole number, got 1\.5"),
        (SVMConfig, {"epochs": True}, r"svm\.epochs: .*expected a whole number, got True"),
        (ProposalConfig, {"width": "500"}, r"proposals\.width: .*expected a whole number or null, got 500"),
        (ViewsConfig, {"kind": "11views"}, r"views\.kind: .*10views or 96views, got 11views"),
        (DataConfig, {"classes": ["dog", 1.5]}, r"data\.classes: .*expected a list or null"),
        (BoxRegressionConfig, {"enabled": "yes"}, r"box_regression\.enabled: .*expected true or false, got yes"),
    ],
)
def test_a_value_of_another_type_is_refused_when_the_record_is_made(kind, values, message):
    with pytest.raises(ConfigError, match=message):
        kind(**values)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CropConfig(size=32, context=16), r"crop\.context: .*less than half of crop\.size 32, got 16"),
        (lambda: SelectionConfig(min_score=-float("inf"), vote_iou=0.5), r"min_score: leaves no weights.*finite.*-inf"),
        (lambda: TrainConfig(finetune=FinetuneConfig(epochs=1)), r"finetune\.blocks: leaves nothing to fine-tune"),
        (
            lambda: TrainConfig(finetune=FinetuneConfig(epochs=1, blocks=1), precision="fp16"),
            "precision: .*fp32 or bf16, got fp16",
        ),
        (lambda: TrainClassifierConfig(precision="fp16"), "precision: .*fp32 or bf16, got fp16"),
        (lambda: ViewsConfig("full", window=30), r"views\.window: has no windows .*10views or 96views, got kind full"),
        (lambda: ViewsConfig(window=30), r"views\.window: has no windows"),
    ],
)
def test_values_that_contradict_each_other_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_values_at_the_ends_of_their_ranges_and_lists_are_taken():
    assert FinetuneConfig(dropout=0, scales=()).scales == ()
    assert SelectionConfig(nms_iou=1, max_per_class=0).nms_iou == 1
    assert ProposalConfig(width=None, limit=None).width is None
    assert TrainConfig(fc=FCConfig(2), finetune=FinetuneConfig(epochs=1)).fc.depth == 2
    assert SPPConfig(scales=[480, 688]) == SPPConfig((480, 688))


INFINITE = {"selection.min_score"}  # from which voting is refused


def numeric_fields() -> list[tuple[type, str]]:
    kinds = {kind for kind, *_ in OUT_OF_RANGE} | {HeadSections, NetworkConfig}
    numbers = {int, float, int | None, float | None, tuple[int, ...], tuple[float, ...]}
    pairs = [(kind, name) for kind in kinds for name, hint in get_type_hints(kind).items() if hint in numbers]
    return sorted(pairs, key=lambda pair: (pair[0].__name__, pair[1]))


@pytest.mark.parametrize(("kind", "name"), numeric_fields(), ids=lambda part: getattr(part, "__name__", part))
def test_every_number_has_an_end_on_both_sides(kind, name):
    field = f"{kind.__section__}.{name}".lstrip(".")
    hint = get_type_hints(kind)[name]
    huge = [10**30, -(10**30)]
    if "float" in str(hint):
        huge += [NAN] + ([] if field in INFINITE else [float("inf"), -float("inf"), 1e300, -1e300])
    for value in huge:
        if field in INFINITE and value == value:
            continue
        with pytest.raises(ConfigError) as caught:
            kind(**{name: (value, value, value) if "tuple" in str(hint) else value})
        assert caught.value.field == field
