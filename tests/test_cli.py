"""The command line: help, usage, files of parameters, and the log."""

import logging
import shlex
from inspect import signature
from pathlib import Path

import pytest
from docstring_parser import parse
from factories import stopping

from sppdet import __version__
from sppdet.cli import COMMANDS, COMMON, build_parser, function_of, main
from sppdet.commands.following import next_step
from sppdet.training import train as stages

README = Path(__file__).parents[1] / "data/README.md"


def test_help_version_and_usage(capsys):
    for option in ("--help", "--version"):
        with pytest.raises(SystemExit) as stopped:
            main([option])
        assert stopped.value.code == 0
    out, version, _ = capsys.readouterr().out.rpartition(f"sppdet {__version__}\n")
    assert version
    assert all(name in out for name in COMMANDS)
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == out
    assert main(["nonsense"]) == 2
    assert main(["detect", "run"]) == 2


@pytest.mark.parametrize(
    "command", [[name, *part] for name, group in COMMANDS.items() for part in ([[each] for each in group] or [[]])]
)
def test_help_fits_a_terminal_and_documents_the_json(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    out = capsys.readouterr().out
    assert out.startswith(f"usage: sppdet {' '.join(command)} [options]")
    assert max(map(len, out.splitlines())) <= 80
    assert "\nJSON" in out
    assert f"`{' '.join(command)}`" in README.read_text().partition("\n## JSON")[2]


def test_every_option_is_explained():
    for name, group in COMMANDS.items():
        for part in group or (None,):
            function = function_of(name, part)
            explained = {one.arg_name for one in parse(function.__doc__).params}
            parameters = set(signature(function).parameters)
            assert explained == parameters - set(COMMON), (name, part)


@pytest.mark.parametrize("config", [["--config", "c.yaml"], ["--config=c.yaml"]])
@pytest.mark.parametrize("place_of_config", [0, 2, 4])
def test_options_win_over_the_file_wherever_they_stand(config, place_of_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text("features: spp\nspp: {scales: [480]}\nsvm: {C: 0.5}\n")
    options = ["--features", "crop", "--svm.C", "0.01"]
    with stopping(stages, "train") as calls:
        assert main(["train", *options[:place_of_config], *config, *options[place_of_config:]]) == 130
    ((taken,),) = calls
    assert (taken.features, taken.svm.C, taken.spp.scales) == ("crop", 0.01, (480,))


def test_a_warning_is_printed_once(tmp_path, capsys):
    assert main(["download", str(tmp_path), "--years", "[1999]"]) == 1  # sets the log up
    capsys.readouterr()
    for text in ("one", "two", "one"):
        logging.getLogger("sppdet").warning("%s: box %s skipped", tmp_path, text)
        logging.getLogger("sppdet").info("%s", text)
    assert [line.split()[-2:] for line in capsys.readouterr().err.splitlines()] == [
        *(["one", "skipped"], ["one"], ["two", "skipped"], ["two"], ["one"])
    ]


def test_warnings_of_many_files_are_counted(tmp_path, capsys):
    usage = ["download", str(tmp_path), "--years", "[1999]"]
    assert main(usage) == 1  # sets the log up
    (handler,) = [each for each in logging.getLogger("sppdet").handlers if hasattr(each, "count")]
    for name in "abcadb":
        logging.getLogger("sppdet").warning("%s: damaged", f"{name}.jpg", extra={"counted": True})
    handler.count()  # as a command does in the end
    handler.count()
    assert main(usage) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "damaged" in line]
    assert lines == ["a.jpg: damaged", "damaged: 4 files: a.jpg, b.jpg, c.jpg, ..."]


@pytest.mark.parametrize(
    ("option", "said", "unsaid"),
    [
        ([], ["next: sppdet train --config configs/quick.yaml --data.root "], ["sppdet 0."]),
        (["-q"], [], ["next:", "images", "sppdet 0."]),
        (["-v"], ["next: ", f"sppdet {__version__}, Python 3"], []),
    ],
)
def test_the_next_command_and_how_much_is_told(option, said, unsaid, shapes, tmp_path, capsys):
    assert main(["check-data", str(shapes), "--output", str(tmp_path / "check"), *option]) == 0
    out, err = capsys.readouterr()
    assert "written to" in out
    assert all(text in err for text in said)
    assert not [text for text in unsaid if text in err]


def test_details_of_an_error_come_before_it(capsys):
    assert main(["evaluate", "nothing", "--verbose"]) == 1
    *_, traced, line = capsys.readouterr().err.splitlines()
    assert traced.startswith("sppdet.errors.WeightsError")
    assert line.startswith("sppdet: error: nothing: file not found")


@pytest.mark.parametrize(
    ("words", "following"),
    [
        ("train --output runs/a --data.root d", "sppdet evaluate runs/a"),
        ("train --output runs/a --data.annotations a.json", "sppdet evaluate runs/a --data.annotations FILE"),
        ("train --output runs/a --data.root d --shard 0/2", None),
        ("evaluate runs/a", "sppdet diagnose runs/a"),
        ("evaluate runs/a --shard 0/2", None),
        ("evaluate runs/a --proposals p.json", None),
        (
            "evaluate runs/a --data.split val --data.max_images 5",
            "sppdet diagnose runs/a --data.split val --data.max_images 5",
        ),
        ("diagnose runs/a", "sppdet report runs/a"),
        ("compare runs/a runs/b", "sppdet report runs/a runs/b"),
        (
            "compare runs/a --output c --data.root d --data.max_images 3",
            "sppdet report runs/a --comparison c --data.root d",
        ),
        ("evaluate --detections d.json --data.root d", None),
        ("download", "sppdet train --config configs/sppnet_voc07.yaml --data.root data"),
        ("convert-data a --to voc --output 'b c'", "sppdet check-data 'b c'"),
        ("classify train --data.train d", "sppdet classify predict runs/classifier IMAGE"),
        ("demo", "sppdet report runs/demo/spp-0 runs/demo/rcnn-0 --comparison runs/demo/compare"),
        ("detect runs/a a.jpg", None),
    ],
)
def test_commands_follow_each_other(words, following):
    arguments = shlex.split(words)
    parser = build_parser(arguments)
    options, names = parser.instantiate(parser.parse_args(arguments)), []
    while options.get("subcommand"):
        names.append(options.subcommand)
        options = options[names[-1]]
    assert next_step(" ".join(names), options) == following
    if following:
        again = shlex.split(following)[1:]
        build_parser(again).parse_args([word for word in again if "configs/" not in word and word != "--config"])
