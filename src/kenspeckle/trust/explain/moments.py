"""When in a clip the answer comes from: how much each of its frames speaks for a class."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ACROSS = 12  # frames side by side
FOR = (0, 68, 136)  # dark blue, L* 28: told from the other without seeing hues
AGAINST = (238, 119, 51)  # orange, L* 64
PAPER, MIDDLE = 255, 128

Pixels = NDArray[np.uint8]


def moments(answer: Callable[[Tensor], Tensor], steps: Tensor, target: int) -> Tensor:
    """How much each frame of a clip speaks for a class, (T,) in [-1, 1].

    The probability of `target`, minus what it is when the frame's features are replaced by the mean
    of the clip's other frames. A clip of one frame has nothing to be replaced by: 0.

    Args:
        answer: clips (B, T, D) -> probabilities (B, K).
        steps: (T, D) features of the frames.
        target: the class's number.

    Source: occlusion over time; Zeiler and Fergus 2014, arXiv:1311.2901, section 4.2, with the mean
    instead of grey.

    >>> steps = torch.tensor([[1.0], [0.0], [0.0]])
    >>> moments(lambda clips: clips.mean(1), steps, 0)  # 1/3; without the first frame 0
    tensor([ 0.3333, -0.1667, -0.1667])
    """
    count = len(steps)
    if count == 1:
        return torch.zeros(1)
    others = (steps.sum(0) - steps) / (count - 1)
    replaced = steps.expand(count, *steps.shape).clone()
    places = torch.arange(count)
    replaced[places, places] = others
    with torch.no_grad():
        said = answer(torch.cat([steps[None], replaced]))[:, target]
    return said[0] - said[1:]


def strip(frames: Sequence[Pixels], weights: Sequence[float]) -> Pixels:
    """The frames side by side, at most 12 in a row, each over a bar of its weight: (H, W, 3).

    A bar starts in the middle of its frame: to the right, dark blue, where the frame speaks for the
    class; to the left, orange, against it. The largest weight fills half of the width; where all
    are 0 there are no bars.

    Args:
        frames: T of one size, (h, w, 3).
        weights: T, as `moments` gives them.
    """
    height, width = frames[0].shape[:2]
    bar = max(4, height // 12)
    gap = max(1, width // 32)
    high, wide = height + bar + 2 * gap, width + gap
    rows, columns = -(-len(frames) // ACROSS), min(len(frames), ACROSS)
    sheet = np.full((rows * high, columns * wide, 3), PAPER, dtype=np.uint8)
    largest = max(map(abs, weights)) or 1.0
    for number, (frame, weight) in enumerate(zip(frames, weights, strict=True)):
        top, left = number // ACROSS * high, number % ACROSS * wide
        sheet[top : top + height, left : left + width] = frame
        low, middle = top + height + gap, left + width // 2
        long = round(abs(weight) / largest * (width // 2))
        begin = middle if weight > 0 else middle - long
        sheet[low : low + bar, begin : begin + long] = FOR if weight > 0 else AGAINST
        sheet[low : low + bar, middle] = MIDDLE
    return sheet
