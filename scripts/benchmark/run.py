"""The benchmark: its parts, the files it writes, and its table for the terminal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.config import BenchmarkConfig
from benchmark.detect import benchmark_detect
from benchmark.finetune import benchmark_finetune
from benchmark.heads import benchmark_heads
from benchmark.machine import describe_machine
from benchmark.measure import Growth, Part, Row
from benchmark.plots import plot_part
from benchmark.pooling import benchmark_pooling
from benchmark.proposals import benchmark_proposals
from benchmark.train import benchmark_train
from benchmark.views import benchmark_views
from sppdet.config.data import DataConfig
from sppdet.drawing.tables import align
from sppdet.errors import ConfigError
from sppdet.files.atomic import json_ready, write_json

PARTS: Mapping[str, Callable[[DataConfig, BenchmarkConfig], Part]] = {
    "proposals": benchmark_proposals,
    "pooling": lambda _data, config: benchmark_pooling(config),
    "heads": lambda _data, config: benchmark_heads(config),
    "detect": benchmark_detect,
    "train": benchmark_train,
    "finetune": benchmark_finetune,
    "views": benchmark_views,
}


@dataclass(frozen=True)
class Benchmark:
    """The measured parts by name, and the machine."""

    parts: Mapping[str, Part]
    machine: Mapping[str, str | int]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON output; NaN becomes None."""
        return json_ready({name: part.as_dict() for name, part in self.parts.items()} | {"machine": self.machine})


def run_benchmark(names: Sequence[str], data: DataConfig, config: BenchmarkConfig) -> Benchmark:
    """Measure the named parts, or all, in turn; write benchmark.json and one PNG per part to `config.output`.

    Raises ConfigError for an unknown part, before anything is measured.
    """
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise ConfigError("no such part", field="parts", expected=", ".join(PARTS), got=", ".join(unknown))
    parts = {name: PARTS[name](data, config) for name in PARTS if name in names or not names}
    benchmark = Benchmark(parts, describe_machine())
    write_json(Path(config.output) / "benchmark.json", benchmark.as_dict())
    for name, part in parts.items():
        plot_part(name, part, Path(config.output) / f"{name}.png")
    return benchmark


def format_benchmark(benchmark: Benchmark) -> str:
    """Format the benchmark as plain text: the ratios of all parts first, then seconds, growth and the machine."""
    blocks = [_format_ratios(name, part) for name, part in benchmark.parts.items()]
    for name, part in benchmark.parts.items():
        blocks += [_format_row(name, row) for row in part.rows]
        blocks += [_format_growth(name, growth) for growth in part.growth]
        blocks.append(_format_facts(name, part.facts))
    blocks.append(", ".join(f"{name} {value}" for name, value in benchmark.machine.items()))
    return "\n\n".join(blocks)


def _format_ratios(name: str, part: Part) -> str:
    rows = [[f"  {ratio}", *(_number(row.ratios[ratio]) for row in part.rows)] for ratio in part.ratios]
    return align([[f"{name}: median ratios, by threads", *(str(row.threads) for row in part.rows)], *rows])


def _format_row(name: str, row: Row) -> str:
    head = [f"{name}: seconds, {row.label}", "median", "25%", "75%", "first"]
    seconds = {contestant: (t.median, *t.quartiles, t.first_call_s) for contestant, t in row.timings.items()}
    return align([head, *([f"  {contestant}", *map(_number, values)] for contestant, values in seconds.items())])


def _format_growth(name: str, growth: Growth) -> str:
    rows = [[f"{name}: seconds by {growth.unit}", *map(str, growth.sizes), "slope", "intercept", "residual"]]
    for contestant, line in growth.lines.items():
        fitted = f"{line.slope:.2e}", f"{line.intercept:.2e}", _number(line.residual)
        rows.append([f"  {contestant}", *map(_number, growth.seconds[contestant]), *fitted])
    return align(rows)


def _format_facts(name: str, facts: Mapping[str, Any]) -> str:
    lines = [f"{name}: " + ", ".join(f"{key} {value}" for key, value in facts.items() if not isinstance(value, dict))]
    for key, rows in facts.items():
        if isinstance(rows, dict):
            for row, values in rows.items():
                cells = ", ".join(f"{field} {_number(value)}" for field, value in values.items())
                lines.append(f"  {key} of {row}: {cells}")
    return "\n".join(lines)


def _number(value: float) -> str:
    return "-" if value != value else f"{value:.4g}"
