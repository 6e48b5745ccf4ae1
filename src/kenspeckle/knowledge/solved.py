"""S: choices that rules tie into too many worlds for a table, by a solver for weighted clauses.

The best answer is proved to be the best. Probabilities are not exact: they are sums over some
hundred likely worlds, so that p(rules) is a lower bound and what is likely looks likelier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from threading import Timer

import numpy as np
import torch
from numpy.typing import NDArray
from pysat.examples.rc2 import RC2
from pysat.formula import WCNF
from torch import Tensor, nn

from kenspeckle.errors import UsageError
from kenspeckle.knowledge.encoding import Encoding
from kenspeckle.knowledge.formulas import YES, Is
from kenspeckle.knowledge.worlds import REFUSED, Table, Tie, broken, permitted

SCALE = 1000  # the solver's weights are whole numbers: thousandths of a nat
MOST = 1e6  # nats; what is less likely than this beside another value is never said
LIMIT = 20.0  # seconds for the best world of one image


class Solved(nn.Module):
    """The best world of one image after the other by RC2, and likely ones by a beam.

    Args:
        ties: the rules over these choices.
        offsets: choice -> the number of its first atom among all atoms.
        sizes: choice -> how many values it has; only of these.
        silent: choices without a logit; worlds that differ in these alone count once.

    Source: Ignatiev, Morgado and Marques-Silva 2019, RC2: an Efficient MaxSAT Solver.
    """

    def __init__(
        self,
        ties: Sequence[Tie],
        offsets: Mapping[int, int],
        sizes: Mapping[int, int],
        silent: AbstractSet[int],
    ) -> None:
        super().__init__()
        self.ties, self.sizes, self.order = ties, sizes, tuple(sizes)
        self.starts = torch.tensor([offsets[choice] for choice in self.order])
        self.place = {choice: at for at, choice in enumerate(self.order)}
        self.heard = [at for at, choice in enumerate(self.order) if choice not in silent]
        self.strengths: dict[int, float] = {}  # selector of each soft rule
        self.clauses: list[list[int]] = []
        self.encoding = Encoding(sizes, self.clauses.append)
        for tie in ties:
            selector = self.encoding.new()
            for clause in tie.clauses or ():
                literals = [self.encoding.literal(part) for part in clause]
                self.clauses.append([*literals, -selector])
            if tie.clauses is None and tie.count is not None:
                self.encoding.count(tie.count, selector)
            if tie.strength is None:
                self.clauses.append([selector])
            else:
                self.strengths[selector] = tie.strength

    def log_z(self, log_p: Tensor) -> Tensor:
        """(B,) log of the sum over the likely worlds that are found: a lower bound."""
        return torch.stack([self._scored(own, self._likely(own))[0].logsumexp(0) for own in log_p])

    def best(self, log_p: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """(B, k) scores, best first, and (B, k, n) values.

        The first is the best; the others are of the likely worlds that were found. Where there are
        fewer, refused ones fill up.
        """
        scores = log_p.new_full((len(log_p), k), REFUSED)
        values = torch.zeros(len(log_p), k, len(self.order), dtype=torch.long, device=log_p.device)
        for row, own in enumerate(log_p):
            worlds = self._likely(own) if k > 1 else self._best(own)
            found, chosen = self._scored(own, worlds)
            top, at = found.topk(min(k, len(found)))
            scores[row, : len(top)], values[row, : len(top)] = top, chosen[at]
        return scores, values

    def _scored(self, log_p: Tensor, worlds: Table) -> tuple[Tensor, Tensor]:
        """(W,) log p of each world and (W, n) its values; one that is refused where there is none.

        Args:
            log_p: (atoms,) of one image.
        """
        chosen = torch.from_numpy(worlds.astype(np.int64)).to(log_p.device)
        if not len(worlds):
            chosen = chosen.new_zeros(1, len(self.order))
            return log_p.new_full((1,), REFUSED) + 0 * log_p.sum(), chosen
        weights = np.zeros(len(worlds))
        for tie in self.ties:
            if tie.strength is not None:
                weights -= tie.strength * broken(tie, worlds, self.place)
        sums = log_p[chosen + self.starts.to(log_p.device)].sum(1)
        return (sums + torch.from_numpy(weights).to(sums)).clamp(min=REFUSED), chosen

    def _likely(self, log_p: Tensor) -> Table:
        """(W, n) likely worlds, the best among them; none where all are refused."""
        best = self._best(log_p)
        if not len(best):
            return best
        own = {c: self._of(log_p.detach().double().tolist(), c) for c in self.order}
        found = permitted(self.ties, self.sizes, own)
        assert found is not None  # a beam is never too wide
        order, rows = found
        rows = rows[:, [order.index(choice) for choice in self.order]]
        rows = np.concatenate([best, rows])
        _, first = np.unique(rows[:, self.heard], axis=0, return_index=True)
        return rows[np.sort(first)]

    def _best(self, log_p: Tensor) -> Table:
        """(1, n) the best world, or (0, n) where none is permitted.

        Raises:
            UsageError: it was not found in time.
        """
        formula = WCNF()
        formula.extend(self.clauses)
        for literal, cost in self._costs(log_p.detach().double().tolist()):
            weight = round(SCALE * cost)
            if cost == MOST:
                formula.append([literal])
            elif weight:
                formula.append([literal], weight=weight)
        for selector, strength in self.strengths.items():
            formula.append([selector], weight=max(1, round(SCALE * strength)))
        with RC2(formula) as solver:
            clock = Timer(LIMIT, solver.interrupt)
            clock.start()
            try:
                model = solver.compute(expect_interrupt=True)
                is_late = not clock.is_alive()
            finally:
                clock.cancel()
        if model is not None:
            return np.array([self._read(model)], dtype=np.int16)
        if is_late:
            raise UsageError(
                f"The rules tie {len(self.order)} choices together, and the best answer was not "
                f"found in {LIMIT:g} seconds. Leave out rules that join what has little to do with "
                "each other."
            )
        return np.zeros((0, len(self.order)), dtype=np.int16)

    def _of(self, log_p: Sequence[float], choice: int) -> NDArray[np.float64]:
        start = int(self.starts[self.place[choice]])
        return np.array(log_p[start : start + self.sizes[choice]])

    def _costs(self, log_p: Sequence[float]) -> list[tuple[int, float]]:
        """Literals, and what it costs in nats that one is not so; `MOST` where it must be."""
        found = []
        for choice in self.order:
            own = self._of(log_p, choice)
            top = int(own.argmax())
            if len(own) == 2:
                literal = self.encoding.literal(Is(choice, frozenset({top})))
                found.append((literal, min(MOST, float(own[top] - own[1 - top]))))
                continue
            for value, cost in enumerate((own[top] - own).tolist()):
                literal = -self.encoding.literal(Is(choice, frozenset({value})))
                found.append((literal, min(MOST, cost)))
        return found

    def _read(self, model: Sequence[int]) -> list[int]:
        so = {variable for variable in model if variable > 0}
        world = []
        for choice in self.order:
            variables = self.encoding.values[choice]
            if self.sizes[choice] == 2:
                world.append(YES if variables[0] in so else 1 - YES)
            else:
                world.append(next(v for v, name in enumerate(variables) if name in so))
        return world
