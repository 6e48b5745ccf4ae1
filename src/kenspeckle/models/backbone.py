"""The promise every image network keeps: images in, a list of maps out, the last is the waist."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

# ITU-R BT.601 luma, what Pillow's convert("L") uses.
_LUMA = (0.299, 0.587, 0.114)


class Backbone(nn.Module, ABC):
    """(B, C, H, W) images go in; maps, shallow to deep, come out; the last is the waist.

    Images are uint8 in 0..255 or floating point in [0, 1], with one channel (grey) or three. Pixel
    mean and standard deviation are buffers, so every file that holds the weights holds them too.

    Args:
        in_channels: 3, or 1 for networks that see grey.
        mean, std: per channel, of pixels in [0, 1].
    """

    channels: int
    """Channels of the waist, (B, channels, h, w)."""

    in_channels: int
    mean: Tensor
    std: Tensor

    def __init__(self, in_channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    @abstractmethod
    def stages(self, images: Tensor) -> list[Tensor]:
        """Maps, shallow to deep; the last is the waist."""

    def forward(self, images: Tensor) -> Tensor:
        """The waist, (B, channels, h, w)."""
        return self.stages(images)[-1]

    def prepare(self, images: Tensor) -> Tensor:
        """Scale to [0, 1], match the channels, subtract the mean, divide by the deviation."""
        if images.dtype == torch.uint8:
            images = images.to(torch.float32) / 255
        if images.shape[1] != self.in_channels:
            if self.in_channels == 1:
                weights = images.new_tensor(_LUMA).view(1, 3, 1, 1)
                images = (images * weights).sum(1, keepdim=True)
            else:
                images = images.expand(-1, self.in_channels, -1, -1)
        return (images - self.mean) / self.std
