"""The account of a training's images and objects, taken of data of any kind."""

from dataclasses import replace
from pathlib import Path

from data_sets import image_files
from factories import train_config

from sppdet.config.training import TrainConfig
from sppdet.training.account import Account, take_account
from sppdet.training.check import check_training_data
from sppdet.training.hold_out import hold_out


def config_of(root: Path, output: Path, **data) -> TrainConfig:
    """Of the classes of `SCENES`, whatever is wrong."""
    options = {"classes": ["cat", "dog"], "strict": False, "skip_unreadable": True, **data}
    config = train_config(root, output)
    return replace(config, data=replace(config.data, **options))


def account_of(config: TrainConfig) -> Account:
    inventory = check_training_data(config)
    return take_account(hold_out(config), inventory)


def rows_of(account: Account) -> dict[str, tuple[int, int]]:
    return {row.fate: (row.images, row.objects) for row in account.rows}


def assert_adds_up(account: Account, root: Path, objects: int) -> None:
    """The rows add up to the files and the objects on disk, and the parts of the used images to their rows."""
    assert account.total[1:] == (len(image_files(root)), objects)
    rows = rows_of(account)
    for role, part in account.parts.items():
        assert (part.images, part.objects.total() + part.others.total()) == rows[role]
    assert str(account).startswith(f"{account.total.images} image files: ")
