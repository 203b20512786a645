"""The command that one goes on with after another."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from sppdet.config.data import DataConfig

TEST = DataConfig(split="test")  # evaluated by default


def next_step(command: str, given: Any) -> str | None:
    """Return the command line that goes on from a command with these options; None after the last of its line."""
    if getattr(given, "shard", None):  # a part of the work, in any order
        return None
    match command:
        case "download":
            return command_line("train", "--config", "configs/sppnet_voc07.yaml", "--data.root", given.folder)
        case "convert-data":
            return command_line("check-data", given.output)
        case "check-data" if root := given.path or given.data.root:
            return command_line("train", "--config", "configs/quick.yaml", "--data.root", root, "--output", "runs/mine")
        case "train":
            annotations = ["--data.annotations", "FILE"] if given.data.annotations else []
            return command_line("evaluate", given.output, *annotations)
        case "evaluate" if given.proposals:  # those who read detections again look for none of these
            return None
        case "evaluate" | "diagnose" if given.run and not given.output:
            following = "diagnose" if command == "evaluate" else "report"
            return command_line(following, given.run, *data_options(given.data))
        case "compare":
            folder = ["--comparison", given.output] if given.output else []
            return command_line("report", *given.runs, *folder, *data_options(replace(given.data, max_images=None)))
        case "demo":
            place = Path(given.output or ("runs/demo-real" if given.real else "runs/demo"))
            runs = [str(place / f"{name}-{given.seed}") for name in ("spp", "rcnn")]
            return command_line("report", *runs, "--comparison", str(place / "compare"))
        case "classify crops":
            return command_line("classify", "train", "--data.train", str(Path(given.output) / given.data.split))
        case "classify train" if given.data.val:
            return command_line("classify", "evaluate", given.output)
        case "classify train":
            return command_line("classify", "predict", given.output, "IMAGE")
    return None


def data_options(data: DataConfig) -> list[str]:
    """Return the options of a command line that name data to evaluate on."""
    different = {key: value for key, value in vars(data).items() if value != getattr(TEST, key)}
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in different.items()}
    return [part for key, text in texts.items() for part in (f"--data.{key}", text)]


def command_line(*words: str) -> str:
    """Return a command of sppdet, quoted for a shell."""
    return shlex.join(["sppdet", *words])
