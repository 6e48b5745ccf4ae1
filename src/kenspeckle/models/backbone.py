"""The promise every image network keeps: images in, a list of maps out, the last is the waist."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Positions = Literal["sin2d", "sin1d", "learned", "none"]


@dataclass(frozen=True)
class Input:
    """What some networks must know of their input before they can be built.

    Args:
        image_size: pixels a side.
        positions: how a Transformer tells its tokens apart.
        features: numbers a step, of sequences; 0 for images.
    """

    image_size: int = 64
    positions: Positions = "sin2d"
    features: int = 0


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

    stride = 1
    """Pixels a side that one place of the waist stands for, where `takes_valid`."""

    takes_valid = False
    """Whether padding can be masked, so that a padded image gives the maps of the bare one."""

    in_channels: int
    mean: Tensor
    std: Tensor

    def __init__(self, in_channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    @abstractmethod
    def stages(self, images: Tensor, valid: Tensor | None = None) -> list[Tensor]:
        """Maps, shallow to deep; the last is the waist.

        Args:
            valid: (B, H, W), True where a picture is and False where it was padded at its right and
                bottom; only for networks with `takes_valid`. Their maps are then zero outside and,
                inside, equal to those of the bare picture within 1e-4.
        """

    def forward(self, images: Tensor, valid: Tensor | None = None) -> Tensor:
        """The waist, (B, channels, h, w)."""
        return self.stages(images, valid)[-1]

    def learn_statistics(self, images: Tensor) -> None:
        """Take mean and deviation from pixels (N, C, H, W) that the network will learn from."""
        for channel, values in enumerate(self._matched(images).unbind(1)):
            self.mean[0, channel] = values.mean()
            self.std[0, channel] = values.std().clamp(min=0.05)  # flat pictures have no spread

    def tail(self) -> list[nn.Module]:
        """The last stages, which fine-tuning lets learn first; none where nobody said."""
        return []

    def prepare(self, images: Tensor) -> Tensor:
        """Scale to [0, 1], match the channels, subtract the mean, divide by the deviation."""
        return (self._matched(images) - self.mean) / self.std

    def _matched(self, images: Tensor) -> Tensor:
        """Pixels in [0, 1] with the network's channels."""
        if images.dtype == torch.uint8:
            images = images.to(torch.float32) / 255
        if images.shape[1] == self.in_channels:
            return images
        if self.in_channels == 1:
            weights = images.new_tensor(_LUMA).view(1, 3, 1, 1)
            return (images * weights).sum(1, keepdim=True)
        return images.expand(-1, self.in_channels, -1, -1)


def masked(x: Tensor, valid: Tensor | None) -> Tensor:
    """Maps (B, C, H, W) with zeros where `valid` (B, H, W) is False."""
    return x if valid is None else x * valid[:, None].to(x.dtype)


def thinned(valid: Tensor | None, stride: int) -> Tensor | None:
    """`valid` after a layer that takes every `stride`-th place: (B, H/stride, W/stride) rounded up.

    >>> thinned(torch.tensor([[[True, True, True, False]]]), 2)
    tensor([[[True, True]]])
    """
    return None if valid is None else valid[:, ::stride, ::stride]
