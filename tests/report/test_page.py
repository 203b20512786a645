"""The page: its numbers, its policy, hostile names, and its size."""

import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_pages import block_of, small_data, small_report, small_run

from sppdet.comparison.paper import TIMING
from sppdet.drawing.figures import new_figure
from sppdet.errors import ConfigError
from sppdet.files.atomic import json_ready
from sppdet.files.owned import check_new_file
from sppdet.report import page, thumbnails
from sppdet.report.data import ReportData
from sppdet.report.page import MARK, to_json_block, write_report
from sppdet.report.svg import draw_svg, theme
from sppdet.runtime.stopwatch import STAGES
from sppdet.wording import counted

HOSTILE = (
    '</script><script>alert("1")</script><!--',
    "<img src=x onerror='alert(1)'>&lt;\x1b[31m\u202e\x00",
    "$\\frac{1}{2}$ {{ 7 * 7 }} {% raw %}" + "W" * 300,
)
TIMES = {
    **{"images": 2, "regions": 30, "threads": 1, "machine": "<b>machine</b>", "baseline": "crop"},
    "stages": {name: dict.fromkeys(STAGES, 0.5) for name in ("crop", "spp")},
    "totals": {name: {"without_proposals": 2.5, "total": 3.0} for name in ("crop", "spp")},
    "growth": {name: {"10": 0.1, "30": 0.2} for name in ("crop", "spp")},
    "speedup": {"spp": {"conv": 150.4, "without_proposals": None, "total": 70.0}},
}


class Elements(HTMLParser):
    """All elements of a page with their attributes, and the text of styles and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data) -> None:
        if self.found:
            self.texts.append((self.found[-1][0], data))


def write(data: ReportData, folder: Path) -> str:
    write_report(data, folder / "report.html")
    return (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> tuple[str, ReportData]:
    """A page of two runs with names of an attacker, with times."""
    folder = tmp_path_factory.mktemp("hostile")
    dataset = replace(small_data(folder / "images", HOSTILE[:2], (HOSTILE[0], HOSTILE[1])), name=HOSTILE[1])
    options = {"config": {HOSTILE[0]: {"a": HOSTILE[1]}}, "readme": HOSTILE[0], "commands": [HOSTILE[1]]}
    data = ReportData([small_run(dataset, name=name, **options) for name in HOSTILE[1:]], dataset, TIMES)
    return write(data, folder), data


def test_hostile_names_are_text(hostile) -> None:
    text, data = hostile
    elements = Elements(text)
    tags = [tag for tag, _ in elements.found]
    assert tags.count("script") == 2
    assert "img" not in tags
    names = {name for _, attributes in elements.found for name in attributes}
    assert not {name for name in names if name.startswith("on")}
    assert "style" not in names
    assert not {"\x1b", "\x00", "\u202e"} & set(text)
    assert "{{ 7 * 7 }}" in text  # a name is no template
    assert "<b>machine</b>" not in text
    assert block_of(text)["classes"] == list(data.dataset.classes)


def test_the_navigation_says_what_the_headings_say(hostile) -> None:
    text = hostile[0]
    (navigation,) = re.findall(r'<nav aria-label="Sections">(.*?)</nav>', text, re.DOTALL)
    links = re.findall(r'<a href="#(\w+)">(.+?)</a>', navigation)
    assert links == re.findall(r'<section id="(\w+)">\s*<h2>(.+?)</h2>', text)


def test_the_policy_lets_in_what_is_there_and_nothing_else(hostile) -> None:
    elements = Elements(hostile[0])
    (policy,) = (values["content"] for tag, values in elements.found if "http-equiv" in values)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    (style,) = (text for tag, text in elements.texts if tag == "style" and text.strip())
    (script,) = (text for (tag, text) in elements.texts if tag == "script" and text.startswith('"use strict"'))
    sources = {
        name: f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
        for name, text in (("style-src", style), ("script-src", script))
    }
    expected = {"default-src": "'none'", "img-src": "data:", **sources, "base-uri": "'none'", "form-action": "'none'"}
    assert rules == expected


def test_nothing_is_loaded_from_elsewhere(hostile) -> None:
    elements = Elements(hostile[0])
    for tag, values in elements.found:
        for name in ("href", "src", "xlink:href", "action", "data", "srcset"):
            value = values.get(name, "#")
            assert value.startswith(("#", "data:image/")), (tag, value[:60])
    ids = [values["id"] for _, values in elements.found if "id" in values]
    assert len(ids) == len(set(ids))
    used = re.findall(r'href="#([^"]+)"', hostile[0]) + re.findall(r"url\(#([^)]+)\)", hostile[0])
    assert set(used) <= set(ids)
    assert not re.findall(r"url\((?!#)|@import", hostile[0])


def test_the_numbers_are_those_of_the_evaluation(hostile) -> None:
    text, data = hostile
    block = block_of(text)
    assert block["comparison"] == json_ready(TIMES)
    for run, numbers in zip(data.runs, block["runs"], strict=True):
        assert numbers["evaluation"] == json_ready(run.evaluation)
        assert numbers["diagnosis"] == json_ready(run.diagnosis.as_dict())
        assert numbers["confusion"] == [[0, 1, 0], [1, 2, 0], [0, 1, 0]]
        assert numbers["diagnosis"]["mean"]["ap"]["as_is"] == numbers["evaluation"]["map_area"]
        assert sum(row["detections"] for row in numbers["reliability"]["bins"]) == 5  # not that of a difficult object
    assert f"{data.runs[0].evaluation['map_voc07']:.2%}" in text
    for speedup in (150, TIMING["speedup"]["spp_1_scale"]):
        assert f"<td>{speedup}</td>" in text


def test_equal_figures_give_equal_text_with_ids_of_their_own() -> None:
    def draw(name: str) -> str:
        with theme():
            figure = new_figure(2, 2)
            figure.subplots().plot([0, 1], [1, 0], "o-", label="</text><script>")
            figure.axes[0].legend()
            return draw_svg(figure, name)

    text = draw("a")
    assert text == draw("a")
    assert set(re.findall(r' id="([^"]+)"', text)).isdisjoint(re.findall(r' id="([^"]+)"', draw("b")))
    assert "currentColor" in text
    assert "style=" not in text
    assert "<script" not in text


@pytest.mark.parametrize("text", [*HOSTILE, "]]>", "\ud800"])
def test_json_blocks_end_no_script(text) -> None:
    block = to_json_block({text: [text]})
    assert not set("<>&") & set(block)
    assert block.isascii()
    assert page.json.loads(block) == {text: [text]}


def test_many_classes_and_images_stay_small(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(page, "MOST_BYTES", page.BOX_BYTES)  # the figures take the room for pictures
    monkeypatch.setattr(thumbnails, "make_thumbnail", lambda _: pytest.fail("decoded in vain"))
    names = [f"class {k} {'x' * 200}" for k in range(60)]
    data = small_report(small_data(tmp_path / "images", names))
    data.dataset.images[1].image.unlink()
    result = write_report(data, tmp_path / "report.html")
    assert result["cases"] == 0
    assert result["bytes"] < 3_700_000
    assert list(result["content"]["boxes"].values())[:3] == [3, 2, 0]  # those of the lost image as well
    text = (tmp_path / "report.html").read_text()
    count = len(data.runs[0].doubts)
    assert f"{counted(count, 'doubt')}, the most confident first; these are 0 of them." in text


def test_after_the_first_picture_without_room_none_is_decoded(tmp_path, monkeypatch) -> None:
    images, decoded = small_data(tmp_path / "images").images, []
    make = thumbnails.make_thumbnail
    monkeypatch.setattr(thumbnails, "make_thumbnail", lambda image: (decoded.append(image), make(image))[1])
    pictures = thumbnails.Thumbnails([*images, *images], 1 + len(make(images[0]).uri))
    assert [pictures.get(i) is None for i in (0, 1, 2, 3, 0)] == [False, True, True, True, False]
    assert len(decoded) == 2


def test_only_our_own_pages_are_known(hostile, tmp_path) -> None:
    (tmp_path / "own.html").write_text(hostile[0])
    (tmp_path / "other.html").write_text("<html><title>a thesis</title></html>")
    for name in ("own.html", "none.html"):
        check_new_file(tmp_path / name, ".html", mark=MARK)
    with pytest.raises(ConfigError, match="exists already"):
        check_new_file(tmp_path / "other.html", ".html", mark=MARK)


def test_without_objects_or_detections_there_is_a_page(tmp_path) -> None:
    dataset = small_data(tmp_path / "images")
    bare = replace(dataset, images=dataset.images[:0])
    blind = replace(small_run(bare, []), evaluation={}, probabilities=False)
    text = write(ReportData([blind], bare), tmp_path)
    assert "No images." in text
    assert "<td>-</td>" in text
    assert block_of(text)["images"] == 0
