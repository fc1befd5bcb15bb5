"""Make the channel ranges of a trained MobileNet uneven without changing its function."""

from __future__ import annotations

from torch import Tensor, nn


def spread_channels(network: nn.Module, images: Tensor) -> None:
    pass
