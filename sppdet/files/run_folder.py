"""A run's folder belongs to one configuration, and to one set of data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sppdet.config.data import DataConfig
from sppdet.errors import ConfigError
from sppdet.files.atomic import json_ready, read_json, write_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# These say how a run is carried out, not what comes of it; a resumed run may change them.
EXECUTION_KEYS = ("workers", "cache_gb", "output")


def check_config(folder: Path, config: DataclassInstance) -> None:
    """Write the configuration into a new run's folder, or check that it is the one its heads were fitted with."""
    file = folder / "config.json"
    wanted = json_ready(asdict(config))
    if not any(folder.glob("*.safetensors")):  # nothing here depends on a configuration yet
        write_json(file, wanted)
        return
    defaults = _flatten(json_ready(asdict(type(config)())))  # of keys that are younger than the run
    begun, now = defaults | _flatten(read_json(file)), _flatten(wanted)
    different = [key for key in now if key not in EXECUTION_KEYS and begun.get(key) != now[key]]
    if different:
        raise ConfigError(
            "holds a run of another configuration; choose another folder or remove it",
            file=folder,
            field="output",
            expected=", ".join(f"{key}={begun.get(key)}" for key in different),
            got=", ".join(f"{key}={now[key]}" for key in different),
        )


def check_data(folder: Path, key: str) -> None:
    """Write down the key of all that a run is made from, or check that its heads were fitted to the same; a run that
    has none is taken to be."""
    file = folder / "data.json"
    if any(folder.glob("*.safetensors")) and file.is_file() and read_json(file) != key:
        reason = "was begun with other images, annotations, proposals or weights; choose another folder or remove it"
        raise ConfigError(reason, file=folder, field="output")
    write_json(file, key)


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"svm": {"C": 1}} as {"svm.C": 1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def evaluation_folder(run: str, data: DataConfig) -> Path:
    """The folder that a run's evaluation goes to: RUN/SPLIT, RUN/SPLIT-20 on the first 20 images."""
    folder = Path(run) if Path(run).is_dir() else Path(run).parent
    return folder / (data.split if data.max_images is None else f"{data.split}-{data.max_images}")
