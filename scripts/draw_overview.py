"""Draw the README's first figure: python scripts/draw_overview.py runs/demo 000205 .github/overview.png."""

import sys

from sppdet import Detector, read_image
from sppdet.comparison.plots import STAGE_COLORS
from sppdet.drawing.figures import new_figure, save_figure
from sppdet.files.atomic import read_json
from sppdet.runtime.stopwatch import STAGES

if __name__ == "__main__":
    demo, number, output = sys.argv[1:]
    detector, image = Detector.load(f"{demo}/spp-0"), read_image(f"{demo}/shapes-0/JPEGImages/{number}.jpg")
    found = detector.probabilities(detector.detect(image).above(detector.thresholds))
    left, right = (figure := new_figure(9, 2.8)).subplots(1, 2, width_ratios=(1, 1.4))
    left.set_axis_off()
    left.imshow(image.permute(1, 2, 0), interpolation="bicubic")
    for (x1, y1, x2, y2), name, score in zip(found.boxes.tolist(), found.names, found.scores, strict=True):
        left.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color="#ffd400", linewidth=2)
        left.text(x1, y1, f"{name} {score:.2f}", va="bottom", bbox={"fc": "#ffd400", "ec": "none", "pad": 1})
    stages = read_json(f"{demo}/compare/compare.json")["stages"]
    for name in ("SPPnet", "R-CNN"):
        start = 0.0
        for stage, color in zip(STAGES, STAGE_COLORS, strict=True):
            right.barh(name, stages[name][stage], left=start, color=color)
            start += stages[name][stage]
        right.annotate(f" {start:.3f} s", (start, name), va="center")
    right.set(xlabel="seconds per image, 120 proposals", xlim=(0, 1.15 * start))
    figure.legend(right.patches[:6], STAGES, loc="outside upper right", ncols=6, frameon=False)
    save_figure(figure, output)
