"""Figures published in the SPPnet paper, shown next to ours: He et al. 2014, arXiv:1406.4729v4.

All are of VOC2007. SPPnet uses ZF-5; R-CNN uses Alex-5 in table 9 and ZF-5 in table 10.
"""

from collections.abc import Mapping
from typing import Any

# VOC07 mAP, a fraction (table 9, section 4.2). ft: fine-tuned; +bb: with bounding-box regression.
COLUMNS = ("1 scale", "5 scales", "R-CNN")
DETECTION_MAP: Mapping[str, tuple[float, float, float]] = {
    "pool5": (0.430, 0.449, 0.442),
    "fc6": (0.425, 0.448, 0.462),
    "ftfc6": (0.523, 0.537, 0.531),
    "ftfc7": (0.545, 0.552, 0.542),
    "ftfc7+bb": (0.580, 0.592, 0.585),
}
FIVE_SCALES = (480, 576, 688, 864, 1200)  # shorter side in pixels (section 3.1)

# Seconds per image on a GPU of 2014 (tables 9 and 10, section 4.3), under the names of the JSON output.
TIMING: Mapping[str, Any] = {
    "source": "He et al. 2014, VOC2007, a GPU of 2014, no proposals; R-CNN with Alex-5 unless said, SPPnet with ZF-5",
    "seconds": {
        "spp_1_scale": {"conv": 0.053, "fc": 0.089, "total": 0.142},
        "spp_5_scales": {"conv": 0.293, "fc": 0.089, "total": 0.382},
        "rcnn": {"conv": 8.96, "fc": 0.07, "total": 9.03},
        "rcnn_zf5": {"conv": 14.37},
    },
    "speedup": {"spp_1_scale": 64, "spp_5_scales": 24},
    "speedup_zf5_both": {"spp_1_scale": 102, "spp_5_scales": 38},
    "map_voc07": dict(zip(("spp_1_scale", "spp_5_scales", "rcnn"), DETECTION_MAP["ftfc7+bb"], strict=True)),
}
