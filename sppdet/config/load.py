"""Configuration files (YAML), read by the parser of the command line, and its errors in the user's words."""

import re
from collections.abc import Mapping
from dataclasses import fields
from os import PathLike
from typing import Any, TypeVar, overload

from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser

from sppdet.config.record import TYPE_NAMES, check_values, from_dict
from sppdet.config.training import TrainConfig
from sppdet.config.yaml import read_yaml_12
from sppdet.errors import ConfigError
from sppdet.wording import did_you_mean, printable

T = TypeVar("T")

NULL = "<class 'NoneType'>"  # as jsonargparse prints types
NUMBERS_OR_NULL = ("<class 'int'>", "<class 'float'>", NULL)
TOO_LARGE = "a whole number is too large"


@overload
def load_config(file: str | PathLike[str], overrides: Mapping[str, Any] | None = None) -> TrainConfig: ...
@overload
def load_config(file: str | PathLike[str], overrides: Mapping[str, Any] | None, kind: type[T]) -> T: ...
def load_config(file: Any, overrides: Mapping[str, Any] | None = None, kind: type[Any] = TrainConfig) -> Any:
    """Read a YAML file as the record of a training; keys that it leaves out have their defaults.

    Args:
        file: such as configs/sppnet_voc07.yaml.
        overrides: values that replace those of the file, by dotted key: {"svm.C": 0.01, "spp.scales": [480]}.
        kind: class of the record: TrainConfig, or TrainClassifierConfig for a classifier.

    Raises ConfigError that names the file (unless the value is of `overrides`) and the key.
    """
    read_yaml_12()
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind)
    values = read_values(parser, kind, file)
    overrides = overrides or {}
    for key, value in overrides.items():
        *groups, name = key.split(".")
        section = values
        for group in groups:
            section = section.setdefault(group, {})
        section[name] = value
    try:
        return from_dict(kind, values)
    except ConfigError as error:
        overridden = any(f"{key}.".startswith(f"{error.field}.") for key in overrides)
        raise error if overridden else error.in_file(file) from None


def config_action(kind: type) -> type[ActionConfigFile]:
    """Return the argparse action of --config FILE for the options of a record of this class.

    The file is checked on its own, so that an error in it names the file.
    """

    class ConfigFile(ActionConfigFile):
        def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
            read_values(parser, kind, values)
            super().__call__(parser, cfg, values, option_string)

    return ConfigFile


def read_values(parser: ArgumentParser, kind: type, file: str | PathLike[str]) -> dict[str, Any]:
    """Return the values that a YAML file gives to a record, nested by section, with the defaults of the others.

    Rules about several keys are not checked: other options may complete the file. Raises ConfigError that names the
    file and the key.
    """
    try:
        values = parser.parse_path(file)
    except (ArgumentError, TypeError, ValueError, OSError) as error:
        text = printable(explain(error, prefix=""))
        unknown = re.fullmatch(r"(\S+): no such option", text)
        question = did_you_mean(unknown[1], parser.get_defaults().keys()) if unknown else ""
        raise ConfigError(f"{text} ({question})" if question else text, file=file) from error
    except OverflowError as error:  # of jsonargparse, which makes a float of it before its range is checked
        raise ConfigError(TOO_LARGE, file=file) from error
    for key in set(values.keys()) - set(parser.get_defaults().keys()):  # jsonargparse accepts `svm: 3`
        raise ConfigError("is not a value but a group of keys", file=file, field=key, got=values[key])
    own = {name: value for name, value in values.as_dict().items() if name in {field.name for field in fields(kind)}}
    try:
        check_values(kind, own)
    except ConfigError as error:
        raise error.in_file(file) from error
    return own


def explain(error: Exception, prefix: str = "--") -> str:
    """Return one line that names the option (after `prefix`), what is expected and what was given."""
    text = one_line(error)
    unknown = re.search(r"(?:Group '([^']+)' does not accept option|Option) '([^']+)'", text)
    if unknown:
        return f"{prefix}{'.'.join(filter(None, unknown.groups()))}: no such option"
    key = re.search(r"Key must be a string, got: (.*?)\.?$", text)
    if key:
        return f"keys are names of parameters (got {key[1]})"
    option = re.search(r'Parser key "([^"]+)"', text)
    if option is None:
        return text
    name = f"{prefix}{option[1]}"
    if "Unable to load config" in text:
        return f"{name}: is a group of options (expected {name}.NAME VALUE)"
    expected = re.findall(r"Expected an? (<class '\w+'>|typing\.Literal\[[^]]*\])", text)
    got = re.search(r"(?:Got|Given) value: ?(.*?)(?: - Expected an? .*)?$", text)
    if not expected or got is None:
        return text.replace(option[0], name)
    nested = re.match(r"NestedArg\(key='([^']+)', val=(.*)\)", got[1])
    if nested:
        return str(ConfigError("no such option", field=f"{name}.{nested[1]}", got=nested[2].strip("'")))
    choices = tuple(choice for kind in expected for choice in re.findall(r"'([^']*)'", kind) if "Literal" in kind)
    numbers = all(kind in NUMBERS_OR_NULL for kind in expected)  # no limit, say; of others it is what needs no option
    kinds = [kind for kind in expected if numbers or kind != NULL]
    wanted = choices or " or ".join(_describe(kind, got[1]) for kind in kinds)
    return str(ConfigError("cannot be used", field=name, expected=wanted, got=got[1] or "nothing"))


def one_line(error: Exception) -> str:
    """Return the message of the error without line breaks."""
    return " ".join(str(error).split())


def _describe(kind: str, got: str) -> str:
    """Return a type as jsonargparse prints it in plain words."""
    name = kind.removeprefix("<class '").removesuffix("'>")
    if name == "str":  # refused only if YAML reads something else
        return "text, in quotes"
    if name in ("list", "tuple"):
        return f"a list such as [{got}]" if re.fullmatch(r"[\w.,-]+", got) else "a list in brackets, without spaces"
    return {kind.__name__: text for kind, text in TYPE_NAMES.items()}.get(name, name)
