from dataclasses import replace
from typing import Any

import pytest

from sppdet.config.classification import ClassifierConfig, FitConfig, TrainClassifierConfig, ViewsConfig
from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.config.detector import CropConfig, DetectorConfig, RoIConfig, SelectionConfig, SPPConfig
from sppdet.config.network import FCConfig, PyramidConfig
from sppdet.config.training import BoxRegressionConfig, FinetuneConfig, SoftmaxConfig, SVMConfig, TrainConfig
from sppdet.errors import ConfigError

OUT_OF_RANGE: list[tuple[type, dict[str, Any], str]] = [
    (SVMConfig, {"C": 0}, "svm.C"),
    (SVMConfig, {"C": float("nan")}, "svm.C"),
    (SVMConfig, {"feature_norm": 0.0}, "svm.feature_norm"),
    (SVMConfig, {"max_examples": 0}, "svm.max_examples"),
    (SoftmaxConfig, {"regions_per_image": 0}, "softmax.regions_per_image"),
    (SoftmaxConfig, {"foreground": 1.1}, "softmax.foreground"),
    (BoxRegressionConfig, {"ridge": 0}, "box_regression.ridge"),
    (FinetuneConfig, {"epochs": -1}, "finetune.epochs"),
    (FinetuneConfig, {"learning_rate": -1e-3}, "finetune.learning_rate"),
    (FinetuneConfig, {"weight_decay": -1e-3}, "finetune.weight_decay"),
    (FinetuneConfig, {"batch_size": 0}, "finetune.batch_size"),
    (FinetuneConfig, {"regions_per_image": 0}, "finetune.regions_per_image"),
    (FinetuneConfig, {"feature_norm": 0}, "finetune.feature_norm"),
    (FinetuneConfig, {"clip": 0}, "finetune.clip"),
    (FinetuneConfig, {"dropout": 1.0}, "finetune.dropout"),
    (FinetuneConfig, {"scales": (480, 0)}, "finetune.scales"),
    (SPPConfig, {"scales": ()}, "spp.scales"),
    (SPPConfig, {"scales": (0,)}, "spp.scales"),
    (SPPConfig, {"scales": (688, -1)}, "spp.scales"),
    (CropConfig, {"context": -1}, "crop.context"),
    (CropConfig, {"batch_size": 0}, "crop.batch_size"),
    (RoIConfig, {"size": 0}, "roi.size"),
    (RoIConfig, {"samples": 0}, "roi.samples"),
    (PyramidConfig, {"levels": ()}, "pyramid.levels"),
    (SelectionConfig, {"nms_iou": -0.1}, "selection.nms_iou"),
    (FCConfig, {"depth": 3}, "fc.depth"),
    (FCConfig, {"depth": -1}, "fc.depth"),
    (FCConfig, {"width": 0}, "fc.width"),
    (ProposalConfig, {"width": 0}, "proposals.width"),
    (ProposalConfig, {"limit": 0}, "proposals.limit"),
    (DataConfig, {"max_images": 0}, "data.max_images"),
    (FitConfig, {"epochs": 0}, "fit.epochs"),
    (FitConfig, {"batch_size": -1}, "fit.batch_size"),
    (FitConfig, {"learning_rate": 0.0}, "fit.learning_rate"),
    (FitConfig, {"label_smoothing": 1.0}, "fit.label_smoothing"),
    (ViewsConfig, {"sizes": (0,)}, "views.sizes"),
    (ViewsConfig, {"window": 0}, "views.window"),
    (ClassifierConfig, {"sizes": ()}, "sizes"),
    (ClassifierConfig, {"sizes": (32, 0)}, "sizes"),
    (TrainClassifierConfig, {"dropout": 1.0}, "dropout"),
    (TrainClassifierConfig, {"workers": 0}, "workers"),
    (TrainClassifierConfig, {"feature_norm": 0.0}, "feature_norm"),
    (TrainClassifierConfig, {"seed": -1}, "seed"),
    (TrainConfig, {"seed": -1}, "seed"),
    (TrainConfig, {"workers": -1}, "workers"),
    (TrainConfig, {"memory_gb": 1.5}, "memory_gb"),
]


@pytest.mark.parametrize(("kind", "values", "key"), OUT_OF_RANGE)
def test_a_value_out_of_range_is_refused_when_the_record_is_made(kind, values, key):
    with pytest.raises(ConfigError, match="out of range") as caught:
        kind(**values)
    assert caught.value.field == key
    with pytest.raises(ConfigError, match="out of range"):
        replace(kind(), **values)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (DetectorConfig, {"head": "foo"}, r"head: cannot be used \(expected svm or softmax, got foo\)"),
        (DetectorConfig, {"features": "hog"}, "features: .*spp or crop or roi_pool or roi_align, got hog"),
        (DetectorConfig, {"spp": 688}, r"spp: cannot be used \(expected keys, got 688\)"),
        (SPPConfig, {"scales": 688}, r"spp\.scales: .*expected a list, got 688"),
        (SPPConfig, {"scales": (688.5,)}, r"spp\.scales: .*expected a list"),
        (SPPConfig, {"window_rule": "nearest"}, "paper or code or round, got nearest"),
        (SPPConfig, {"scale_rule": "round"}, "paper or code, got round"),
        (SVMConfig, {"C": "0.1"}, r"svm\.C: .*expected a number, got 0\.1"),
        (SVMConfig, {"epochs": 1.5}, r"svm\.epochs: .*expected a whole number, got 1\.5"),
        (SVMConfig, {"epochs": True}, r"svm\.epochs: .*expected a whole number, got True"),
        (ProposalConfig, {"width": "500"}, r"proposals\.width: .*expected a whole number or null, got 500"),
        (ViewsConfig, {"kind": "11views"}, r"views\.kind: .*10views or 96views or null, got 11views"),
        (DataConfig, {"classes": ["dog", 1]}, r"data\.classes: .*expected a list or null"),
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


def test_values_at_the_ends_of_their_ranges_are_taken():
    assert FinetuneConfig(dropout=0, scales=()).scales == ()
    assert SelectionConfig(nms_iou=1, max_per_class=0).nms_iou == 1
    assert ProposalConfig(width=None, limit=None).width is None
    assert TrainConfig(fc=FCConfig(2), finetune=FinetuneConfig(epochs=1)).fc.depth == 2


def test_a_list_becomes_a_tuple():
    assert SPPConfig(scales=[480, 688]) == SPPConfig((480, 688))
