// Non-maximum suppression and box voting, as sppdet/boxes.py does them: in single precision, step by step.
// found: boxes Float32Array (4 M), labels Int32Array (M), scores Float32Array (M), best score first.

const round = Math.fround;

// Areas and the candidates of each class, computed once.
function prepare(found) {
  if (found.areas) return;
  const { boxes, labels } = found;
  found.areas = Float32Array.from(labels, (_, i) => round(boxes[4 * i + 2] - boxes[4 * i]) * round(boxes[4 * i + 3] - boxes[4 * i + 1]));
  found.ofClass = new Map();
  labels.forEach((label, i) => {
    if (!found.ofClass.has(label)) found.ofClass.set(label, []);
    found.ofClass.get(label).push(i);
  });
}

function overlap(boxes, areas, i, j) {
  const a = 4 * i, b = 4 * j;
  const left = boxes[a] > boxes[b] ? boxes[a] : boxes[b], right = boxes[a + 2] < boxes[b + 2] ? boxes[a + 2] : boxes[b + 2];
  if (left >= right) return 0;
  const top = boxes[a + 1] > boxes[b + 1] ? boxes[a + 1] : boxes[b + 1], bottom = boxes[a + 3] < boxes[b + 3] ? boxes[a + 3] : boxes[b + 3];
  if (top >= bottom) return 0;
  const intersection = round(round(right - left) * round(bottom - top));
  return round(intersection / round(round(areas[i] + areas[j]) - intersection));
}

// Indices of the candidates with isShown(i) that remain, best first. limit: maximum per class; 0: none.
export function suppress(found, isShown, threshold, limit) {
  prepare(found);
  const { boxes, labels, areas } = found, bound = round(threshold), remaining = new Map(), kept = [];
  for (let i = 0; i < labels.length; i++) {
    if (!isShown(i)) continue;
    if (!(areas[i] > 0)) continue;
    let better = remaining.get(labels[i]);
    if (better === undefined) remaining.set(labels[i], (better = []));
    if (limit && better.length >= limit) continue;
    let alone = true;
    for (let k = better.length - 1; alone && k >= 0; k--) alone = !(overlap(boxes, areas, i, better[k]) > bound);
    if (alone) {
      better.push(i);
      kept.push(i);
    }
  }
  return kept;
}

// The boxes [x1, y1, x2, y2] of kept candidates, averaged with those of their class that overlap them.
// Weights are scores above `lowest`; with a threshold of 1 there is no vote.
export function vote(found, kept, threshold, lowest) {
  prepare(found);
  const { boxes, labels, scores, areas } = found;
  const own = (i) => Array.from(boxes.subarray(4 * i, 4 * i + 4));
  if (threshold >= 1) return kept.map(own);
  const bound = round(threshold), least = round(lowest);
  return kept.map((i) => {
    const sums = [0, 0, 0, 0];
    let total = 0;
    for (const j of found.ofClass.get(labels[i])) {
      if (!(overlap(boxes, areas, i, j) >= bound)) continue;
      const weight = round(scores[j] - least);
      if (!(weight > 0)) continue;
      total += weight;
      for (let side = 0; side < 4; side++) sums[side] += round(weight * boxes[4 * j + side]);
    }
    return total > 0 ? sums.map((sum) => round(sum / total)) : own(i);
  });
}
