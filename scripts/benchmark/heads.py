"""The heads on pooled features: one matrix product, NMS of all classes, and fitting SVMs, each next to its peers."""

from dataclasses import dataclass
from typing import Any

import torch
from sklearn.svm import LinearSVC
from torch import Tensor
from torchvision import ops
from torchvision.ops import batched_nms

from benchmark.config import BenchmarkConfig
from benchmark.measure import Growth, Part, Ratios, Run, Timing, clock_all, measure_growth, measure_part, take_turns
from benchmark.pooling import random_windows
from sppdet.boxes import decode_boxes, nms
from sppdet.config.detector import SelectionConfig
from sppdet.config.heads import CLASS_OUTPUTS
from sppdet.heads.linear import Heads, mean_norm
from sppdet.heads.svm import SVMProblem, objectives, solve_svms

DIMENSION = 25600  # of SqueezeNet's features: 512 channels, pyramid 6, 3, 2, 1
CLASSES = 20
NMS_IOU = SelectionConfig().nms_iou
IMAGE = (380, 500)  # pixels, H and W, that the boxes lie in
# Mean and standard deviation of the outputs: scores as of SVMs trained on VOC2007, 9 in 10 of them above -1.5.
SCORES, OFFSETS = (-1.3, 0.19), (0.0, 0.1)
SVM_SHAPE = (2000, 4096)  # examples, features
GAP = 0.01  # relative, of the SVM's objective
CERTAIN = 0.001  # the gap of the reference solution that LinearSVC's is compared with
TOLERANCES = (1.0, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4)  # LinearSVC's, the last its default
FEW_ROUNDS = 3

RATIOS: Ratios = {
    "ratio_product_vs_separate": ("two products", "sppdet product"),
    "ratio_product_vs_floor": ("sppdet product", "torch.mm"),
    "ratio_nms_vs_batched_nms": ("batched_nms", "sppdet nms"),
    "ratio_nms_vs_class_loop": ("nms a class", "sppdet nms"),
    "ratio_svm_vs_linear_svc": ("LinearSVC", "sppdet SVMs"),
}


@dataclass(frozen=True, eq=False)
class Candidates:
    """Input of NMS: boxes float32 (M, 4), scores (M,), labels int64 (M,) from 0, and the region (M,) of each box."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    regions: Tensor


def benchmark_heads(config: BenchmarkConfig) -> Part:
    """Time SVM scores and box regression of `config.regions` pooled regions, their NMS, and the fitting of SVMs.

    Features, heads and boxes are random; there are 20 classes. Next to its peers, which know no limit per class, NMS
    has none. `same_boxes` in the result: it keeps the same boxes as `batched_nms`. LinearSVC gets the loosest tolerance
    at which it comes as close to the best objective as our solver.
    """
    most = max(config.regions, *config.growth)
    features = torch.rand(most, DIMENSION, generator=torch.Generator().manual_seed(0))
    heads = random_heads(features)
    candidates = random_candidates(len(features))
    problem = random_problem(*SVM_SHAPE, CLASSES)
    tolerance, facts = find_tolerance(problem)

    def runs_of(regions: int) -> dict[str, Run]:
        return product_runs(heads, features[:regions]) | nms_runs(first_regions(candidates, regions))

    few = min(FEW_ROUNDS, config.rounds)

    def measure(threads: int) -> dict[str, Timing]:
        timings = take_turns(runs_of(config.regions), config.rounds, f"heads, {threads} threads")
        return timings | take_turns(svm_runs(problem, tolerance), few, f"SVMs, {threads} threads")

    def conclude() -> tuple[list[Growth], dict[str, Any]]:
        growth = measure_growth("regions", config.growth, runs_of, few)
        chosen = first_regions(candidates, config.regions)
        sizes = {"regions": config.regions, "features": features.shape[1], "classes": CLASSES}
        return [growth], sizes | {"candidates": len(chosen.boxes), "same_boxes": keeps_the_same(chosen)} | facts

    with torch.inference_mode():
        return measure_part(config.threads, RATIOS, measure, conclude)


def random_heads(features: Tensor, seed: int = 0) -> Heads:
    """Draw heads of CLASSES whose outputs on these features (N, D) are distributed as those of a trained detector."""
    weight = torch.randn(5 * CLASSES, features.shape[1], generator=torch.Generator().manual_seed(seed))
    outputs = features @ weight.T
    means, deviations = zip(SCORES, OFFSETS, strict=True)
    mean, deviation = (torch.tensor([score] * CLASSES + [o] * 4 * CLASSES) for score, o in (means, deviations))
    slope = deviation / outputs.std(dim=0)
    weight, bias = weight * slope[:, None], mean - slope * outputs.mean(dim=0)
    scores, offsets = zip(weight.split([CLASSES, 4 * CLASSES]), bias.split([CLASSES, 4 * CLASSES]), strict=True)
    return Heads.from_linear("svm", scores, offsets)


def product_runs(heads: Heads, features: Tensor) -> dict[str, Run]:
    """Contestants on features (N, D): all heads in one product, one after the other, and the bare product."""
    return clock_all(
        {
            "sppdet product": lambda: heads(features),
            "two products": lambda: (heads.scores(features), heads.offsets(features)),
            "torch.mm": lambda: torch.mm(features, heads.weight.T),
        }
    )


def random_candidates(regions: int, seed: int = 0) -> Candidates:
    """Draw boxes of `regions` regions that score above -1.5, in an image of 500 x 380 pixels; sides from 20 pixels."""
    generator = torch.Generator().manual_seed(seed)
    boxes = 10.0 * random_windows(regions, IMAGE[0] // 10, IMAGE[1] // 10, seed)
    mean, deviation = SCORES
    scores = mean + deviation * torch.randn(regions, CLASSES, generator=generator)
    moved = decode_boxes(boxes, OFFSETS[1] * torch.randn(regions, CLASSES, 4, generator=generator))
    region, label = (scores > CLASS_OUTPUTS["svm"].min_score).nonzero(as_tuple=True)
    return Candidates(moved[region, label], scores[region, label], label, region)


def first_regions(candidates: Candidates, count: int) -> Candidates:
    """Return the candidates of the first `count` regions."""
    rows = candidates.regions < count
    return Candidates(*(values[rows] for values in vars(candidates).values()))


def nms_runs(candidates: Candidates) -> dict[str, Run]:
    """Contestants: our NMS without and with the limit of detection, torchvision's `batched_nms`, and torchvision's
    `nms` in a loop over the classes."""
    given = candidates.boxes, candidates.scores, candidates.labels, NMS_IOU
    return clock_all(
        {
            "sppdet nms": lambda: nms(*given),
            "sppdet nms, 100 a class": lambda: nms(*given, 100),
            "batched_nms": lambda: batched_nms(*given),
            "nms a class": lambda: nms_by_class(*given),
        }
    )


def nms_by_class(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Run NMS class by class: indices of the boxes that remain, best score first."""
    kept = []
    for label in range(CLASSES):
        rows = (labels == label).nonzero().squeeze(1)
        kept.append(rows[ops.nms(boxes[rows], scores[rows], threshold)])
    indices = torch.cat(kept)
    return indices[scores[indices].argsort(descending=True)]


def keeps_the_same(candidates: Candidates) -> bool:
    """Return whether our NMS keeps the same boxes as `batched_nms`."""
    given = candidates.boxes, candidates.scores, candidates.labels, NMS_IOU
    return torch.equal(nms(*given).sort().values, batched_nms(*given).sort().values)


def random_problem(examples: int, dimension: int, classes: int, seed: int = 0) -> SVMProblem:
    """Draw non-negative float16 examples around one center per class, with a mean norm of 20; each is a positive of one
    class and a negative of the others."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(examples) % classes
    centers = torch.randn(classes, dimension, generator=generator)
    noise = torch.randn(examples, dimension, generator=generator)
    features = (noise + centers[labels] / 4).relu().half()
    targets = 2 * torch.nn.functional.one_hot(labels, classes) - 1
    return SVMProblem(features, targets.to(torch.int8), scale=20 / mean_norm(features))


def svm_runs(problem: SVMProblem, tolerance: float) -> dict[str, Run]:
    """Contestants: our solver, to a duality gap of GAP for every class, and LinearSVC with this tolerance."""
    rows = scaled_rows(problem)
    return clock_all(
        {
            "sppdet SVMs": lambda: solve_svms(problem, gap=GAP),
            "LinearSVC": lambda: fit_linear_svc(problem, rows, tolerance),
        }
    )


def scaled_rows(problem: SVMProblem) -> Any:
    """Return the scaled examples, float32 (n, D)."""
    return (problem.features.float() * problem.scale).numpy()


def fit_linear_svc(problem: SVMProblem, rows: Any, tolerance: float) -> Tensor:
    """Fit LinearSVC to the same objective: weights (K, D + 1). It copies `rows` to double precision."""
    classes = problem.targets.shape[1]
    svm = problem.svm
    weights = dict.fromkeys(range(classes), svm.positive_weight)  # liblinear's: of each class's positives
    svms = LinearSVC(
        loss="hinge",
        C=svm.C,
        intercept_scaling=svm.bias,
        class_weight=weights,
        tol=tolerance,
        max_iter=10_000,
        random_state=0,
    ).fit(rows, problem.targets.argmax(dim=1).numpy())
    columns = torch.from_numpy(svms.coef_), torch.from_numpy(svms.intercept_)[:, None] / svm.bias
    return torch.cat(columns, dim=1).float()


def find_tolerance(problem: SVMProblem) -> tuple[float, dict[str, Any]]:
    """Return the loosest tolerance at which LinearSVC's objective of every class is within GAP of the best one, and the
    objectives, summed over the classes."""
    rows, none = scaled_rows(problem), torch.zeros(problem.targets.shape)
    ours, best = solve_svms(problem, gap=GAP), solve_svms(problem, gap=CERTAIN)
    for tolerance in TOLERANCES:
        peer, *_ = objectives(problem, fit_linear_svc(problem, rows, tolerance), none)
        if (peer - best.dual <= GAP * peer).all():
            break
    solutions = {"sppdet SVMs": ours.primal, "LinearSVC": peer, "best": best.primal}
    objective = {name: {"objective": float(values.sum())} for name, values in solutions.items()}
    sizes = {"svm_examples": len(rows), "svm_features": rows.shape[1]}
    return tolerance, {**sizes, "tolerance": tolerance, "svm": objective}
