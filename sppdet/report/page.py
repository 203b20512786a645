"""The page of a report: one HTML file with everything in it, under a policy that lets nothing else in."""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

from sppdet import __version__
from sppdet.comparison.paper import TIMING
from sppdet.drawing.tables import percent, points
from sppdet.evaluation.diagnose import GAINS
from sppdet.evaluation.sizes import SIZES
from sppdet.files.atomic import json_ready, write_text
from sppdet.report.cards import headline, make_cards
from sppdet.report.data import ReportData
from sppdet.report.figures import plot_runs
from sppdet.report.statistics import plot_data, plot_times
from sppdet.report.svg import Plot, theme
from sppdet.report.thumbnails import Thumbnails
from sppdet.wording import counted, printable

MOST_BYTES = 8_000_000  # of a page, unless its figures and tables alone take more
THUMBNAIL_BYTES = 4_300_000  # of these
BOX_BYTES = 2_500_000  # of the boxes on the pictures, at most
MOST_TEXT = 200_000  # characters of a README or a configuration
MARK = '<meta name="generator" content="sppdet report">'  # of our own pages, in their first bytes
ROWS = 200  # classes in tables


def write_report(data: ReportData, path: str | PathLike[str]) -> dict[str, Any]:
    """Write the page. Returns its numbers: `bytes`, `cases`, `unreadable` images and the JSON block's `content`.

    Raises SppdetError if the file cannot be written.
    """
    with theme():
        plots = {**plot_runs(data), "data": plot_data(data)}
        plots["times"] = plot_times(dict(data.comparison)) if data.comparison else []
    content = json_ready(data.as_dict())
    fixed = [to_json_block(content), *(run.readme[:MOST_TEXT] for run in data.runs)]
    fixed += [plot.svg for part in plots.values() for plot in part]
    room = MOST_BYTES - BOX_BYTES - sum(len(text.encode(errors="replace")) for text in fixed)
    thumbnails = Thumbnails(data.dataset.images, min(THUMBNAIL_BYTES, room))
    cards = make_cards(data, thumbnails)
    write_text(path, render(data, content, plots, cards, thumbnails))
    size = Path(path).stat().st_size
    return {"bytes": size, "cases": len(cards["cases"]), "unreadable": thumbnails.unreadable, "content": content}


def render(
    data: ReportData,
    content: dict[str, Any],
    plots: Mapping[str, Sequence[Plot]],
    cards: dict[str, Any],
    thumbnails: Thumbnails,
) -> str:
    """Return the page. content: of its JSON block."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    def finalize(value: Any) -> Any:
        return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    style, script = _resource("report.css"), _resource("report.js")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=finalize, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "points": points, "counted": counted, "svg": Markup}
    return environment.from_string(_resource("template.html")).render(
        mark=Markup(MARK),
        policy=f"default-src 'none'; img-src data:; style-src {_source(style)}; script-src {_source(script)};"
        " base-uri 'none'; form-action 'none'",
        style=Markup(style),
        script=Markup(script),
        json=Markup(to_json_block(content)),
        data=data,
        runs=data.runs,
        plots=plots,
        cards=cards,
        thumbnails=thumbnails.made(),
        headlines=[headline(run) for run in data.runs],
        names=data.dataset.classes[:ROWS],
        sizes=SIZES,
        gains=GAINS,
        settings=[_settings(run.config) for run in data.runs],
        most_text=MOST_TEXT,
        version=__version__,
        paper=TIMING,
    )


def to_json_block(content: Any) -> str:
    """Return JSON that cannot end the script element that it stands in."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))  # in ASCII
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _resource(name: str) -> str:
    return files("sppdet.report").joinpath(name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """Return the source expression of an inlined style or script."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _settings(config: Any) -> list[tuple[str, str]]:
    """Return the keys of a configuration, with the names of their sections, and their values as text."""
    rows: list[tuple[str, str]] = []
    for key, value in config.items() if isinstance(config, dict) else ():
        if isinstance(value, dict):
            rows += [(f"{key}.{inner}", text) for inner, text in _settings(value)]
        else:
            rows.append((str(key), value if isinstance(value, str) else json.dumps(value)))
    return rows
