import re
from dataclasses import replace
from pathlib import Path

import pytest
from factories import error_of

from sppdet.cli import build_parser, main
from sppdet.config.classification import TrainClassifierConfig
from sppdet.config.data import DataConfig
from sppdet.config.heads import SVMConfig
from sppdet.config.load import load_config
from sppdet.config.training import TrainConfig
from sppdet.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    file = folder / "c.yaml"
    file.write_text(f"{text}\n")
    return file


def test_keys_that_the_file_leaves_out_have_their_defaults(tmp_path):
    file = write(tmp_path, "svm: {C: 1e-3, epochs: 7}\nspp: {scales: [480, 688]}")
    read = load_config(file)
    assert read == replace(TrainConfig(), svm=SVMConfig(C=1e-3, epochs=7), spp=read.spp)
    assert read.spp.scales == (480, 688)


def test_overrides_replace_values_of_the_file_or_complete_it(tmp_path):
    file = write(tmp_path, "svm: {C: 0.5, epochs: 7}\nseed: 3")
    config = load_config(file, {"svm.C": 0.01, "spp.scales": [480], "data.root": tmp_path, "data.classes": ["dog"]})
    assert (config.svm.C, config.svm.epochs, config.seed, config.spp.scales) == (0.01, 7, 3, (480,))
    assert (config.data.root, config.data.classes) == (str(tmp_path), ["dog"])
    file = write(tmp_path, "finetune: {epochs: 2}")
    assert load_config(file, {"fc.depth": 1}).finetune.epochs == 2
    with pytest.raises(ConfigError, match=r"c\.yaml: finetune\.blocks: leaves nothing to fine-tune"):
        load_config(file)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("[yes, no]", ("yes", "no")),
        ("[on, Off, y, n]", ("on", "Off", "y", "n")),
        ("[0, 12]", ("0", "12")),
        ("[007, 12:30, 1_000, 0x10, 2020-01-01]", ("007", "12:30", "1_000", "0x10", "2020-01-01")),
        ("[traffic light, '007', null_island]", ("traffic light", "007", "null_island")),
    ],
)
def test_class_names_are_text_as_they_are_written(tmp_path, names, text):
    assert load_config(write(tmp_path, f"data: {{classes: {names}}}")).data.class_names == text
    options = build_parser().parse_args(["train", "--data.classes", names]).train.data
    assert DataConfig(classes=options.classes).class_names == text


@pytest.mark.parametrize("names", ["[true, 'false']", "[null]", "[car, 1.5]"])
def test_names_that_are_other_values_need_quotes(tmp_path, names):
    with pytest.raises(ConfigError, match=r"data\.classes: cannot be used \(expected text, in quotes"):
        load_config(write(tmp_path, f"data: {{classes: {names}}}"))


def test_numbers_as_keys_are_no_parameters(tmp_path):
    with pytest.raises(ConfigError, match=r"c\.yaml: keys are names of parameters \(got 0\)"):
        load_config(write(tmp_path, "0: cat\n1: dog"))


def test_numbers_and_booleans_are_those_of_yaml(tmp_path):
    text = "svm: {C: 1e-3}\nfinetune: {flip: False, learning_rate: .5, clip: 1.e+2}\nbox_regression: {enabled: true}"
    read = load_config(write(tmp_path, text))
    assert (read.svm.C, read.finetune.learning_rate, read.finetune.clip) == (0.001, 0.5, 100)
    assert (read.finetune.flip, read.box_regression.enabled) == (False, True)


def test_a_classifier_has_a_record_of_its_own(tmp_path):
    config = load_config(write(tmp_path, "fit: {epochs: 2}"), {"data.train": "images"}, TrainClassifierConfig)
    assert (config.fit.epochs, config.data.train) == (2, "images")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("svm: {D: 3}", r"svm\.D: no such option"),
        ("svn: {C: 3}", r"svn\.C: no such option"),
        ("svm: 3", "svm: is not a value but a group of keys"),
        ("svm: {C: many}", r"svm\.C: cannot be used \(expected a number, got many\)"),
        ("svm: {C: 0}", r"svm\.C: out of range \(expected more than 0, got 0\.0\)"),
        ("seed: -1", r"seed: out of range \(expected at least 0, got -1\)"),
        (r'crop: {size: "\x1b[31m"}', r"crop\.size: .*got \\x1b\[31m"),
        ("head: foo", "head: cannot be used .*svm or softmax, got foo"),
        ("crop: {context: 200}", r"crop\.context: leaves nothing of the box"),
        ("spp: [1", ".*line 1"),
        ("", ""),
        (f"svm: {{C: {'9' * 400}}}", "a whole number is too large"),
        (f"finetune: {{dropout: '1{'000' * 200}'}}", "a whole number is too large"),
        ("svm: {C: 1_0}", r"svm\.C: cannot be used \(expected a number, got 1_0\)"),
        ("seed: 1:30", r"seed: cannot be used \(.*got 1:30\)"),
        ("svm: {C: '0x10'}", r"svm\.C: cannot be used \(expected a number, got 0x10\)"),
        ("finetune: {flip: yes}", r"finetune\.flip: cannot be used \(expected true or false, got yes\)"),
        ("spp: {scales: 480}", r"spp\.scales: .*\[480\]"),
        ("svm:\nseed: 1", "svm: .*group"),
    ],
)
def test_an_error_in_a_file_names_file_and_key(tmp_path, text, message, capsys):
    file = write(tmp_path, text)
    with pytest.raises(ConfigError, match=rf"^{file}: {message}"):
        load_config(file, {"workers": 1})
    assert main(["train", "--config", str(file), "--output", str(tmp_path / "run")]) == 1
    # A rule about several keys is checked after the options, which may complete the file.
    assert re.match(rf"sppdet: error: ({file}: )?{message}", error_of(capsys.readouterr().err))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"svm.D": 1}, r"^svm\.D: unknown configuration key"),
        ({"svn.C": 1}, "^svn: unknown configuration key"),
        ({"svm.C": "x"}, r"^svm\.C: cannot be used \(expected a number, got x\)"),
        ({"svm": 1}, r"^svm: cannot be used \(expected keys, got 1\)"),
        ({"seed": -1}, "^seed: out of range"),
    ],
)
def test_an_error_in_an_override_names_its_key(tmp_path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, "seed: 1"), overrides)


def test_a_file_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.yaml: .*does not exist"):
        load_config(tmp_path / "nothing.yaml")
