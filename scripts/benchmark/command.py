"""The command line of the benchmark. Results go to stdout, progress and errors to stderr."""

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import fields

from jsonargparse import ArgumentParser

from benchmark.config import BenchmarkConfig
from sppdet.config.data import DataConfig
from sppdet.errors import SppdetError
from sppdet.runtime.memory import keep_freed_memory


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark. Return 0, 1 for an error in the user's data or values, 2 for wrong usage, 130 for Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    keep_freed_memory()
    parser = build_parser()
    try:
        options = parser.instantiate(parser.parse_args(arguments))
        config = BenchmarkConfig(**{field.name: options[field.name] for field in fields(BenchmarkConfig)})
        from benchmark.run import format_benchmark, run_benchmark

        result = run_benchmark(options.parts, options.data, config)
    except SppdetError as error:
        print(f"benchmark: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(result.as_dict(), indent=1, allow_nan=False) if options.json else format_benchmark(result))
    print(f"written to {config.output}", file=sys.stderr if options.json else sys.stdout)
    return 0


def build_parser() -> ArgumentParser:
    """Build the parser; its help loads no torch."""
    parser = ArgumentParser(
        prog="benchmark.py", description="Time each part of sppdet next to its peers: ratios, seconds, growth."
    )
    parser.add_argument(
        "parts", nargs="*", type=str, help="proposals, pooling, heads, detect, train, finetune, views; all by default"
    )
    parser.add_class_arguments(DataConfig, "data")
    parser.set_defaults({"data.split": "test", "data.max_images": 100})
    parser.add_class_arguments(BenchmarkConfig)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser
