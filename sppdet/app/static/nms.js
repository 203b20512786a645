// Non-maximum suppression and box voting, as sppdet/boxes.py does them: in single precision, step by step.
// found: boxes Float32Array (4 M), labels Int32Array (M), scores Float32Array (M), best score first.

const round = Math.fround;

export function area(boxes, i) {
  return round(round(boxes[4 * i + 2] - boxes[4 * i]) * round(boxes[4 * i + 3] - boxes[4 * i + 1]));
}

function overlap(boxes, i, areaOfI, j) {
  const a = 4 * i, b = 4 * j;
  const width = round(Math.min(boxes[a + 2], boxes[b + 2]) - Math.max(boxes[a], boxes[b]));
  const height = round(Math.min(boxes[a + 3], boxes[b + 3]) - Math.max(boxes[a + 1], boxes[b + 1]));
  if (width <= 0 || height <= 0) return 0;
  const intersection = round(width * height);
  const union = round(round(areaOfI + area(boxes, j)) - intersection);
  return round(intersection / union);
}

// Indices of the candidates with isShown(i) that remain, best first. limit: maximum per class; 0: none.
export function suppress(found, isShown, threshold, limit) {
  const { boxes, labels } = found;
  const bound = round(threshold), ofClass = new Map(), kept = [];
  for (let i = 0; i < labels.length; i++) {
    if (!isShown(i)) continue;
    const size = area(boxes, i);
    if (!(size > 0)) continue;
    let better = ofClass.get(labels[i]);
    if (better === undefined) ofClass.set(labels[i], (better = []));
    if (limit && better.length >= limit) continue;
    let alone = true;
    for (let k = better.length - 1; alone && k >= 0; k--) alone = !(overlap(boxes, i, size, better[k]) > bound);
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
  const { boxes, labels, scores } = found;
  const own = (i) => Array.from(boxes.subarray(4 * i, 4 * i + 4));
  if (threshold >= 1) return kept.map(own);
  const bound = round(threshold), least = round(lowest);
  const voters = new Map(kept.map((i) => [labels[i], []]));
  for (let i = 0; i < labels.length; i++) voters.get(labels[i])?.push(i);
  return kept.map((i) => {
    const size = area(boxes, i), sums = [0, 0, 0, 0];
    let total = 0;
    for (const j of voters.get(labels[i])) {
      const weight = round(scores[j] - least);
      if (!(weight > 0) || !(overlap(boxes, i, size, j) >= bound)) continue;
      total += weight;
      for (let side = 0; side < 4; side++) sums[side] += round(weight * boxes[4 * j + side]);
    }
    return total > 0 ? sums.map((sum) => round(sum / total)) : own(i);
  });
}
