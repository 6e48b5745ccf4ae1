"""A pair of small networks, one that draws images of a class and one that tells drawn from real."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from kenspeckle.data.diff_augment import diff_augment
from kenspeckle.errors import UsageError

SIZES = range(28, 65, 4)
EVERY = 8  # critic updates from one penalty to the next: its double backward is the dearest part
# Of the images; for a set as large as MNIST. After 40 CPU seconds (about 400 updates of 64, width
# 16, one seed) 10 000 drawn images taught a small recogniser to be right on 63 to 65 % of real ones
# where all are changed, 81 % with .3, 84 % with .1, 86 % with none (10 000 of the training images);
# with all, the drawings of a class had a tenth of the variance of real ones.
AUGMENTED = 0.1
SLOPE = 0.2  # of the critic's leaky units below zero (Radford et al. 2016, arXiv:1511.06434)


class Generator(nn.Module):
    """Latents (B, latent) and class numbers (B,) go in; images (B, channels, size, size) come out.

    Images are in [-1, 1]. A linear layer draws a grid of 4 to 15 places a side; 4x4 transposed
    convolutions double it until it is the image. Before each rectifier every place is scaled to
    mean square 1 over its channels, then by a gain and a shift of the class.

    Args:
        classes: K, how many classes there are.
        size: pixels a side, of `SIZES`.
        channels: 1 (grey) or 3.
        latent: numbers that decide an image beside its class.
        width: channels at full size; twice as many a halving, at most four times.

    Raises:
        UsageError: a size or a number of channels that is not one of these.

    Source: layers after Radford et al. 2016, arXiv:1511.06434; scaling of places, Karras et al.
    2018, arXiv:1710.10196, section 4.2; gain by class, Miyato and Koyama 2018, arXiv:1802.05637,
    section 6.

    >>> images = Generator(10, size=28)(torch.randn(2, 64), torch.tensor([3, 4]))
    >>> images.shape
    torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self, classes: int, size: int, channels: int = 1, latent: int = 64, width: int = 32
    ) -> None:
        super().__init__()
        _check(size, channels)
        self.latent = latent
        self.grid, halvings = _grid(size)
        widths = _widths(width, halvings)[::-1]
        self.label = nn.Embedding(classes, latent)
        self.first = nn.Linear(2 * latent, widths[0] * self.grid**2)
        self.first_gain = _Gain(classes, widths[0])
        self.grow = nn.ModuleList(
            nn.ConvTranspose2d(inside, out, 4, 2, 1) for inside, out in _pairs(widths)
        )
        self.gain = nn.ModuleList(_Gain(classes, out) for _, out in _pairs(widths))
        self.last = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Images in [-1, 1], (B, channels, size, size)."""
        x = self.first(torch.cat([latents, self.label(labels)], dim=1))
        x = x.unflatten(1, (-1, self.grid, self.grid))  # (B, C, grid, grid)
        x = F.relu(self.first_gain(x, labels))
        for grow, gain in zip(self.grow, self.gain, strict=True):
            x = F.relu(gain(grow(x), labels))
        return torch.tanh(self.last(x))


class Critic(nn.Module):
    """Images (B, channels, size, size) in [-1, 1] and class numbers go in; scores (B,) come out.

    A score is higher for what looks real as an image of that class. 4x4 convolutions halve the
    image, a 3x3 one and a linear layer make `features` of it. Nothing is normalised: a score that
    depended on the rest of the batch would have no slope of its own to penalise.

    score(x, y) = w . phi(x) + e[y] . phi(x) / sqrt(features)

    Args:
        classes, size, channels: as for the generator.
        width: channels after the first halving; twice as many a halving, at most four times.
        features: length of phi.

    Raises:
        UsageError: a size or a number of channels that is not one of these.

    Source: Miyato and Koyama 2018, arXiv:1802.05637, equation 3.

    >>> Critic(10, size=32, channels=3)(torch.zeros(2, 3, 32, 32), torch.tensor([3, 4])).shape
    torch.Size([2])
    """

    def __init__(
        self, classes: int, size: int, channels: int = 1, width: int = 32, features: int = 128
    ) -> None:
        super().__init__()
        _check(size, channels)
        grid, halvings = _grid(size)
        widths = _widths(width, halvings)
        self.halve = nn.ModuleList(
            nn.Conv2d(inside, out, 4, 2, 1) for inside, out in _pairs([channels, *widths[:-1]])
        )
        self.look = nn.Conv2d(widths[-2], widths[-1], 3, padding=1)
        self.join = nn.Linear(widths[-1] * grid**2, features)
        self.score = nn.Linear(features, 1)
        self.label = nn.Embedding(classes, features)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Scores, (B,), higher for what looks real."""
        x = images
        for halve in self.halve:
            x = F.leaky_relu(halve(x), SLOPE)
        x = F.leaky_relu(self.look(x), SLOPE)
        phi = F.leaky_relu(self.join(x.flatten(1)), SLOPE)  # (B, features)
        agreement = (self.label(labels) * phi).sum(1) / math.sqrt(phi.shape[1])
        return self.score(phi).squeeze(1) + agreement


class Gan(nn.Module):
    """A generator and the critic it is trained against.

    Args:
        classes, size, channels: what images there are, as for the generator.
        latent, width, critic_width: how large the two networks are.
        gamma: strength of the penalties.
        augmented_share: of the images the critic sees, real and drawn, that are changed first.
    """

    critic_updates: Tensor
    """How many losses of the critic were taken in train mode; it decides when a penalty is due."""

    def __init__(
        self,
        classes: int,
        size: int,
        channels: int = 1,
        *,
        latent: int = 64,
        width: int = 32,
        critic_width: int = 32,
        gamma: float = 1.0,
        augmented_share: float = AUGMENTED,
    ) -> None:
        super().__init__()
        self.generator = Generator(classes, size, channels, latent, width)
        self.critic = Critic(classes, size, channels, critic_width)
        self.gamma, self.augmented_share = gamma, augmented_share
        self.register_buffer("critic_updates", torch.zeros((), dtype=torch.int64))

    def augmented(self, images: Tensor) -> Tensor:
        """What the critic sees of images (B, C, H, W) in [-1, 1], real or drawn."""
        return diff_augment(images, share=self.augmented_share)

    @torch.no_grad()
    def draw(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Images (B, C, H, W), uint8 in 0..255."""
        signed = self.generator(latents, labels).float()
        return (127.5 * (signed + 1)).round().to(torch.uint8)


def signed(images: Tensor) -> Tensor:
    """Images as a batch holds them, uint8 or floating point in [0, 1], in [-1, 1].

    >>> signed(torch.tensor([0, 255], dtype=torch.uint8))
    tensor([-1.,  1.])
    """
    if images.dtype == torch.uint8:
        return images.to(torch.float32) / 127.5 - 1
    return 2 * images - 1


def critic_loss(gan: Gan, real: Tensor, labels: Tensor, latents: Tensor) -> Tensor:
    """How badly the critic tells each real image from a drawn one of its class.

    L = softplus(D(G(z, y), y) - D(x, y))

    In train mode the `penalties` are added at every eighth call, eight times as strong, and the
    call is counted in `gan.critic_updates`. In eval mode it is L alone and nothing is counted.

    Args:
        real: (B, C, H, W), uint8 or in [0, 1].
        labels: (B,) class numbers, of real and drawn images alike.
        latents: (B, latent), standard normal.

    Returns:
        (B,) losses, to be averaged.

    Source: Huang et al. 2024 (R3GAN), arXiv:2501.05441, equation 2, with the softplus of section
    2.1; seldom penalties, Karras et al. 2020, arXiv:1912.04958, section 3.1.
    """
    with torch.no_grad():
        drawn = gan.generator(latents, labels)
    real, drawn = gan.augmented(signed(real)), gan.augmented(drawn.float())
    true, false = gan.critic(torch.cat([real, drawn]), labels.repeat(2)).chunk(2)
    losses = F.softplus(false - true)
    if gan.training:
        if penalty_is_due(int(gan.critic_updates)):
            losses = losses + EVERY * penalties(gan, real, drawn, labels)
        gan.critic_updates += 1
    return losses


def generator_loss(gan: Gan, real: Tensor, labels: Tensor, latents: Tensor) -> Tensor:
    """How well the critic tells each drawn image from a real one of its class.

    L = softplus(D(x, y) - D(G(z, y), y))

    The critic's weights get no gradient. Arguments, result and source are those of `critic_loss`.
    """
    # A backward pass through the critic for its input alone is a third cheaper.
    fixed = {name: weight.detach() for name, weight in gan.critic.named_parameters()}
    drawn = gan.augmented(gan.generator(latents, labels).float())
    false = functional_call(gan.critic, fixed, (drawn, labels))
    with torch.no_grad():
        true = gan.critic(gan.augmented(signed(real)), labels)
    return F.softplus(true - false)


def penalties(gan: Gan, real: Tensor, drawn: Tensor, labels: Tensor) -> Tensor:
    """How steep the critic is at the images it sees, real (R1) and drawn (R2).

    gamma / 2 * (|dD/dx (x, y)|^2 + |dD/dx (G(z, y), y)|^2)

    Always in single precision: a second derivative in bfloat16 is noise.

    Args:
        real, drawn: (B, C, H, W) in [-1, 1], as the critic sees them.
        labels: (B,) class numbers.

    Returns:
        (B,) penalties, differentiable in the critic's weights.

    Source: Huang et al. 2024 (R3GAN), arXiv:2501.05441, equation 3; R1 is Mescheder et al. 2018,
    arXiv:1801.04406, equation 9.
    """
    seen = torch.cat([real, drawn]).detach().float().requires_grad_()
    with torch.enable_grad(), torch.autocast(seen.device.type, enabled=False):
        scores = gan.critic(seen, labels.repeat(2))
        (slopes,) = torch.autograd.grad(scores.sum(), seen, create_graph=True)
        at_real, at_drawn = slopes.square().flatten(1).sum(1).chunk(2)
        return gan.gamma / 2 * (at_real + at_drawn)


def penalty_is_due(update: int) -> bool:
    """Whether critic update `update` (counted from 0) takes the penalties.

    >>> [update for update in range(20) if penalty_is_due(update)]
    [0, 8, 16]
    """
    return update % EVERY == 0


def latents_of(seeds: Sequence[int], length: int, truncation: float = math.inf) -> Tensor:
    """The latent that belongs to each seed, the same wherever and with whatever others it is drawn.

    Args:
        seeds: N numbers from 0.
        length: numbers a latent, `Generator.latent`.
        truncation: no number is larger than this. Smaller ones give images that are more typical
            and more alike; 1 is strong, 2 mild. The order of numbers stays, so a seed's image
            changes little by little.

    Returns:
        (N, length), standard normal, cut off at the truncation.

    Raises:
        UsageError: the truncation is not above 0.

    Source: truncation, Brock et al. 2019, arXiv:1809.11096, section 3.1; here by the inverse of the
    distribution in place of drawing again.

    >>> bool((latents_of([7], 64) == latents_of([6, 7], 64)[1]).all())
    True
    """
    if not truncation > 0:
        raise UsageError(f"The truncation must be above 0; found {truncation:g}. Try 1.")
    rows = [np.random.default_rng(seed).standard_normal(length) for seed in seeds]
    normal = torch.from_numpy(np.array(rows).reshape(len(seeds), length))
    if math.isinf(truncation):
        return normal.float()
    least = torch.special.ndtr(torch.tensor(-truncation, dtype=torch.float64))
    share = least + (1 - 2 * least) * torch.special.ndtr(normal)
    return torch.special.ndtri(share).float()


def interpolated(a: Tensor, b: Tensor, count: int) -> Tensor:
    """Latents from `a` to `b` in even steps along the sphere, both ends included.

    p(t) = (sin((1 - t) w) a + sin(t w) b) / sin(w),   w the angle between a and b

    A straight line would pass through latents far shorter than any that was trained on.

    Args:
        a, b: (latent,), neither of them zero.
        count: how many, at least 2.

    Returns:
        (count, latent); lengths go evenly from |a| to |b|.

    Raises:
        ValueError: a and b point in opposite directions, so no way is the shortest; or fewer than
            two are asked for.

    Source: Shoemake 1985, Animating rotation with quaternion curves, section 3.3; for latents,
    White 2016, arXiv:1609.04468.

    >>> east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    >>> interpolated(east, north, 3)[1]
    tensor([0.7071, 0.7071])
    """
    if count < 2:
        raise ValueError(f"an interpolation needs its two ends; got a count of {count}.")
    lengths = torch.stack([a.norm(), b.norm()])
    start, end = a / lengths[0], b / lengths[1]
    share = torch.linspace(0, 1, count, dtype=a.dtype, device=a.device)[:, None]
    # Half the distance is the sine of half the angle: exact for small angles, as acos is not.
    angle = 2 * torch.asin(((end - start).norm() / 2).clamp(max=1))
    if math.pi - angle < 1e-3:
        raise ValueError("the two latents are opposite, so there is no shortest way between them.")
    if angle < 1e-3:  # the chord is the arc to 1e-7
        points = (1 - share) * start + share * end
    else:
        points = (
            torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end
        ) / torch.sin(angle)
    return points * ((1 - share) * lengths[0] + share * lengths[1])


class _Gain(nn.Module):
    """Every place scaled to mean square 1 over its channels, then by what the class says."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.scale = nn.Embedding(classes, channels)
        self.shift = nn.Embedding(classes, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        x = x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)
        return x * self.scale(labels)[:, :, None, None] + self.shift(labels)[:, :, None, None]


def _check(size: int, channels: int) -> None:
    if size not in SIZES:
        raise UsageError(
            f"Images of {size} pixels a side cannot be generated. "
            f"Choose one of {', '.join(map(str, SIZES))}."
        )
    if channels not in (1, 3):
        raise UsageError(f"Images have 1 channel (grey) or 3 (colour); found {channels}.")


def _grid(size: int) -> tuple[int, int]:
    """The side halved while it is even and at least 4 remain, and how often: 28 -> 7, 2."""
    halvings = 0
    while size % 2 == 0 and size >= 8:
        size, halvings = size // 2, halvings + 1
    return size, halvings


def _widths(width: int, halvings: int) -> list[int]:
    """Channels at full size and after each halving."""
    return [width * min(2**k, 4) for k in range(halvings + 1)]


def _pairs(widths: Sequence[int]) -> list[tuple[int, int]]:
    return list(itertools.pairwise(widths))
