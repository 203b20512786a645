"""Images of noise."""

from __future__ import annotations

import torch


def random_image(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """uint8 (3, height, width)."""
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
