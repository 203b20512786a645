"""Configuration files, in YAML: a record that can be written down and read again, or an error that names the file."""

import json
import random
from pathlib import Path

import yaml

from sppdet.config.classification import TrainClassifierConfig
from sppdet.config.load import load_config
from sppdet.config.record import as_dict, from_dict
from sppdet.config.training import TrainConfig
from sppdet.errors import SppdetError
from torture.mutate import change_json, change_lines, damage
from torture.target import Case, Target

CONFIGS = Path(__file__).parents[2] / "configs"
CLASSIFIER = {"sizes": [32, 40], "pyramid": {"levels": [2, 1]}, "fit": {"epochs": 3}, "data": {"train": "a"}}
KINDS = {"detector": TrainConfig, "classifier": TrainClassifierConfig}
PIECES = (
    *("[", "]", "{", "}", "- ", "? ", ": ", "a: ", "#", "|", ">", "---\n", "...\n", "%YAML 1.1\n", "\t", "  ", "\n"),
    *("&a ", "*a", "*data", "&data [*data]", "<<: *a", "<<: {seed: 1}", "<<: 1", "!", "!!", "! x", "!<x>", "'", '"'),
    *("!!int x", "!!float []", "!!bool 2", "!!null x", "!!binary /w==", "!!binary x", "!!timestamp x", "2020-99-99"),
    *("!!set {a, b}", "!!omap [a: 1]", "!!pairs [a]", "!!map []", "!!seq {}", "!!str 1", "!!python/name:os.getpid"),
    *('"\\ud800"', '"\\x1b[31m"', '"\\0"', '"\\UFFFFFFFF"', "\u2028", "\ufeff", "\x85", "[[], {}]", "{[1]: 2}"),
    *(".inf", "-.inf", ".nan", "1e400", "9" * 400, "9" * 5000, "0o17", "0x1F", "1_000", "12:30", "null", "~", "true"),
)


def targets() -> list[Target]:
    return [Target(f"configuration-{name}", lambda folder, name=name: _prepare(folder, name)) for name in KINDS]


def change_yaml(text: bytes, rng: random.Random) -> bytes:
    """YAML with other values, keys or syntax, or bytes that may be none."""
    match rng.randrange(6):
        case 0:
            return damage(text, rng)
        case 1:
            return change_lines(text, rng)
        case 2 | 3:
            return change_json(json.dumps(yaml.safe_load(text)).encode(), rng)
    lines = text.decode().split("\n")
    for _ in range(rng.choice((1, 1, 2, 3))):
        at, piece = rng.randrange(len(lines)), rng.choice(PIECES) * rng.choice((1, 1, 1, 1, 1, 2, 100, 10_000))
        key = lines[at].partition(":")[0]
        lines[at] = rng.choice((f"{key}: {piece}", f"{key}: {piece}", piece, piece + lines[at], lines[at] + piece))
    return "\n".join(lines).encode(errors="surrogatepass")


def _prepare(folder: Path, name: str) -> Case:
    kind, file = KINDS[name], folder / "c.yaml"
    if name == "detector":
        seeds = [path.read_bytes() for path in sorted(CONFIGS.glob("*.yaml"))]
    else:
        seeds = [yaml.safe_dump(values).encode() for values in (CLASSIFIER, as_dict(TrainClassifierConfig()))]

    def read(data: bytes) -> None:
        file.write_bytes(data)
        try:
            config = load_config(file, None, kind)
        except SppdetError as error:
            if str(file) in str(error):
                raise
            raise AssertionError("the file is not named") from error
        assert isinstance(config, kind)
        assert from_dict(kind, json.loads(json.dumps(as_dict(config)))) == config, "another one after it is written"

    return Case(lambda rng: change_yaml(rng.choice(seeds), rng), read)
