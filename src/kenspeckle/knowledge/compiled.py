"""Rules as one exact distribution over answers, for the logits of any PyTorch network."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from kenspeckle.errors import DataError, UsageError
from kenspeckle.knowledge.explained import Explanation, explained
from kenspeckle.knowledge.formulas import Choice, Is, choices_of, holds, holds_in
from kenspeckle.knowledge.names import CLASS, hint
from kenspeckle.knowledge.plan import Part, planned
from kenspeckle.knowledge.worlds import BEAM, REFUSED

if TYPE_CHECKING:
    from kenspeckle.knowledge.rules import Rules

LARGEST = 1e6  # of a logit; an infinite one would make nan of what is refused
MOST_KEPT = 10_000  # worlds of which is remembered that they break nothing; some megabytes
FEW = 8  # worlds that are asked one by one: 243 rules take 0.6 ms then, over arrays 3.4
Told = Mapping[str, str]
"""Side column -> its value for one image."""


@dataclass(frozen=True)
class Decoded:
    """An answer that breaks no hard rule.

    Args:
        values: name of each choice that has a logit -> the name of its value; yes and no of tags.
        log_p: log p(answer | rules).
        log_permitted: log p_net(hard rules): how much of its belief is permitted at all.
        own: what the network alone would say, value by value.
        broken: numbers of the rules that its own answer breaks, soft ones too.
        price: nats by which the answer is less likely to the network than its own.
    """

    values: Mapping[str, str]
    log_p: float
    log_permitted: float
    own: Mapping[str, str]
    broken: tuple[int, ...]
    price: float


class BrokenRule(RuntimeError):
    """An answer breaks a hard rule: a fault of ours, so it is not returned."""


class Compiled(nn.Module):
    """`Rules.compile`: takes logits (B, D), one for each of `outputs`.

    Leaves share one softmax, values of an attribute another, tags and plain attributes have a
    sigmoid each. What has no logit is silent: it makes no answer likelier, and only has to leave
    one that the rules permit.

    Args:
        rules: a file that was checked.
        outputs: see `Rules.compile`.

    >>> from kenspeckle.knowledge.rules import Rules
    >>> rules = Rules.parse("classes: [cat, car]\\ntags: [night]\\nrules: [never cat and night]")
    >>> compiled = rules.compile(["cat", "car", "night"])
    >>> answer = compiled.decode(torch.tensor([[2.0, 0.0, 1.0]]))[0]
    >>> answer.values, answer.broken, round(answer.price, 2)
    ({'class': 'cat', 'night': 'no'}, (0,), 1.0)
    """

    place: Tensor

    def __init__(self, rules: Rules, outputs: Sequence[str] | None = None) -> None:
        super().__init__()
        self.rules = rules
        self.choices: tuple[Choice, ...] = rules.choices
        self.offsets, total = {}, 0
        for number, choice in enumerate(self.choices):
            if choice.kind != "known":
                self.offsets[number] = total
                total += len(choice.values)
        self.atoms = total
        self.outputs = tuple(_all_outputs(rules) if outputs is None else outputs)
        self.columns = _columns(rules, self.outputs)
        self.silent = frozenset(self.offsets) - frozenset(self.columns)
        self.register_buffer("place", torch.zeros(0), persistent=False)  # where plans belong
        self._spoken = [sorted(choices_of(rule.formula)) for rule in rules.rules]
        self._hard = np.array([rule.strength is None for rule in rules.rules], dtype=bool)
        self.hard: Compiled | None = None
        if not self._hard.all():
            self.hard = Compiled(_only(rules, self._hard.tolist()), self.outputs)
        self._kept: set[bytes] = set()  # worlds that were seen to break no hard rule
        self._plans: dict[tuple[int | None, ...], list[Part]] = {}
        self._parts(())

    def algorithms(self, told: Sequence[Told] = ()) -> str:
        """Which algorithms reckon it, as words, and whether they are exact."""
        forms = dict.fromkeys(part.form for part in self._parts(self._keys(told, 1)[0]))
        words = {"K": "closed form", "W": "table of worlds", "count": "sum over counts"}
        words["S"] = f"a solver (the answer is exact; probabilities are over {BEAM} likely worlds)"
        exact = " (exact)" if self.is_exact(told) else ", approximate"
        return ", ".join(words[form] for form in forms) + exact

    def is_exact(self, told: Sequence[Told] = ()) -> bool:
        """Whether probabilities are; answers always are."""
        return all(part.form != "S" for part in self._parts(self._keys(told, 1)[0]))

    def log_p(self, logits: Tensor) -> Tensor:
        """(B, D) logits -> (B, atoms) log p_net of each value of each choice.

        Raises:
            UsageError: there are not as many logits as outputs.
        """
        if logits.ndim != 2 or logits.shape[1] != len(self.outputs):
            raise UsageError(
                f"The rules were compiled for {len(self.outputs)} outputs, and the logits have "
                f"the shape {tuple(logits.shape)}."
            )
        logits = logits.float().clamp(-LARGEST, LARGEST)
        pieces = []
        for number, choice in enumerate(self.choices):
            if choice.kind == "known":
                continue
            columns = self.columns.get(number)
            if columns is None:
                pieces.append(logits.new_zeros(len(logits), len(choice.values)))
            elif choice.is_plain:
                yes = logits[:, columns[0], None]
                pieces.append(F.logsigmoid(torch.cat([-yes, yes], 1)))
            else:
                hears = any(self.choices[c].kind == "attribute" for c in self.columns)
                pieces.append(_filled(logits, columns, hears).log_softmax(1).clamp(min=REFUSED))
        return torch.cat(pieces, 1)

    def log_permitted(self, logits: Tensor, told: Sequence[Told] = ()) -> Tensor:
        """(B,) log p_net(hard rules), 0 at most: what soft rules find rare is still permitted."""
        return self._log_hard(self.log_p(logits), told)

    def _log_hard(self, log_p: Tensor, told: Sequence[Told]) -> Tensor:
        hard = self if self.hard is None else self.hard
        return hard._log_z(log_p, told).clamp(max=0)

    def observed(self, labels: Sequence[str | Mapping[str, str | bool]]) -> Tensor:
        """What was seen of each image -> (B, atoms) bool, which values it leaves open.

        Args:
            labels: a sentence over classes, tags and attributes, or a mapping of names to values.
                `husky` is a leaf, `dog` a parent, `!husky` not this, `husky|malamute` one of both,
                `snow` a tag; a mapping says several things: `{"class": "dog", "snow": True}`.
                Blank says nothing.

        Raises:
            DataError: a name is not known.
        """
        rows = torch.ones(len(labels), self.atoms, dtype=torch.bool)
        for row, label in enumerate(labels):
            for choice, values in self._seen(label).items():
                start = self.offsets[choice]
                own = rows[row, start : start + len(self.choices[choice].values)]
                keep = torch.zeros_like(own)
                keep[list(values)] = True
                own &= keep
        return rows

    def loss(
        self,
        logits: Tensor,
        observed: Tensor,
        told: Sequence[Told] = (),
        weights: Tensor | None = None,
    ) -> Tensor:
        """The mean of `losses`, weighted by image."""
        each = self.losses(logits, observed, told)
        return each.mean() if weights is None else (each * weights).sum() / weights.sum()

    def losses(self, logits: Tensor, observed: Tensor, told: Sequence[Told] = ()) -> Tensor:
        """(B,) -log p_net(observed and rules).

        A full label trains as without rules, a partial one as a sum over what it permits, and an
        image of which nothing was seen by the semantic loss (Xu et al. 2018, arXiv:1711.11157).
        Where what was seen breaks a hard rule the rules are left out: plain cross-entropy.

        Args:
            observed: as `observed` returns.

        Raises:
            UsageError: something was seen of a choice that has no logit.
        """
        for choice in self.silent:
            if not bool(observed[:, self._of(choice)].all()):
                name = self.choices[choice].name
                raise UsageError(f"A label says something of '{name}', which has no output.")
        log_p = self.log_p(logits)
        seen = log_p.masked_fill(~observed.to(log_p.device), REFUSED)
        found = self._log_z(seen, told)
        plain = torch.stack([seen[:, self._of(c)].logsumexp(1) for c in self.columns]).sum(0)
        return -torch.where(found > REFUSED / 2, found, plain)

    def contradicts(self, observed: Tensor, told: Sequence[Told] = ()) -> Tensor:
        """(B,) whether what was seen of an image breaks a hard rule."""
        seen = observed.to(self.place.device)
        flat = torch.zeros(len(seen), self.atoms, device=seen.device).masked_fill(~seen, REFUSED)
        return self._log_z(flat, told) <= REFUSED / 2

    def possible(self, observed: Tensor) -> Tensor:
        """(B, atoms) bool: which values are left by what was seen of an image and the hard rules.

        What contradicts the rules keeps what was seen of it; nothing is found out of choices that
        have no logit.
        """
        hard = self if self.hard is None else self.hard
        if not hard.is_exact():
            return self._provably_possible(observed)
        # In float64, where one world among 2^1000 others still shows.
        modules = [copy.deepcopy(part.module).double() for part in hard._parts(())]
        seen = observed.to(self.place.device)
        with torch.enable_grad():
            flat = torch.zeros(len(seen), self.atoms, device=seen.device).double()
            flat = flat.masked_fill(~seen, REFUSED).requires_grad_()
            log_z = torch.stack([module.log_z(flat) for module in modules]).sum(0)
            (found,) = torch.autograd.grad(log_z.sum(), flat)
        left = found > 0
        for choice in self.silent:
            left[:, self._of(choice)] = seen[:, self._of(choice)]
        return torch.where((log_z > REFUSED / 2)[:, None], left, seen)

    def _provably_possible(self, observed: Tensor) -> Tensor:
        """`possible`, asked value by value of a SAT solver."""
        from kenspeckle.knowledge.proof import Proof  # which reads rules, as this file's users do

        left = observed.clone()
        proof = Proof(self.rules)
        try:
            for row, seen in enumerate(observed.tolist()):
                open_ = {c: [v for v, s in enumerate(seen[self._of(c)]) if s] for c in self.offsets}
                said = [Is(c, frozenset(values)) for c, values in open_.items()]
                if not proof.possible(*said):
                    continue
                for choice in self.columns:
                    for value in open_[choice]:
                        one = Is(choice, frozenset({value}))
                        left[row, self.offsets[choice] + value] = proof.possible(*said, one)
        finally:
            proof.close()
        return left

    def marginals(self, logits: Tensor, told: Sequence[Told] = ()) -> Tensor:
        """(B, atoms) p(value | rules) of each value of each choice; those of a choice sum to 1."""
        with torch.enable_grad():
            log_p = self.log_p(logits).detach().requires_grad_()
            (found,) = torch.autograd.grad(self._log_z(log_p, told).sum(), log_p)
        return found.clamp(min=0)

    def decode(self, logits: Tensor, told: Sequence[Told] = ()) -> list[Decoded]:
        """The likeliest answer of each image that keeps all hard rules.

        Raises:
            BrokenRule: an answer breaks one all the same, which is a fault of ours.
            UsageError: what is told leaves no answer, or none that the network knows.
        """
        return [rows[0] for rows in self.decode_best(logits, told)]

    def worlds(self, logits: Tensor, told: Sequence[Told] = ()) -> NDArray[np.int64]:
        """(B, choices) the values of `decode`'s answers as numbers, for many images at once.

        The order is that of `rules.choices`; -1 is a side column that nobody told.

        Raises:
            BrokenRule: as `decode`.
            UsageError: what is told leaves no answer.
        """
        with torch.no_grad():
            log_p = self.log_p(logits)
            found = np.zeros((len(log_p), len(self.choices)), dtype=np.int64)
            for key, rows in self._batches(told, len(log_p)).items():
                own = log_p if len(rows) == len(log_p) else log_p[rows]
                scores, values = self._best(self._parts(key), own, 1)
                _check_known(scores)
                found[rows] = self._whole(values[:, 0], key)
        self._check(found)
        return found

    def decode_best(
        self, logits: Tensor, told: Sequence[Told] = (), k: int = 1
    ) -> list[list[Decoded]]:
        """The k likeliest answers of each image, best first; fewer where there are fewer."""
        with torch.no_grad():
            log_p = self.log_p(logits)
            total = self._log_z(log_p, told).tolist()
            permitted = self._log_hard(log_p, told).tolist()
            own_values = torch.stack([log_p[:, self._of(c)].argmax(1) for c in self.offsets], 1)
            own_scores = self._net(log_p, own_values).tolist()
            found: list[list[Decoded]] = [[] for _ in range(len(log_p))]
            for key, rows in self._batches(told, len(log_p)).items():
                scores, values = self._best(self._parts(key), log_p[rows], k)
                _check_known(scores)
                own = self._whole(own_values[rows], key)
                own[:, list(self.silent)] = -1  # of these the network says nothing
                broken = self.broken(own)
                answers = self._whole(values.flatten(0, 1), key)
                self._check(answers[(scores > REFUSED / 2).flatten().cpu().numpy()])
                nets = self._net(log_p[rows, None].expand(-1, values.shape[1], -1), values).tolist()
                for place, row in enumerate(rows):
                    said = self._named(own[place])
                    wrong = tuple(np.flatnonzero(broken[place]).tolist())
                    for at, score in enumerate(scores[place].tolist()):
                        if score <= REFUSED / 2:
                            break
                        answer = Decoded(
                            values=self._named(answers[place * values.shape[1] + at]),
                            log_p=score - total[row],
                            log_permitted=permitted[row],
                            own=said,
                            broken=wrong,
                            price=own_scores[row] - nets[place][at],
                        )
                        found[row].append(answer)
            return found

    def explain(self, logits: Tensor, told: Told | None = None) -> Explanation:
        """The answer to one image, (D,) or (1, D), and its reasons."""
        return explained(self, logits, told)

    def broken(self, worlds: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(N, rules) which rules each world breaks, read off the rules themselves.

        Args:
            worlds: (N, choices) values, -1 for what nobody told: no rule that asks for it speaks.
        """
        if len(worlds) <= FEW:
            rows = [
                [self._is_broken(number, w) for number in range(len(self._hard))]
                for w in worlds.tolist()
            ]
            return np.array(rows, dtype=bool).reshape(len(worlds), len(self._hard))
        columns = []
        for rule, spoken in zip(self.rules.rules, self._spoken, strict=True):
            asked = (worlds[:, spoken] >= 0).all(1)
            columns.append(asked & ~holds_in(rule.formula, worlds))
        return np.stack(columns, 1) if columns else np.zeros((len(worlds), 0), dtype=bool)

    def _is_broken(self, number: int, world: Sequence[int]) -> bool:
        asked = all(world[choice] >= 0 for choice in self._spoken[number])
        return asked and not holds(self.rules.rules[number].formula, world)

    def _check(self, worlds: NDArray[np.int64]) -> None:
        """The guarantee: what is about to be said breaks no hard rule."""
        keys = [world.tobytes() for world in worlds]
        new = {key: row for row, key in enumerate(keys) if key not in self._kept}
        rows = worlds[list(new.values())]
        wrong = self.broken(rows) & self._hard
        if wrong.any():
            row, number = (int(where[0]) for where in np.nonzero(wrong))
            rule = self.rules.rules[number]
            raise BrokenRule(f"{rule.name} ({rule.words}) is broken by {self._named(rows[row])}")
        if len(self._kept) + len(new) > MOST_KEPT:
            self._kept.clear()
        self._kept.update(list(new)[:MOST_KEPT])

    def _whole(self, values: Tensor, key: tuple[int | None, ...]) -> NDArray[np.int64]:
        """(N, choices) with what was told filled in."""
        worlds = np.full((len(values), len(self.choices)), -1, dtype=np.int64)
        worlds[:, list(self.offsets)] = values.cpu().numpy()
        for choice, told in zip(self.rules.known, key, strict=True):
            worlds[:, choice] = -1 if told is None else told
        return worlds

    def _named(self, world: NDArray[np.int64]) -> dict[str, str]:
        spoken = [c for c in self.columns if c != CLASS or self.rules.leaves]
        return {self.choices[c].name: self.choices[c].values[world[c]] for c in spoken}

    def _net(self, log_p: Tensor, values: Tensor) -> Tensor:
        """(..., atoms) log p and (..., choices) values -> (...) log p_net of them together."""
        starts = torch.tensor(list(self.offsets.values()), device=log_p.device)
        return log_p.gather(-1, values + starts).sum(-1)

    def _best(self, parts: Sequence[Part], log_p: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """(B, k) scores and (B, k, choices) values over all parts."""
        joint = log_p.new_zeros(len(log_p), 1)
        chosen = torch.zeros(len(log_p), 1, 0, dtype=torch.long, device=log_p.device)
        order: list[int] = []
        for part in parts:
            scores, values = part.module.best(log_p, k)
            order += part.order
            ways, more = joint.shape[1], scores.shape[1]
            total = (joint[:, :, None] + scores[:, None]).flatten(1)
            joint, place = total.topk(min(k, ways * more), 1)
            before = chosen.gather(1, (place // more)[..., None].expand(-1, -1, chosen.shape[2]))
            now = values.gather(1, (place % more)[..., None].expand(-1, -1, values.shape[2]))
            chosen = torch.cat([before, now], 2)
        back = torch.tensor([order.index(choice) for choice in self.offsets], device=log_p.device)
        return joint, chosen[:, :, back]

    def _log_z(self, log_p: Tensor, told: Sequence[Told]) -> Tensor:
        batches = self._batches(told, len(log_p))
        if len(batches) == 1:
            parts = self._parts(next(iter(batches)))
            return torch.stack([part.module.log_z(log_p) for part in parts]).sum(0)
        found = log_p.new_zeros(len(log_p))
        for key, rows in batches.items():
            sums = [part.module.log_z(log_p[rows]) for part in self._parts(key)]
            places = torch.tensor(rows, device=log_p.device)
            found = found.index_add(0, places, torch.stack(sums).sum(0))
        return found

    def _parts(self, key: tuple[int | None, ...]) -> list[Part]:
        full = key or (None,) * len(self.rules.known)
        if full not in self._plans:
            told = dict(zip(self.rules.known, full, strict=True))
            rules = self.rules
            self._plans[full] = planned(
                self.choices, rules.rules, rules.clauses, told, self.offsets, self.silent
            )
            for number, part in enumerate(self._plans[full]):
                self.add_module(
                    f"plan{len(self._plans)}_{number}", part.module.to(self.place.device)
                )
        return self._plans[full]

    def _batches(self, told: Sequence[Told], count: int) -> dict[tuple[int | None, ...], list[int]]:
        """Rows by what is told of them."""
        keys = self._keys(told, count)
        if len(set(keys)) == 1:
            return {keys[0]: list(range(count))}
        found: dict[tuple[int | None, ...], list[int]] = {}
        for row, key in enumerate(keys):
            found.setdefault(key, []).append(row)
        return found

    def _keys(self, told: Sequence[Told], count: int) -> list[tuple[int | None, ...]]:
        if not self.rules.known or not told:
            return [(None,) * len(self.rules.known)] * count
        if len(told) != count:
            raise UsageError(f"Side data are told for {len(told)} of {count} images.")
        return [tuple(self._told(one, choice) for choice in self.rules.known) for one in told]

    def _told(self, told: Told, number: int) -> int | None:
        choice = self.choices[number]
        value = told.get(choice.name, "")
        if value == "":
            return None
        if value not in choice.values:
            raise DataError(
                f"The column '{choice.name}' has no value '{value}'{hint(value, choice.values)} "
                f"The rules know: {', '.join(choice.values)}."
            )
        return choice.values.index(value)

    def _of(self, choice: int) -> slice:
        start = self.offsets[choice]
        return slice(start, start + len(self.choices[choice].values))

    def _seen(self, label: str | Mapping[str, str | bool]) -> dict[int, frozenset[int]]:
        if isinstance(label, Mapping):
            found: dict[int, frozenset[int]] = {}
            for name, value in label.items():
                said = value if isinstance(value, str) else ("yes" if value else "no")
                number = self.rules.number.get(name)
                if number is None or number not in self.offsets:
                    raise DataError(f"There is no '{name}'{hint(name, self.rules.number)}")
                if number == CLASS:
                    found |= self._seen(said)
                    continue
                values = self.choices[number].values
                if said not in values:
                    raise DataError(f"'{name}' has no value '{said}'{hint(said, values)}")
                found[number] = frozenset({values.index(said)})
            return found
        if not label:
            return {}
        formula = self.rules.said(label)
        if not isinstance(formula, Is):
            raise DataError(f"The label '{label}' says several things; give them as a mapping.")
        return {formula.choice: formula.values}


def _check_known(scores: Tensor) -> None:
    """Refuse images of which only classes are left that no network hears."""
    if bool((scores[:, 0] <= REFUSED / 2).any()):
        raise UsageError("What is told and the rules leave no answer that the network knows.")


def _only(rules: Rules, kept: Sequence[bool]) -> Rules:
    """The same with some of the rules alone."""
    return replace(
        rules,
        rules=tuple(compress(rules.rules, kept)),
        clauses=tuple(compress(rules.clauses, kept)),
    )


def _all_outputs(rules: Rules) -> list[str]:
    found = [leaf for leaf in rules.leaves if leaf not in rules.unseen]
    for choice in rules.choices[1:]:
        if choice.is_plain:
            found.append(choice.name)
        elif choice.kind == "attribute":
            found += [f"{choice.name} is {value}" for value in choice.values]
    return found


def _columns(rules: Rules, outputs: Sequence[str]) -> dict[int, list[int]]:
    """Choice -> the columns of its logits, one a value (-1: none), or the one of its yes."""
    found: dict[int, list[int]] = {}
    for column, name in enumerate(outputs):
        number = rules.number.get(name)
        if name in rules.leaves:
            own = found.setdefault(CLASS, [-1] * len(rules.leaves))
            place = rules.leaves.index(name)
        elif number is not None and rules.choices[number].is_plain:
            own, place = found.setdefault(number, [-1]), 0
        else:
            number, place = _value(rules, name)
            own = found.setdefault(number, [-1] * len(rules.choices[number].values))
        if own[place] != -1:
            raise UsageError(f"Two outputs are called '{name}'.")
        own[place] = column
    for number, own in found.items():
        choice = rules.choices[number]
        without = [v for v, c in zip(choice.values, own, strict=False) if c == -1]
        if number == CLASS:
            without = [leaf for leaf in without if leaf not in rules.unseen]
        if without:
            raise UsageError(
                f"The outputs lack '{without[0]}' of '{choice.name}'. All values need one, but for "
                "classes under `unseen`."
            )
    return found


def _value(rules: Rules, name: str) -> tuple[int, int]:
    attribute, _, value = name.partition(" is ")
    number = rules.number.get(attribute)
    is_valued = number is not None and rules.choices[number].kind == "attribute"
    if number is not None and is_valued and value in rules.choices[number].values:
        return number, rules.choices[number].values.index(value)
    known = [*rules.leaves, *rules.number]
    raise UsageError(f"There is no class, tag or attribute '{name}'{hint(name, known)}")


def _filled(logits: Tensor, columns: Sequence[int], hears: bool) -> Tensor:
    """Logits by value; a leaf without one gets what the others have on average.

    Args:
        hears: some attribute has a logit; else nothing could tell such a leaf, and it is refused.
    """
    if -1 not in columns:
        first, last = columns[0], columns[-1] + 1
        if list(columns) == list(range(first, last)):  # a view: indexing by a list takes 15 us
            return logits[:, first:last]
        return logits[:, list(columns)]
    with_one = logits[:, [column for column in columns if column != -1]]
    mean = with_one.logsumexp(1, keepdim=True) - math.log(with_one.shape[1])
    mean = mean if hears else torch.full_like(mean, REFUSED)
    pieces = [mean if column == -1 else logits[:, column, None] for column in columns]
    return torch.cat(pieces, 1)
