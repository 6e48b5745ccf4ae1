"""From latents to bytes and back by whole numbers alone, so that every machine agrees.

A range coder follows its probabilities exactly: one unit in the last place of a scale, different in
200 of 196,608 places, made 129,501 symbols wrong without any error. Floating-point sums depend on
the number of threads and on the instruction set. So whatever decides a probability is an integer
here: the quantised network that predicts means and scales, the gains, and the tables. Sums are done
in float64 as matrix products of integers, in which each partial sum is below 2^53 and so exact in
any order; on the processor only, where no Winograd or Fourier transform can stand in.

Source: Ballé, Johnston and Minnen 2019, Integer networks for data compression with latent-variable
models; the coder is constriction's ANS (Bamler 2022, arXiv:2201.01741).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor, nn
from torch.nn import functional as F

from kenspeckle.data.stream import CorruptStream
from kenspeckle.errors import MissingExtra

SCALES = 64
SMALLEST, LARGEST = 0.11, 64.0  # of the standard deviations, in steps of the quantiser
STEP = math.log(LARGEST / SMALLEST) / (SCALES - 1)  # of the logarithm from one scale to the next
PRECISION = 24  # bits of a probability in constriction's coders
MEAN = 16  # means are whole sixteenths
FRACTION = 10  # binary places of the integer network's activations
GAIN_FRACTION = 16  # and of gains
REACH = 2**21  # activations beyond +-2^21 are clipped: 2^21 x 2^15 x 2^10 terms < 2^53
WEIGHT_REACH = 2**15 - 1
MOST_TERMS = 2**10
LIMIT = 2**16  # latents lie within +-2^16; a picture in [0, 1] does not come near
QUALITIES = 100
INDEX_SLOPE = 8  # indices a unit of the network's output: its weights stay near 1
INDEX_START = 22  # where the output is 0: a standard deviation of about 1 step

Ints = NDArray[np.int32]

_scales = [round(SMALLEST * math.exp(STEP * i), 6) for i in range(SCALES)]
WIDTHS = tuple(2 + math.ceil(4.5 * scale) for scale in _scales)
"""Table i holds the values -WIDTHS[i]..WIDTHS[i], and then the escape."""
_STARTS = np.cumsum([0, *(2 * width + 3 for width in WIDTHS)])
TABLE_SIZE = int(_STARTS[-1])


def scale_of(index: Tensor) -> Tensor:
    """The standard deviation that an index means, also between two; gradients pass the ends.

    >>> [round(float(scale_of(torch.tensor(i))), 2) for i in (-5.0, 0.0, 63.0, 99.0)]
    [0.11, 0.11, 64.0, 64.0]
    """
    inside = index + (index.clamp(0, SCALES - 1) - index).detach()
    return torch.exp(inside * STEP + math.log(SMALLEST))


def gaussian_bits(values: Tensor, mean: Tensor, index: Tensor) -> Tensor:
    """Bits that each value costs: -log2 of a Gaussian's mass within half a step of it.

    Args:
        values, mean: any shape, in steps of the quantiser; noisy values in training.
        index: of the scale, 0..63, fractions allowed.

    Source: Minnen, Ballé and Toderici 2018, arXiv:1809.02736, equation 3.

    >>> zero = torch.zeros(1)
    >>> round(float(gaussian_bits(zero, zero, torch.tensor([63.0]))), 2)  # log2(64 sqrt(2 pi))
    7.33
    """
    scale = scale_of(index) * math.sqrt(2)
    distance = (values - mean).abs()
    # Of the tail, where erfc keeps its digits.
    near, far = (torch.erfc((distance + edge) / scale) for edge in (-0.5, 0.5))
    return -torch.log2((near - far) / 2 + 2.0**-PRECISION)


def gaussian_tables() -> Ints:
    """Cumulative counts of all 64 scales, one table behind the other; each ends with 2^24.

    Every value can be written: none has a count of 0, and what lies beyond a table's ends has the
    count of the escape. To be called once, when training ends: another machine's error function may
    differ in its last digit.
    """
    tables = []
    for scale, width in zip(_scales, WIDTHS, strict=True):
        mass = np.diff(ndtr((np.arange(-width, width + 2) - 0.5) / scale))
        mass = np.append(mass, 1 - mass.sum())
        counts = 1 + np.rint(mass * (2**PRECISION - len(mass))).astype(np.int64)
        counts[width] += 2**PRECISION - counts.sum()
        tables.append(np.append(0, np.cumsum(counts)))
    return np.concatenate(tables).astype(np.int32)


class IntegerConvolution(nn.Module):
    """A 3x3 convolution of integers by integers: int16 weights, and a shift as its scale.

    Beyond its edge a map goes on as it ends.

    (C, h, w) int64 activations with `FRACTION` binary places give (out, h, w) of the same kind,
    clipped to +-2^21. weight is (out, C * 9) int16, bias (out,) int64.
    """

    weight: Tensor
    bias: Tensor
    shift: Tensor

    def __init__(self, like: nn.Conv2d) -> None:
        super().__init__()
        out, terms = like.weight.shape[0], like.weight[0].numel()
        if terms > MOST_TERMS or like.kernel_size != (3, 3):
            raise ValueError(f"A 3x3 convolution of at most {MOST_TERMS} terms, not {like}.")
        self.register_buffer("weight", torch.zeros(out, terms, dtype=torch.int16))
        self.register_buffer("bias", torch.zeros(out, dtype=torch.int64))
        self.register_buffer("shift", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def take(self, layer: nn.Conv2d) -> None:
        """Quantise a trained layer's weights: the finest power of two that fits 16 bits."""
        weight = layer.weight.detach().double().cpu().flatten(1)
        most = max(float(weight.abs().max()), 2.0**-8)
        shift = math.floor(math.log2(WEIGHT_REACH / most))
        bias = cast(Tensor, layer.bias).detach().double().cpu()
        self.weight.copy_((weight * 2.0**shift).round())
        self.bias.copy_((bias * 2.0 ** (shift + FRACTION)).round())
        self.shift.fill_(shift)

    def forward(self, x: Tensor) -> Tensor:
        """Exactly the integer sums, rounded half up to `FRACTION` places."""
        padded = F.pad(x.double()[None], (1, 1, 1, 1), mode="replicate")
        columns = F.unfold(padded, 3)[0]  # (C * 9, h * w)
        sums = (self.weight.double().cpu() @ columns).long() + self.bias.cpu()[:, None]
        return _shifted(sums, int(self.shift)).clamp(-REACH, REACH).unflatten(1, x.shape[1:])


class EntropyModel(nn.Module):
    """All that decides the probabilities of a codec's latents, as integers in buffers.

    Args:
        layers: the convolutions of the hyper-synthesis, in order; between two, a shuffle to twice
            the size and a ReLU while the channels are four times the next layer's.
        latents, hyper_latents: how many channels each has.
    """

    tables: Tensor
    gain: Tensor
    index_shift: Tensor
    hyper_inverse: Tensor
    hyper_mean: Tensor
    hyper_index: Tensor

    def __init__(self, layers: Sequence[nn.Conv2d], latents: int, hyper_latents: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(IntegerConvolution(layer) for layer in layers)
        self.register_buffer("tables", torch.zeros(TABLE_SIZE, dtype=torch.int32))
        for name in ("gain", "index_shift"):
            self.register_buffer(name, torch.zeros(QUALITIES, latents, dtype=torch.int32))
        for name in ("hyper_inverse", "hyper_mean", "hyper_index"):
            self.register_buffer(name, torch.zeros(QUALITIES, hyper_latents, dtype=torch.int32))

    @property
    def is_frozen(self) -> bool:
        """Whether the tables were made."""
        return bool(self.tables[-1] > 0)

    @torch.no_grad()
    def take(
        self,
        layers: Sequence[nn.Conv2d],
        log_gain: Tensor,
        log_hyper_gain: Tensor,
        hyper_mean: Tensor,
        hyper_index: Tensor,
    ) -> None:
        """Turn what was trained into integers, once.

        Args:
            log_gain: (100, latents), one row a quality.
            log_hyper_gain: (100, hyper_latents).
            hyper_mean, hyper_index: (hyper_latents,), of the prior before gain.
        """
        for ours, trained in zip(self.layers, layers, strict=True):
            cast(IntegerConvolution, ours).take(trained)
        self.tables.copy_(torch.from_numpy(gaussian_tables()))
        one = 2.0**GAIN_FRACTION
        hyper_gain = log_hyper_gain.double().exp()
        self.gain.copy_((log_gain.double().exp() * one).round().clamp(1, 2**31 - 1))
        self.index_shift.copy_((log_gain.double() / STEP * 2**FRACTION).round())
        self.hyper_inverse.copy_((one / hyper_gain).round().clamp(1, 2**31 - 1))
        self.hyper_mean.copy_((hyper_mean * hyper_gain * MEAN).round())
        index = hyper_index + log_hyper_gain.double() / STEP
        self.hyper_index.copy_(index.round().clamp(0, SCALES - 1))

    def steps(self, quality: int) -> Tensor:
        """(latents,) what one unit before gain is in steps of the quantiser, float64."""
        return self.gain[quality - 1].double() / 2.0**GAIN_FRACTION

    def hyper_prior(self, quality: int, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Means in sixteenths and indices of hyper-latents, each (hyper_latents, height, width)."""
        rows = (self.hyper_mean[quality - 1], self.hyper_index[quality - 1])
        mean, index = (r.cpu().long()[:, None, None].expand(-1, height, width) for r in rows)
        return mean, index

    def prior(self, hyper: Tensor, quality: int, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Means in sixteenths and indices of latents, each (latents, height, width) int64.

        Args:
            hyper: (hyper_latents, ceil(height / 4), ceil(width / 4)) int64, in sixteenths.
        """
        inverse = self.hyper_inverse[quality - 1].cpu().long()[:, None, None]
        places = GAIN_FRACTION + MEAN.bit_length() - 1 - FRACTION
        x = _shifted(hyper * inverse, places).clamp(-REACH, REACH)
        for layer in self.layers[:-1]:
            x = F.pixel_shuffle(layer(x), 2).clamp(min=0)
        mean, index = self.layers[-1](x)[:, :height, :width].chunk(2)
        gain = self.gain[quality - 1].cpu().long()[:, None, None]
        mean = _shifted(mean * gain, FRACTION + GAIN_FRACTION - MEAN.bit_length() + 1)
        shift = self.index_shift[quality - 1].cpu().long()[:, None, None]
        index = _shifted(INDEX_SLOPE * index + INDEX_START * 2**FRACTION + shift, FRACTION)
        return mean.clamp(-MEAN * LIMIT, MEAN * LIMIT), index.clamp(0, SCALES - 1)


def _shifted(values: Tensor, places: int) -> Tensor:
    """values / 2^places, rounded half up."""
    return (values + (1 << places >> 1)) >> places


def require_coder() -> None:
    """Make sure that bytes can be written and read here.

    Raises:
        MissingExtra: the package constriction is not installed.
    """
    _constriction()


def encoded(parts: Sequence[tuple[Ints, Ints]], tables: Ints) -> bytes:
    """Values as bytes, from which a `Decoder` takes them in the order of `parts`.

    Args:
        parts: of each, values within +-2^16 and the index of the table that each is coded with,
            two flat arrays of one length.
        tables: as of `gaussian_tables`.

    Raises:
        MissingExtra: the package constriction is not installed.
    """
    coder = _constriction().stream.stack.AnsCoder()
    # The coder is a stack: what is to be taken first is put in last.
    for values, indices in reversed(parts):
        width = _widths(indices)
        beyond = np.abs(values) > width
        _put(coder, _escape_model(), values[beyond] + LIMIT)
        symbols = np.where(beyond, 2 * width + 1, values + width).astype(np.int32)
        order, counts = _groups(indices)
        for index, places in reversed([*zip(range(SCALES), _split(order, counts), strict=True)]):
            if len(places):
                _put(coder, _model(tables, index), symbols[places])
    words = np.asarray(coder.get_compressed(), dtype="<u4")
    return words.tobytes().rstrip(b"\0")  # the last word is the highest: its zeros say nothing


class Decoder:
    """What `encoded` wrote, taken back part by part.

    Raises:
        CorruptStream: the bytes cannot be what it wrote.
        MissingExtra: the package constriction is not installed.
    """

    def __init__(self, content: bytes, tables: Ints) -> None:
        if content.endswith(b"\0"):
            raise _nonsense()
        self._tables = tables
        words = np.frombuffer(content + bytes(-len(content) % 4), "<u4").astype(np.uint32)
        coders = _constriction().stream.stack
        self._coder = coders.AnsCoder(words) if len(words) else coders.AnsCoder()

    def take(self, indices: Ints) -> Ints:
        """The next values, one for each index of a table; both flat."""
        symbols = np.zeros(len(indices), np.int32)
        order, counts = _groups(indices)
        for index, places in enumerate(_split(order, counts)):
            if len(places):
                symbols[places] = self._coder.decode(_model(self._tables, index), len(places))
        width = _widths(indices)
        values = symbols - width
        beyond = symbols == 2 * width + 1
        if beyond.any():
            values[beyond] = self._coder.decode(_escape_model(), int(beyond.sum())) - LIMIT
        return values

    def finish(self) -> None:
        """Make sure that nothing is left.

        Raises:
            CorruptStream: something is.
        """
        if not self._coder.is_empty():
            raise _nonsense()


def _nonsense() -> CorruptStream:
    return CorruptStream(
        "The compressed picture is damaged: its payload does not end where it should. Take it from "
        "a sound copy."
    )


def _widths(indices: Ints) -> Ints:
    return np.array(WIDTHS, np.int32)[indices]


def _groups(indices: Ints) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places sorted by index, in their order where it is the same, and how many each index has."""
    return np.argsort(indices, kind="stable"), np.bincount(indices, minlength=SCALES)


def _split(order: NDArray[np.int64], counts: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.split(order, np.cumsum(counts)[:-1])


def _put(coder: Any, model: Any, symbols: Ints) -> None:
    if len(symbols):
        coder.encode_reverse(symbols.astype(np.int32), model)


def _model(tables: Ints, index: int) -> Any:
    """Table `index` as constriction's model, with exactly its counts.

    constriction gives each of n symbols a count of 1 and spreads the other 2^24 - n as
    floor(sum of weights before it * (2^24 - n) / sum of all weights). With counts - 1 as weights
    that factor is exactly 1 and all sums are integers below 2^53.
    """
    counts = np.diff(tables[_STARTS[index] : _STARTS[index + 1]])
    weights = (counts - 1).astype(np.float64)
    return _constriction().stream.model.Categorical(weights, perfect=False)


def _escape_model() -> Any:
    return _constriction().stream.model.Uniform(2 * LIMIT + 1)


def _constriction() -> Any:
    try:
        return importlib.import_module("constriction")
    except ImportError:
        raise MissingExtra(
            "Learned compression needs the package constriction. Run "
            "`pip install 'kenspeckle[compress]'`."
        ) from None
