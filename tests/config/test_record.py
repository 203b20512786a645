import json
from dataclasses import FrozenInstanceError, replace

import pytest

from sppdet.config.detector import DetectorConfig, SPPConfig
from sppdet.config.heads import SVMConfig
from sppdet.config.network import PyramidConfig
from sppdet.config.record import as_dict, from_dict
from sppdet.config.training import TrainConfig
from sppdet.errors import ConfigError

CHANGED = TrainConfig(
    features="crop",
    pyramid=PyramidConfig((4, 2, 1), mode="average"),
    spp=SPPConfig((480, 576), "code", "code"),
    svm=SVMConfig(C=0.5),
    seed=7,
)


@pytest.mark.parametrize("config", [DetectorConfig(), TrainConfig(), CHANGED], ids=["detector", "train", "changed"])
def test_a_configuration_survives_json(config):
    stored = json.loads(json.dumps(as_dict(config)))
    restored = from_dict(type(config), stored)
    assert restored == config
    assert isinstance(restored.pyramid.levels, tuple)
    assert hash(restored.spp.scales) == hash(config.spp.scales)


def test_missing_keys_take_their_defaults_which_are_the_papers():
    assert from_dict(DetectorConfig, {"spp": {"scales": [600]}}) == DetectorConfig(spp=SPPConfig((600,)))
    config = TrainConfig()
    assert config.pyramid.levels == (6, 3, 2, 1)
    assert config.spp.scales == (688,)
    assert config.spp.window_rule == "paper"
    assert (config.svm.C, config.svm.loss, config.svm.negative_iou) == (0.001, "hinge", 0.3)
    assert (config.selection.nms_iou, config.selection.max_per_class) == (0.3, 100)


@pytest.mark.parametrize(
    ("values", "key"), [({"feature": "spp"}, "feature"), ({"spp": {"scale": [1]}}, "spp.scale"), ({"svm": {}}, "svm")]
)
def test_an_unknown_key_is_named_with_its_file(values, key):
    with pytest.raises(ConfigError, match="unknown configuration key") as caught:
        from_dict(DetectorConfig, values, "run/detector.safetensors")
    assert caught.value.field == key
    assert str(caught.value).startswith(f"run/detector.safetensors: {key}: ")


@pytest.mark.parametrize("values", [{"spp": 5}, {"spp": {"scales": 688}}, {"spp": None}])
def test_a_value_of_another_shape_is_an_error(values):
    with pytest.raises(ConfigError, match=r"x\.yaml"):
        from_dict(DetectorConfig, values, "x.yaml")


def test_configurations_are_frozen():
    with pytest.raises(FrozenInstanceError):
        DetectorConfig().head = "softmax"  # type: ignore[misc]
    assert replace(DetectorConfig(), head="softmax") != DetectorConfig()
