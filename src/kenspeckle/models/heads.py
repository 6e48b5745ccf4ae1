"""What reads the maps of a backbone: each head turns them into logits, one a class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Pool = Literal["avg", "max", "avgmax"]
Transform = Literal["unit", "root", "layers", "layers-root"]
EPSILON = 1e-6  # under the square root: its slope at 0 is infinite


class Head(nn.Module, ABC):
    """Maps, shallow to deep, go in; logits (B, K) come out.

    Where features are cached, `vector` was applied before and `from_vector` is all that is left.
    """

    @abstractmethod
    def vector(self, stages: Sequence[Tensor], valid: Tensor | None = None) -> Tensor:
        """What the last layer sees of an image, (B, D): also used for nearest images.

        Args:
            valid: (B, h, w), which places of the waist are not padding; only pooling heads mind it.
        """

    @abstractmethod
    def from_vector(self, vectors: Tensor) -> Tensor:
        """(B, D) -> logits (B, K)."""

    def likeness(self, vectors: Tensor) -> Tensor:
        """The part of `vector` by which two images are compared, at length 1: (B, D')."""
        return F.normalize(vectors, dim=1)

    def forward(self, stages: Sequence[Tensor], valid: Tensor | None = None) -> Tensor:
        """Logits (B, K)."""
        return self.from_vector(self.vector(stages, valid))


class PooledHead(Head):
    """The waist's places pooled, dropout, one linear layer: what fine-tuning trains.

    Args:
        pool: `avg` their mean, `max` their largest, `avgmax` the mean of both.
    """

    def __init__(
        self, channels: int, classes: int, dropout: float = 0.0, pool: Pool = "avg"
    ) -> None:
        super().__init__()
        self.pool = pool
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(channels, classes)

    def vector(self, stages: Sequence[Tensor], valid: Tensor | None = None) -> Tensor:
        """(B, channels)."""
        return pooled_waist(stages[-1], self.pool, valid)

    def from_vector(self, vectors: Tensor) -> Tensor:
        """Logits (B, K)."""
        return self.linear(self.dropout(vectors))


class SigmoidHead(PooledHead):
    """One output z for two classes: p(second) = sigmoid(z), as the founding text's RNN has it.

    As logits that is (0, z): their softmax is (1 - sigmoid(z), sigmoid(z)).
    """

    def __init__(self, channels: int, dropout: float = 0.0) -> None:
        super().__init__(channels, 1, dropout)

    def from_vector(self, vectors: Tensor) -> Tensor:
        """Logits (B, 2)."""
        return F.pad(super().from_vector(vectors), (1, 0))


class FlattenHead(Head):
    """Flatten, dense 64 with ReLU, dense K: the founding text's head, fixed to one image size."""

    def __init__(self, places: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.hidden = nn.Linear(places, 64)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(64, classes)

    def vector(self, stages: Sequence[Tensor], valid: Tensor | None = None) -> Tensor:
        """(B, 64), after ReLU."""
        return F.relu(self.hidden(stages[-1].flatten(1)))

    def from_vector(self, vectors: Tensor) -> Tensor:
        """Logits (B, K)."""
        return self.linear(self.dropout(vectors))


class FeatureHead(Head):
    """A fixed transform of pooled stages, then one linear layer that scikit-learn fitted.

    Args:
        widths: channels of the pooled stages, shallow to deep; the last is the waist's.
        transform: `unit`: the waist's vector at length 1; `root`: its square root at length 1 (the
            waist must not be negative); `layers`: every stage at length 1, side by side;
            `layers-root`: the same with the root of the waist's (earlier stages are signed).
    """

    def __init__(self, widths: Sequence[int], classes: int, transform: Transform) -> None:
        super().__init__()
        self.widths, self.transform = tuple(widths), transform
        reads_all = transform.startswith("layers")
        self.linear = nn.Linear(sum(widths) if reads_all else widths[-1], classes)

    def vector(self, stages: Sequence[Tensor], valid: Tensor | None = None) -> Tensor:
        """(B, sum(widths)): the pooled stages, as they are cached."""
        return pooled(stages, self.widths)

    def likeness(self, vectors: Tensor) -> Tensor:
        """The waist's average at length 1."""
        return transformed(vectors, self.widths, "unit")

    def from_vector(self, vectors: Tensor) -> Tensor:
        """Logits (B, K)."""
        return self.linear(transformed(vectors, self.widths, self.transform))


def pooled_waist(waist: Tensor, pool: Pool, valid: Tensor | None = None) -> Tensor:
    """(B, C, h, w) -> (B, C); places where `valid` (B, h, w) is False count for nothing.

    >>> pooled_waist(torch.tensor([[[[1.0, 3.0]]]]), "avgmax").item()
    2.5
    """
    parts = []
    if pool in ("avg", "avgmax"):
        count = waist[0, 0].numel() if valid is None else valid.sum((1, 2))[:, None]
        parts.append(waist.sum((2, 3)) / count)  # what is not valid is zero
    if pool in ("max", "avgmax"):
        open_ = waist if valid is None else waist.masked_fill(~valid[:, None], -torch.inf)
        parts.append(open_.amax((2, 3)))
    return sum(parts[1:], parts[0]) / len(parts)


def pooled(stages: Sequence[Tensor], widths: Sequence[int]) -> Tensor:
    """The averages of the deepest len(widths) maps, side by side: (B, sum(widths)), float32."""
    deepest = stages[len(stages) - len(widths) :]
    return torch.cat([stage.float().mean((2, 3)) for stage in deepest], dim=1)


def transformed(vectors: Tensor, widths: Sequence[int], transform: Transform) -> Tensor:
    """Cached vectors (B, sum(widths)) -> what the linear layer reads.

    >>> transformed(torch.tensor([[9.0, 16.0]]), [2], "root")
    tensor([[0.6000, 0.8000]])
    """
    *earlier, waist = vectors.split(list(widths), dim=1)
    if transform.endswith("root"):
        waist = (waist + EPSILON).sqrt()
    parts = [*earlier, waist] if transform.startswith("layers") else [waist]
    return torch.cat([F.normalize(part, dim=1) for part in parts], dim=1)
