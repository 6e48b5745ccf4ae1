"""A learned image codec: a network that says an image in few numbers, and those in few bytes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from torch import Tensor, nn
from torch.nn import functional as F

from kenspeckle.data.stream import ID_BYTES, Box, Stream, packed, tile_boxes, unpacked
from kenspeckle.models.entropy import (
    INDEX_SLOPE,
    INDEX_START,
    LIMIT,
    MEAN,
    QUALITIES,
    SMALLEST,
    STEP,
    Decoder,
    EntropyModel,
    Ints,
    encoded,
    gaussian_bits,
)

LEVELS = 6
LAMBDA_LOW, LAMBDA_HIGH = 0.0018, 0.18  # as CompressAI's lowest; 100 times it at quality 100
MARGIN = 8  # latents around a tile that its pixels may depend on
SPREAD = 4.0  # pixels enter as -2..2, so that latents begin at about one step
Floats = NDArray[np.float64]


class Coded(NamedTuple):
    """What a codec makes of images in training.

    Args:
        images: (B, 3, H, W), not clipped to [0, 1].
        bits: (B,), estimated, without header.
    """

    images: Tensor
    bits: Tensor


class Codec(nn.Module):
    """A mean-scale hyperprior in which one network serves all qualities.

    Analysis turns an image into latents, a second, smaller pair of networks tells mean and spread
    of each latent by way of a few hyper-latents, and synthesis turns rounded latents into pixels.
    Learned gains of each channel, one vector a level and mixed between two, set how finely latents
    are rounded. Means and spreads are predicted before gain, since a gain of g multiplies both.

    Few images and few minutes must do, so the codec begins as a good old one: beside the networks,
    which begin at 0, runs a linear transform of patches that begins as the cosine transform, with
    the step that is best for each lambda and spreads as photographs have them. Without it, 4 CPU
    minutes on 2128 traffic signs ended at 29.5 dB for quality 100 (486 held out, one seed); with
    it, 2.2 minutes ended at 37.7 dB (243 of them, one seed).

    Args:
        stride: pixels a latent stands for, a side: 8 for images below 96 px, else 16.
        width: channels of the inner layers.
        latents, hyper_latents: channels of what is written.

    Source: Minnen, Ballé and Toderici 2018, arXiv:1809.02736, without its context model; Ballé et
    al. 2018, arXiv:1802.01436; gains as in Cui et al. 2021, arXiv:2003.02031, equation 5. Residual
    blocks with LeakyReLU stand in for GDN, and Gaussians for the factorised prior.

    >>> codec = Codec(stride=8)
    >>> coded = codec(torch.rand(2, 3, 30, 17), torch.tensor([0.0, 5.0]))
    >>> coded.images.shape, coded.bits.shape
    (torch.Size([2, 3, 30, 17]), torch.Size([2]))
    """

    def __init__(
        self, stride: int = 16, width: int = 64, latents: int = 96, hyper_latents: int = 32
    ) -> None:
        super().__init__()
        if stride not in (8, 16):
            raise ValueError(f"A codec has stride 8 or 16, not {stride}.")
        self.stride = stride
        inner = int(math.log2(stride)) - 1
        down: list[nn.Module] = [_halving(3, width)]
        up: list[nn.Module] = [_doubling(latents, width)]
        for _ in range(inner - 1):
            down += [_Residual(width), nn.LeakyReLU(0.2), _halving(width, width)]
            up += [_Residual(width), nn.LeakyReLU(0.2), _doubling(width, width)]
        down += [_Residual(width), nn.LeakyReLU(0.2), _halving(width, latents)]
        up += [_Residual(width), nn.LeakyReLU(0.2), _doubling(width, 3)]
        self.analysis = nn.Sequential(*down)
        self.synthesis = nn.Sequential(*up)
        self.transform = nn.Conv2d(3, latents, stride, stride)
        self.inverse = nn.ConvTranspose2d(latents, 3, stride, stride)
        self.hyper_analysis = nn.Sequential(
            _convolution(latents, width),
            nn.LeakyReLU(0.2),
            _convolution(width, width, stride=2),
            nn.LeakyReLU(0.2),
            _convolution(width, hyper_latents, stride=2),
        )
        self.hyper_synthesis = nn.Sequential(
            _doubling(hyper_latents, width),
            nn.ReLU(),
            _doubling(width, width),
            nn.ReLU(),
            _convolution(width, 2 * latents),
        )
        # The step s of an orthonormal transform that makes s^2 / 12 * lambda * 255^2 / 3 - log2(s)
        # least: s = sqrt(18 / (ln 2 * lambda)) / 255.
        price = _price(torch.arange(LEVELS))
        ladder = 0.5 * torch.log(price * math.log(2) / 18) + math.log(255 / SPREAD)
        self.log_gain = nn.Parameter(ladder[:, None].repeat(1, latents))
        self.log_hyper_gain = nn.Parameter(torch.zeros(LEVELS, hyper_latents))
        self.hyper_mean = nn.Parameter(torch.zeros(hyper_latents))
        self.hyper_index = nn.Parameter(torch.zeros(hyper_latents))
        self.entropy = EntropyModel(self._hyper_layers(), latents, hyper_latents)
        self._identity: bytes | None = None
        self.register_load_state_dict_post_hook(_forget_identity)  # type: ignore[no-untyped-call]
        self._begin_as_cosines()

    def forward(self, images: Tensor, level: Tensor) -> Coded:
        """What images look like after coding, and what they cost; noise stands in for rounding.

        Args:
            images: (B, 3, H, W) in [0, 1].
            level: (B,) in 0..5, fractions allowed.
        """
        height, width = images.shape[-2:]
        latents = self.analysed(images)
        hyper = self.hyper_analysis(latents)
        log_gain, log_hyper_gain = (
            _between(gains, level)[..., None, None]
            for gains in (self.log_gain, self.log_hyper_gain)
        )
        gain, hyper_gain = log_gain.exp(), log_hyper_gain.exp()
        hyper_mean = self.hyper_mean[:, None, None] * hyper_gain
        hyper_index = self._hyper_start()[:, None, None] + log_hyper_gain / STEP
        hyper_bits = gaussian_bits(_noisy(hyper * hyper_gain), hyper_mean, hyper_index)
        mean, index = self._predicted(_rounded(hyper * hyper_gain, hyper_mean) / hyper_gain)
        mean = mean[..., : latents.shape[2], : latents.shape[3]] * gain
        index = index[..., : latents.shape[2], : latents.shape[3]] + log_gain / STEP
        bits = gaussian_bits(_noisy(latents * gain), mean, index)
        decoded = self.synthesised(_rounded(latents * gain, mean) / gain)
        return Coded(decoded[..., :height, :width], bits.sum((1, 2, 3)) + hyper_bits.sum((1, 2, 3)))

    def analysed(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) images in [0, 1] -> (B, latents, H / stride, W / stride), rounded up."""
        pixels = (reflected(images, self.stride) - 0.5) * SPREAD
        return self.transform(pixels) + self.analysis(pixels)

    def synthesised(self, latents: Tensor) -> Tensor:
        """(B, latents, h, w) -> (B, 3, stride * h, stride * w), not clipped."""
        return (self.inverse(latents) + self.synthesis(latents)) / SPREAD + 0.5

    def freeze(self) -> None:
        """Make the integers by which bytes are written; once, when training has ended.

        A codec that was trained on writes with the old ones until this is called again.
        """
        level = torch.linspace(0, LEVELS - 1, QUALITIES)
        self.entropy.take(
            self._hyper_layers(),
            _between(self.log_gain.detach().cpu(), level),
            _between(self.log_hyper_gain.detach().cpu(), level),
            self.hyper_mean.detach().cpu(),
            self._hyper_start().detach().cpu(),
        )
        self._identity = None

    def train(self, mode: bool = True) -> Self:
        """Weights may change while it trains, and its identity with them."""
        self._identity = None
        return super().train(mode)

    def identity(self) -> bytes:
        """The first 8 bytes of the SHA-256 of every weight and table, by name.

        In eval mode they are hashed once, until weights are loaded or frozen anew.
        """
        if self.training or self._identity is None:
            self._identity = self._hashed()
        return self._identity

    def _hashed(self) -> bytes:
        total = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return total.digest()[:ID_BYTES]

    @torch.no_grad()
    def _begin_as_cosines(self) -> None:
        count = self.log_gain.shape[1]
        waves, spreads = cosines(self.stride, count)
        for layer in (self.transform, self.inverse):
            layer.weight.copy_(waves)
            nn.init.zeros_(cast(Tensor, layer.bias))
        index = torch.log(SPREAD * spreads / SMALLEST) / STEP
        bias = cast(Tensor, self._hyper_layers()[-1].bias)
        bias[count:] = (index - INDEX_START) / INDEX_SLOPE
        for network in (self.analysis, self.synthesis):
            last = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)][-1]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(cast(Tensor, last.bias))

    def _hyper_layers(self) -> list[nn.Conv2d]:
        return [layer for layer in self.hyper_synthesis.modules() if isinstance(layer, nn.Conv2d)]

    def _hyper_start(self) -> Tensor:
        return INDEX_START + INDEX_SLOPE * self.hyper_index

    def _predicted(self, hyper: Tensor) -> tuple[Tensor, Tensor]:
        mean, index = self.hyper_synthesis(hyper).chunk(2, dim=1)
        return mean, INDEX_START + INDEX_SLOPE * index


def codec_loss(codec: Codec, images: Tensor, level: Tensor) -> Tensor:
    """(B,) bits a pixel + lambda * 255^2 * mean squared error.

    Args:
        images: (B, 3, H, W) in [0, 1].
        level: (B,) in 0..5; lambda is 0.0018 at 0 and 0.18 at 5, evenly in its logarithm.

    Source: Ballé et al. 2018, arXiv:1802.01436, equation 11.
    """
    coded = codec(images, level)
    error = (coded.images - images).square().mean((1, 2, 3))
    return coded.bits / images[0, 0].numel() + _price(level) * 255**2 * error


def drawn_levels(count: int, device: torch.device | None = None) -> Tensor:
    """(count,) levels for a training batch: one in each of `count` equal parts of 0..5.

    >>> levels = drawn_levels(5).sort().values
    >>> bool((levels >= torch.arange(5)).all() and (levels <= torch.arange(1, 6)).all())
    True
    """
    places = torch.randperm(count, device=device) + torch.rand(count, device=device)
    return places * ((LEVELS - 1) / count)


def compressed(codec: Codec, pixels: NDArray[np.uint8], quality: int) -> bytes:
    """An image as bytes, which `decompressed` turns back.

    Args:
        codec: after `freeze`.
        pixels: (H, W, C) uint8, C is 1 (grey) or 3; any size from 1 x 1 to 64 megapixels.
        quality: 1..100.

    Raises:
        MissingExtra: the package constriction is not installed.
    """
    assert codec.entropy.is_frozen, "freeze() comes before the first byte"
    height, width, channels = pixels.shape
    tables = codec.entropy.tables.cpu().numpy()
    payloads = []
    for box in tile_boxes(height, width):
        parts = _tile_latents(codec, pixels, box, quality)
        payloads.append(encoded(parts, tables))
    return packed(
        Stream(
            model=codec.identity(),
            height=height,
            width=width,
            quality=quality,
            is_grey=channels == 1,
            tiles=tuple(payloads),
        )
    )


@torch.no_grad()
def decompressed(codec: Codec, content: bytes) -> NDArray[np.uint8]:
    """(H, W, C) uint8 pixels; the same on every machine but for one grey level here and there.

    Raises:
        CorruptStream: the bytes are not what was written.
        OtherModel: they were written with another model.
        MissingExtra: the package constriction is not installed.
    """
    stream = unpacked(content, codec.identity())
    steps = MEAN * codec.entropy.steps(stream.quality)
    latents = (_latents(codec, stream) / steps[:, None, None]).float()
    pixels = np.zeros((stream.height, stream.width, 3), np.uint8)
    for box in tile_boxes(stream.height, stream.width):
        pixels[box[0] : box[2], box[1] : box[3]] = _tile_pixels(codec, latents, box)
    if stream.is_grey:
        return (pixels.mean(2, keepdims=True) + 0.5).astype(np.uint8)
    return pixels


def read_latents(codec: Codec, content: bytes) -> NDArray[np.int32]:
    """(latents, h, w) what a stream says of an image, in sixteenths of a step; exact everywhere.

    Raises:
        CorruptStream: the bytes are not what was written.
        OtherModel: they were written with another model.
        MissingExtra: the package constriction is not installed.
    """
    return _latents(codec, unpacked(content, codec.identity())).int().numpy()


def reflected(images: Tensor, stride: int) -> Tensor:
    """Images (..., H, W) grown below and to the right to multiples of `stride`, as in a mirror.

    >>> reflected(torch.tensor([[1, 2, 3]]), 4).tolist()[0]
    [1, 2, 3, 2]
    """
    for axis in (-2, -1):
        size = images.shape[axis]
        if size % stride:
            places = np.pad(np.arange(size), (0, -size % stride), mode="reflect")
            images = images.index_select(axis, torch.from_numpy(places).to(images.device))
    return images


def cosines(side: int, count: int) -> tuple[Tensor, Tensor]:
    """The `count` orthonormal cosine waves on a patch that matter most, and how far each swings.

    Colour is split into grey, blue against yellow and red against green. Amplitudes fall as
    1 / (1 + f) with the frequency f, as those of photographs roughly do (Field 1987), and those of
    colour are a quarter of grey's.

    Args:
        side: of the patch, in pixels.

    Returns:
        (count, 3, side, side) waves, and (count,) standard deviations for pixels in [0, 1].

    >>> waves, _ = cosines(4, 48)
    >>> torch.allclose(waves.flatten(1) @ waves.flatten(1).T, torch.eye(48), atol=1e-6)
    True
    """
    k = torch.arange(side, dtype=torch.float64)
    wave = torch.cos(math.pi / side * k[:, None] * (k + 0.5)) * math.sqrt(2 / side)
    wave[0] /= math.sqrt(2)
    colours = F.normalize(
        torch.tensor([[1, 1, 1], [-1, -1, 2], [1, -1, 0]], dtype=torch.float64), dim=1
    )
    waves = torch.einsum("kc,ui,vj->kuvcij", colours, wave, wave).flatten(0, 2)
    frequency = torch.hypot(k[:, None], k)
    spreads = torch.tensor([1, 0.25, 0.25])[:, None, None] * 0.25 * side / (1 + frequency)
    most = spreads.flatten().argsort(descending=True, stable=True)[:count]
    return waves[most].float(), spreads.flatten()[most].float()


def bd_rate(
    rate_a: Sequence[float],
    psnr_a: Sequence[float],
    rate_b: Sequence[float],
    psnr_b: Sequence[float],
) -> float:
    """How many per cent more bytes b takes than a at equal PSNR; below 0, b is better.

    The mean of the log-ratio of rates over the range of PSNR that both curves cover, each curve
    through its points by monotone cubic interpolation.

    Args:
        rate_a, rate_b: bytes or bits of each point, in any order.
        psnr_a, psnr_b: in dB, of the same points; the cheapest of equal ones counts.

    Returns:
        nan where the ranges of PSNR do not overlap.

    Source: Bjøntegaard 2001, VCEG-M33, with the interpolation of VCEG-AL22 (Bjøntegaard 2008).

    >>> round(bd_rate([1, 2, 4], [30, 33, 36], [0.5, 1, 2], [30, 33, 36]), 6)
    -50.0
    """
    curves = [_curve(rate_a, psnr_a), _curve(rate_b, psnr_b)]
    low = max(psnr[0] for psnr, _ in curves)
    high = min(psnr[-1] for psnr, _ in curves)
    if not low < high:
        return math.nan
    a, b = (float(PchipInterpolator(*curve).integrate(low, high)) for curve in curves)
    return 100 * math.expm1((b - a) / (high - low))


def rate_at(rate: Sequence[float], psnr: Sequence[float], wanted: float) -> float:
    """The rate at which a curve reaches a PSNR, between its points as in `bd_rate`.

    Args:
        rate, psnr: as in `bd_rate`.
        wanted: in dB.

    Returns:
        nan beyond the curve's ends.

    >>> round(rate_at([100, 200, 400], [30, 33, 36], 33), 6), rate_at([100, 200], [30, 33], 40)
    (200.0, nan)
    """
    heights, logarithms = _curve(rate, psnr)
    if len(heights) < 2:
        return math.nan
    return math.exp(PchipInterpolator(heights, logarithms, extrapolate=False)(wanted))


def _curve(rate: Sequence[float], psnr: Sequence[float]) -> tuple[Floats, Floats]:
    """Rising PSNR, and the logarithm of the lowest rate at each."""
    order = np.lexsort((rate, psnr))
    heights, first = np.unique(np.asarray(psnr, float)[order], return_index=True)
    return heights, np.log(np.asarray(rate, float)[order][first])


def _forget_identity(codec: nn.Module, _: object) -> None:
    cast(Codec, codec)._identity = None


@torch.no_grad()
def _tile_latents(
    codec: Codec, pixels: NDArray[np.uint8], box: Box, quality: int
) -> list[tuple[Ints, Ints]]:
    """Values and indices of a tile's hyper-latents, then of its latents, as they are written."""
    entropy, stride, device = codec.entropy, codec.stride, codec.hyper_mean.device
    top, left, bottom, right = _window(box, stride, pixels.shape[0], pixels.shape[1])
    seen = pixels[top * stride : bottom * stride, left * stride : right * stride]
    images = torch.from_numpy(seen.copy()).to(device).permute(2, 0, 1)[None]
    latents = codec.analysed(images.float().expand(1, 3, -1, -1) / 255)
    y0, x0, y1, x1 = _in_latents(box, stride)
    latents = latents[..., y0 - top : y1 - top, x0 - left : x1 - left]
    gain = _between(codec.log_hyper_gain, _level(quality, device))[0].exp()
    hyper = codec.hyper_analysis(latents)[0] * gain[:, None, None]
    hyper_mean, hyper_index = entropy.hyper_prior(quality, *hyper.shape[1:])
    hyper_values = _values(hyper, hyper_mean)
    mean, index = entropy.prior(MEAN * hyper_values + hyper_mean, quality, y1 - y0, x1 - x0)
    values = _values(latents[0].cpu() * entropy.steps(quality)[:, None, None], mean)
    return [_flat(hyper_values, hyper_index), _flat(values, index)]


@torch.no_grad()
def _latents(codec: Codec, stream: Stream) -> Tensor:
    """(latents, h, w) int64 of a whole image, in sixteenths of a step."""
    entropy, stride, quality = codec.entropy, codec.stride, stream.quality
    tables = entropy.tables.cpu().numpy()
    size = _in_latents((0, 0, stream.height, stream.width), stride)[2:]
    whole = torch.zeros(entropy.gain.shape[1], *size, dtype=torch.int64)
    for box, payload in zip(tile_boxes(stream.height, stream.width), stream.tiles, strict=True):
        y0, x0, y1, x1 = _in_latents(box, stride)
        decoder = Decoder(payload, tables)
        mean, index = entropy.hyper_prior(quality, -(-(y1 - y0) // 4), -(-(x1 - x0) // 4))
        hyper = MEAN * _taken(decoder, index) + mean
        mean, index = entropy.prior(hyper, quality, y1 - y0, x1 - x0)
        whole[:, y0:y1, x0:x1] = MEAN * _taken(decoder, index) + mean
        decoder.finish()
    return whole


def _tile_pixels(codec: Codec, latents: Tensor, box: Box) -> NDArray[np.uint8]:
    """(h, w, 3) of one tile, from the latents in it and around it."""
    stride, size = codec.stride, latents.shape[1:]
    y0, x0, y1, x1 = _window(box, stride, size[0] * stride, size[1] * stride)
    decoded = codec.synthesised(latents[None, :, y0:y1, x0:x1].to(codec.hyper_mean.device))[0]
    top, left, bottom, right = box
    decoded = decoded[:, top - y0 * stride : bottom - y0 * stride]
    decoded = decoded[:, :, left - x0 * stride : right - x0 * stride]
    shades = (decoded * 255).round().clamp(0, 255).byte()
    return cast("NDArray[np.uint8]", shades.permute(1, 2, 0).cpu().numpy())


def _in_latents(box: Box, stride: int) -> Box:
    """A box of pixels in places of latents; its far ends are rounded up."""
    top, left, bottom, right = box
    return top // stride, left // stride, -(-bottom // stride), -(-right // stride)


def _window(box: Box, stride: int, height: int, width: int) -> Box:
    """The latents of a tile and `MARGIN` more on each side, where the image has them."""
    y0, x0, y1, x1 = _in_latents(box, stride)
    _, _, rows, columns = _in_latents((0, 0, height, width), stride)
    return (
        max(y0 - MARGIN, 0),
        max(x0 - MARGIN, 0),
        min(y1 + MARGIN, rows),
        min(x1 + MARGIN, columns),
    )


def _values(scaled: Tensor, mean: Tensor) -> Tensor:
    """Whole steps from a mean that is given in sixteenths, int64."""
    return (scaled.double().cpu() - mean / MEAN).round().clamp(-LIMIT, LIMIT).long()


def _flat(values: Tensor, index: Tensor) -> tuple[Ints, Ints]:
    return values.flatten().int().numpy(), index.flatten().int().numpy()


def _taken(decoder: Decoder, index: Tensor) -> Tensor:
    values = decoder.take(index.flatten().int().numpy())
    return torch.from_numpy(values).long().view(index.shape)


def _price(level: Tensor) -> Tensor:
    """The lambda of a level."""
    return LAMBDA_LOW * (LAMBDA_HIGH / LAMBDA_LOW) ** (level / (LEVELS - 1))


def _level(quality: int, device: torch.device) -> Tensor:
    """(1,) the level of a quality."""
    return torch.full((1,), (quality - 1) * (LEVELS - 1) / (QUALITIES - 1), device=device)


def _between(rows: Tensor, level: Tensor) -> Tensor:
    """(LEVELS, C) at (B,) places between rows -> (B, C)."""
    below = level.floor().clamp(0, LEVELS - 2).long()
    return torch.lerp(rows[below], rows[below + 1], (level - below)[:, None])


def _noisy(values: Tensor) -> Tensor:
    return values + torch.rand_like(values) - 0.5


def _rounded(values: Tensor, mean: Tensor) -> Tensor:
    """Whole steps from the mean; gradients pass as if nothing had been rounded."""
    return values + ((values - mean).round() + mean - values).detach()


class _Residual(nn.Module):
    """x + 3x3(LeakyReLU(1x1 to half the channels)); it begins as x."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(width, width // 2, 1)
        self.wide = _convolution(width // 2, width)
        nn.init.zeros_(self.wide.weight)
        nn.init.zeros_(cast(Tensor, self.wide.bias))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.wide(F.leaky_relu(self.narrow(x), 0.2))


def _halving(inside: int, out: int) -> nn.Module:
    return _convolution(inside, out, 5, 2)


def _doubling(inside: int, out: int) -> nn.Module:
    return nn.Sequential(_convolution(inside, 4 * out), nn.PixelShuffle(2))


def _convolution(inside: int, out: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """Beyond its edge a map goes on as it ends.

    On the 2 x 2 hyper-latents of small crops most of a kernel would see nothing but zeros in
    training: after 64-pixel crops, whole images of 112 x 92 took ten times the bytes at 30 dB.
    """
    return nn.Conv2d(inside, out, kernel, stride, kernel // 2, padding_mode="replicate")
