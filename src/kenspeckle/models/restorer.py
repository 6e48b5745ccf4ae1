"""A network that mends images at half resolution and says how far each pixel may be off."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kenspeckle.data.degrade import GREY, LOSSLESS

EDGE = 1e-3  # where the loss turns from squares to distances: a quarter of a step of 8 bits
BETA = 0.5  # the paper's choice: between all pixels alike (1) and the likelihood itself (0)
# An 8-bit file's own rounding has a deviation of .0011; nothing can be known better than that.
LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE = -13.6, 0.0
FIRST_LOG_VARIANCE = -6.0  # a deviation of .05, before anything was learned
SIGMA_UNIT = 75.0  # 255ths: the strongest noise that is trained for is told as 1
GAUSSIAN_MEDIAN = 0.6744897501960817  # of the absolute value of a standard normal variable
# Chosen on 84 photos at half size, noise of 15: root of the mean squared error of the estimate 15 %
# from all squares, 6.4 % from the flattest quarter, 7.1 % from the flattest tenth.
FLATTEST = 0.25
AGREEING = 0.8  # of the whole: with it 3.6 %, on the same photos


class Restored(NamedTuple):
    """Mended images, and how far each pixel may be off.

    Args:
        images: (B, 3, H, W), in [0, 1] but for small excursions.
        log_variance: (B, 1, H, W) logarithm of the squared error that is expected, averaged over
            the three colours of a pixel.
    """

    images: Tensor
    log_variance: Tensor

    @property
    def deviation(self) -> Tensor:
        """(B, 1, H, W) standard deviation, in the unit of the images."""
        return (self.log_variance / 2).exp()


class Restorer(nn.Module):
    """(B, 3, H, W) damaged images and what is known of the damage -> `Restored`.

    Squares of 2 x 2 pixels become 12 channels; beside them stand the noise level and the JPEG
    quality, the same at every place, and where pixels are hidden. A 3x3 convolution, residual
    blocks of two, and a last one give what is to be added. The last starts at zero, so that the
    network starts by changing nothing. The deviation is read from the last features by two layers
    of its own, which send no gradient back.

    There is no batch normalisation: batches are small and mix noise levels, whose statistics have
    nothing in common. Shortcuts do its work: without them 500 updates on two-coloured patches took
    away 26 % of the squared error of noise of 40, with them 79 % (width 16, depth 6, one seed, the
    better of two learning rates each).

    Args:
        width: channels of each layer.
        depth: 3x3 convolutions one after the other; even, 2 or more.

    Source: Zhang et al. 2018, arXiv:1710.04026 (FFDNet), figure 1, for the input; Lim et al. 2017,
    arXiv:1707.02921 (EDSR), figure 2c, for the blocks; Seitzer et al. 2022,
    arXiv:2203.09168, for the log-variance.

    >>> network, images = Restorer(8, 4), torch.rand(2, 3, 33, 20)
    >>> mended = network(images, torch.tensor([25.0, 0.0]))
    >>> torch.equal(mended.images, images), mended.log_variance.shape
    (True, torch.Size([2, 1, 33, 20]))
    """

    multiple = 2
    """Pixels of a square that is joined: where tiles may begin."""

    def __init__(self, width: int = 64, depth: int = 10) -> None:
        super().__init__()
        if width < 1 or depth < 2 or depth % 2:
            raise ValueError(
                f"a width of 1 at least and an even depth of 2 at least; got {width} and {depth}."
            )
        self.width, self.depth = width, depth
        inside = 4 * 3 + 4 + 2  # colours and mask of four pixels, sigma, quality
        blocks = (_Residual(width) for _ in range(depth // 2 - 1))
        self.trunk = nn.Sequential(_convolution(inside, width), *blocks)
        self.change = nn.Conv2d(width, 4 * 3, 3, padding=1)
        narrow = max(4, width // 4)
        last = nn.Conv2d(narrow, 4, 1)
        self.doubt = nn.Sequential(_convolution(width, narrow), nn.ReLU(inplace=True), last)
        for layer, bias in ((self.change, 0.0), (last, FIRST_LOG_VARIANCE)):
            nn.init.zeros_(layer.weight)
            assert layer.bias is not None
            nn.init.constant_(layer.bias, bias)

    @property
    def reach(self) -> int:
        """Pixels that an output may be away from what it depends on: the overlap of tiles."""
        # Two a layer at half resolution, and one for the square that the pixel is in.
        return 2 * self.depth + 1

    def forward(
        self,
        images: Tensor,
        sigma: Tensor | None = None,
        quality: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Restored:
        """Mend images.

        Args:
            images: (B, 3, H, W) floating point, in [0, 1] but for noise; any H and W. Odd sides
                are reflected to even ones and cut back.
            sigma: (B,) standard deviation of the noise, in 255ths; None is 0.
            quality: (B,) of JPEG, 1..100; None is 100, not compressed.
            mask: (B, 1, H, W), 1 or True where a pixel is hidden; None is nowhere.
        """
        batch, _, height, width = images.shape
        sigma = images.new_zeros(batch) if sigma is None else sigma
        quality = images.new_full((batch,), LOSSLESS) if quality is None else quality
        hidden = (
            images.new_zeros(batch, 1, height, width) if mask is None else mask.to(images.dtype)
        )
        whole = torch.cat([images - GREY, hidden], dim=1)  # around 0 it learns faster
        # One row more is the last one again, which is what a reflection of one pixel is.
        whole = F.pad(whole, [0, width % 2, 0, height % 2], mode="replicate")
        squares = F.pixel_unshuffle(whole, 2)  # (B, 16, h, w)
        told = torch.stack([sigma / SIGMA_UNIT, 1 - quality / LOSSLESS], dim=1).to(images.dtype)
        maps = told[:, :, None, None].expand(-1, -1, *squares.shape[2:])
        features = self.trunk(torch.cat([squares, maps], dim=1))
        change = F.pixel_shuffle(self.change(features), 2)[..., :height, :width]
        doubt = F.pixel_shuffle(self.doubt(features.detach()), 2)[..., :height, :width]
        return Restored(images + change, doubt.clamp(LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE))


class _Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut; the second starts at zero, so the block does too."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = _convolution(width, width), _convolution(width, width)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(x)))


def restore_loss(restored: Restored, clean: Tensor) -> Tensor:
    """(B,) losses: how far the images are off, and how far from that their stated deviation is.

    loss = mean of sqrt(e^2 + EDGE^2) - EDGE  +  mean of s^(2 beta) (log s^2 + e^2 / s^2) / 2

    with the error e and the stated variance s^2. In the second part both e and the weight
    s^(2 beta) are held fixed: it teaches the deviation alone and costs no accuracy.

    Args:
        restored: what the network said.
        clean: (B, 3, H, W) in [0, 1].

    Source: Charbonnier et al. 1994 (the first part, smooth L1); Seitzer et al. 2022,
    arXiv:2203.09168, beta-NLL.

    >>> images = torch.rand(2, 3, 8, 8)
    >>> unsure = torch.zeros(2, 1, 8, 8)  # a deviation of 1
    >>> restore_loss(Restored(images, unsure), images)
    tensor([0., 0.])
    """
    squared = ((restored.images - clean).detach() ** 2).mean(1, keepdim=True)
    log_variance = restored.log_variance
    weight = (BETA * log_variance.detach()).exp()
    surprise = weight * (log_variance + squared * (-log_variance).exp()) / 2
    return distance(restored, clean) + surprise.mean((1, 2, 3))


def distance(restored: Restored, clean: Tensor) -> Tensor:
    """(B,) how far the images are off: the first part of `restore_loss`.

    Networks are compared by this alone: the second part falls to zero from below as deviations
    become small, so the better network has the higher one.
    """
    error = restored.images - clean
    return ((error**2 + EDGE**2).sqrt() - EDGE).mean((1, 2, 3))


def estimate_sigma(images: Tensor) -> Tensor:
    """(B,) standard deviations of the noise, in 255ths, by the finest diagonal detail.

    sigma = median |D| / 0.6745, with D = (a - b - c + d) / 2 of each square a b / c d

    D has the noise's own deviation and little of the picture. Fine texture still adds to it;
    therefore only the flattest quarter of the squares counts, by the two other details around
    them, which white noise makes independent of D. The noise must be white: that of a camera's
    JPEG is smoothed and comes out too low. A clean picture comes out at 1 to 2, one of gravel at
    7.

    Args:
        images: (B, C, H, W) floating point, black at 0 and white at 1, sides of 2 or more; what an
            odd side has over is not looked at.

    Raises:
        ValueError: there is no square of 2 x 2 pixels.

    Source: Donoho and Johnstone 1994, Biometrika 81, 425-455, section 3 (the median); the choice of
    squares is ours.

    >>> noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> 19 < estimate_sigma(0.5 + noise * 20 / 255).item() < 21
    True
    """
    height, width = (side - side % 2 for side in images.shape[2:])
    if height < 2 or width < 2:
        raise ValueError(f"images of 2 x 2 pixels at least; got {tuple(images.shape)}.")
    squares = F.pixel_unshuffle(images[..., :height, :width], 2).unflatten(1, (-1, 4))
    a, b, c, d = squares.unbind(2)  # (B, C, H/2, W/2) each
    diagonal = (a - b - c + d) / 2
    others = ((a + b - c - d) ** 2 + (a - b + c - d) ** 2).mean(1, keepdim=True)
    around = F.avg_pool2d(others, 3, 1, 1, count_include_pad=False)[:, 0]  # (B, H/2, W/2)
    count = math.ceil(FLATTEST * around[0].numel())  # torch's quantile refuses 64 megapixels
    is_flat = around <= around.flatten(1).kthvalue(count, dim=1).values[:, None, None]
    whole = _median(diagonal, is_flat)
    channels = images.shape[1]
    if channels == 1:
        return whole
    # What is left when the mean of C alike and independent colours is taken out has 1 - 1/C of the
    # variance.
    own = _median(diagonal - diagonal.mean(1, keepdim=True), is_flat) / (1 - 1 / channels) ** 0.5
    return torch.where(own > AGREEING * whole, own, whole)


def _median(detail: Tensor, is_flat: Tensor) -> Tensor:
    """(B,) deviations of (B, C, h, w) where (B, h, w) is True, in 255ths."""
    medians = [
        values[:, chosen].abs().median(dim=1).values.mean()
        for values, chosen in zip(detail, is_flat, strict=True)
    ]
    return torch.stack(medians) / GAUSSIAN_MEDIAN * 255


def _convolution(inside: int, out: int) -> nn.Conv2d:
    convolution = nn.Conv2d(inside, out, 3, padding=1)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution
