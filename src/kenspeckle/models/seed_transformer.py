"""The founding text's encoder-decoder Transformer, corrected: strings in, strings out."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kenspeckle.models.backbone import Backbone
from kenspeckle.models.layers import sinusoidal_positions
from kenspeckle.models.transformer import Attention, Block, feed_forward

WIDTH = 96
HEADS = 4
DEPTH = 2
PAD, BEGIN, END = 0, 1, 2  # numbers of the symbols that are in every alphabet


class TokenEncoder(Backbone):
    """Code points (B, T), zeros after the end, -> states as a map one place high, (B, 96, 1, T).

    An embedding times sqrt(width), sinusoidal positions, blocks of self-attention that do not look
    at padding. What stands after a string's end never matters.

    Departs from the founding text (docs/explanation/errata.md): tokens are embedded one by one
    (E4), positions are added when it is called (E5), padding is masked (E7).

    Args:
        features: how many different characters may be given.

    Source: Vaswani et al. 2017, arXiv:1706.03762, sections 3.1 to 3.5, pre-norm.
    """

    alphabet: Tensor

    def __init__(self, features: int, dropout: float = 0.1) -> None:
        super().__init__(1, mean=[0.0], std=[1.0])
        self.channels = WIDTH
        self.register_buffer("alphabet", torch.zeros(features, dtype=torch.int64))
        self.embedding = _embedding(features)
        self.blocks = nn.ModuleList(Block(WIDTH, HEADS, dropout) for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH)

    def stages(self, images: Tensor, valid: Tensor | None = None) -> list[Tensor]:
        """The states; those after the end are zero."""
        inside = images > 0
        x = embedded(self.embedding, numbers(images, self.alphabet))
        for block in self.blocks:
            x = block(x, inside[:, None, None])
        states = self.norm(x) * inside[..., None]
        return [states.transpose(1, 2)[:, :, None]]


class TokenDecoder(nn.Module):
    """States of what is given and the characters written so far -> logits of the next one.

    Each block looks back at what was written (causal mask), then at what was given
    (cross-attention), which the founding text computed and threw away (E6).

    Args:
        features: how many different characters may be written.
    """

    alphabet: Tensor

    def __init__(self, features: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.register_buffer("alphabet", torch.zeros(features, dtype=torch.int64))
        self.embedding = _embedding(features)
        self.blocks = nn.ModuleList(CrossBlock(WIDTH, HEADS, dropout) for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH)
        self.linear = nn.Linear(WIDTH, features + 3)

    def forward(self, written: Tensor, memory: Tensor, given: Tensor) -> Tensor:
        """Logits (B, U, features + 3): at each place, of the character after it.

        Args:
            written: (B, U) numbers, `BEGIN` first.
            memory: (B, T, width) states of what is given.
            given: (B, T), True where something is given.
        """
        causal = self._causal(written)
        x = embedded(self.embedding, written)
        for block in self.blocks:
            x = block(x, memory, causal, given[:, None, None])
        return self.linear(self.norm(x))

    def looked(self, written: Tensor, memory: Tensor, given: Tensor) -> Tensor:
        """(B, U, T): where the last block looks while it says the character after each place."""
        causal = self._causal(written)
        x = embedded(self.embedding, written)
        *earlier, last = self.blocks
        for block in earlier:
            x = block(x, memory, causal, given[:, None, None])
        assert isinstance(last, CrossBlock)
        return last.weights(x, memory, causal, given[:, None, None]).mean(1)

    @staticmethod
    def _causal(written: Tensor) -> Tensor:
        count = written.shape[1]
        return torch.ones(count, count, dtype=torch.bool, device=written.device).tril()


class CrossBlock(nn.Module):
    """Masked self-attention, cross-attention, feed-forward: each behind a norm, with a shortcut."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.norm_across = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.across = Attention(width, heads), Attention(width, heads)
        self.feed_forward = feed_forward(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor, causal: Tensor, given: Tensor) -> Tensor:
        """(B, U, width) -> the same shape."""
        x = self._looked_back(x, causal)
        x = x + self.dropout(self.across(self.norm_across(x), memory, given))
        return x + self.dropout(self.feed_forward(x))

    def weights(self, x: Tensor, memory: Tensor, causal: Tensor, given: Tensor) -> Tensor:
        """(B, heads, U, T): how much each place looks at each state of what is given."""
        x = self._looked_back(x, causal)
        return self.across.weights(self.norm_across(x), memory, given)

    def _looked_back(self, x: Tensor, causal: Tensor) -> Tensor:
        normed = self.norm(x)
        return x + self.dropout(self.attention(normed, normed, causal))


class EncoderDecoder(nn.Module):
    """A `TokenEncoder` as backbone and a `TokenDecoder` as head.

    Args:
        longest: characters written at most.
    """

    def __init__(self, backbone: Backbone, head: TokenDecoder, longest: int) -> None:
        super().__init__()
        self.backbone, self.head, self.longest = backbone, head, longest

    def taught(self, given: Tensor, wanted: Tensor) -> Tensor:
        """Logits (B, U + 1, features + 3) where the right beginning is always there.

        Teacher forcing: the target moved one place to the right (Williams and Zipser 1989).

        Args:
            given, wanted: code points (B, T) and (B, U), zeros after the end.
        """
        begun = F.pad(numbers(wanted, self.head.alphabet), (1, 0), value=BEGIN)
        return self.head(begun, *self.remembered(given))

    def losses(self, given: Tensor, wanted: Tensor, smoothing: float = 0.0) -> Tensor:
        """(B,) -log p of each next character and of the end, the mean of a string."""
        logits = self.taught(given, wanted).float()
        aim = F.pad(numbers(wanted, self.head.alphabet), (0, 1), value=PAD)
        aim[torch.arange(len(aim)), (wanted > 0).sum(1)] = END
        losses = F.cross_entropy(
            logits.transpose(1, 2),
            aim,
            ignore_index=PAD,
            reduction="none",
            label_smoothing=smoothing,
        )
        return losses.sum(1) / (aim != PAD).sum(1)

    def forward(self, given: Tensor) -> Tensor:
        """Write step by step, the likeliest character each time: (B, U, 2) float64.

        The first of the two is the code point, 0 after the end; the second log p of each step.
        """
        memory, inside = self.remembered(given)
        written = torch.full((len(given), 1), BEGIN, device=given.device)
        told = torch.zeros(len(given), 0, dtype=torch.float64, device=given.device)
        ended = torch.zeros(len(given), dtype=torch.bool, device=given.device)
        symbols = F.pad(self.head.alphabet, (3, 0))
        points = []
        for _ in range(self.longest + 1):
            logits = self.head(written, memory, inside)[:, -1].double()
            logits[:, [PAD, BEGIN]] = -torch.inf
            best, number = logits.log_softmax(1).max(1)
            told = torch.cat([told, torch.where(ended, 0.0, best)[:, None]], 1)
            ended |= number == END
            number = torch.where(ended, PAD, number)
            points.append(symbols[number])
            written = torch.cat([written, number[:, None]], 1)
            if bool(ended.all()):
                break
        return torch.stack([torch.stack(points, 1).double(), told], 2)

    def next(self, memory: Tensor, inside: Tensor, written: Tensor) -> Tensor:
        """(K, symbols + 1) log p of each symbol after beginnings (K, U), and last of the end.

        Args:
            memory, inside: as `remembered` returns, of one string that all of them answer.
            written: numbers of symbols, from 0 on.
        """
        begun = F.pad(written.to(memory.device) + END + 1, (1, 0), value=BEGIN)
        states = memory.expand(len(begun), -1, -1)
        logits = self.head(begun, states, inside.expand(len(begun), -1))[:, -1].double()
        logits[:, [PAD, BEGIN]] = -torch.inf
        return logits.log_softmax(1)[:, [*range(END + 1, logits.shape[1]), END]]

    def remembered(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """States (B, T, width) of what is given, and (B, T) where there are any."""
        return self.backbone(given)[:, :, 0].transpose(1, 2), given > 0


def _embedding(features: int) -> nn.Embedding:
    """A vector a symbol; that of padding, which strangers share, is zero and stays so."""
    embedding = nn.Embedding(features + 3, WIDTH, padding_idx=PAD)
    nn.init.normal_(embedding.weight, std=WIDTH**-0.5)
    with torch.no_grad():
        embedding.weight[PAD].zero_()
    return embedding


def embedded(embedding: nn.Embedding, written: Tensor) -> Tensor:
    """Numbers (B, T) -> (B, T, width): embedding times sqrt(width), plus positions."""
    x = embedding(written) * math.sqrt(WIDTH)
    return x + sinusoidal_positions(written.shape[1], WIDTH).to(x)


def numbers(points: Tensor, alphabet: Tensor) -> Tensor:
    """Code points -> numbers in a sorted alphabet, from 3 on; 0 for none and for strangers.

    >>> numbers(torch.tensor([[98, 120, 0]]), torch.tensor([97, 98])).tolist()
    [[4, 0, 0]]
    """
    place = torch.searchsorted(alphabet, points).clamp(max=len(alphabet) - 1)
    return torch.where(alphabet[place] == points, place + 3, PAD)
