"""Why an answer under rules is what it is: the network's own answer, and which rules spoke."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from kenspeckle.errors import UsageError
from kenspeckle.knowledge.formulas import Is
from kenspeckle.words import percent

if TYPE_CHECKING:
    from kenspeckle.knowledge.compiled import Compiled, Decoded, Told

MOST_RULES = 5  # rules of which it is asked what the answer would be without them
LITTLE = 0.05  # share of a network's belief that the rules permit, below which it is worth a word


@dataclass(frozen=True)
class Spoken:
    """A rule that the network's own answer breaks.

    Args:
        name: `L6`.
        line: in the file.
        words: what it says.
        strength: None is hard.
        without: what would be answered without it, where that is another answer: name -> value.
    """

    name: str
    line: int
    words: str
    strength: float | None
    without: Mapping[str, str] | None


@dataclass(frozen=True)
class Explanation:
    """One answer and its reasons.

    Args:
        values: name -> value of everything that is said.
        answer: the same of what is not `no`.
        probability: p(answer | rules).
        permitted: p_net(hard rules): what the network believes in all that is permitted.
        own: what the network alone would say, where it differs: name -> value.
        price: nats by which the answer is less likely to the network than its own.
        rules: those that its own answer breaks; where it breaks none by itself, those that
            together exclude it.
        next: the runner-up and its probability, or None.
        algorithms: how it was reckoned.
        file: where the rules stand.
    """

    values: Mapping[str, str]
    answer: Mapping[str, str]
    probability: float
    permitted: float
    own: Mapping[str, str]
    price: float
    rules: tuple[Spoken, ...]
    next: tuple[Mapping[str, str], float] | None
    algorithms: str
    file: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """As text, a line each."""
        return lines_of(self.as_dict())


def lines_of(why: Mapping[str, Any]) -> list[str]:
    """`Explanation.lines` of its plain values, as an answer carries them."""
    said = [f"answer  {_said(why['answer'])} ({percent(why['probability'])})"]
    if why["own"]:
        said.append(f"alone   the network would say {_said(why['own'])}")
    for rule in why["rules"]:
        kind = "" if rule["strength"] is None else f", strength {rule['strength']:g}"
        place = f"{why['file']}:{rule['line']}{kind}" if rule["line"] else "beside the image"
        said.append(f"rule    {rule['name']} {rule['words']} ({place})")
        if rule["without"] is not None:
            said.append(f"        without it: {_said(rule['without'])}")
    if why["price"] > 0:
        said.append(f"price   {why['price']:.2f} nats less likely to the network than its own")
    if why["permitted"] < LITTLE:
        share = percent(why["permitted"])
        said.append(f"beware  the network puts {share} on all that the rules permit")
    if why["next"] is not None:
        said.append(f"next    {_said(why['next'][0])} ({percent(why['next'][1])})")
    said.append(f"by      {why['algorithms']}")
    return said


def explained(compiled: Compiled, logits: Tensor, told: Told | None = None) -> Explanation:
    """The answer to one image and its reasons.

    Args:
        logits: (D,) or (1, D).
    """
    one = logits.reshape(1, -1)
    beside = () if told is None else (told,)
    best, *others = compiled.decode_best(one, beside, k=2)[0]
    rules = compiled.rules.rules
    spoken = [
        Spoken(
            rule.name,
            rule.place.line,
            rule.words,
            rule.strength,
            _without(compiled, number, one, told, best) if at < MOST_RULES else None,
        )
        for at, number in enumerate(best.broken or _forcing(compiled, best, told))
        for rule in (rules[number],)
    ]
    return Explanation(
        values=best.values,
        answer=_positive(best.values),
        probability=math.exp(best.log_p),
        permitted=min(1.0, math.exp(best.log_permitted)),
        own=_changed(best.own, best.values),
        price=best.price,
        rules=tuple(spoken),
        next=(_changed(others[0].values, best.values), math.exp(others[0].log_p))
        if others
        else None,
        algorithms=compiled.algorithms(beside),
        file=compiled.rules.file,
    )


def _forcing(compiled: Compiled, best: Decoded, told: Told | None) -> list[int]:
    """The smallest set of hard rules that together exclude the network's own answer.

    None of them need be broken by it alone: `car` breaks neither `car has wheels` nor a person's
    `no wheels`.
    """
    if best.own == best.values:
        return []
    from kenspeckle.knowledge.proof import Proof  # which reads rules, as this file's users do

    rules = compiled.rules
    said = []
    known = {rules.choices[number].name for number in rules.known}
    beside = ((n, v) for n, v in (told or {}).items() if v and n in known)
    for name, value in [*best.own.items(), *beside]:
        number = rules.number[name]
        said.append(Is(number, frozenset({rules.choices[number].values.index(value)})))
    proof = Proof(rules)
    try:
        return proof.core(*said)
    finally:
        proof.close()


def without_rule(compiled: Compiled, number: int) -> Compiled:
    """The same distribution without one rule."""
    rules = compiled.rules

    def others(all_: tuple[Any, ...]) -> tuple[Any, ...]:
        return all_[:number] + all_[number + 1 :]

    fewer = replace(rules, rules=others(rules.rules), clauses=others(rules.clauses))
    return type(compiled)(fewer, compiled.outputs)


def _without(
    compiled: Compiled, number: int, logits: Tensor, told: Told | None, best: Decoded
) -> dict[str, str] | None:
    """What would be answered without a rule, in what differs; None where nothing does."""
    beside = () if told is None else (told,)
    try:
        other = without_rule(compiled, number).decode(logits, beside)[0]
    except UsageError:  # without it too much is open to be found in time
        return None
    return _changed(other.values, best.values) or None


def _positive(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value != "no"}


def _changed(values: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if other[name] != value}


def _said(values: Mapping[str, str]) -> str:
    """As a person would say it.

    >>> _said({"class": "cat", "night": "yes", "snow": "no", "legs": "4"})
    'cat, night, not snow, legs 4'
    """
    words = []
    for name, value in values.items():
        plain = {"yes": name, "no": f"not {name}"}.get(value)
        words.append(value if name == "class" else plain or f"{name} {value}")
    return ", ".join(words) or "nothing"
