"""A distribution over answers taken apart into choices that rules tie together.

Exactness follows from how it is taken apart. What is tied to the leaf alone (the attributes of
classes) is summed out leaf by leaf, whatever their number (K); what a single count ties together
goes by counts; any other group becomes a table of worlds (W). Only a group with too many worlds
goes to a solver (S), whose best answer is exact and whose sums are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from kenspeckle.errors import UsageError
from kenspeckle.knowledge.counted import Counted
from kenspeckle.knowledge.draft import Rule
from kenspeckle.knowledge.formulas import Choice, Clause, Count, Is, count_given, given, is_count
from kenspeckle.knowledge.names import CLASS
from kenspeckle.knowledge.solved import Solved
from kenspeckle.knowledge.worlds import REFUSED, Tie, Worlds, broken, permitted


@dataclass(frozen=True)
class Part:
    """A group of choices and how it is reckoned.

    Args:
        form: `K`, `W`, `count` or `S`.
        order: its choices, in the order of the values that `best` returns.
        module: with `log_z` and `best`.
    """

    form: str
    order: tuple[int, ...]
    module: Star | Counted | Free


class Star(nn.Module):
    """Worlds of a core, and choices that hang on the leaf alone, summed out for each leaf.

    Args:
        worlds: of the core; the leaf is among its choices if anything hangs on it.
        hanging: choice -> (L, values) log factors: 0, minus the strength of what is broken, or
            `REFUSED`.
        offsets: choice -> the number of its first atom.
        silent: choices of which no network says anything: the best of their values counts, not
            the sum, so that they make nothing likelier.
    """

    def __init__(
        self,
        worlds: Worlds | Solved,
        hanging: Mapping[int, Tensor],
        offsets: Mapping[int, int],
        silent: AbstractSet[int],
    ) -> None:
        super().__init__()
        self.worlds, self.hanging = worlds, tuple(hanging)
        self.silent = [choice in silent for choice in hanging]
        self.starts = [offsets[choice] for choice in self.hanging]
        for number, choice in enumerate(self.hanging):
            self.register_buffer(f"factors{number}", hanging[choice], persistent=False)
        self.leaf_at = offsets[CLASS] if self.hanging else -1

    def log_z(self, log_p: Tensor) -> Tensor:
        """(B,) log of the sum over all that is permitted."""
        return self.worlds.log_z(self._with(log_p, best=False))

    def best(self, log_p: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """(B, k) scores, best first, and (B, k, n) values: core first, then what hangs on it."""
        scores, core = self.worlds.best(self._with(log_p, best=True), k)
        if not self.hanging:
            return scores, core
        leaf = core[:, :, self.worlds.order.index(CLASS)]
        own = [self._options(log_p, number, leaf) for number in range(len(self.hanging))]
        own = [_only_best(t) if s else t for t, s in zip(own, self.silent, strict=True)]
        if k == 1:
            values = [table.argmax(2, keepdim=True) for table in own]
            return scores, torch.cat([core, *values], 2)
        rest = scores - sum(table.max(2).values for table in own)
        joint, values_ = own[0].sort(2, descending=True)
        joint, chosen = joint[..., :k], values_[..., :k, None]
        for table in own[1:]:
            joint, chosen = _merged(joint, chosen, table, k)
        total = (rest[..., None] + joint).flatten(1)  # k worlds times k ways of each hold the best
        found, place = total.topk(min(k, total.shape[1]), 1)
        ways = joint.shape[2]
        whole = torch.cat([core[:, :, None].expand(-1, -1, ways, -1), chosen], 3).flatten(1, 2)
        return found, whole.gather(1, place[..., None].expand(-1, -1, whole.shape[2]))

    def _options(self, log_p: Tensor, number: int, leaf: Tensor | None = None) -> Tensor:
        """(B, L, values) log p of each value under each leaf, or (B, k, values) under leaf."""
        factors: Tensor = getattr(self, f"factors{number}")
        start = self.starts[number]
        chosen = factors if leaf is None else factors[leaf]
        return log_p[:, None, start : start + factors.shape[1]] + chosen

    def _with(self, log_p: Tensor, best: bool) -> Tensor:
        """log p with what hangs on each leaf added to it."""
        if not self.hanging:
            return log_p
        sums = torch.zeros(len(log_p), 1, dtype=log_p.dtype, device=log_p.device)
        for number in range(len(self.hanging)):
            options = self._options(log_p, number)
            only = best or self.silent[number]
            sums = sums + (options.max(2).values if only else options.logsumexp(2))
        leaves = sums.shape[1]
        at = self.leaf_at
        parts = (log_p[:, :at], log_p[:, at : at + leaves] + sums, log_p[:, at + leaves :])
        return torch.cat(parts, 1).clamp(min=REFUSED)


def _only_best(table: Tensor) -> Tensor:
    """A choice that no network hears has no second best: the others are refused."""
    best = table.argmax(-1, keepdim=True)
    return torch.full_like(table, REFUSED).scatter(-1, best, table.gather(-1, best))


class Free(nn.Module):
    """Choices that no rule speaks of: each has its own best.

    Args:
        order: the choices.
        sizes: choice -> how many values it has.
        offsets: choice -> the number of its first atom.
    """

    places: Tensor
    beyond: Tensor
    last: Tensor
    is_silent: Tensor

    def __init__(
        self,
        order: Sequence[int],
        sizes: Mapping[int, int],
        offsets: Mapping[int, int],
        silent: AbstractSet[int],
    ) -> None:
        super().__init__()
        quiet = torch.tensor([choice in silent for choice in order])
        self.register_buffer("is_silent", quiet, persistent=False)
        most = max(sizes[choice] for choice in order)
        values = torch.arange(most)[None]
        starts = torch.tensor([offsets[choice] for choice in order])[:, None]
        count = torch.tensor([sizes[choice] for choice in order])[:, None]
        self.register_buffer("beyond", values >= count, persistent=False)
        self.register_buffer("last", count[:, 0] - 1, persistent=False)
        self.register_buffer("places", starts + values.minimum(count - 1), persistent=False)

    def log_z(self, log_p: Tensor) -> Tensor:
        """(B,) log of the sum over all values of all choices."""
        tables = self._tables(log_p)
        return torch.where(self.is_silent, tables.max(2).values, tables.logsumexp(2)).sum(1)

    def best(self, log_p: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """(B, k) scores, best first, and (B, k, n) values."""
        tables = self._tables(log_p)
        if k == 1:
            found, values = tables.max(2)
            return found.sum(1, keepdim=True), values[:, None]
        tables = torch.where(self.is_silent[:, None], _only_best(tables), tables)
        joint, values = tables[:, :1].topk(min(k, tables.shape[2]), 2)
        chosen = values[..., None]
        for at in range(1, tables.shape[1]):
            joint, chosen = _merged(joint, chosen, tables[:, None, at], k)
        return joint[:, 0], chosen[:, 0].minimum(self.last)  # what fills up is refused by its score

    def _tables(self, log_p: Tensor) -> Tensor:
        return log_p[:, self.places].masked_fill(self.beyond, REFUSED)


def _merged(joint: Tensor, chosen: Tensor, table: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best ways of what was so far and one more choice."""
    ways, values = joint.shape[2], table.shape[2]
    total = (joint[..., None] + table[:, :, None]).flatten(2)
    found, place = total.topk(min(k, ways * values), 2)
    before = chosen.gather(2, (place // values)[..., None].expand(-1, -1, -1, chosen.shape[3]))
    return found, torch.cat([before, (place % values)[..., None]], 3)


def planned(
    choices: Sequence[Choice],
    rules: Sequence[Rule],
    clauses: Sequence[tuple[Clause, ...] | None],
    told: Mapping[int, int | None],
    offsets: Mapping[int, int],
    silent: AbstractSet[int] = frozenset(),
) -> list[Part]:
    """The parts of the distribution, for side columns that say these values.

    Args:
        told: choice -> value of each side column, None where nobody told it: of rules that speak of
            it, clauses without it stay.
        silent: choices without a logit.

    Raises:
        UsageError: what is told leaves no answer.
    """
    sizes = {i: len(choice.values) for i, choice in enumerate(choices) if i not in told}
    ties = _ties(rules, clauses, told)
    # Leaves that no network hears are one world to it, so nothing may hang on them.
    core, pairs = (ties, []) if CLASS in silent else _split(ties, sizes)
    hanging: dict[int, list[Tie]] = {}
    for choice, tie in pairs:
        hanging.setdefault(choice, []).append(tie)
    groups = _groups(core, [choice for choice in sizes if choice not in hanging])
    group_of = {choice: at for at, group in enumerate(groups) for choice in group}
    ties_of: list[list[Tie]] = [[] for _ in groups]
    for tie in core:
        ties_of[group_of[min(tie.choices)] if tie.choices else 0].append(tie)
    parts, free = [], []
    for group, own in zip(groups, ties_of, strict=True):
        if len(group) == 1 and not own and group != [CLASS]:
            free += group
            continue
        counted = _alone(own, group, sizes, offsets, silent)
        if counted is not None:
            parts.append(Part("count", counted.order, counted))
            continue
        worlds = _worlds(group, own, sizes, offsets, silent)
        extra = _factors(hanging, sizes) if CLASS in group else {}
        form = "S" if isinstance(worlds, Solved) else "K" if len(group) == 1 else "W"
        parts.append(Part(form, (*worlds.order, *extra), Star(worlds, extra, offsets, silent)))
    if free:
        parts.append(Part("K", tuple(free), Free(free, sizes, offsets, silent)))
    return parts


def _ties(
    rules: Sequence[Rule],
    clauses: Sequence[tuple[Clause, ...] | None],
    told: Mapping[int, int | None],
) -> list[Tie]:
    ties = []
    for rule, own in zip(rules, clauses, strict=True):
        count = None
        if isinstance(rule.formula, Count) and is_count(rule.formula):
            count = count_given(rule.formula, told)
        left = None if own is None else tuple(given(own, told))
        if left or (left is None and count is not None):
            ties.append(Tie(left, count, rule.strength))
    return ties


def _split(
    ties: Sequence[Tie], sizes: Mapping[int, int]
) -> tuple[list[Tie], list[tuple[int, Tie]]]:
    """Ties of the core, and those between the leaf and one choice that nothing else ties."""
    pairs: list[tuple[int, Tie]] = []
    core: list[Tie] = []
    with_leaf: set[int] = set()
    bound: set[int] = set()
    for tie in ties:
        if len(tie.choices) == 2 and CLASS in tie.choices:
            with_leaf |= tie.choices - {CLASS}
        elif len(tie.choices) > 1:
            bound |= tie.choices
    hanging = with_leaf - bound
    for tie in ties:
        others = tie.choices - {CLASS}
        if len(others) == 1 and others <= hanging:
            pairs.append((next(iter(others)), tie))
        else:
            core.append(tie)
    return core, pairs


def _groups(ties: Sequence[Tie], choices: Sequence[int]) -> list[list[int]]:
    """Choices joined by ties, each group in order."""
    group_of = {choice: {choice} for choice in choices}
    for tie in ties:
        joined = set().union(*(group_of[choice] for choice in tie.choices))
        for choice in joined:
            group_of[choice] = joined
    seen: dict[int, list[int]] = {}
    for choice in choices:
        seen.setdefault(id(group_of[choice]), sorted(group_of[choice]))
    return list(seen.values())


def _alone(
    ties: Sequence[Tie],
    group: Sequence[int],
    sizes: Mapping[int, int],
    offsets: Mapping[int, int],
    silent: AbstractSet[int],
) -> Counted | None:
    """The count that alone ties a group of yes-or-no choices together, if that is how it is."""
    if (
        len(ties) != 1
        or silent & set(group)
        or ties[0].count is None
        or ties[0].count.most < 0
        or ties[0].strength is not None
        or len(group) < 2
        or CLASS in group
        or ties[0].count.least > len(ties[0].count.parts)
    ):
        return None
    count = ties[0].count
    literals = [part for part in count.parts if isinstance(part, Is)]
    spoken = [part.choice for part in literals]
    if len(set(spoken)) < len(spoken) or any(len(part.values) != 1 for part in literals):
        return None
    if any(sizes[choice] != 2 for choice in group):
        return None
    return Counted(count, offsets)


def _worlds(
    group: Sequence[int],
    ties: Sequence[Tie],
    sizes: Mapping[int, int],
    offsets: Mapping[int, int],
    silent: AbstractSet[int],
) -> Worlds | Solved:
    own = {choice: sizes[choice] for choice in group}
    found = permitted(ties, own)
    if found is None:
        return Solved(ties, offsets, own, silent)
    order, rows = found
    if not len(rows):
        raise UsageError("What is told beside the image and the rules leave no answer at all.")
    place = {choice: at for at, choice in enumerate(order)}
    weights = np.zeros(len(rows))
    for tie in ties:
        if tie.strength is not None:
            weights -= tie.strength * broken(tie, rows, place)
    heard = [at for at, choice in enumerate(order) if choice not in silent]
    if len(heard) < len(order):  # of worlds that a network cannot tell apart the best one stays
        best = np.argsort(-weights, kind="stable")
        _, first = np.unique(rows[best][:, heard], axis=0, return_index=True)
        kept = np.sort(best[first])
        rows, weights = rows[kept], weights[kept]
    return Worlds(order, rows, weights, offsets, sizes)


def _factors(hanging: Mapping[int, Sequence[Tie]], sizes: Mapping[int, int]) -> dict[int, Tensor]:
    """(L, values) of each choice that hangs on the leaf."""
    found = {}
    for choice, ties in hanging.items():
        leaves, values = np.divmod(np.arange(sizes[CLASS] * sizes[choice]), sizes[choice])
        rows = np.stack([leaves, values], 1).astype(np.int16)
        factors = np.zeros(len(rows))
        for tie in ties:
            wrong = broken(tie, rows, {CLASS: 0, choice: 1})
            factors[wrong] -= -REFUSED if tie.strength is None else tie.strength
        table = factors.reshape(sizes[CLASS], sizes[choice]).clip(REFUSED)
        found[choice] = torch.from_numpy(table).float()
    return found
