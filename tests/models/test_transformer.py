"""The vision Transformer: what it looks at, what positions do, and PyTorch's block beside it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kenspeckle.models.layers import sinusoidal_positions, sinusoidal_positions_2d
from kenspeckle.models.transformer import (
    Attention,
    Block,
    TransformerSequence,
    VisionTransformer,
)

WIDTH, HEADS = 16, 4


def pytorchs(ours: Attention) -> nn.MultiheadAttention:
    """PyTorch's own attention with the weights of ours."""
    theirs = nn.MultiheadAttention(WIDTH, ours.heads, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    return theirs


@pytest.mark.parametrize("is_masked", [True, False])
def test_attention_equals_pytorchs(is_masked):
    ours = Attention(WIDTH, HEADS)
    theirs = pytorchs(ours)
    x, memory = torch.randn(2, 5, WIDTH), torch.randn(2, 7, WIDTH)
    mask = torch.rand(5, 7) < 0.6
    mask[:, 0] = True
    mask = mask if is_masked else None
    expected, weights = theirs(
        x,
        memory,
        memory,
        attn_mask=None if mask is None else ~mask,  # PyTorch's is True where it may not look
        average_attn_weights=False,
    )
    assert torch.allclose(ours(x, memory, mask), expected, atol=1e-5)
    assert torch.allclose(ours.weights(x, memory, mask), weights, atol=1e-5)


def test_a_block_equals_pytorchs_pre_norm_layer():
    block = Block(WIDTH, HEADS).eval()
    theirs = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 4 * WIDTH, 0.0, F.gelu, batch_first=True, norm_first=True
    ).eval()
    norm, widen, _, narrow = block.feed_forward
    theirs.self_attn.load_state_dict(pytorchs(block.attention).state_dict())
    for ours, own in (
        (block.norm, theirs.norm1),
        (norm, theirs.norm2),
        (widen, theirs.linear1),
        (narrow, theirs.linear2),
    ):
        own.load_state_dict(ours.state_dict())
    x = torch.randn(2, 6, WIDTH)
    with torch.no_grad():
        assert torch.allclose(block(x), theirs(x), atol=1e-5)


def small(**options) -> VisionTransformer:
    return VisionTransformer(WIDTH, 2, HEADS, **options).eval()


def test_a_map_a_block_with_a_place_for_each_four_by_four_pixels():
    maps = VisionTransformer(WIDTH, 3, HEADS).eval().stages(torch.rand(2, 3, 30, 17))
    assert [tuple(m.shape) for m in maps] == [(2, WIDTH, 8, 5)] * 3


def test_it_has_as_many_weights_as_it_says():
    count = sum(p.numel() for p in VisionTransformer().parameters())
    assert round(count / 1e6, 1) == 0.2


def test_what_it_looked_at_gives_its_maps():
    network, images = small(), torch.rand(2, 3, 20, 28)
    looked = network.attention(images)
    assert looked.shape == (2, 2, HEADS, 35, 35)
    assert torch.allclose(looked.sum(-1), torch.ones(2, 2, HEADS, 35), atol=1e-5)
    tokens = network._tokens(images, None)[0]
    for block, weights, expected in zip(
        network.blocks, looked, network.stages(images), strict=True
    ):
        value = block.attention.key_value(block.norm(tokens)).chunk(2, dim=-1)[1]
        heads = value.unflatten(-1, (HEADS, -1)).transpose(1, 2)
        mixed = block.attention.out((weights @ heads).transpose(1, 2).flatten(2))
        tokens = tokens + mixed
        tokens = tokens + block.feed_forward(tokens)
        said = network.norm(tokens) if block is network.blocks[-1] else tokens
        assert torch.allclose(said.transpose(1, 2), expected.flatten(2), atol=1e-4)


def block_maps(network: VisionTransformer, tokens: torch.Tensor) -> torch.Tensor:
    """What the blocks make of a grid of patches (1, width, rows, columns), with positions added."""
    network.patch = nn.ModuleList()
    network.prepare = lambda images: images
    return network(tokens)


@pytest.mark.parametrize("positions", ["none", "sin2d", "sin1d", "learned"])
def test_only_without_positions_are_tokens_alike_wherever_they_stand(positions):
    network = small(positions=positions)
    tokens, order = torch.randn(1, WIDTH, 4, 5), torch.randperm(20)
    if positions == "learned":
        nn.init.normal_(network.learned)
    with torch.no_grad():
        waist = block_maps(network, tokens).flatten(2)
        shuffled = block_maps(network, tokens.flatten(2)[..., order].unflatten(2, (4, 5)))
    is_alike = torch.allclose(waist[..., order], shuffled.flatten(2), atol=1e-4)
    assert is_alike == (positions == "none")


def added(network: VisionTransformer, rows: int, columns: int) -> torch.Tensor:
    """What positions add to the tokens, (rows, columns, width)."""
    images = torch.rand(1, 3, 4 * rows, 4 * columns)
    without = copy.deepcopy(network)
    without.positions = "none"
    difference = network._tokens(images, None)[0] - without._tokens(images, None)[0]
    return difference[0].unflatten(0, (rows, columns))


def test_sinusoids_number_rows_and_columns_or_the_reading_order():
    grid = sinusoidal_positions_2d(3, 5, WIDTH)
    assert torch.allclose(added(small(positions="sin2d"), 3, 5), grid, atol=1e-5)
    line = sinusoidal_positions(15, WIDTH).unflatten(0, (3, 5))
    assert torch.allclose(added(small(positions="sin1d"), 3, 5), line, atol=1e-5)


def test_learned_positions_are_interpolated_to_other_sizes():
    network = small(positions="learned", image_size=32)
    assert network.learned.shape == (1, WIDTH, 8, 8)
    with torch.no_grad():
        network.learned.copy_(torch.linspace(-1, 1, 8)[:, None].expand(WIDTH, 8, 8))  # by row
    own = added(network, 8, 8)
    assert torch.allclose(own, network.learned[0].permute(1, 2, 0), atol=1e-5)
    other = added(network, 16, 5)
    assert (other[1:-1].diff(dim=0) > 0).all()  # still rises from row to row
    assert torch.allclose(other[:, 0], other[:, 4], atol=1e-5)  # and not from column to column


def test_a_sequences_summary_is_the_mean_of_its_states():
    encoder = TransformerSequence(3, WIDTH, 2, HEADS).eval()
    steps, lengths = torch.randn(3, 6, 3), torch.tensor([6, 1, 4])
    with torch.no_grad():
        states, summary = encoder(steps, lengths)
    for row, length in enumerate(lengths):
        assert torch.allclose(summary[row], states[row, :length].mean(0), atol=1e-5)


def test_the_order_of_steps_matters():
    encoder = TransformerSequence(3, WIDTH, 2, HEADS).eval()
    steps = torch.randn(1, 6, 3)
    with torch.no_grad():
        assert not torch.allclose(encoder(steps)[1], encoder(steps.flip(1))[1], atol=1e-3)
