"""Handwritten digits for the samples: split by source image first, then enlarged and augmented."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from sklearn.datasets import load_digits
from torch import Tensor

CALIBRATION_SOURCES = 192
EVALUATION_SOURCES = 500
LEVELS = 16
"""Grey values are multiples of 1/16, as in the source images; it also keeps the stored files small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """8x8 source images in [0, 1], shape (n, 1, 8, 8), and their digits, shape (n,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Three parts of the source images; no source image stands in two of them."""

    training: Sources
    calibration: Sources
    evaluation: Sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """How a source image becomes an input of a network."""

    size: int
    stuck_pixel_share: float = 0.0
    """Share of the images in which one pixel reads `stuck_pixel_value`."""
    stuck_pixel_value: float = 64.0
    """Full scale of a 16-bit sensor on which white paper reads 1023, and 1023 stands for 1."""
    rotation_degrees: float = 15.0
    scale_low: float = 0.75
    scale_high: float = 1.05
    shift: float = 0.12
    """Largest shift, in units of the image's width."""
    noise: float = 0.03
    """Standard deviation of the added noise."""


def split_sources(seed: int) -> Split:
    """Split the 1797 source images into training, calibration and evaluation parts."""
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    images = torch.from_numpy(digits.images[order].astype(np.float32) / 16.0).unsqueeze(1)
    labels = torch.from_numpy(digits.target[order].astype(np.int64))
    bounds = (EVALUATION_SOURCES, EVALUATION_SOURCES + CALIBRATION_SOURCES, len(labels))
    parts = [
        Sources(images=images[start:stop], labels=labels[start:stop])
        for start, stop in zip((0, *bounds[:-1]), bounds, strict=True)
    ]
    return Split(evaluation=parts[0], calibration=parts[1], training=parts[2])


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def render(images: Tensor, scene: Scene, generator: torch.Generator) -> Tensor:
    """Enlarge and augment source images.

    Args:
        images: (n, 1, 8, 8) in [0, 1].
        scene: size and strength of the augmentation.
        generator: the only source of randomness.

    Returns:
        (n, 1, size, size) float32, multiples of 1/16 in [0, 1], but for stuck pixels.
    """
    count = len(images)
    angle = _uniform(count, -1.0, 1.0, generator) * math.radians(scene.rotation_degrees)
    scale = 1.0 / _uniform(count, scene.scale_low, scene.scale_high, generator)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    # affine_grid measures in half widths, hence the factor 2 on the shift.
    right = 2 * scene.shift * _uniform(count, -1.0, 1.0, generator)
    down = 2 * scene.shift * _uniform(count, -1.0, 1.0, generator)
    rows = torch.stack([cosine, -sine, right, sine, cosine, down], dim=1).reshape(count, 2, 3)
    grid = functional.affine_grid(rows, [count, 1, scene.size, scene.size], align_corners=False)
    large = functional.interpolate(images, size=(32, 32), mode="bicubic", align_corners=False)
    view = functional.grid_sample(large, grid, mode="bilinear", align_corners=False)
    contrast = _uniform(count, 0.75, 1.1, generator).reshape(count, 1, 1, 1)
    noise = scene.noise * torch.randn(view.shape, generator=generator)
    view = torch.round((view * contrast + noise).clamp(0.0, 1.0) * LEVELS) / LEVELS
    stuck = torch.rand(count, generator=generator) < scene.stuck_pixel_share
    place = torch.randint(scene.size**2, (count,), generator=generator)
    flat = view.reshape(count, -1)
    flat[stuck, place[stuck]] = scene.stuck_pixel_value
    return flat.reshape(view.shape)
