"""Hierarchical grouping (Uijlings et al., IJCV 2013, section 3.1).

The two most similar neighboring regions are merged until one is left. A region is a segment or the result of a merge:
a node of the hierarchy.
"""

import heapq
from dataclasses import dataclass

import numpy as np
from numba import njit

from sppdet.proposals.segments import Segments
from sppdet.runtime.compiled import compiled


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """A segmentation and its merges, in pixels of the searched image.

    labels: int32 (H, W), segments 0..n−1. children: int64 (n−1, 2), the two nodes merged into node n + i. boxes: int64
    (2n−1, 4), x1 y1 x2 y2, half-open, of all nodes. Nodes 0..n−1 are the segments; the others follow in the order of
    the merges, so the last node is the whole image. origin: color space, threshold and similarities.
    """

    labels: np.ndarray
    children: np.ndarray
    boxes: np.ndarray
    origin: str = ""

    def parents(self) -> np.ndarray:
        """Return the node that each node was merged into, int64 (2n−1,); −1 for the last."""
        count = len(self.children) + 1
        parents = np.full(len(self.boxes), -1)
        parents[self.children] = np.arange(count, len(parents))[:, None]
        return parents

    def segments(self, node: int) -> np.ndarray:
        """Return the segments of a node: ids in `labels`, int64, ascending. A negative node counts from the last."""
        inside = np.zeros(len(self.boxes), dtype=bool)
        inside[node] = True
        count = len(self.children) + 1
        for parent in range(len(inside) - 1, count - 1, -1):
            if inside[parent]:
                inside[self.children[parent - count]] = True
        return np.flatnonzero(inside[:count])

    def mask(self, node: int) -> np.ndarray:
        """Return the pixels of a node, bool (H, W)."""
        return np.isin(self.labels, self.segments(node))


def group(segments: Segments, pixels: int, similarity: str) -> tuple[np.ndarray, np.ndarray]:
    """Return children and boxes of the hierarchy (see `Hierarchy`) under a sum of similarities of section 3.2.

    pixels: number of pixels of the image. similarity: letters of the summands: C color, T texture, S size, F fill.
    """
    return _group(*segments, np.float32(pixels), tuple(letter in similarity for letter in "CTSF"))


@compiled(nogil=True, fastmath={"reassoc", "contract"})
def _intersection(first, second):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for index in range(len(first)):
        total += min(first[index], second[index])
    return total


@compiled(nogil=True)
def _similarity(a, b, sizes, boxes, color, texture, pixels, letters):  # type: ignore[no-untyped-def]
    by_color, by_texture, by_size, by_fill = letters
    total = np.float32(0)
    if by_color:
        total += _intersection(color[a], color[b])
    if by_texture:
        total += _intersection(texture[a], texture[b])
    both = sizes[a] + sizes[b]
    if by_size:
        total += 1 - both / pixels
    if by_fill:
        width = max(boxes[a, 2], boxes[b, 2]) - min(boxes[a, 0], boxes[b, 0])
        height = max(boxes[a, 3], boxes[b, 3]) - min(boxes[a, 1], boxes[b, 1])
        total += 1 - (width * height - both) / pixels
    return np.float32(total)


@njit(inline="always")
def _connect(a, b, heads, targets, nexts):  # type: ignore[no-untyped-def]
    for node, other in ((a, b), (b, a)):
        targets.append(other)
        nexts.append(heads[node])
        heads[node] = len(targets) - 1


@compiled(nogil=True)
def _group(sizes, boxes, color, texture, pairs, pixels, letters):  # type: ignore[no-untyped-def]
    count = len(sizes)
    nodes = 2 * count - 1
    sizes = np.concatenate((sizes, np.zeros(count - 1, dtype=np.int64)))
    boxes = np.concatenate((boxes, np.zeros((count - 1, 4), dtype=np.int64)))
    color = np.concatenate((color, np.empty((count - 1, color.shape[1]), dtype=np.float32)))
    texture = np.concatenate((texture, np.empty((count - 1, texture.shape[1]), dtype=np.float32)))
    children = np.empty((count - 1, 2), dtype=np.int64)
    merged = np.zeros(nodes, dtype=np.bool_)
    met = np.full(nodes, -1, dtype=np.int64)  # the last node that a region was entered as a neighbor of
    # Neighbors are linked lists; those that have been merged are skipped.
    heads = np.full(nodes, -1, dtype=np.int64)
    targets = [np.int64(0)][:0]
    nexts = [np.int64(0)][:0]
    heap = [(np.float32(0), np.int64(0), np.int64(0))][:0]
    for index in range(len(pairs)):
        a, b = pairs[index]
        _connect(a, b, heads, targets, nexts)
        value = _similarity(a, b, sizes, boxes, color, texture, pixels, letters)
        heap.append((-value, a, b))
    heapq.heapify(heap)
    node = count
    while node < nodes:
        _, a, b = heapq.heappop(heap)
        if merged[a] or merged[b]:
            continue
        merged[a] = merged[b] = True
        children[node - count, 0], children[node - count, 1] = a, b
        sizes[node] = sizes[a] + sizes[b]
        boxes[node, 0], boxes[node, 1] = min(boxes[a, 0], boxes[b, 0]), min(boxes[a, 1], boxes[b, 1])
        boxes[node, 2], boxes[node, 3] = max(boxes[a, 2], boxes[b, 2]), max(boxes[a, 3], boxes[b, 3])
        fraction = np.float32(sizes[a] / sizes[node])
        rest = np.float32(1) - fraction
        for histograms in (color, texture):
            for index in range(histograms.shape[1]):
                histograms[node, index] = fraction * histograms[a, index] + rest * histograms[b, index]
        for part in (a, b):
            link = heads[part]
            while link >= 0:
                other = targets[link]
                link = nexts[link]
                if merged[other] or met[other] == node:
                    continue
                met[other] = node
                _connect(node, other, heads, targets, nexts)
                value = _similarity(node, other, sizes, boxes, color, texture, pixels, letters)
                heapq.heappush(heap, (-value, other, node))
        node += 1
    return children, boxes
