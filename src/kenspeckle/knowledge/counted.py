"""Counting alone: so many of a list of yes-or-no choices, by a sum over counts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from kenspeckle.knowledge.formulas import YES, Count, Is
from kenspeckle.knowledge.worlds import REFUSED


class Counted(nn.Module):
    """`exactly`, `at most`, `at least` so many of n choices that no other rule ties together.

    Args:
        count: of literals over different yes-or-no choices.
        offsets: choice -> the number of its first atom.
    """

    hit: Tensor
    miss: Tensor

    def __init__(self, count: Count, offsets: Mapping[int, int]) -> None:
        super().__init__()
        parts = [part for part in count.parts if isinstance(part, Is)]
        self.order = tuple(part.choice for part in parts)
        self.least, self.most = count.least, count.most
        yes = [YES in part.values for part in parts]
        first = [offsets[choice] for choice in self.order]
        hit = [a + int(y) for a, y in zip(first, yes, strict=True)]
        miss = [a + 1 - int(y) for a, y in zip(first, yes, strict=True)]
        self.register_buffer("hit", torch.tensor(hit), persistent=False)
        self.register_buffer("miss", torch.tensor(miss), persistent=False)
        self.register_buffer("yes", torch.tensor(yes).long(), persistent=False)

    yes: Tensor

    def log_z(self, log_p: Tensor) -> Tensor:
        """(B,) log of the sum over all ways: a row of sums by count, choice by choice."""
        hit, miss = log_p[:, self.hit], log_p[:, self.miss]
        sums = torch.full((len(log_p), self.most + 1), REFUSED, dtype=log_p.dtype)
        sums = sums.to(log_p.device)
        sums[:, 0] = 0
        for at in range(len(self.order)):
            more = torch.nn.functional.pad(sums[:, :-1], (1, 0), value=REFUSED)
            sums = torch.logaddexp(sums + miss[:, at, None], more + hit[:, at, None])
        return sums[:, self.least :].logsumexp(1)

    def best(self, log_p: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """(B, k) scores, best first, and (B, k, n) values."""
        batch, n = len(log_p), len(self.order)
        hit, miss = log_p[:, self.hit], log_p[:, self.miss]
        if k == 1:
            gains, order = (hit - miss).sort(1, descending=True)
            sums = torch.nn.functional.pad(gains.cumsum(1), (1, 0))[:, self.least : self.most + 1]
            gain, count = sums.max(1)
            taken = torch.arange(n, device=log_p.device)[None] < (count + self.least)[:, None]
            hits = torch.zeros_like(taken).scatter(1, order, taken)
            return (miss.sum(1) + gain)[:, None], self._values(hits)[:, None]
        # the k best of each count, choice by choice, with the hits that lead there
        scores = torch.full((batch, self.most + 1, 1), REFUSED, device=log_p.device)
        scores[:, 0] = 0
        hits = torch.zeros(batch, self.most + 1, 1, n, dtype=torch.bool, device=log_p.device)
        for at in range(n):
            more = torch.full_like(scores, REFUSED)
            more[:, 1:] = scores[:, :-1]
            with_hit = torch.zeros_like(hits)
            with_hit[:, 1:] = hits[:, :-1]
            with_hit[..., at] = True
            both = torch.cat([scores + miss[:, at, None, None], more + hit[:, at, None, None]], 2)
            scores, found = both.topk(min(k, both.shape[2]), 2)
            every = torch.cat([hits, with_hit], 2)
            hits = every.gather(2, found[..., None].expand(-1, -1, -1, n))
        scores, hits = scores[:, self.least :].flatten(1), hits[:, self.least :].flatten(1, 2)
        best, found = scores.topk(min(k, scores.shape[1]), 1)
        return best, self._values(hits.gather(1, found[..., None].expand(-1, -1, n)))

    def _values(self, hits: Tensor) -> Tensor:
        return torch.where(hits, self.yes, 1 - self.yes)
