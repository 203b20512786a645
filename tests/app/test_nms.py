"""The page's NMS and voting, in JavaScript, are sppdet's own."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch

from sppdet.boxes import nms, vote

SCRIPT = """
import { suppress, vote } from "./nms.mjs";
import { readFileSync } from "node:fs";
const cases = JSON.parse(readFileSync("cases.json"));
console.log(JSON.stringify(cases.map(({ boxes, labels, scores, iou, limit, voting, lowest, above }) => {
  const found = { boxes: new Float32Array(boxes), labels: new Int32Array(labels), scores: new Float32Array(scores) };
  const kept = suppress(found, (i) => found.scores[i] >= Math.fround(above), iou, limit);
  return { kept, boxes: vote(found, kept, voting, lowest) };
})));
"""


def make_case(seed: int) -> dict[str, object]:
    """Boxes in the order of the answer to the page, best first; some have no area, and some scores are equal."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 300))
    corner, side = rng.uniform(0, 60, (count, 2)), rng.uniform(0, 40, (count, 2)) * (rng.random((count, 1)) > 0.05)
    boxes = np.hstack([corner, corner + side]).round(int(rng.integers(0, 4))).astype(np.float32)
    scores = np.sort(rng.normal(0, 1, count).round(2).astype(np.float32))[::-1]
    settings = {
        "iou": float(rng.uniform(0.1, 0.7)),
        "voting": float(rng.uniform(0.3, 1)),
        "above": -0.5,
        "lowest": -1.5,
    }
    labels = rng.integers(1, 4, count)
    return {"boxes": boxes, "labels": labels, "scores": scores, "limit": int(rng.integers(0, 9)), **settings}


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_the_same_boxes_remain(static, tmp_path):
    cases = [make_case(seed) for seed in range(60)]
    flat = [{k: v.ravel().tolist() if isinstance(v, np.ndarray) else v for k, v in case.items()} for case in cases]
    (tmp_path / "cases.json").write_text(json.dumps(flat))
    (tmp_path / "run.mjs").write_text(SCRIPT)
    shutil.copy(static / "nms.js", tmp_path / "nms.mjs")
    ended = subprocess.run(["node", "run.mjs"], capture_output=True, text=True, check=True, cwd=tmp_path)
    for case, got in zip(cases, json.loads(ended.stdout), strict=True):
        boxes, labels, scores = (torch.from_numpy(case[name].copy()) for name in ("boxes", "labels", "scores"))
        kept = nms(boxes, scores, labels, case["iou"], case["limit"])
        kept = kept[scores[kept] >= case["above"]]
        assert got["kept"] == kept.tolist()
        expected = vote(boxes, scores - case["lowest"], labels, kept, case["voting"])
        assert torch.allclose(torch.tensor(got["boxes"], dtype=torch.float32).reshape(-1, 4), expected, atol=1e-4)
