"""Reading a line of characters in an image: column by column, or character by character."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kenspeckle.models.backbone import Backbone
from kenspeckle.models.layers import sinusoidal_positions_2d
from kenspeckle.models.seed_transformer import (
    BEGIN,
    WIDTH,
    EncoderDecoder,
    TokenDecoder,
    numbers,
)
from kenspeckle.models.sequence import Recurrent

ROWS = 4  # a map is averaged to so many rows: what stands above what is kept
COLUMNS_EACH = 4  # columns a character needs at least: CTC wants a blank between two alike
FIELDS = 6  # code point, log p, left, top, right, bottom
Span = tuple[float, float, float, float]


class ColumnReader(nn.Module):
    """Backbone, a recurrent network over the columns of its maps, a symbol for each column (CTC).

    The deepest map with `COLUMNS_EACH` columns a character, and all maps below it brought to its
    width, are averaged to `ROWS` rows; each column is a step. Greedy decoding: the likeliest symbol
    of each column, repeats joined, blanks left out. The probability of the whole text is exact: the
    sum over all ways in which the columns can say it.

    Args:
        symbols: how many different characters there are.
        longest: characters of a line at most.

    Source: Graves et al. 2006 (CTC), equations 3 and 4; Shi, Bai and Yao 2015, arXiv:1507.05717.
    """

    def __init__(self, backbone: Backbone, symbols: int, longest: int, shape: tuple[int, int]):
        super().__init__()
        self.backbone = backbone
        with torch.no_grad():
            before = backbone.training
            maps = backbone.eval().stages(torch.zeros(1, backbone.in_channels, *shape))
            backbone.train(before)
        wide = [k for k, m in enumerate(maps) if m.shape[3] >= COLUMNS_EACH * longest]
        self.first = max(wide, default=0)
        inside = sum(m.shape[1] for m in maps[self.first :]) * ROWS
        self.head = _ColumnHead(inside, symbols)

    def steps(self, images: Tensor) -> Tensor:
        """(B, T, D): a step for each column of the maps."""
        maps = self.backbone.stages(images)[self.first :]
        width = maps[0].shape[3]
        columns = [F.adaptive_avg_pool2d(m, (ROWS, m.shape[3])) for m in maps]
        wide = [F.interpolate(c, (ROWS, width), mode="nearest") for c in columns]
        return torch.cat(wide, 1).flatten(1, 2).transpose(1, 2)

    def logits(self, images: Tensor) -> Tensor:
        """(B, T, symbols + 1): the last is the blank."""
        return self.head(self.steps(images))

    def losses(self, images: Tensor, wanted: Tensor) -> Tensor:
        """(B,) -log p of each text, for each of its characters; characters unknown count not.

        Args:
            wanted: code points (B, U), zeros after the end.
        """
        places, lengths = self._places(wanted)
        logits = self.logits(images).float()
        return _ctc(logits, places, lengths) / lengths.clamp(min=1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1 + U, 6) float64: the log p of the text, then a row for each of its characters.

        The first row is (0, log p, 0, 0, 0, 0); the others are code point, log p, and where it
        stands, left, top, right and bottom as shares of the image; zeros after the end. Where a
        character stands is told by what speaks for it.
        """
        steps = self.steps(images).float()
        logits = self.head(steps).double()
        best, symbol = logits.log_softmax(2).max(2)
        blank = logits.shape[2] - 1
        begins = F.pad(symbol[:, 1:] != symbol[:, :-1], (1, 0), value=True) & (symbol != blank)
        starts = [row.nonzero()[:, 0].tolist() for row in begins]
        where = self._looked_at(steps, symbol, starts)
        told: list[Tensor] = []
        for row, (own, peaks) in enumerate(zip(starts, where, strict=True)):
            rows = [torch.zeros(FIELDS, dtype=torch.float64)]
            for start, (left, right) in zip(own, _spans(peaks, logits.shape[1]), strict=True):
                same = (symbol[row, start:] != symbol[row, start]).nonzero()[:, 0]
                stop = start + (int(same[0]) if len(same) else logits.shape[1] - start)
                point = float(self.head.alphabet[symbol[row, start]])
                p = float(best[row, start:stop].max())
                rows.append(torch.tensor([point, p, left, 0.0, right, 1.0]).double())
            told.append(torch.stack(rows))
        outputs = nn.utils.rnn.pad_sequence(told, batch_first=True)
        places, lengths = self._places(outputs[:, 1:, 0].long())
        outputs[:, 0, 1] = -_ctc(logits, places, lengths)
        return outputs

    def _looked_at(
        self, steps: Tensor, symbol: Tensor, starts: Sequence[Sequence[int]]
    ) -> list[list[int]]:
        """For each character the column that speaks most for it, from left to right.

        That is where gradient times input, summed over a step, is largest. The column that says a
        character is no guide: a network that has read the whole line may say the first one at the
        image's edge.
        """
        most = max((len(own) for own in starts), default=0)
        found: list[list[int]] = [[] for _ in starts]
        # Where nothing else is learned either, tensors of inference mode take no part in gradients.
        with torch.inference_mode(False), torch.enable_grad():
            given = steps.detach().clone().requires_grad_()
            likely = self.head(given).log_softmax(2)
            for number in range(most):
                rows = [row for row, own in enumerate(starts) if number < len(own)]
                columns = [starts[row][number] for row in rows]
                said = likely[rows, columns, symbol.clone()[rows, columns]].sum()
                (slope,) = torch.autograd.grad(said, given, retain_graph=True)
                speaks = (slope * given).detach().sum(2)[rows].argmax(1).tolist()
                for row, column in zip(rows, speaks, strict=True):
                    found[row].append(max([column, *found[row][-1:]]))
        return found

    def _places(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Code points -> numbers of the known ones among them, moved together, and how many."""
        found = numbers(points, self.head.alphabet) - 3
        known = found >= 0
        order = (~known).to(torch.int8).argsort(dim=1, stable=True)
        return found.gather(1, order).clamp(min=0), known.sum(1)


def _spans(peaks: Sequence[int], columns: int) -> list[tuple[float, float]]:
    """Left and right of each character, as shares: half-way to its neighbours' columns.

    >>> _spans([2, 6], 10)
    [(0.05, 0.45), (0.45, 0.85)]
    """
    middles = [peak + 0.5 for peak in peaks]
    between = [(a + b) / 2 for a, b in pairwise(middles)]
    half = min((b - a for a, b in pairwise(middles)), default=2.0) / 2
    ends = [middles[0] - half, *between, middles[-1] + half] if middles else []
    edges = [min(max(end, 0.0), columns) / columns for end in ends]
    return [(left, max(right, left + 0.5 / columns)) for left, right in pairwise(edges)]


class _ColumnHead(nn.Module):
    """Steps -> GRU both ways, two layers -> logits of each column.

    Its gate starts half open (`remember` 0), which ends the plateau on which CTC says one common
    character: on captcha5 (530 lines) the tuning loss was below 0.1 after 35 epochs, with an LSTM
    that starts remembering after 75. Logits straight from a column end it sooner still, and then
    learn the lines by heart: tuning loss 0.59 at the end, against 0.02.
    """

    alphabet: Tensor

    def __init__(self, features: int, symbols: int) -> None:
        super().__init__()
        self.register_buffer("alphabet", torch.zeros(symbols, dtype=torch.int64))
        self.narrow = nn.Linear(features, 128)
        self.encoder = Recurrent("gru", 128, 96, layers=2, dropout=0.2, remember=0.0)
        self.linear = nn.Linear(self.encoder.width, symbols + 1)

    def forward(self, steps: Tensor) -> Tensor:
        states, _ = self.encoder(F.relu(self.narrow(steps)))
        return self.linear(states)


def _ctc(logits: Tensor, places: Tensor, lengths: Tensor) -> Tensor:
    """(B,) -log p of each row of symbol numbers; infinite losses (no room for it) become zero."""
    count, blank = logits.shape[1], logits.shape[2] - 1
    return F.ctc_loss(
        logits.log_softmax(2).transpose(0, 1),
        places,
        torch.full((len(logits),), count),
        lengths,
        blank=blank,
        reduction="none",
        zero_infinity=True,
    )


class CharacterReader(EncoderDecoder):
    """Backbone, and a Transformer decoder that looks at its places and writes characters.

    Each place of the waist is a token, told apart by positions in two directions.

    Args:
        symbols: how many different characters there are.
        longest: characters of a line at most.

    Source: the decoder of Vaswani et al. 2017, arXiv:1706.03762, over the places of a map, as in
    Xu et al. 2015, arXiv:1502.03044, section 3.1.
    """

    def __init__(self, backbone: Backbone, symbols: int, longest: int, dropout: float = 0.1):
        super().__init__(backbone, TokenDecoder(symbols, dropout), longest)
        self.bridge = nn.Linear(backbone.channels, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)

    def remembered(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """The places of the waist (B, h w, width) with their positions; all of them count."""
        waist = self.backbone(given)
        rows, columns = waist.shape[2:]
        tokens = self.norm(self.bridge(waist.flatten(2).transpose(1, 2).float()))
        places = sinusoidal_positions_2d(rows, columns, WIDTH).flatten(0, 1).to(tokens)
        inside = torch.ones(len(tokens), rows * columns, dtype=torch.bool, device=tokens.device)
        return tokens + places, inside

    def forward(self, given: Tensor) -> Tensor:
        """As `ColumnReader.forward`; a character stands where the decoder looks most."""
        said = super().forward(given)
        waist = self.backbone(given)
        rows, columns = waist.shape[2:]
        points = said[..., 0].long()
        written = F.pad(numbers(points, self.head.alphabet), (1, 0), value=BEGIN)[:, :-1]
        looked = self.head.looked(written, *self.remembered(given))
        place = looked.argmax(2)
        row, column = place // columns, place % columns
        box = torch.stack([column, row, column + 1, row + 1], 2).double()
        box = box / torch.tensor([columns, rows, columns, rows], dtype=torch.float64)
        box[points == 0] = 0
        first = torch.zeros(len(said), 1, FIELDS, dtype=torch.float64)
        first[:, 0, 1] = said[..., 1].sum(1)
        return torch.cat([first, torch.cat([said, box], 2)], 1)
