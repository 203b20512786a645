"""Train and evaluate the cells of the paper's table of detection results (SPPnet, table 9)."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from sppdet.comparison.paper import COLUMNS, DETECTION_MAP
from sppdet.config.training import TrainConfig
from sppdet.errors import ConfigError

if TYPE_CHECKING:
    from sppdet.comparison.ablation import Ablation, Cell

logger = logging.getLogger(__name__)


def ablate(
    config: TrainConfig,
    *,
    rows: tuple[str, ...] = tuple(DETECTION_MAP),
    columns: tuple[str, ...] = COLUMNS,
    seeds: tuple[int, ...] = (0,),
    test_split: str = "test",
) -> Ablation:
    """Train and evaluate rows of the paper's table, next to the paper's figures.

    A row names the layer under the heads: pool5, fc6 or fc7, with ft in front if the network is fine-tuned and +bb at
    the end with box regression. A column is a kind of features: 1 scale, 5 scales (the paper's, 480 to 1200) or R-CNN.
    The configuration, as for `train`, gives the rest: the network, the one scale, fine-tuning and the kind of head of
    the ft rows (all others have SVMs). If finetune.scales is given, all columns are fine-tuned at these. Every cell is
    a run in --output; repeat the command to resume.

    Example: sppdet ablate --config configs/quick.yaml --data.root photos --rows [pool5,pool5+bb]
    --columns "[1 scale]" --output runs/table

    Args:
        config: YAML file of these parameters, such as configs/finetuned_voc07.yaml
        rows: stages of the recipe, such as pool5, ftfc7+bb
        columns: kinds of features
        seeds: seeds of the trainings of each cell
        test_split: image list to evaluate on
    """
    from sppdet.comparison.ablation import Ablation, configure_cell, evaluate_cell
    from sppdet.data.dataset import read_dataset
    from sppdet.files.atomic import write_json
    from sppdet.files.owned import hold_folder

    if not seeds:
        raise ConfigError("none given", field="seeds", expected="at least one", got="[]")
    if config.features in ("roi_pool", "roi_align"):
        raise ConfigError(
            "the columns choose the features", field="features", expected="spp or crop", got=config.features
        )
    if config.data.annotations:
        raise ConfigError("needs splits", field="data.annotations", expected="VOC format", got="COCO format")
    classes = read_dataset(config.data).classes
    test = read_dataset(replace(config.data, split=test_split, max_images=None), classes)
    trainings = {(row, column): configure_cell(config, row, column) for row in rows for column in columns}
    cells: list[Cell] = []
    with hold_folder(config.output, "ablation") as owned:
        for number, ((row, column), settings) in enumerate(trainings.items(), start=1):
            logger.info("cell %d of %d: %s, %s", number, len(trainings), row, column)
            cells.append(evaluate_cell(settings, row, column, seeds, test, test_split))
            write_json(owned.path / "ablation.json", Ablation(cells, config.output).as_dict())
    return Ablation(cells, config.output)
