"""The written-out equations equal PyTorch's, in values and in gradients."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from kenspeckle.models.layers import (
    attention,
    average_pool,
    convolution,
    cross_entropy,
    gru,
    lstm,
    max_pool,
    multi_head_attention,
    recurrence,
    sigmoid,
    sinusoidal_positions,
    sinusoidal_positions_2d,
    softmax,
)

TOLERANCE = 1e-5


def same(ours: Callable, theirs: Callable, *inputs: Tensor, tolerance: float = TOLERANCE) -> None:
    """The outputs agree, and so do the gradients of their weighted sum by every input."""
    inputs = tuple(x.detach().requires_grad_() for x in inputs)
    weights = None
    results = []
    for function in (ours, theirs):
        output = function(*inputs)
        outputs = output if isinstance(output, tuple) else (output,)
        weights = weights or [torch.randn_like(y) for y in outputs]
        total = sum((w * y).sum() for w, y in zip(weights, outputs, strict=True))
        results.append((*outputs, *torch.autograd.grad(total, inputs)))
    for our, their in zip(*results, strict=True):
        torch.testing.assert_close(our, their, rtol=tolerance, atol=tolerance)


shapes = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 3),
        "channels": st.integers(1, 3),
        "height": st.integers(4, 9),
        "width": st.integers(4, 9),
        "stride": st.integers(1, 4),
    }
)


def images(shape: dict[str, int]) -> Tensor:
    return torch.randn(shape["batch"], shape["channels"], shape["height"], shape["width"])


# Images


@settings(max_examples=40, deadline=None)
@given(
    shapes,
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
    st.integers(0, 3),
)
def test_convolution_is_pytorchs(shape, filters, padding):
    x, stride = images(shape), shape["stride"]
    weight = torch.randn(filters[0], shape["channels"], *filters[1:])
    same(
        lambda x, w, b: convolution(x, w, b, stride, padding),
        lambda x, w, b: F.conv2d(x, w, b, stride, padding),
        *(x, weight, torch.randn(filters[0])),
    )


def test_convolution_without_a_bias_is_pytorchs():
    same(convolution, F.conv2d, torch.randn(2, 3, 6, 5), torch.randn(4, 3, 3, 2))


def test_at_a_layers_size_convolution_differs_from_pytorchs_by_rounding_alone():
    x, weight = torch.randn(4, 16, 28, 28).double(), torch.randn(16, 16, 3, 3).double()
    with_padding = [lambda x, w, f=f: f(x, w, None, 1, 1) for f in (convolution, F.conv2d)]
    same(*with_padding, x, weight, tolerance=1e-12)


def test_convolution_is_the_sum_it_states():
    x, weight, bias, stride, pad = (
        torch.randn(2, 5, 4),
        torch.randn(3, 2, 3, 2),
        torch.rand(3),
        2,
        1,
    )
    found = convolution(x[None], weight, bias, stride, pad)[0]
    for o, i, j in itertools.product(*map(range, found.shape)):
        total = bias[o].item()
        for c, p, q in itertools.product(range(2), range(3), range(2)):
            row, column = stride * i + p - pad, stride * j + q - pad
            if 0 <= row < 5 and 0 <= column < 4:
                total += (x[c, row, column] * weight[o, c, p, q]).item()
        assert found[o, i, j].item() == pytest.approx(total, abs=TOLERANCE)


@settings(max_examples=40, deadline=None)
@given(shapes, st.integers(1, 4), st.booleans())
@pytest.mark.parametrize(
    ("ours", "theirs"), [(max_pool, F.max_pool2d), (average_pool, F.avg_pool2d)]
)
def test_pooling_is_pytorchs(ours, theirs, shape, size, own_stride):
    stride = shape["stride"] if own_stride else None
    same(lambda x: ours(x, size, stride), lambda x: theirs(x, size, stride), images(shape))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_first_of_equal_maxima_gets_the_gradient_as_in_pytorch(stride):
    x = F.relu(torch.randn(2, 3, 8, 8)).round()  # after ReLU most windows hold ties
    same(lambda x: max_pool(x, 3, stride), lambda x: F.max_pool2d(x, 3, stride), x)


# Sequences

NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


def _row(first: Tensor | None) -> Tensor | None:
    """PyTorch's first state has an axis for layers in front."""
    return None if first is None else first[None]


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize(("inputs", "states"), [(1, 1), (3, 5), (4, 2)])
@pytest.mark.parametrize("first", [False, True])
def test_recurrence_is_pytorchs(steps, inputs, states, first):
    layer = nn.RNN(inputs, states, batch_first=True)
    w, u, a, b = (p.detach() for p in layer.parameters())

    def theirs(x, w, u, b, h0=None):
        parameters = dict(zip(NAMES, (w, u, b, torch.zeros_like(b)), strict=True))
        return torch.func.functional_call(layer, parameters, (x, _row(h0)))[0]

    x = torch.randn(2, steps, inputs)
    same(recurrence, theirs, x, w, u, a + b, *([torch.randn(2, states)] if first else []))


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize(("inputs", "states"), [(1, 1), (3, 5), (4, 2)])
@pytest.mark.parametrize("first", [False, True])
def test_gru_is_pytorchs(steps, inputs, states, first):
    layer = nn.GRU(inputs, states, batch_first=True)

    def theirs(x, w, u, a, b, h0=None):
        parameters = dict(zip(NAMES, (w, u, a, b), strict=True))
        return torch.func.functional_call(layer, parameters, (x, _row(h0)))[0]

    x = torch.randn(2, steps, inputs)
    same(gru, theirs, x, *layer.parameters(), *([torch.randn(2, states)] if first else []))


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize(("inputs", "states"), [(1, 1), (3, 5), (4, 2)])
@pytest.mark.parametrize("first", [False, True])
def test_lstm_is_pytorchs(steps, inputs, states, first):
    layer = nn.LSTM(inputs, states, batch_first=True)

    def theirs(x, w, u, a, b, *first):
        parameters = dict(zip(NAMES, (w, u, a, b), strict=True))
        pair = tuple(state[None] for state in first) or None
        all_states, (_, cell) = torch.func.functional_call(layer, parameters, (x, pair))
        return all_states, cell[0]

    def ours(*inputs):
        all_states, cells = lstm(*inputs)
        return all_states, cells[:, -1]  # PyTorch shows the last cell only

    x = torch.randn(2, steps, inputs)
    given_first = [torch.randn(2, states), torch.randn(2, states)] if first else []
    same(ours, theirs, x, *layer.parameters(), *given_first)


def test_every_cell_of_an_lstm_is_the_last_of_a_shorter_sequence():
    layer, x = nn.LSTM(3, 5, batch_first=True), torch.randn(2, 6, 3)
    _, cells = lstm(x, *layer.parameters())
    for steps in range(1, 7):
        _, (_, last) = layer(x[:, :steps])
        assert torch.allclose(cells[:, steps - 1], last[0], atol=TOLERANCE)


# Transformers


def masks(rows: int, columns: int, batch: tuple[int, ...] = ()) -> Tensor:
    """Random, with at least one allowed key in every row."""
    mask = torch.rand(*batch, rows, columns) < 0.5
    always = torch.randint(columns, (*batch, rows, 1))
    return mask.scatter(-1, always, torch.ones_like(always, dtype=torch.bool))


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([(), (2,), (2, 3)]),
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 5), st.integers(1, 5)),
    st.booleans(),
)
def test_attention_is_pytorchs(batch, sizes, masked):
    queries, keys, width, value_width = sizes
    mask = masks(queries, keys, batch) if masked else None
    same(
        lambda q, k, v: attention(q, k, v, mask)[0],
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask),
        torch.randn(*batch, queries, width),
        torch.randn(*batch, keys, width),
        torch.randn(*batch, keys, value_width),
    )


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("keys", [1, 5])
@pytest.mark.parametrize("mask_kind", ["none", "of all", "of each"])
def test_multi_head_attention_is_pytorchs(heads, keys, mask_kind):
    layer = nn.MultiheadAttention(8, heads, batch_first=True)
    nn.init.normal_(layer.in_proj_bias)
    nn.init.normal_(layer.out_proj.bias)
    mask = {"none": None, "of all": masks(4, keys), "of each": masks(4, keys, (3,))}[mask_kind]

    def theirs(query, key, value, *parameters):
        forbidden = None if mask is None else ~mask
        if forbidden is not None and forbidden.ndim == 3:
            forbidden = forbidden.repeat_interleave(heads, dim=0)
        names = [name for name, _ in layer.named_parameters()]
        return torch.func.functional_call(
            layer,
            dict(zip(names, parameters, strict=True)),
            (query, key, value),
            {"attn_mask": forbidden, "average_attn_weights": False},
        )

    same(
        lambda *inputs: multi_head_attention(*inputs, heads=heads, mask=mask),
        theirs,
        *(torch.randn(3, 4, 8), torch.randn(3, keys, 8), torch.randn(3, keys, 8)),
        *layer.parameters(),
    )


def test_a_mask_of_padded_keys_is_as_if_they_were_not_there():
    x, parameters = torch.randn(2, 5, 8), list(nn.MultiheadAttention(8, 2).parameters())
    mask = torch.tensor([[[1, 1, 1, 0, 0]], [[1, 1, 1, 1, 1]]], dtype=torch.bool)
    padded, _ = multi_head_attention(x, x, x, *parameters, heads=2, mask=mask)
    short = x[:1, :3]
    alone, _ = multi_head_attention(x[:1], short, short, *parameters, heads=2)
    assert torch.allclose(padded[:1], alone, atol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_every_row_of_attention_sums_to_1(masked):
    q, k, v = torch.randn(2, 6, 4), torch.randn(2, 7, 4), torch.randn(2, 7, 3)
    mask = masks(6, 7) if masked else None
    _, weights = attention(10 * q, k, v, mask)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 6), atol=1e-6)
    assert mask is None or (weights[:, ~mask] == 0).all()


def test_one_allowed_key_gives_its_value_exactly():
    values, chosen = torch.randn(7, 3), torch.randint(7, (6,))
    mask = F.one_hot(chosen, 7).bool()
    output, _ = attention(torch.randn(6, 4), torch.randn(7, 4), values, mask)
    assert torch.equal(output, values[chosen])


def test_the_order_of_the_keys_does_not_matter():
    q, k, v, order = torch.randn(6, 4), torch.randn(7, 4), torch.randn(7, 3), torch.randperm(7)
    assert torch.allclose(attention(q, k[order], v[order])[0], attention(q, k, v)[0], atol=1e-6)


def test_scores_are_divided_by_the_root_of_one_keys_length_not_of_the_matrix():
    # q.k = 4 and 0, key length 4: weights are the sigmoid of 4 / sqrt(4), and 1 minus that.
    keys = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    _, weights = attention(torch.ones(1, 4), keys, torch.zeros(2, 1))
    assert weights[0, 0].item() == pytest.approx(1 / (1 + math.exp(-2)), abs=TOLERANCE)


def test_a_query_that_may_look_at_no_key_is_refused():
    mask = torch.tensor([[True, True], [False, False]])
    with pytest.raises(ValueError, match="allows no key"):
        attention(torch.randn(2, 3), torch.randn(2, 3), torch.randn(2, 3), mask)


def test_a_width_that_heads_do_not_divide_is_refused():
    x, parameters = torch.randn(1, 2, 8), nn.MultiheadAttention(8, 2).parameters()
    with pytest.raises(ValueError, match="got 8 and 3"):
        multi_head_attention(x, x, x, *parameters, heads=3)


# Positions


def test_positions_have_the_papers_values():
    found = sinusoidal_positions(101, 4)  # frequencies 1 and 1 / 100
    expected = torch.tensor([math.sin(100), math.cos(100), math.sin(1), math.cos(1)])
    assert torch.allclose(found[100], expected, atol=1e-6)


def test_far_positions_are_as_exact_as_near_ones():
    found, width = sinusoidal_positions(512, 64)[511], 64
    for k in range(width // 2):
        angle = 511 / 10000 ** (2 * k / width)
        assert found[2 * k].item() == pytest.approx(math.sin(angle), abs=1e-7)
        assert found[2 * k + 1].item() == pytest.approx(math.cos(angle), abs=1e-7)


def test_512_positions_of_width_64_are_far_apart():
    assert torch.pdist(sinusoidal_positions(512, 64)).min() >= 1.47


def test_the_product_of_two_positions_depends_on_their_distance_only():
    positions = sinusoidal_positions(200, 64).double()
    products = positions @ positions.T
    for distance in (0, 1, 17, 150):
        diagonal = products.diagonal(distance)
        assert torch.allclose(diagonal, diagonal[0].expand_as(diagonal), atol=TOLERANCE)
    assert products[0, 0].item() == pytest.approx(32)  # width / 2 times sin^2 + cos^2


@given(st.integers(0, 40), st.integers(1, 50))
@settings(max_examples=30, deadline=None)
def test_positions_of_any_even_width(count, half):
    found = sinusoidal_positions(count, 2 * half)
    assert found.shape == (count, 2 * half)
    assert found.dtype == torch.float32
    assert (found.abs() <= 1).all()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_a_cell_is_its_row_and_its_column(rows, columns, quarter):
    grid, half = sinusoidal_positions_2d(rows, columns, 4 * quarter), 2 * quarter
    assert grid.shape == (rows, columns, 4 * quarter)
    for i, j in itertools.product(range(rows), range(columns)):
        assert torch.equal(grid[i, j, :half], sinusoidal_positions(rows, half)[i])
        assert torch.equal(grid[i, j, half:], sinusoidal_positions(columns, half)[j])


def test_turning_the_grid_swaps_the_halves():
    grid, turned = sinusoidal_positions_2d(4, 7, 16), sinusoidal_positions_2d(7, 4, 16)
    assert torch.equal(grid.transpose(0, 1), turned.roll(8, dims=-1))


@pytest.mark.parametrize("width", [-2, 0, 1, 7])
def test_an_odd_width_is_refused(width):
    with pytest.raises(ValueError, match=f"even number; got {width}"):
        sinusoidal_positions(5, width)


@pytest.mark.parametrize("width", [-4, 0, 2, 6, 7])
def test_a_grids_width_that_4_does_not_divide_is_refused(width):
    with pytest.raises(ValueError, match=f"multiple of 4; got {width}"):
        sinusoidal_positions_2d(5, 5, width)


# Answers


@pytest.mark.parametrize("scale", [1, 1e4])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax_is_pytorchs(dim, scale):
    same(lambda x: softmax(x, dim), lambda x: F.softmax(x, dim), scale * torch.randn(3, 5, 4))


@pytest.mark.parametrize("scale", [1, 1e4])
def test_sigmoid_is_pytorchs(scale):
    same(sigmoid, torch.sigmoid, torch.cat([torch.zeros(1), scale * torch.randn(50)]))


@pytest.mark.parametrize("scale", [1, 1e4])
@pytest.mark.parametrize(("batch", "classes"), [(1, 1), (1, 10), (16, 2), (16, 10)])
def test_cross_entropy_is_pytorchs(batch, classes, scale):
    targets = torch.randint(classes, (batch,))
    logits = scale * torch.randn(batch, classes)
    same(lambda x: cross_entropy(x, targets), lambda x: F.cross_entropy(x, targets), logits)


def test_softmax_twice_keeps_a_perfect_network_from_a_loss_of_0():
    probabilities = F.one_hot(torch.tensor([3]), 10).float()
    found = cross_entropy(probabilities, torch.tensor([3]))
    assert found.item() == pytest.approx(math.log(math.e + 9) - 1, abs=TOLERANCE)  # 1.461


@pytest.mark.parametrize("target", [-1, 10])
def test_a_target_outside_the_classes_is_refused(target):
    with pytest.raises(RuntimeError, match="out of bounds"):
        cross_entropy(torch.zeros(1, 10), torch.tensor([target]))
