"""The check of the data before a training."""

import logging

from sppdet.config.training import TrainConfig
from sppdet.data.checks.check import check_data
from sppdet.data.files import list_images
from sppdet.errors import DataError
from sppdet.training.account import Inventory

logger = logging.getLogger(__name__)

NAMED = 10  # errors that are named; the others are counted


def check_training_data(config: TrainConfig) -> Inventory:
    """Log the number of warnings of each kind, and return what lies in the folder of the data.

    Splits that are not trained on are searched for copies of the images only. Images are not decoded. Raises DataError
    if there are errors that config.data does not allow.
    """
    data = config.data
    check = check_data(data, config.proposals, config.val, training=True, decode=False)
    kinds = [(severity, f"{kind} ({len(those)})") for (severity, kind), those in check.kinds().items()]
    for grade, word in (("error", "errors"), ("warning", "warnings")):
        counts = [text for severity, text in kinds if severity == grade]
        if counts and (grade == "warning" or not data.strict):
            left_out = "; their images or objects are left out" if grade == "error" else ""
            way = f"`sppdet check-data {data.root} --output check` lists them"
            logger.info("%s in the data: %s%s (%s)", word, ", ".join(counts), left_out, way)
    errors = check.errors
    if not errors or not data.strict:
        numbers = {kind: len(those) for kind, those in check.kinds().items()}
        return Inventory(check.root, list_images(check.root), check.entries, numbers)
    way = "--data.strict false leaves its image or object out"
    if len(errors) == 1:
        raise DataError(f"{errors[0].message}; {way}", file=errors[0].file, field=errors[0].field)
    more = f"; {len(errors) - NAMED} more" if len(errors) > NAMED else ""
    first = "; ".join(map(str, errors[:NAMED])) + more
    listed, way = f"`sppdet check-data {data.root} --output check` lists all", "--data.strict false leaves them out"
    raise DataError(f"{len(errors)} errors in the data ({listed}, {way}): {first}", file=data.root)
