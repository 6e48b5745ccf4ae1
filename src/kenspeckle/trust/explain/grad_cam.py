"""Grad-CAM: which places of the waist raise a class's logit."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kenspeckle.tasks.task import Network


def explain_by_grad_cam(network: Network, images: Tensor, target: Tensor) -> Tensor:
    """Heat over the images, (B, H, W) in [0, 1]; 1 is the place that speaks most for `target`.

    Every backbone ends in a grid, so there is no layer to choose. An image on which nothing speaks
    for the class gives all zeros.

    Args:
        images: (B, C, H, W), uint8 or in [0, 1].
        target: (B,) class numbers.

    Source: Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2.
    """
    network.eval()
    with torch.no_grad():
        stages = [stage.detach() for stage in network.backbone.stages(images)]
    with torch.enable_grad():
        waist = stages[-1].float().requires_grad_()
        logits = network.head([*stages[:-1], waist])
        chosen = logits.gather(1, target.view(-1, 1)).sum()
        (slope,) = torch.autograd.grad(chosen, waist)
    importance = slope.mean((2, 3), keepdim=True)
    heat = F.relu((importance * waist.detach()).sum(1, keepdim=True))
    heat = F.interpolate(heat, images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    peak = heat.amax((1, 2), keepdim=True)
    return heat / peak.clamp(min=1e-12)
