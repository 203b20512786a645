# %% [markdown]
# # From an image to detections, step by step
#
# Selective search, one pass of the network, windows on its maps, the spatial pyramid, SVMs, box regression and
# non-maximum suppression: what `detector.detect(image)` does, taken apart, with a picture of each step.
#
# `python scripts/tutorial.py` runs all of it in a minute or two and leaves the pictures in `runs/tutorial`; editors
# that know `# %%` (VS Code, PyCharm, Spyder, Jupyter with jupytext) run it cell by cell. It needs no connection and no
# data.

# %%
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Rectangle
from torch.nn.functional import adaptive_max_pool2d

from sppdet import Detector, SpatialPyramidPooling, TrainConfig, box_iou, nms, read_voc, selective_search, train
from sppdet.boxes import clip_boxes, decode_boxes
from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.config.detector import SPPConfig
from sppdet.config.heads import SVMConfig
from sppdet.config.network import BackboneConfig, PyramidConfig
from sppdet.images import shorter_side_size, to_array
from sppdet.pooling.windows import boxes_to_windows
from sppdet.proposals.selective_search import PRESETS, search_hierarchies
from sppdet.shapes.dataset import generate_cutouts

TRAINING_IMAGES, TEST_IMAGES = 40, 10
FOLDER = Path("runs/tutorial")
FOLDER.mkdir(parents=True, exist_ok=True)


def show(name, panels):
    """Draw panels (title, picture, [(box, color)]) side by side, and save them as FOLDER/NAME.png."""
    figure, axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels), 3.6), squeeze=False, layout="constrained")
    for ax, (title, picture, boxes) in zip(axes.flat, panels, strict=True):
        ax.set_axis_off()
        ax.set_title(title, fontsize=9)
        ax.imshow(picture)
        for (x1, y1, x2, y2), color in boxes:
            ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=color, linewidth=1.5))
    figure.savefig(FOLDER / f"{name}.png", dpi=100)


# %% [markdown]
# ## 1. An image and its objects
#
# The data: a flower, a pagoda and a person, cut out of photographs and pasted onto others. An image is uint8 (3, H, W),
# boxes are float32 (N, 4), x1 y1 x2 y2 in its pixels, half-open; labels count from 1.

# %%
root = generate_cutouts(FOLDER / "cutouts", seed=0, train=TRAINING_IMAGES, test=TEST_IMAGES)
test = read_voc(root, "test")
annotations = max(test.images, key=lambda one: len(one.boxes))
image = annotations.read()
height, width = image.shape[1:]
objects = list(zip(annotations.boxes.tolist(), annotations.labels.tolist(), strict=True))
print(f"{height} x {width} pixels:", [(test.classes[label - 1], box) for box, label in objects])
show("1_image", [("the image and its objects", to_array(image), [(box, "lime") for box, _ in objects])])

# %% [markdown]
# ## 2. Selective search
#
# The image is cut into segments of similar color. Then the two most similar neighbors are merged, again and again,
# until one is left (Uijlings et al. 2013): a hierarchy, whose nodes are candidates for objects of every size.

# %%
hierarchies = search_hierarchies(to_array(image), PRESETS["fast"])
first = hierarchies[0]
panels = []
for regions in (len(first.children) + 1, 60, 15, 5):
    regions = min(regions, len(first.children) + 1)
    merges = len(first.children) + 1 - regions
    picture = torch.from_numpy(first.labels).long()
    names = torch.arange(len(first.boxes))
    for k in range(merges):  # merge k makes node n + k of its two children
        names[first.children[k]] = len(first.children) + 1 + k
    for k in range(len(names) - 1, -1, -1):  # the node that each node has become
        names[k] = names[names[k]]
    colors = torch.randint(40, 255, (len(names), 3), generator=torch.Generator().manual_seed(0))
    panels.append((f"{regions} regions ({first.origin})", colors[names[picture]].numpy(), []))
show("2_hierarchy", panels)

# %% [markdown]
# Every node of every hierarchy gives a box. They are ranked by their place in the hierarchy times a random number, and
# the best are kept. A detector can only find what a proposal covers: the best one for each object is drawn.

# %%
proposals = selective_search(image, width=None, limit=200)
best = box_iou(proposals, annotations.boxes).max(dim=0)
boxes = [(box, "#ffffff60") for box in proposals.tolist()]
boxes += [(proposals[i].tolist(), "yellow") for i in best.indices.tolist()]
overlaps = ", ".join(f"{value:.2f}" for value in best.values.tolist())
print(f"best IoU with each object: {overlaps}")
show("3_proposals", [(f"{len(proposals)} proposals, and the best of each object", to_array(image), boxes)])

# %% [markdown]
# ## 3. Train
#
# A network that knows ImageNet, EfficientNet-Lite0, stays as it is. On its features, one linear SVM per class and a box
# regression are fitted; objects are the positives, and the negatives are sought among the proposals: those that the
# SVMs of the moment think are objects (`runs/tutorial/spp/examples.jpg` shows both). For clarity the network's last map
# before stride 32 is used alone, and boxes do not vote.

# %%
config = TrainConfig(
    data=DataConfig(root=str(root)),
    backbone=BackboneConfig("efficientnet_lite0"),
    proposals=ProposalConfig(width=None, limit=200),
    pyramid=PyramidConfig((4, 2, 1)),
    spp=SPPConfig(scales=(384,)),
    svm=SVMConfig(C=0.003),
    output=str(FOLDER / "spp"),
    device="cpu",
)
train(config)
detector = Detector.load(config.output, device="cpu")
print(detector)

# %% [markdown]
# ## 4. One pass of the network
#
# The image is resized so that its shorter side has 384 pixels, and the convolutions run over all of it: once, however
# many proposals there are. R-CNN would run them on the crop of each. Here is the sum over the map's channels.

# %%
extractor = detector.extractor
((conv5,),) = extractor.compute_maps(image)  # of the only scale, the only map
conv5 = conv5.float()
channels, rows, columns = conv5.shape
print(f"conv5: {channels} channels of {rows} x {columns} cells")

# %% [markdown]
# ## 5. From a box to a window of cells
#
# A cell sees a patch of the image; its stride and the center of the first one follow from the network's layers. The
# window of a box holds the cells whose centers lie inside it (SPPnet, appendix A).

# %%
(geometry,) = extractor.backbone.geometries
resized = shorter_side_size(height, width, 384)
ratios = (resized[1] / width, resized[0] / height)
print(f"{geometry}; resized to {resized}")
box = proposals[best.indices[:1]]  # the best proposal of the first object
window = boxes_to_windows(box, ratios, geometry, (rows, columns))
x1, y1, x2, y2 = window[0].tolist()
print(f"box {box[0].tolist()} -> cells {x1}..{x2 - 1} by {y1}..{y2 - 1}")
on_map = (x1 - 0.5, y1 - 0.5, x2 - 0.5, y2 - 0.5)  # imshow centers cell 0 at 0
show(
    "4_window",
    [
        ("a proposal", to_array(image), [(box[0].tolist(), "yellow")]),
        ("its window on conv5", conv5.sum(dim=0).numpy(), [(on_map, "red")]),
    ],
)

# %% [markdown]
# ## 6. The spatial pyramid
#
# A window of any size becomes a vector of one length: it is divided into 4 x 4, 2 x 2 and 1 x 1 bins, and of each bin
# and channel the maximum is taken (SPPnet, section 2.2). With one level this is Fast R-CNN's RoI pooling.

# %%
pool = SpatialPyramidPooling((4, 2, 1))
vector = pool(conv5[None], window)
inside = conv5[:, y1:y2, x1:x2]
levels = [adaptive_max_pool2d(inside, n) for n in (4, 2, 1)]  # the same by torch, level by level
print(f"{channels} channels x {16 + 4 + 1} bins = {vector.shape[1]} features")
assert vector[0].sort().values.allclose(torch.cat([level.flatten() for level in levels]).sort().values)
assert vector.allclose(detector.encode(image).features(box))
panels = [(f"{len(level[0])} x {len(level[0])} bins", level.mean(dim=0).numpy(), []) for level in levels]
show("5_pyramid", [("mean over channels of the window", inside.mean(dim=0).numpy(), []), *panels])

# %% [markdown]
# ## 7. Scores
#
# The SVM of a class is a weight for each feature, and a bias: one matrix product scores all proposals for all classes.

# %%
encoded = detector.encode(image)
features = encoded.features(proposals)  # (N, D)
weight, bias = detector.heads.class_weights()
scores = features @ weight.T + bias  # (N, K)
assert scores.allclose(encoded.score(proposals), atol=1e-3)
for box_, label in objects:
    nearest = int(box_iou(proposals, torch.tensor([box_])).argmax())
    pairs = zip(detector.classes, scores[nearest].tolist(), strict=True)
    values = ", ".join(f"{name} {score:+.2f}" for name, score in pairs)
    print(f"the best proposal of the {test.classes[label - 1]}: {values}")
panels = []
for name, column in zip(detector.classes, scores.T, strict=True):
    boxes = [(proposals[i].tolist(), "cyan") for i in column.argsort(descending=True)[:5].tolist()]
    panels.append((f"{name}: highest scores, {column.max():+.2f}", to_array(image), boxes))
show("6_scores", panels)

# %% [markdown]
# ## 8. Box regression and non-maximum suppression
#
# The same features tell where in the box the object lies: how far to move it, and how much to enlarge it (R-CNN,
# appendix C). Then the best box of each class suppresses those that overlap it by more than 0.3.

# %%
offsets = detector.heads.offsets(features)  # (N, K, 4)
moved = clip_boxes(decode_boxes(proposals, offsets), height, width)  # (N, K, 4)
selection = detector.config.selection
regions, classes = (scores > -1.5).nonzero(as_tuple=True)
candidates, values = moved[regions, classes], scores[regions, classes]
kept = nms(candidates, values, classes, selection.nms_iou)
print(f"{len(candidates)} boxes score above -1.5, {len(kept)} are left by NMS")
for box_, label in objects:
    target = torch.tensor([box_])
    nearest = int(box_iou(proposals, target).argmax())
    before, after = (float(box_iou(each[None], target)) for each in (proposals[nearest], moved[nearest, label - 1]))
    print(f"IoU of the best proposal of the {test.classes[label - 1]}: {before:.2f}, moved: {after:.2f}")

# %% [markdown]
# These are the detections, the same as those of `detect`; the ones above the threshold of their class are drawn.

# %%
found = detector.detect(image, proposals)
assert found.scores.allclose(values[kept], atol=1e-3)
assert found.boxes.allclose(candidates[kept], atol=0.1)
drawn = detector.probabilities(found.above(detector.thresholds))
show("7_detections", [("detections and their probabilities", drawn.draw(image), [])])

# %% [markdown]
# ## 9. Why this box?
#
# A score is a sum over bins and channels, and each maximum is the value of one cell: so it divides over the cells
# without remainder. `sppdet explain detection` draws this for any box.

# %%
place = int(found.labels[0])
evidence = encoded.evidence(proposals[int(scores[:, place - 1].argmax())], place)
cells = sum(part.total for part in evidence.maps)
print(f"{test.classes[place - 1]}: score {evidence.score:.3f} = bias {evidence.bias:.3f} + cells {cells:.3f}")
assert abs(evidence.bias + cells - evidence.score) < 1e-4
heat = evidence.on_image(height, width)
boxes = [(evidence.box.tolist(), "lime")]
limit = float(heat.abs().max())
colored = plt.get_cmap("RdBu_r")((heat.numpy() / limit + 1) / 2)
panels = [("red speaks for the class, blue against", colored, boxes), ("the box", to_array(image), boxes)]
show("8_evidence", panels)

# %% [markdown]
# ## 10. R-CNN
#
# The same weights can be run on the crop of every proposal. That takes as many passes of the network as there are
# proposals; its features differ a little, as a crop shows nothing beyond its border. `sppdet compare` measures both.

# %%
few = proposals[:20]
for name, mode in {"SPPnet": detector, "R-CNN": detector.with_features("crop")}.items():
    mode.encode(image).score(few)  # the first call prepares
    start = perf_counter()
    mode.encode(image).score(few)
    print(f"{name}: {1000 * (perf_counter() - start):.0f} ms for {len(few)} proposals")
