"""The founding text's convolutional network, exactly, without its mistakes."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from kenspeckle.models.backbone import Backbone


class SeedCNN(Backbone):
    """Conv 32, pool, conv 64, pool, conv 64, all 3x3 with ReLU, on grey images of any size >= 18.

    The text's flatten, dense 64 and dense 10 are the head (`models/heads.py:FlattenHead`). Departs
    from the text (docs/explanation/errata.md): logits instead of a second softmax (E1), pixels
    scaled (E20). 28 x 28 gives a waist of 3 x 3.

    Two things make it faster and change nothing: the maximum is taken before ReLU (both are
    monotone, and a quarter of the values remain), and rows and columns which floor-pooling would
    drop are not computed.

    >>> import torch
    >>> SeedCNN()(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 64, 3, 3])
    """

    channels = 64

    def __init__(self) -> None:
        super().__init__(1, mean=[0.1307], std=[0.3081])  # of MNIST's training pixels
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.conv3 = nn.Conv2d(64, 64, 3)

    def stages(self, images: Tensor, valid: Tensor | None = None) -> list[Tensor]:
        """Maps of 32, 64 and 64 channels."""
        kept = [_kept(side) for side in images.shape[-2:]]
        x = self.prepare(images[..., : kept[0], : kept[1]])
        first = F.relu(F.max_pool2d(self.conv1(x), 2))
        second = F.relu(F.max_pool2d(self.conv2(first), 2))
        return [first, second, F.relu(self.conv3(second))]


def _kept(side: int) -> int:
    """How many of `side` pixels reach the waist: floor-pooling drops up to three at the far end."""
    waist_side = ((side - 2) // 2 - 2) // 2
    return min(side, (waist_side * 2 + 2) * 2 + 2)
