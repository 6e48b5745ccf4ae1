"""Two images and their labels made into one: mixup and cutmix, on whole batches."""

from __future__ import annotations

import torch
from torch import Tensor

from kenspeckle.errors import UsageError


def mixup(images: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Each image faded into another of the batch, and its target by the same share.

    Args:
        images: (B, C, H, W), uint8 or floating point.
        targets: (B, K) one-hot or soft; rows sum to 1.
        alpha: of the shares' Beta(alpha, alpha); .2 keeps most images nearly whole, 1 is even.

    Returns:
        Images of the same kind, targets of the same kind.

    Raises:
        UsageError: alpha is not above 0.

    Source: Zhang et al. 2018, arXiv:1710.09412, equation 1, with a share of its own for each image.

    >>> images, targets = torch.zeros(4, 1, 8, 8), torch.eye(4)
    >>> mixed, soft = mixup(images, targets, alpha=0.2)
    >>> mixed.shape, soft.sum(1)
    (torch.Size([4, 1, 8, 8]), tensor([1., 1., 1., 1.]))
    """
    share = _shares(len(images), alpha, "mixup").to(images.device)
    other = torch.randperm(len(images)).to(images.device)
    kept = share[:, None, None, None]
    mixed = kept * images + (1 - kept) * images[other]
    if images.dtype == torch.uint8:
        mixed = mixed.add_(0.5)  # truncation after + 0.5 rounds
    return mixed.to(images.dtype), _mixed_targets(targets, share, other)


def cutmix(images: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Each image with a rectangle of another of the batch, and its target by the area.

    The share is counted after the rectangle was cut off at the border, so that it is exact.

    Args:
        images: (B, C, H, W), uint8 or floating point.
        targets: (B, K) one-hot or soft; rows sum to 1.
        alpha: of the shares' Beta(alpha, alpha); the paper uses 1.

    Returns:
        Images of the same kind, targets of the same kind.

    Raises:
        UsageError: alpha is not above 0.

    Source: Yun et al. 2019, arXiv:1905.04899, equations 1 and 2, with a rectangle of its own for
    each image.

    >>> images, targets = torch.zeros(4, 1, 8, 8), torch.eye(4)
    >>> mixed, soft = cutmix(images, targets, alpha=1.0)
    >>> mixed.shape, soft.sum(1)
    (torch.Size([4, 1, 8, 8]), tensor([1., 1., 1., 1.]))
    """
    height, width = images.shape[2:]
    cut = (1 - _shares(len(images), alpha, "cutmix")).sqrt()
    down = _span(cut, height).to(images.device)
    across = _span(cut, width).to(images.device)
    other = torch.randperm(len(images)).to(images.device)
    is_other = down[:, None, :, None] & across[:, None, None, :]
    mixed = torch.where(is_other, images[other], images)
    share = 1 - down.float().mean(1) * across.float().mean(1)
    return mixed, _mixed_targets(targets, share, other)


def _shares(count: int, alpha: float, name: str) -> Tensor:
    if not alpha > 0:
        raise UsageError(f"The alpha of {name} must be above 0; found {alpha:g}.")
    return torch.distributions.Beta(alpha, alpha).sample((count,))


def _span(cut: Tensor, side: int) -> Tensor:
    """(B, side): which pixels lie in a stretch of `cut` of the side around a random middle."""
    middle = torch.rand(len(cut)) * side
    half = cut * side / 2
    pixel = torch.arange(side) + 0.5
    return (pixel - middle[:, None]).abs() < half[:, None]


def _mixed_targets(targets: Tensor, share: Tensor, other: Tensor) -> Tensor:
    kept = share[:, None].to(targets.dtype)
    return kept * targets + (1 - kept) * targets[other]
