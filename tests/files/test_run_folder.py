import random
from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from contracts import raised

from sppdet.classification.training import train_classifier
from sppdet.config.classification import FoldersConfig, TrainClassifierConfig
from sppdet.config.data import DataConfig
from sppdet.config.heads import SVMConfig
from sppdet.config.record import as_dict
from sppdet.config.training import FinetuneConfig, TrainConfig
from sppdet.errors import ConfigError, SppdetError, WeightsError
from sppdet.files.atomic import read_json, save_tensors, write_json
from sppdet.files.run_folder import RunFolder, run_key
from sppdet.training.train import train

CONFIG = TrainConfig(svm=SVMConfig(C=0.01))


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    """A run of CONFIG that has begun."""
    folder = RunFolder(tmp_path / "run")
    folder.begin(CONFIG, "data")
    save_tensors(folder.path / "heads-train.safetensors", {"weight": torch.zeros(1)})
    return folder


def test_the_keys_that_differ_are_named(folder):
    folder.check_config(replace(CONFIG, workers=7, cache_gb=1, output="elsewhere", device="cuda"))
    error = raised(ConfigError, folder.check_config, replace(CONFIG, seed=3, svm=SVMConfig(C=1.0)))
    assert (error.expected, error.got) == ("svm.C=0.01, seed=0", "svm.C=1.0, seed=3")


@pytest.mark.parametrize("text", ["5", "[[]]", '{"data": [1]}', "{}"])
def test_a_damaged_record_is_one_error_or_says_nothing(folder, text):
    folder.config.write_text(text)
    folder.images.write_text(text)
    calls = (folder.load_data, lambda: folder.find("detector"), lambda: folder.evaluation(DataConfig("data")))
    for call in (*calls, lambda: folder.trained_on(["a"]), lambda: folder.check_config(CONFIG)):
        with suppress(SppdetError):
            call()
    folder.record_images([["a"], "b"])
    assert folder.trained_on(["a", "b"]) == 1


def test_no_flipped_bit_of_the_images_trained_on_goes_unnoticed(folder):
    keys = ["0" * 32, "0123456789abcdef" * 2]
    folder.record_images(keys)
    assert folder.trained_on([keys[1], "other"]) == 1
    whole = folder.images.read_bytes()
    for place, byte in enumerate(whole):
        folder.images.write_bytes(whole[:place] + bytes([byte ^ 1 << place % 8]) + whole[place + 1 :])
        assert raised(SppdetError, folder.trained_on, keys).file == folder.images
    folder.images.write_bytes(whole.replace(b"0123", b"0133"))
    with pytest.raises(SppdetError, match=r"images\.json: is damaged .*copy it again, or remove it"):
        folder.trained_on(keys)


def test_a_second_start_with_another_configuration_is_refused_while_the_first_one_works(tmp_path):
    """From the first second on, when the first has not written its configuration yet."""
    run = RunFolder(tmp_path / "run")
    with run.hold(CONFIG), pytest.raises(ConfigError) as caught, RunFolder(run.path).hold(replace(CONFIG, seed=3)):
        pass
    assert (caught.value.expected, caught.value.got) == ("seed=0", "seed=3")
    with run.hold(replace(CONFIG, seed=3)):  # nothing was made
        pass


def test_a_training_leaves_the_users_own_files_as_they_are(tmp_path):
    names = ("config.json", "data.json", "val.json", "classifier.json")
    for name in names:
        write_json(tmp_path / name, "mine")
    data = FoldersConfig(train=str(tmp_path))
    for function, config in ((train, TrainConfig()), (train_classifier, TrainClassifierConfig(data=data))):
        with pytest.raises(ConfigError, match="output: holds something else"):
            function(replace(config, output=str(tmp_path)))
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(names)
    assert {read_json(tmp_path / name) for name in names} == {"mine"}


def test_a_run_from_before_a_key_goes_on_with_its_default(folder):
    written = read_json(folder.path / "config.json")
    del written["calibration"], written["finetune"]["clip"]
    write_json(folder.path / "config.json", written)
    folder.check_config(CONFIG)
    error = raised(ConfigError, folder.check_config, replace(CONFIG, finetune=FinetuneConfig(clip=3.0)))
    assert (error.expected, error.got) == ("finetune.clip=10.0", "finetune.clip=3.0")


def test_data_are_claimed_once_something_was_made_of_them(tmp_path):
    folder = RunFolder(tmp_path)
    folder.begin(CONFIG, "one")
    folder.begin(CONFIG, "two")
    save_tensors(tmp_path / "heads-train.safetensors", {"weight": torch.zeros(1)})
    key = read_json(tmp_path / "data.json")
    folder.begin(CONFIG, "two")
    with pytest.raises(ConfigError, match="started with other images"):
        folder.begin(CONFIG, "one")
    assert read_json(tmp_path / "data.json") == key


def test_a_run_may_be_given_as_its_file_and_a_missing_detector_is_named(tmp_path):
    file = tmp_path / "classifier.safetensors"
    save_tensors(file, {"weight": torch.zeros(1)})
    run = RunFolder(file)
    assert (run.path, run.find("detector"), run.find("classifier")) == (tmp_path, file, file)
    assert run.evaluation(DataConfig(split="test")) == tmp_path / "test"
    assert RunFolder(tmp_path).evaluation(DataConfig(split="test", max_images=20)) == tmp_path / "test-20"
    with pytest.raises(WeightsError, match=r"detector\.safetensors: file not found .got a folder with classifier"):
        RunFolder(tmp_path).find("detector")
    with pytest.raises(WeightsError, match=r"none: file not found"):
        RunFolder(tmp_path / "none").find("detector")


@pytest.mark.parametrize(("config", "command"), [(TrainConfig(), "train"), (TrainClassifierConfig(), "classify train")])
def test_a_training_that_is_not_finished(tmp_path, config, command):
    run = RunFolder(tmp_path)
    write_json(run.config, as_dict(config))
    for kind in ("detector", "classifier"):
        with pytest.raises(WeightsError, match=rf"not finished .*sppdet {command} --config .*config\.json --output "):
            run.find(kind)
    run.detector.touch()
    with pytest.raises(WeightsError, match=r"classifier\.safetensors: file not found"):
        run.find("classifier")


def test_each_set_of_images_has_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = RunFolder(tmp_path / "run")
    run.begin(TrainConfig(data=DataConfig("data", annotations="data/coco/train.json")), "")
    own = DataConfig("data", "test", annotations="data/coco/val.json")
    sets = [
        own,
        replace(own, max_images=3),
        replace(own, annotations="data/coco/test.json"),
        replace(own, annotations="data/other/val.json"),
        replace(own, root="elsewhere"),
        replace(own, annotations=None),
        replace(own, annotations=None, split="val"),
        replace(own, annotations=None, year="2007"),
        replace(own, split_file="split.json"),
    ]
    folders = [run.evaluation(data).name for data in sets]
    assert folders[:3] == ["val", "val-3", "test"]
    assert len(set(folders)) == len(sets)
    assert run.evaluation(replace(own, root=str(tmp_path / "data"), split_file=str(run.split))).name == "val"


def test_a_run_knows_its_configuration_and_data(tmp_path):
    run, config = RunFolder(tmp_path), TrainConfig(data=DataConfig("photos", classes=["cat"]), val="", seed=3)
    with pytest.raises(ConfigError, match=r"config\.json: data\.root: the run does not say"):
        run.load_data()
    run.begin(config, "")
    assert run.load_config(TrainConfig) == config
    assert run.load_data() == config.data
    run.begin(TrainClassifierConfig(), "")
    with pytest.raises(ConfigError, match=r"data\.root"):
        run.load_data()


def test_files_of_another_run_of_the_same_data_have_another_key(tmp_path):
    keys = set()
    for name, config in (("a", CONFIG), ("b", replace(CONFIG, workers=7, output="b")), ("c", replace(CONFIG, seed=1))):
        run = RunFolder(tmp_path / name)
        run.begin(config, "data")
        keys |= {run_key(run.heads("train")), run_key(run.heads("all"))}
    assert len(keys) == 4


@pytest.mark.parametrize("name", ["config", "data_hash"])
def test_no_flipped_bit_of_a_resumed_run_goes_unnoticed(folder, name):
    """The key of the run is compared: it is made of the configuration and the data."""
    file = getattr(folder, name)
    whole, chance, noticed = file.read_bytes(), random.Random(0), 0
    own = {key: getattr(CONFIG, key) for key in ("workers", "cache_gb", "output", "device", "data")}
    for place in chance.sample(range(len(whole)), min(150, len(whole))):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :])
        try:
            config = folder.load_config(TrainConfig)
            folder.check_config(config)
            folder.begin(config, "data")
            assert replace(config, **own) == CONFIG
        except SppdetError:
            noticed += 1
    assert noticed
