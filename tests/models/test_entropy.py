"""Latents come back from bytes exactly, and nothing that decides them is a rounded sum."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torch import nn
from torch.nn import functional as F

from kenspeckle.data.stream import CorruptStream
from kenspeckle.errors import MissingExtra
from kenspeckle.models import entropy
from kenspeckle.models.entropy import (
    FRACTION,
    LIMIT,
    PRECISION,
    REACH,
    SCALES,
    WIDTHS,
    Decoder,
    EntropyModel,
    IntegerConvolution,
    encoded,
    gaussian_bits,
    gaussian_tables,
    scale_of,
)

TABLES = gaussian_tables()
STARTS = np.cumsum([0, *(2 * width + 3 for width in WIDTHS)])


@pytest.fixture
def _constriction():
    pytest.importorskip("constriction")


def convolution(inside: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(inside, out, 3, padding=1, padding_mode="replicate")


def table(index: int) -> np.ndarray:
    return TABLES[STARTS[index] : STARTS[index + 1]]


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Values as their tables expect them."""
    random = np.random.default_rng(seed)
    indices = random.integers(0, SCALES, count).astype(np.int32)
    scales = scale_of(torch.from_numpy(indices)).numpy()
    return np.round(random.normal(size=count) * scales).astype(np.int32), indices


def test_every_table_rises_from_0_to_its_whole():
    for index in range(SCALES):
        cumulative = table(index)
        assert cumulative[0] == 0
        assert cumulative[-1] == 2**PRECISION
        assert np.diff(cumulative).min() >= 1


@pytest.mark.parametrize("index", [0, 21, 63])
def test_a_table_is_a_gaussian_in_whole_steps(index):
    scale, width = float(scale_of(torch.tensor(index))), WIDTHS[index]
    values = np.arange(-width, width + 1)
    expected = norm.cdf((values + 0.5) / scale) - norm.cdf((values - 0.5) / scale)
    found = np.diff(table(index))[:-1] / 2**PRECISION
    assert np.abs(found - expected).max() < 1e-4


def test_the_tables_are_of_the_size_that_the_format_fixes():
    assert len(TABLES) == entropy.TABLE_SIZE == 6498


def test_bits_in_training_are_those_of_the_tables():
    for index in (0, 10, 40, 63):
        values = torch.arange(-2, 3)
        said = gaussian_bits(values, torch.zeros(5), torch.full((5,), float(index)))
        counts = np.diff(table(index))[WIDTHS[index] + values.numpy()]
        assert np.allclose(said, PRECISION - np.log2(counts), atol=1.1)
        likely = counts > 1000
        assert np.allclose(said[likely], PRECISION - np.log2(counts[likely]), atol=2e-3)


def test_a_scale_beyond_the_ends_can_come_back():
    index = torch.tensor([-5.0, 70.0], requires_grad=True)
    scale_of(index).sum().backward()
    assert (index.grad != 0).all()


# ---------------------------------------------------------------- the network of integers


def slow(layer: IntegerConvolution, x: list[list[list[int]]]) -> list[list[list[int]]]:
    """The same in Python's integers, one place at a time."""
    height, width = len(x[0]), len(x[0][0])
    shift, weight = int(layer.shift), layer.weight.view(-1, len(x), 3, 3).tolist()
    out = []
    for kernel, bias in zip(weight, layer.bias.tolist(), strict=True):
        rows = [[bias] * width for _ in range(height)]
        for c, plane in enumerate(x):
            for i in range(height):
                for j in range(width):
                    for p in range(3):
                        for q in range(3):
                            y_at = min(max(i + p - 1, 0), height - 1)
                            x_at = min(max(j + q - 1, 0), width - 1)
                            rows[i][j] += plane[y_at][x_at] * kernel[c][p][q]
        half = (1 << shift) // 2
        out.append([[max(-REACH, min(REACH, (v + half) >> shift)) for v in r] for r in rows])
    return out


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 4), st.sampled_from([8, 2**20]))
def test_an_integer_convolution_equals_python(seed, height, width, reach):
    torch.manual_seed(seed)
    trained = convolution(3, 4)
    layer = IntegerConvolution(trained)
    layer.take(trained)
    x = torch.randint(-reach, reach, (3, height, width))
    assert layer(x).tolist() == slow(layer, x.tolist())


def test_the_largest_sums_stay_exact():
    trained = convolution(113, 1)
    layer = IntegerConvolution(trained)
    layer.weight.fill_(entropy.WEIGHT_REACH)
    layer.shift.fill_(28)
    x = torch.full((113, 3, 3), REACH - 1)
    assert int(layer(x)[0, 1, 1]) == (113 * 9 * entropy.WEIGHT_REACH * (REACH - 1) + 2**27) >> 28


def test_integers_follow_the_trained_layer():
    trained = convolution(8, 8)
    layer = IntegerConvolution(trained)
    layer.take(trained)
    x = torch.randn(8, 6, 6)
    found = layer((x * 2**FRACTION).round().long()).double() / 2**FRACTION
    assert torch.allclose(found.float(), trained(x[None])[0], atol=3e-3)


@pytest.mark.parametrize("layer", [nn.Conv2d(114, 1, 3), nn.Conv2d(1, 1, 5)])
def test_a_layer_whose_sums_might_not_be_exact_is_refused(layer):
    with pytest.raises(ValueError, match="3x3 convolution"):
        IntegerConvolution(layer)


@pytest.fixture
def layers() -> list[nn.Conv2d]:
    return [
        convolution(2, 16),
        convolution(4, 16),
        convolution(4, 6),
    ]


def by_floats(layers, hyper, log_gain):
    """What the integers approximate: mean in steps, and index."""
    x = hyper[None]
    for layer in layers[:-1]:
        x = F.relu(F.pixel_shuffle(layer(x), 2))
    mean, index = layers[-1](x)[0].chunk(2)
    gain = log_gain[:, None, None]
    index = entropy.INDEX_SLOPE * index + entropy.INDEX_START + gain / entropy.STEP
    return mean * gain.exp(), index


def test_the_prior_is_what_was_trained_to_within_its_grid(layers):
    model = EntropyModel(layers, 3, 2)
    log_gain = torch.linspace(-2, 2, 100)[:, None] + torch.tensor([0.0, 0.5, -0.5])
    log_hyper_gain = torch.linspace(-1, 1, 100)[:, None] + torch.tensor([0.0, 0.3])
    model.take(layers, log_gain, log_hyper_gain, torch.tensor([0.3, -2.0]), torch.zeros(2))
    hyper = torch.randint(-100, 100, (2, 2, 3))
    for quality in (1, 50, 100):
        mean, index = model.prior(hyper, quality, 7, 9)
        assert mean.shape == index.shape == (3, 7, 9)
        real = hyper / 16 / log_hyper_gain[quality - 1].exp()[:, None, None]
        with torch.no_grad():
            expected = by_floats(layers, real, log_gain[quality - 1])
        assert (mean / 16 - expected[0][:, :7, :9]).abs().max() < 1 / 32 + 0.05
        assert (index - expected[1][:, :7, :9].clamp(0, 63)).abs().max() < 0.6


def test_the_prior_of_hyper_latents_moves_with_their_gain(layers):
    model = EntropyModel(layers, 3, 2)
    log_hyper_gain = torch.linspace(-1, 1, 100)[:, None].expand(-1, 2)
    start = torch.tensor([20.0, 62.0])
    model.take(layers, torch.zeros(100, 3), log_hyper_gain, torch.tensor([1.0, -2.0]), start)
    mean, index = model.hyper_prior(100, 2, 5)
    assert mean[:, 0, 0].tolist() == [round(16 * math.e), round(-32 * math.e)]
    assert index[:, 1, 4].tolist() == [round(20 + 1 / entropy.STEP), 63]


# ---------------------------------------------------------------- the coder


@pytest.mark.usefixtures("_constriction")
@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(-LIMIT, LIMIT), st.integers(0, 63)), max_size=40),
        max_size=4,
    )
)
def test_any_values_come_back_part_by_part(lists):
    parts = [
        (np.array([v for v, _ in part], np.int32), np.array([i for _, i in part], np.int32))
        for part in lists
    ]
    decoder = Decoder(encoded(parts, TABLES), TABLES)
    for values, indices in parts:
        assert decoder.take(indices).tolist() == values.tolist()
    decoder.finish()


@pytest.mark.usefixtures("_constriction")
def test_likely_values_cost_what_theory_says():
    values, indices = drawn(20_000)
    counts = [np.diff(table(i))[v + WIDTHS[i]] for v, i in zip(values, indices, strict=True)]
    ideal = (PRECISION - np.log2(counts)).sum() / 8
    assert ideal < len(encoded([(values, indices)], TABLES)) < ideal * 1.001 + 4


def by_hand(content: bytes, indices: np.ndarray) -> list[int]:
    """ANS with 32-bit words and a 64-bit state in Python's integers, from the stored counts."""
    content += bytes(-len(content) % 4)
    words = [int.from_bytes(content[i : i + 4], "little") for i in range(0, len(content), 4)]
    state = 0
    for _ in range(2):
        state = state << 32 | (words.pop() if words else 0)
    values = [0] * len(indices)
    for place in np.argsort(indices, kind="stable"):
        cumulative = table(indices[place])
        rest = state % 2**PRECISION
        symbol = int(np.searchsorted(cumulative, rest, side="right")) - 1
        count = int(cumulative[symbol + 1] - cumulative[symbol])
        state = (state >> PRECISION) * count + rest - int(cumulative[symbol])
        if state < 2**32 and words:
            state = state << 32 | words.pop()
        values[place] = symbol - WIDTHS[indices[place]]
    return values


@pytest.mark.usefixtures("_constriction")
@pytest.mark.parametrize("seed", range(5))
def test_the_bytes_follow_the_stored_integers_and_nothing_else(seed):
    values, indices = drawn(3000, seed)
    values = np.clip(values, -np.array(WIDTHS)[indices], np.array(WIDTHS)[indices]).astype(np.int32)
    assert by_hand(encoded([(values, indices)], TABLES), indices) == values.tolist()


@pytest.mark.usefixtures("_constriction")
def test_what_is_left_over_is_found():
    values, indices = drawn(100)
    decoder = Decoder(encoded([(values, indices)], TABLES), TABLES)
    decoder.take(indices[:50])
    with pytest.raises(CorruptStream, match="does not end where it should"):
        decoder.finish()


@pytest.mark.usefixtures("_constriction")
def test_zeros_at_the_end_are_not_what_was_written():
    with pytest.raises(CorruptStream, match="does not end where it should"):
        Decoder(b"abc\0", TABLES)


@pytest.mark.usefixtures("_constriction")
@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=80))
def test_noise_gives_values_or_an_error_but_never_a_crash(noise):
    noise = noise.rstrip(b"\0")
    decoder = Decoder(noise, TABLES)
    values = decoder.take(drawn(200)[1])
    assert np.abs(values).max() <= LIMIT


def test_without_the_coder_the_extra_is_named(monkeypatch):
    def missing(name: str):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtra, match=r"pip install 'kenspeckle\[compress\]'"):
        encoded([], TABLES)
