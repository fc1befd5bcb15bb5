"""Make the channel ranges of a trained MobileNet uneven without changing its function."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quantscope.sample_data.digits_networks import DigitsMobileNet, InvertedResidual

CHANNEL_SHARE = 0.15
FACTOR = 2.0**-6
"""A power of two, so that scaling and its inverse are exact in floating point."""
DEAD_BELOW = 0.2
CLIP_MARGIN = 5.5


def spread_channels(network: nn.Module, images: Tensor) -> None:
    """Scale the weakest expanded channels of every block down, and their depthwise filters up.

    ReLU6 lets a positive factor through wherever its upper limit is not reached, so a channel may leave the
    expansion 64 times smaller and be enlarged again by its own depthwise filter. Networks trained at scale
    get there by themselves, through batch normalization of channels that hardly vary; it is what makes
    per-tensor int8 weights fail on MobileNets.

    Args:
        network: a trained `DigitsMobileNet` in evaluation mode; changed in place.
        images: training images, (n, 1, 32, 32), that tell which channels stay clear of the limit.
    """
    assert isinstance(network, DigitsMobileNet)
    for block in network.features:
        assert isinstance(block, InvertedResidual)
        peaks = _peaks(network, block, images)
        usable = (peaks > DEAD_BELOW) & (peaks < CLIP_MARGIN)
        order = torch.argsort(peaks)
        chosen = order[usable[order]][: round(CHANNEL_SHARE * len(peaks))]
        norm = block.expand.norm
        norm.weight[chosen] *= FACTOR
        norm.bias[chosen] *= FACTOR
        block.depthwise.conv.weight[chosen] /= FACTOR


def _peaks(network: nn.Module, block: InvertedResidual, images: Tensor) -> Tensor:
    """Largest value of each expanded channel before ReLU6, shape (channels,)."""
    peaks: list[Tensor] = []
    hook = block.expand.norm.register_forward_hook(lambda _m, _x, y: peaks.append(y.amax(dim=(0, 2, 3))))
    network(images)
    hook.remove()
    return peaks[0]
