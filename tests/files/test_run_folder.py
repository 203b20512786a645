from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from sppdet.config.training import FinetuneConfig, SVMConfig, TrainConfig
from sppdet.errors import ConfigError
from sppdet.files.atomic import read_json, save_tensors
from sppdet.files.run_folder import check_config, check_data


def test_the_keys_that_differ_are_named(tmp_path):
    folder, config = tmp_path / "run", TrainConfig(svm=SVMConfig(C=0.01))
    check_config(folder, config)
    save_tensors(folder / "heads-train.safetensors", {"weight": torch.zeros(1)})
    check_config(folder, replace(config, workers=7, cache_gb=1, output="elsewhere"))
    with pytest.raises(ConfigError) as caught:
        check_config(folder, replace(config, seed=3, svm=replace(config.svm, C=1.0)))
    assert caught.value.expected == "svm.C=0.01, seed=0"
    assert caught.value.got == "svm.C=1.0, seed=3"


def test_a_run_from_before_a_key_goes_on_with_its_default(tmp_path):
    folder, config = tmp_path / "run", TrainConfig(svm=SVMConfig(C=0.01))
    check_config(folder, config)
    save_tensors(folder / "heads-train.safetensors", {"weight": torch.zeros(1)})
    written = json.loads((folder / "config.json").read_text())
    del written["calibration"], written["finetune"]["clip"]
    (folder / "config.json").write_text(json.dumps(written))
    check_config(folder, config)
    with pytest.raises(ConfigError) as caught:
        check_config(folder, replace(config, finetune=FinetuneConfig(clip=3.0)))
    assert (caught.value.expected, caught.value.got) == ("finetune.clip=10.0", "finetune.clip=3.0")


def test_data_are_claimed_once_something_was_made_of_them(tmp_path):
    check_data(tmp_path, "one")
    check_data(tmp_path, "two")
    save_tensors(tmp_path / "heads-train.safetensors", {"weight": torch.zeros(1)})
    check_data(tmp_path, "two")
    with pytest.raises(ConfigError, match="begun with other images"):
        check_data(tmp_path, "one")
    assert read_json(tmp_path / "data.json") == "two"
