"""What a restorer is chosen by."""

from __future__ import annotations

import torch
from torch import nn

from kenspeckle.data.batch import Batch
from kenspeckle.models.restorer import Restored
from kenspeckle.tasks.restore import Restore


class Off(nn.Module):
    """Always off by as much, and sure to be."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, images, sigma, quality, mask):
        deviation = torch.full((len(images), 1, *images.shape[2:]), self.by)
        return Restored(torch.full_like(images, 0.2 + self.by), 2 * deviation.log())


def test_weights_are_chosen_by_how_near_the_images_come_not_by_how_sure_it_is():
    clean = torch.full((4, 3, 16, 16), round(0.2 * 255), dtype=torch.uint8)
    batch = Batch(clean, torch.zeros(4), torch.ones(4), torch.arange(4))
    task = Restore(["noise"])
    losses = [float(task.loss(Off(by).eval(), batch, "network")) for by in (0.02, 0.05, 0.2, 0.8)]
    assert losses == sorted(losses)
    assert losses[0] > 0
