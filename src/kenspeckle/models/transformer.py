"""Transformers: the block, the encoder, a small vision Transformer, and one over sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kenspeckle.models.backbone import Backbone, Positions, masked, thinned
from kenspeckle.models.layers import attention as written_out
from kenspeckle.models.layers import sinusoidal_positions, sinusoidal_positions_2d
from kenspeckle.models.sequence import SequenceEncoder, within


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2).

    Self-attention where `memory` is the input, cross-attention where it is something else.
    `models/layers.py` has the same in equations.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, width) looks at `memory` (B, M, width).

        Args:
            mask: broadcast to (B, heads, N, M), True where a query may look.
        """
        query, key, value = self._split(x, memory)
        looked = F.scaled_dot_product_attention(query, key, value, mask)
        return self.out(looked.transpose(1, 2).flatten(2))

    def weights(self, x: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, heads, N, M): how much each query looks at each key; rows sum to 1."""
        return written_out(*self._split(x, memory), mask)[1]

    def _split(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        key, value = self.key_value(memory).chunk(2, dim=-1)
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(x), key, value)
        )
        return query, key, value


class Block(nn.Module):
    """Self-attention and a feed-forward network, each behind a norm and beside a shortcut.

    Source: pre-norm, Xiong et al. 2020, arXiv:2002.04745, figure 1b.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed_forward = feed_forward(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, width) -> the same shape; `mask` as in `Attention`."""
        normed = self.norm(x)
        x = x + self.dropout(self.attention(normed, normed, mask))
        return x + self.dropout(self.feed_forward(x))

    def weights(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, heads, N, N): how much each token looks at each other one."""
        normed = self.norm(x)
        return self.attention.weights(normed, normed, mask)


def feed_forward(width: int) -> nn.Sequential:
    """Norm, widen four times, GELU, narrow."""
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
    )


class VisionTransformer(Backbone):
    """(B, 3, H, W) -> a map a block; the waist is (B, width, H/4, W/4), sides rounded up.

    Two 3x3 convolutions of stride 2 make a token of each 4 x 4 pixels; blocks of self-attention
    follow, and a last norm. The convolutions see over a patch's edge: trained from scratch on few
    images that does better than cutting patches out (Xiao et al. 2021, arXiv:2106.14881; Hassani
    et al. 2021, arXiv:2104.05704). Dosovitskiy et al. 2021, arXiv:2010.11929, equations 1 to 4, is
    the rest, without a class token: the head averages.

    Args:
        width: of a token.
        depth: blocks.
        heads: of attention.
        positions: `sin2d` half of the width for rows and half for columns; `sin1d` numbers the
            tokens in reading order; `learned`; `none`.
        image_size: pixels a side for which learned positions are made; others are interpolated.

    >>> VisionTransformer(32, 2, 2).eval()(torch.rand(2, 3, 28, 28)).shape
    torch.Size([2, 32, 7, 7])
    """

    takes_valid = True
    stride = 4

    def __init__(
        self,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        *,
        positions: Positions = "sin2d",
        image_size: int = 64,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(3, mean=[0.5] * 3, std=[0.25] * 3)
        self.channels, self.positions = width, positions
        self.patch = nn.ModuleList(
            [nn.Conv2d(3, width // 2, 3, 2, 1), nn.Conv2d(width // 2, width, 3, 2, 1)]
        )
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        if positions == "learned":
            side = -(-image_size // 4)
            self.learned = nn.Parameter(0.02 * torch.randn(1, width, side, side))

    def stages(self, images: Tensor, valid: Tensor | None = None) -> list[Tensor]:
        """A map after each block; the last is normalised."""
        tokens, mask, (rows, columns), valid = self._tokens(images, valid)
        maps = []
        for block in self.blocks:
            tokens = block(tokens, mask)
            maps.append(self._grid(tokens, rows, columns, valid))
        maps[-1] = self._grid(self.norm(tokens), rows, columns, valid)
        return maps

    def attention(self, images: Tensor) -> Tensor:
        """How much each token looks at each other one: (depth, B, heads, N, N); rows sum to 1.

        N counts tokens in reading order, ceil(H/4) * ceil(W/4).
        """
        tokens, mask, _, _ = self._tokens(images, None)
        looked = []
        for block in self.blocks:
            assert isinstance(block, Block)
            looked.append(block.weights(tokens, mask))
            tokens = block(tokens, mask)
        return torch.stack(looked)

    def _tokens(
        self, images: Tensor, valid: Tensor | None
    ) -> tuple[Tensor, Tensor | None, tuple[int, int], Tensor | None]:
        """Tokens (B, N, width), the mask for attention, rows and columns, the mask for maps."""
        x = masked(self.prepare(images), valid)
        for i, convolution in enumerate(self.patch):
            valid = thinned(valid, 2)
            x = masked(convolution(F.gelu(x) if i else x), valid)
        rows, columns = x.shape[-2:]
        tokens = (x.permute(0, 2, 3, 1) + self._places(rows, columns, valid).to(x)).flatten(1, 2)
        mask = None if valid is None else valid.flatten(1)[:, None, None]
        return tokens, mask, (rows, columns), valid

    def _places(self, rows: int, columns: int, valid: Tensor | None) -> Tensor:
        """What is added to the tokens, (1 or B, rows, columns, width)."""
        if valid is None or self.positions in ("sin2d", "none"):
            return self._places_of(rows, columns)[None]
        # These depend on a picture's own size, which padding must not change.
        grids = []
        for inside in valid:
            high, wide = int(inside[:, 0].sum()), int(inside[0].sum())
            own = self._places_of(high, wide)
            grids.append(F.pad(own, (0, 0, 0, columns - wide, 0, rows - high)))
        return torch.stack(grids)

    def _places_of(self, rows: int, columns: int) -> Tensor:
        """The positions of a picture of that many tokens, (rows, columns, width)."""
        if self.positions == "sin2d":
            return sinusoidal_positions_2d(rows, columns, self.channels)
        if self.positions == "sin1d":
            return sinusoidal_positions(rows * columns, self.channels).unflatten(0, (rows, columns))
        if self.positions == "learned":
            grid = F.interpolate(self.learned, (rows, columns), mode="bicubic", align_corners=False)
            return grid[0].permute(1, 2, 0)
        return torch.zeros(rows, columns, self.channels)

    @staticmethod
    def _grid(tokens: Tensor, rows: int, columns: int, valid: Tensor | None) -> Tensor:
        return masked(tokens.transpose(1, 2).unflatten(2, (rows, columns)), valid)


class TransformerSequence(SequenceEncoder):
    """A Transformer encoder over steps; the summary is the mean of the valid states.

    Args:
        features: D.
        width: of a state.

    >>> states, summary = TransformerSequence(4, 16)(torch.rand(2, 5, 4), torch.tensor([5, 2]))
    >>> states.shape, summary.shape
    (torch.Size([2, 5, 16]), torch.Size([2, 16]))
    """

    def __init__(
        self, features: int, width: int = 96, depth: int = 3, heads: int = 4, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.width = width
        self.embed = nn.Linear(features, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, steps: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """States and summary."""
        count = steps.shape[1]
        if lengths is None:
            lengths = torch.full((len(steps),), count, device=steps.device)
        inside = within(lengths, count)
        x = self.embed(steps.masked_fill(~inside[..., None], 0))
        x = x + sinusoidal_positions(count, self.width).to(x)
        for block in self.blocks:
            x = block(x, inside[:, None, None])
        states = self.norm(x).masked_fill(~inside[..., None], 0)
        return states, states.sum(1) / lengths[:, None].to(states.dtype)
