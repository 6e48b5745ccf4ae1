"""Sequences become states and one summary: the twin of the waist, for images and for other data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kenspeckle.models.backbone import Backbone

Cell = Literal["rnn", "lstm", "gru"]
REMEMBER = (
    3.0  # bias of the gate that keeps the past: |dL/dx_1| / |dL/dx_100| 1e-19 -> 4.6 (SEED M3)
)


class SequenceEncoder(nn.Module, ABC):
    """(B, T, D) and lengths (B,) go in; states (B, T, width) and a summary (B, width) come out.

    What is past a length never matters: whatever stands there, every state inside and the summary
    are the same. States past a length are zero.
    """

    width: int

    @abstractmethod
    def forward(self, steps: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """States and summary; `lengths` None means that every step counts."""


class Recurrent(SequenceEncoder):
    """Simple RNN, LSTM or GRU, one way or both, one layer on the other.

    The summary is the last valid state; both ways, that and the first state of the way back.
    Both ways are two networks of their own: each sequence is turned round within its length, which
    gives what packing gives and keeps the fast path of equal lengths.

    Args:
        features: D.
        hidden: units of one way; `width` is this, or twice this.
        layers: one on the other.
        both_ways: from the end to the beginning as well.
        dropout: between layers, in [0, 1).
        remember: bias of the gate that keeps the past, at the start; the larger, the longer.

    Source: Elman 1990 (rnn); Hochreiter and Schmidhuber 1997, forget gate by Gers 2000 (lstm); Cho
    et al. 2014, arXiv:1406.1078 (gru); both ways: Schuster and Paliwal 1997. The gate that keeps
    the past starts open (Jozefowicz et al. 2015): with PyTorch's own start an LSTM and a GRU forget
    within 100 steps as a simple RNN does.

    >>> states, summary = Recurrent("gru", 4, 8)(torch.rand(2, 5, 4))
    >>> states.shape, summary.shape
    (torch.Size([2, 5, 16]), torch.Size([2, 16]))
    """

    def __init__(
        self,
        cell: Cell,
        features: int,
        hidden: int,
        *,
        layers: int = 1,
        both_ways: bool = True,
        dropout: float = 0.0,
        remember: float = REMEMBER,
    ) -> None:
        super().__init__()
        ways = 2 if both_ways else 1
        self.width = ways * hidden
        self.dropout = nn.Dropout(dropout)
        inside = [features, *[self.width] * (layers - 1)]
        self.forth = nn.ModuleList(_cell(cell, size, hidden, remember) for size in inside)
        back = inside if both_ways else []
        self.back = nn.ModuleList(_cell(cell, size, hidden, remember) for size in back)

    def forward(self, steps: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """States and summary."""
        count = steps.shape[1]
        valid = None if lengths is None else within(lengths, count)
        x = steps if valid is None else steps.masked_fill(~valid[..., None], 0)
        places = turned(lengths, count, steps.device)
        for layer, forth in enumerate(self.forth):
            x = self.dropout(x) if layer else x
            states = [forth(x)[0]]
            if len(self.back):
                states.append(_take(self.back[layer](_take(x, places))[0], places))
            x = torch.cat(states, dim=2)
            if valid is not None:
                x = x.masked_fill(~valid[..., None], 0)
        last = _last(x, lengths)
        if not len(self.back):
            return x, last
        half = self.width // 2
        return x, torch.cat([last[:, :half], x[:, 0, half:]], 1)


class MeanOfSteps(SequenceEncoder):
    """Each step through one linear layer and GELU; the summary is the mean of the valid states.

    The order of the steps plays no part: what a network over time has to beat.

    Args:
        features: D.
        width: of a state.

    >>> states, summary = MeanOfSteps(4, 16)(torch.rand(2, 5, 4), torch.tensor([5, 2]))
    >>> states.shape, summary.shape
    (torch.Size([2, 5, 16]), torch.Size([2, 16]))
    """

    def __init__(self, features: int, width: int = 192) -> None:
        super().__init__()
        self.width = width
        self.embed = nn.Linear(features, width)

    def forward(self, steps: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """States and summary."""
        if lengths is None:
            states = F.gelu(self.embed(steps))
            return states, states.mean(1)
        outside = ~within(lengths, steps.shape[1])[..., None]
        states = F.gelu(self.embed(steps.masked_fill(outside, 0))).masked_fill(outside, 0)
        return states, states.sum(1) / lengths[:, None].to(states.dtype)


_CELLS: dict[str, type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]] = {
    "rnn": nn.RNN,
    "lstm": nn.LSTM,
    "gru": nn.GRU,
}


def _cell(cell: Cell, inside: int, hidden: int, remember: float) -> nn.RNNBase:
    """One layer, one way, with weights that let gradients live."""
    layer = _CELLS[cell](inside, hidden, batch_first=True)
    weights_in, weights_back, *biases = layer.parameters()
    nn.init.xavier_uniform_(weights_in)
    with torch.no_grad():
        for gate in weights_back.split(hidden):
            nn.init.orthogonal_(gate)
        for bias in biases:
            bias.zero_()
        if cell != "rnn":
            # The gate that keeps the past: LSTM's forget gate is the second of four, GRU's update
            # gate the second of three.
            biases[0][hidden : 2 * hidden] = remember
    return layer


def within(lengths: Tensor, count: int) -> Tensor:
    """(B, count), True for steps inside each length.

    >>> within(torch.tensor([1, 3]), 3).int().tolist()
    [[1, 0, 0], [1, 1, 1]]
    """
    return torch.arange(count, device=lengths.device)[None] < lengths[:, None]


def turned(lengths: Tensor | None, count: int, device: torch.device) -> Tensor:
    """(B, count) or (1, count): where to take each step from to turn sequences round in place.

    >>> turned(torch.tensor([2]), 3, torch.device("cpu"))
    tensor([[1, 0, 2]])
    """
    places = torch.arange(count, device=device)[None]
    if lengths is None:
        return count - 1 - places
    back = lengths[:, None] - 1 - places
    return torch.where(back >= 0, back, places)


def _take(x: Tensor, places: Tensor) -> Tensor:
    if len(places) == 1:
        return x[:, places[0]]
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[2]))


def _last(x: Tensor, lengths: Tensor | None) -> Tensor:
    if lengths is None:
        return x[:, -1]
    return x[torch.arange(len(x), device=x.device), (lengths - 1).clamp(min=0)]


class SequenceBackbone(Backbone):
    """A `SequenceEncoder` where image networks stand: (B, T, D) in, its summary as a 1 x 1 waist.

    A batch of sequences of several lengths is filled with nan: a network that forgot to look at
    lengths would answer nan, never something plausible. Files with nan are refused when read.

    Args:
        encoder: takes `features` numbers a step.
        features: D; mean and deviation of each are buffers, as those of pixels.

    >>> steps = torch.full((1, 4, 2), float("nan"))
    >>> steps[0, :3] = torch.rand(3, 2)
    >>> SequenceBackbone(Recurrent("rnn", 2, 8), 2)(steps).shape
    torch.Size([1, 16, 1, 1])
    """

    def __init__(self, encoder: SequenceEncoder, features: int) -> None:
        super().__init__(features, mean=[0.0] * features, std=[1.0] * features)
        self.encoder = encoder
        self.channels = encoder.width

    def prepare(self, images: Tensor) -> Tensor:
        """Subtract the mean and divide by the deviation of each feature."""
        return (images - self.mean.flatten()) / self.std.flatten()

    def stages(self, images: Tensor, valid: Tensor | None = None) -> list[Tensor]:
        """The states as a map one place high, (B, width, 1, T), and the summary."""
        lengths = lengths_of(images)
        steps = self.prepare(images)
        if int(lengths.min()) == images.shape[1]:
            states, summary = self.encoder(steps)
        else:
            inside = within(lengths, images.shape[1])
            states, summary = self.encoder(steps.masked_fill(~inside[..., None], 0), lengths)
        return [states.transpose(1, 2)[:, :, None], summary[:, :, None, None]]

    def learn_statistics(self, images: Tensor) -> None:
        """Take mean and deviation of each feature from sequences filled with nan."""
        values = images.flatten(0, 1)
        values = values[~values[:, 0].isnan()]
        self.mean.copy_(values.mean(0).view(1, -1, 1, 1))
        self.std.copy_(values.std(0).clamp(min=1e-3).view(1, -1, 1, 1))


def lengths_of(steps: Tensor) -> Tensor:
    """(B,) how many steps of (B, T, D) come before the nan that fills the rest; at least 1."""
    return (~steps[..., 0].isnan()).sum(1).clamp(min=1)


def mean(features: int) -> SequenceBackbone:
    """Each step by itself, then their mean."""
    return SequenceBackbone(MeanOfSteps(features), features)


def changes(steps: Tensor) -> Tensor:
    """How far each number of a step is from the step before, (B, T, D); the first has changed by 0.

    Which way it went does not count, so that even a mean over the steps tells what moves from what
    stands, wherever it was filmed. What is filled with nan stays nan.

    >>> changes(torch.tensor([[[1.0], [3.0], [2.0]]]))[0].tolist()
    [[0.0], [2.0], [1.0]]
    """
    return F.pad(steps.diff(dim=1).abs(), (0, 0, 1, 0))


def simple(features: int) -> SequenceBackbone:
    """Simple RNN, both ways, two layers."""
    return _recurrent("rnn", features)


def lstm(features: int) -> SequenceBackbone:
    """LSTM, both ways, two layers."""
    return _recurrent("lstm", features)


def gru(features: int) -> SequenceBackbone:
    """GRU, both ways, two layers."""
    return _recurrent("gru", features)


def seed_rnn(features: int) -> SequenceBackbone:
    """The founding text's SimpleRNN(50): one layer, one way, the last valid state (E13)."""
    return SequenceBackbone(Recurrent("rnn", features, 50, both_ways=False), features)


def transformer(features: int) -> SequenceBackbone:
    """Transformer encoder over the steps; the summary is their mean."""
    from kenspeckle.models.transformer import TransformerSequence

    return SequenceBackbone(TransformerSequence(features), features)


def _recurrent(cell: Cell, features: int) -> SequenceBackbone:
    return SequenceBackbone(Recurrent(cell, features, 96, layers=2, dropout=0.2), features)
