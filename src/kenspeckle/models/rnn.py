"""Recurrent networks that sweep the image twice, both ways: along its rows, then its columns."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from kenspeckle.models.backbone import Backbone, masked, thinned
from kenspeckle.models.sequence import Cell, Recurrent


class Sweep(Backbone):
    """(B, 3, H, W) -> two maps; the waist is (B, 2 * hidden, H/4, W/4), sides rounded up.

    A convolution makes a step of each 4 x 4 pixels. Every row of steps is read by one recurrent
    network, from left to right and back; every column of its states by a second one, down and up.
    So each place of the waist has heard of the whole image.

    Args:
        cell: `rnn`, `lstm` or `gru`.
        hidden: units of one way.

    Source: Visin et al. 2015, arXiv:1505.00393 (ReNet), section 3.

    >>> import torch
    >>> Sweep("gru", 16).eval()(torch.rand(2, 3, 28, 28)).shape
    torch.Size([2, 32, 7, 7])
    """

    takes_valid = True
    stride = 4

    def __init__(self, cell: Cell, hidden: int = 96) -> None:
        super().__init__(3, mean=[0.5] * 3, std=[0.25] * 3)
        self.channels = 2 * hidden
        self.patch = nn.Conv2d(3, hidden, 4, 4)
        self.across = Recurrent(cell, hidden, hidden)
        self.down = Recurrent(cell, 2 * hidden, hidden)

    def stages(self, images: Tensor, valid: Tensor | None = None) -> list[Tensor]:
        """The map after the rows, and after the columns."""
        x = masked(self.prepare(images), valid)
        x = F.pad(x, [0, -x.shape[3] % 4, 0, -x.shape[2] % 4])  # sides that 4 does not divide
        valid = thinned(valid, 4)
        rows = masked(_along_rows(self.across, self.patch(x), valid), valid)
        turned = None if valid is None else valid.transpose(1, 2)
        columns = _along_rows(self.down, rows.transpose(2, 3), turned).transpose(2, 3)
        return [rows, masked(columns, valid)]


def _along_rows(encoder: Recurrent, x: Tensor, valid: Tensor | None) -> Tensor:
    """(B, C, h, w) -> (B, width, h, w), each row a sequence."""
    batch, _, rows, _ = x.shape
    steps = x.permute(0, 2, 3, 1).flatten(0, 1)  # (B h, w, C)
    lengths = None if valid is None else valid.flatten(0, 1).sum(1)
    states, _ = encoder(steps, lengths)
    return states.unflatten(0, (batch, rows)).permute(0, 3, 1, 2)


def simple() -> Sweep:
    """Simple tanh cells."""
    return Sweep("rnn")


def lstm() -> Sweep:
    """Long short-term memory."""
    return Sweep("lstm")


def gru() -> Sweep:
    """Gated recurrent units."""
    return Sweep("gru")
