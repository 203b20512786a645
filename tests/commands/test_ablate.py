"""The table of the paper: what each row and column trains, and that work is not done twice."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from factories import train_config, watch

from sppdet.commands.ablate import ablate
from sppdet.comparison import ablation as module
from sppdet.comparison.ablation import Ablation, Cell, configure_cell, paper_map
from sppdet.comparison.paper import FIVE_SCALES
from sppdet.config.data import DataConfig
from sppdet.config.detector import SPPConfig
from sppdet.config.network import FCConfig
from sppdet.config.training import FinetuneConfig, TrainConfig
from sppdet.data.formats.voc import VOC_CLASSES
from sppdet.errors import ConfigError
from sppdet.evaluation.bootstrap import BootstrapMAP


@pytest.fixture
def config(shapes, tmp_path) -> TrainConfig:
    return replace(
        train_config(shapes, tmp_path / "table"),
        data=DataConfig(root=str(shapes), max_images=6),
        fc=FCConfig(width=16),
        finetune=FinetuneConfig(epochs=1, blocks=1),
    )


@pytest.mark.parametrize(
    ("row", "column", "features", "depth", "epochs", "scales"),
    [
        ("pool5", "1 scale", "spp", 0, 0, (120,)),
        ("fc6", "5 scales", "spp", 1, 0, FIVE_SCALES),
        ("ftfc7+bb", "R-CNN", "crop", 2, 1, (120,)),
        ("ftpool5", "1 scale", "spp", 0, 1, (120,)),
    ],
)
def test_a_cell_is_a_training(config, row, column, features, depth, epochs, scales):
    cell = configure_cell(replace(config, head="softmax"), row, column)
    assert (cell.features, cell.fc.depth, cell.finetune.epochs, cell.spp.scales) == (features, depth, epochs, scales)
    assert cell.box_regression.enabled
    assert cell.head == ("softmax" if epochs else "svm")


def test_what_is_no_cell_is_refused_before_anything_is_trained(config, monkeypatch):
    monkeypatch.setattr(module, "train", lambda _: pytest.fail("trained"))
    coco = replace(config.data, annotations="a.json")
    for table, changed, said in (
        ({"rows": ["pool5", "fc8"]}, {}, "rows: no such row"),
        ({"columns": ["2 scales"]}, {}, "columns: no such column"),
        ({"rows": ["pool5", "ftfc6"]}, {"finetune": FinetuneConfig()}, r"finetune\.epochs: needed by row ftfc6"),
        ({}, {"data": coco}, r"data\.annotations: needs splits"),
        ({}, {"spp": SPPConfig((480, 688))}, r"spp\.scales: not one scale"),
        ({"rows": ["pool5", "ftpool5"]}, {"precision": "fp16"}, "precision: too small a range"),
        ({}, {"features": "roi_pool"}, "features: the columns choose"),
        ({"seeds": ()}, {}, "seeds: none given"),
    ):
        with pytest.raises(ConfigError, match=said):
            ablate(replace(config, **changed), **{"rows": ["pool5"], "columns": ["1 scale"], **table})


@pytest.mark.slow
def test_rows_that_differ_in_box_regression_share_a_training(config, monkeypatch):
    trained = watch(monkeypatch, module, "train")
    table: dict = {"rows": ("ftpool5", "ftpool5+bb"), "columns": ("1 scale",), "seeds": (0, 1)}
    ablation = ablate(config, **table)
    assert [(cell.row, len(cell.maps)) for cell in ablation.cells] == [("ftpool5", 2), ("ftpool5+bb", 2)]
    assert len({one.output for (one,) in trained}) == 2  # a folder a seed
    assert {one.seed for (one,) in trained} == {0, 1}
    assert "paper" not in str(ablation)  # of other classes
    written = json.loads((Path(config.output) / "ablation.json").read_text())
    assert [cell["maps"] for cell in written["cells"]] == [list(cell.maps) for cell in ablation.cells]
    (difference,) = written["differences"]
    assert (difference["row"], difference["to_row"]) == ("ftpool5+bb", "ftpool5")
    assert difference["map_voc07"] == pytest.approx(ablation.cells[1].mean.map_voc07 - ablation.cells[0].mean.map_voc07)
    folder = Path(config.output) / "1-scale-ftpool5-seed0"
    found = [json.loads((folder / f"test-ftpool5{part}-detections.json").read_text()) for part in ("", "+bb")]
    assert found[0] != found[1]
    monkeypatch.setattr(module, "train", lambda _: pytest.fail("trained again"))
    assert ablate(config, **table).as_dict() == ablation.as_dict()
    other = replace(config, finetune=replace(config.finetune, learning_rate=0.1))
    with pytest.raises(ConfigError, match="another configuration"):
        ablate(other, rows=("ftpool5",), columns=("1 scale",))


def test_detections_of_other_images_are_not_read(config, monkeypatch):
    calls = watch(monkeypatch, module, "_detect")
    given = {"rows": ["pool5"], "columns": ["1 scale"]}
    for split, count in (("test", 1), ("test", 1), ("val", 2)):
        ablate(config, **given, test_split=split)
        assert len(calls) == count
    folder = next(Path(config.output).glob("*-seed0"))
    for name in ("pool5.json", "pool5-detections.json"):
        (folder / f"test-{name}").write_bytes((folder / f"val-{name}").read_bytes())
    ablate(config, **given)
    assert len(calls) == 3


def test_the_paper_and_the_differences_stand_beside():
    def cell(row: str, column: str, *maps: float) -> Cell:
        runs = [BootstrapMAP(m, 0.0, m + np.array([-0.1, 0.0, 0.2]), np.zeros(3), (1, 2), 0) for m in maps]
        return Cell(row, column, tuple(runs), (1.0,) * len(runs), paper_map(row, column, sorted(VOC_CLASSES)))

    cells = [
        *(cell("pool5", "1 scale", 0.40, 0.42), cell("pool5", "R-CNN", 0.5)),
        *(cell("ftpool5", "1 scale", 0.45), cell("ftpool5", "R-CNN", 0.52)),
    ]
    head, first, second, _, title, across, down, *_, meaning, written = str(Ablation(cells, "runs/table")).splitlines()
    assert head.split() == ["VOC07", "mAP,", "%", "(paper,", "VOC2007)", "1", "scale", "R-CNN"]
    assert meaning.startswith("±: standard deviation over the seeds")
    assert written == "written to runs/table/ablation.json"
    assert first.split() == ["pool5", "41.0", "±1.4", "(43.0)", "50.0", "(44.2)"]
    assert second.split() == ["ftpool5", "45.0", "52.0"]
    assert title.startswith("differences")
    assert across.split("  ")[0] == "pool5, R-CNN, to pool5, 1 scale"
    assert across.endswith(" +9.0 (+9.0 to +9.0)")
    assert down.split("  ")[0] == "ftpool5, 1 scale, to pool5, 1 scale"
    assert down.endswith(" +4.0 (+4.0 to +4.0)")
    assert cells[0].as_dict()["std"] == pytest.approx(0.02 / 2**0.5)
