"""The Python of the documentation runs, its blocks in order, in a folder with the files that they name; its commands
parse.

Each `runs/…` is a small run trained on generated shapes, `data` is that set in VOC layout, and each image file that a
block names is a photograph of it.
"""

import doctest
import re
import shlex
import shutil
import textwrap
from contextlib import suppress
from pathlib import Path
from string import Template

import pytest

from sppdet.classification.classifier import new_classifier
from sppdet.cli import build_parser
from sppdet.config.classification import ClassifierConfig
from sppdet.config.network import BackboneConfig, PyramidConfig
from sppdet.data.formats.voc import read_voc
from sppdet.shapes.scene import SHAPES

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / name
    for name in ("README.md", "configs/README.md", "data/README.md", "scripts/README.md", ".github/CONTRIBUTING.md")
]


def blocks_of(document: Path, language: str) -> list[tuple[int, str]]:
    """The first line and the text of each block marked as this language."""
    text = document.read_text(encoding="utf-8") if document.is_file() else ""
    matches = re.finditer(rf"^( *)```{language}\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(2)), textwrap.dedent(match[2])) for match in matches]


def python_blocks(document: Path) -> list[tuple[int, str]]:
    """The first line and the text of each block of Python; of a session only what is typed."""
    sources = []
    for line, block in blocks_of(document, "python"):
        if block.startswith(">>>"):
            block = "".join(example.source for example in doctest.DocTestParser().get_examples(block))
        sources.append((line, block))
    return sources


def commands_of(document: Path) -> list[list[str]]:
    """The arguments of each call of sppdet, with the document's own shell variables filled in."""
    lines = "\n".join(block for _, block in blocks_of(document, "sh")).replace("\\\n", " ").splitlines()
    variables = dict(re.findall(r'^(\w+)="(.*?)"', "\n".join(lines), re.MULTILINE))
    words = [shlex.split(Template(line).safe_substitute(variables), comments=True) for line in lines]
    return [line[1:] for line in words if line[:1] == ["sppdet"]]


@pytest.fixture
def classifier(tmp_path) -> Path:
    config = ClassifierConfig(BackboneConfig("shapenet", "random"), PyramidConfig((2, 1)), sizes=(32,))
    new_classifier(config, SHAPES).save(tmp_path / "classifier" / "classifier.safetensors")
    return tmp_path / "classifier"


@pytest.mark.parametrize(
    "document",
    [document for document in DOCUMENTS if python_blocks(document)],
    ids=lambda document: str(document.relative_to(ROOT)),
)
def test_the_python_of_a_document_runs(document, trained, classifier, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks(document)
    text = "\n".join(block for _, block in blocks)
    for name in re.findall(r"[\"'](runs/[\w/.-]+)[\"']", text):
        if not Path(name).exists():
            of_classifier = re.search(rf"Classifier.*{re.escape(name)}", text)
            shutil.copytree(classifier if of_classifier else trained / "spp", name)
    photographs = [image.path for image in read_voc(trained / "shapes", "test").images]
    for number, name in enumerate(dict.fromkeys(re.findall(r"[\"']([\w/.-]+\.jpg)[\"']", text))):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photographs[number], name)
    shutil.copytree(trained / "shapes", "data")
    shutil.copytree(ROOT / "configs", "configs")
    names: dict[str, object] = {}
    for line, block in blocks:
        if not re.search(r"^(import|from) (onnxruntime|tidecv|supervision|fiftyone)\b", block, re.MULTILINE):
            exec(compile("\n" * line + block, str(document), "exec"), names)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_the_commands_of_a_document_parse(document, monkeypatch):
    monkeypatch.chdir(ROOT)  # for configs/
    parser = build_parser()
    for arguments in commands_of(document):
        with suppress(SystemExit):  # of --help; errors are ArgumentError
            parser.parse_args(arguments)


def test_commands_are_found():
    assert sum(len(commands_of(document)) for document in DOCUMENTS) > 20
