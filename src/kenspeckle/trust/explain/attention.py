"""Attention roll-out: which places of the picture all places look at, block by block."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kenspeckle.errors import UsageError
from kenspeckle.models.transformer import VisionTransformer
from kenspeckle.tasks.task import Network


def explain_by_attention(network: Network, images: Tensor, target: Tensor) -> Tensor:
    """Heat over the images, (B, H, W) in [0, 1]; 1 is the place that is looked at most.

    Where all places are looked at alike it is 0 everywhere, but for rounding.

    Attention of each block, averaged over heads and mixed half and half with the identity for the
    shortcut, multiplied from block to block; then averaged over the places that look, as the head
    averages them. It says where the network looks, not what speaks for a class: the target plays
    no part.

    Args:
        images: (B, C, H, W), uint8 or in [0, 1].

    Raises:
        UsageError: the network has no attention.

    Source: Abnar and Zuidema 2020, arXiv:2005.00928, equation 1.
    """
    backbone = network.backbone
    if not isinstance(backbone, VisionTransformer):
        raise UsageError("Only a transformer has attention to show; choose the method grad-cam.")
    network.eval()
    with torch.no_grad():
        looked = backbone.attention(images).mean(2)  # (depth, B, N, N)
    count = looked.shape[-1]
    rolled = torch.eye(count).expand(len(images), count, count)
    for block in looked:
        rolled = (block + torch.eye(count)) / 2 @ rolled
    rows = -(-images.shape[2] // backbone.stride)
    heat = rolled.mean(1).unflatten(1, (rows, count // rows))[:, None]
    heat = heat - heat.amin((2, 3), keepdim=True)
    heat = F.interpolate(heat, images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    # The places sum to 1; what differs by less than a ten-thousandth of their mean is rounding.
    return heat / heat.amax((1, 2), keepdim=True).clamp(min=1e-4 / count)
