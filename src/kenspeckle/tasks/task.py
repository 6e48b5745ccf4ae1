"""What a network is asked: its head, its loss, how its output is said, how it is scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from torch import Tensor, nn

from kenspeckle.answer import Answer
from kenspeckle.data.batch import Batch
from kenspeckle.models.backbone import Backbone
from kenspeckle.models.heads import Head
from kenspeckle.score import Score

Net = TypeVar("Net", bound=nn.Module)


class Network(nn.Module):
    """A backbone and the head a task hung on it.

    `head` reads all the maps; where features are cached its `from_vector` reads those instead.
    """

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """The task's raw outputs (logits), never probabilities."""
        return self.head(self.backbone.stages(images))


class Task(ABC, Generic[Net]):
    """One question that can be asked of any backbone."""

    @abstractmethod
    def network(self, backbone: Backbone) -> Net:
        """The network that answers it: two named parts, `backbone` and `head`."""

    @abstractmethod
    def collate(self, labels: Sequence[str | None]) -> Tensor:
        """Labels as people write them -> the numbers the loss reads."""

    @abstractmethod
    def loss(self, network: Net, batch: Batch, player: str) -> Tensor:
        """The mean loss of a batch, weighted by `batch.weights`; a scalar."""

    @abstractmethod
    def decode(self, outputs: Tensor, paths: Sequence[str]) -> list[Answer]:
        """Raw outputs (B, ...) -> one answer an image."""

    @abstractmethod
    def score(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> Mapping[str, Score]:
        """Named scores with intervals; `*_score` is better higher, `*_error` lower."""

    def players(self, network: Net) -> Mapping[str, nn.Module]:
        """The parts that are trained against each other; for most tasks the network alone."""
        return {"network": network}
