"""Train on nested shares of the images, and predict what more would give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sppdet.config.training import TrainConfig
from sppdet.errors import ConfigError

if TYPE_CHECKING:
    from sppdet.comparison.learning_curve import LearningCurve

MOST_MULTIPLE = 1000


def learning_curve(
    config: TrainConfig,
    *,
    shares: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0),
    seeds: tuple[int, ...] = (0,),
    multiples: tuple[float, ...] = (2.0, 4.0),
    goal: float | None = None,
) -> LearningCurve:
    """Train on nested shares of the images, and predict what more images would give: how many do I need?

    The images of --val are held out, and all shares are evaluated on them: --val test measures on the test images,
    once. The others are shared, so that a larger share holds the smaller ones and each has its fraction of every class.
    Features are computed once for all shares, unless the network is fine-tuned. A power law with a floor is fitted to
    the mAPs; its intervals are from resamples of the evaluation images and, with several --seeds, of the seeds. It
    holds for more images of the same kind with the same settings, and the less the further it goes: add images in
    steps, and measure again. Writes learning_curve.json and learning_curve.png to --output; each share is a folder
    there. Repeat the command to resume.

    Example: sppdet learning-curve --config configs/quick.yaml --data.root photos --output runs/curve

    Args:
        config: YAML file of these parameters, such as configs/sppnet_voc07.yaml
        shares: fractions of the images that are not held out; 3 or more for a curve, 4 to check it
        seeds: seeds of the choice of images and of the trainings
        multiples: multiples of the largest share to predict the mAP for
        goal: VOC07 mAP, a fraction, to predict the number of images for
    """
    for field, numbers in {"shares": shares, "seeds": seeds}.items():
        if not numbers or len(set(numbers)) < len(numbers):
            raise ConfigError(
                "cannot be used", field=field, expected="one or more different numbers", got=list(numbers)
            )
    for multiple in multiples:
        if not 1 <= multiple <= MOST_MULTIPLE:
            expected = f"from 1 to {MOST_MULTIPLE}"
            raise ConfigError("out of range", field="multiples", expected=expected, got=multiple)
    for field, fractions in {"shares": shares, "goal": () if goal is None else (goal,)}.items():
        for fraction in fractions:
            if not 0 < fraction <= 1:
                raise ConfigError("out of range", field=field, expected="more than 0, up to 1", got=fraction)

    from sppdet.comparison.learning_curve import LearningCurve
    from sppdet.comparison.plots import plot_learning_curve
    from sppdet.comparison.shares import evaluate_shares
    from sppdet.files.atomic import write_json
    from sppdet.files.owned import hold_folder
    from sppdet.training.check import check_training_data
    from sppdet.training.hold_out import hold_out

    check_training_data(config)
    with hold_folder(config.output, "learning curve") as owned:
        measured = evaluate_shares(config, hold_out(config), shares, seeds)
        curve = LearningCurve(measured, multiples, goal, config.output)
        write_json(owned.path / "learning_curve.json", curve.as_dict())
        plot_learning_curve(curve, owned.path / "learning_curve.png")
    return curve
