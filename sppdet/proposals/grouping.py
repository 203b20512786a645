"""Hierarchical grouping (Uijlings et al., IJCV 2013, section 3.1): the two most similar neighbors become one, until
one region is left."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numba import njit

from sppdet.proposals.segments import Regions


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """A segmentation and its merges, in the frame of the image that was searched.

    labels int32 (H, W): segments 0..n−1. children int64 (n−1, 2): the nodes that node n + i was merged from. boxes
    int64 (2n−1, 4), x1 y1 x2 y2, half-open pixels. Nodes 0..n−1 are the segments, in the order of the merges after
    them, so that the last node is the whole image.
    """

    labels: np.ndarray
    children: np.ndarray
    boxes: np.ndarray

    def segments(self, node: int) -> np.ndarray:
        """The ids in `labels` that make up a node, int64, ascending. A node below 0 counts from the last one."""
        count = len(self.children) + 1
        found, open_ = [], [range(len(self.boxes))[node]]
        while open_:
            node = open_.pop()
            if node < count:
                found.append(node)
            else:
                open_.extend(self.children[node - count].tolist())
        return np.array(sorted(found), dtype=np.int64)

    def mask(self, node: int) -> np.ndarray:
        """Where a node lies, bool (H, W)."""
        return np.isin(self.labels, self.segments(node))


def group(regions: Regions, pixels: int, similarity: str) -> tuple[np.ndarray, np.ndarray]:
    """Children and boxes of the hierarchy (see `Hierarchy`) by a sum of similarities of section 3.2.

    `similarity` names them by their letters: C color, T texture, S size, F fill. `pixels` is the size of the image.
    """
    return _group(
        regions.sizes,
        regions.boxes,
        regions.color,
        regions.texture,
        regions.pairs,
        np.float32(pixels),
        *(letter in similarity for letter in "CTSF"),
    )


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _intersection(first, second):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for place in range(len(first)):
        total += min(first[place], second[place])
    return total


@njit(nogil=True, cache=True)
def _similarity(a, b, sizes, boxes, color, texture, pixels, by_color, by_texture, by_size, by_fill):  # type: ignore[no-untyped-def]
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


@njit(nogil=True, cache=True)
def _group(sizes, boxes, color, texture, pairs, pixels, by_color, by_texture, by_size, by_fill):  # type: ignore[no-untyped-def]
    count = len(sizes)
    nodes = 2 * count - 1
    sizes = np.concatenate((sizes, np.zeros(count - 1, dtype=np.int64)))
    boxes = np.concatenate((boxes, np.zeros((count - 1, 4), dtype=np.int64)))
    color = np.concatenate((color, np.empty((count - 1, color.shape[1]), dtype=np.float32)))
    texture = np.concatenate((texture, np.empty((count - 1, texture.shape[1]), dtype=np.float32)))
    children = np.empty((count - 1, 2), dtype=np.int64)
    merged = np.zeros(nodes, dtype=np.bool_)
    met = np.full(nodes, -1, dtype=np.int64)  # the last node that a region was found to be a neighbor of
    # Neighbours as linked lists; those merged since are skipped.
    heads = np.full(nodes, -1, dtype=np.int64)
    targets = [np.int64(0)][:0]
    nexts = [np.int64(0)][:0]
    heap = [(np.float32(0), np.int64(0), np.int64(0))][:0]
    for index in range(len(pairs)):
        a, b = pairs[index]
        for node, other in ((a, b), (b, a)):
            targets.append(other)
            nexts.append(heads[node])
            heads[node] = len(targets) - 1
        value = _similarity(a, b, sizes, boxes, color, texture, pixels, by_color, by_texture, by_size, by_fill)
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
        share = np.float32(sizes[a] / sizes[node])
        rest = np.float32(1) - share
        for place in range(color.shape[1]):
            color[node, place] = share * color[a, place] + rest * color[b, place]
        for place in range(texture.shape[1]):
            texture[node, place] = share * texture[a, place] + rest * texture[b, place]
        for part in (a, b):
            link = heads[part]
            while link >= 0:
                other = targets[link]
                link = nexts[link]
                if merged[other] or met[other] == node:
                    continue
                met[other] = node
                for one, two in ((node, other), (other, node)):
                    targets.append(two)
                    nexts.append(heads[one])
                    heads[one] = len(targets) - 1
                value = _similarity(
                    node, other, sizes, boxes, color, texture, pixels, by_color, by_texture, by_size, by_fill
                )
                heapq.heappush(heap, (-value, other, node))
        node += 1
    return children, boxes
