"""The data set that a configuration names, in any format."""

from sppdet.config.data import DataConfig
from sppdet.data.coco import read_coco
from sppdet.data.voc import read_voc
from sppdet.errors import ConfigError
from sppdet.structures import Dataset


def read_dataset(config: DataConfig, classes: tuple[str, ...] | None = None) -> Dataset:
    """Read the images and annotations that `config` names. `classes`, such as a detector's, override config.classes.

    Raises ConfigError if no root is given, DataError if the data cannot be read. The reader of a format names the field
    "split" in the DataError for a split that the data do not have: a training then does without the default `val`.
    """
    if not config.root:
        expected = "a folder: --data.root PATH, or dataset= in Python"
        raise ConfigError("no data given", field="data.root", expected=expected)
    names = list(classes) if classes else config.classes
    if config.annotations:
        dataset = read_coco(config.root, config.annotations, names)
    else:
        dataset = read_voc(config.root, config.split, names, config.year)
    if config.max_images is not None:
        dataset = dataset.subset(range(min(config.max_images, len(dataset))))
    return dataset
