"""Which sequences of states a clip may show: their order, and how long each lasts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from kenspeckle.errors import UsageError, nearest
from kenspeckle.knowledge.automaton import REFUSED, Automaton, explored

_State = tuple[int, str, int]  # the furthest place in the order, the last name, frames it lasts


def frames(
    names: Sequence[str],
    *,
    order: Sequence[str] = (),
    never_follows: Collection[tuple[str, str]] = (),
    lasts_at_least: Mapping[str, int] | None = None,
) -> Automaton:
    """The sequences of names, one a frame, that obey all of the rules.

    A clip is a window into something longer, so it may begin and end anywhere: in the middle of the
    order, and in the middle of a run. A run that touches either end of the clip may be shorter than
    its name lasts.

    Args:
        names: of the states, the alphabet.
        order: these may stay or go forward only, over some of them too; names that are not in it
            may come anywhere between and change nothing.
        never_follows: pairs (before, after): `after` is never the frame right after `before`.
        lasts_at_least: name -> frames of a run, at least.

    Raises:
        UsageError: an unknown name, a name twice in the order, fewer than one frame, or durations
            so long that more than 5000 states were needed.

    >>> rules = frames(["egg", "larva", "pupa"], order=["egg", "larva", "pupa"],
    ...                lasts_at_least={"larva": 2})
    >>> rules.accepts(["egg", "larva", "larva", "pupa"]), rules.accepts(["egg", "larva", "pupa"])
    (True, False)
    >>> rules.accepts(["larva", "pupa"])  # the run was cut off by the beginning
    True
    """
    least = lasts_at_least or {}
    _must_be_known(names, [*order, *(name for pair in never_follows for name in pair), *least])
    if twice := [name for name in order if list(order).count(name) > 1]:
        raise UsageError(f"{twice[0]!r} is twice in the order. Say each name once.")
    if short := [name for name, count in least.items() if count < 1]:
        raise UsageError(f"{short[0]!r} lasts at least {least[short[0]]} frames: say 1 or more.")
    place = {name: number for number, name in enumerate(order)}
    forbidden = set(never_follows)

    def step(state: _State | None, name: str) -> _State | None:
        if state is None:
            return place.get(name, 0), name, least.get(name, 1)
        reached, last, lasted = state
        if (last, name) in forbidden or place.get(name, reached) < reached:
            return None
        if name == last:
            return reached, name, min(lasted + 1, least.get(name, 1))
        return (place.get(name, reached), name, 1) if lasted >= least.get(last, 1) else None

    what = "What the frames' rules remember"
    return explored(names, None, step, lambda state: True, what)


def unreachable(automaton: Automaton) -> list[str]:
    """The names that no accepted sequence of any length contains, in the alphabet's order.

    >>> from kenspeckle.knowledge.automaton import from_pattern
    >>> unreachable(from_pattern("ab*", "abc"))
    ['c']
    """
    refused = (automaton.trimmed().table == REFUSED).all(axis=0)
    return [automaton.alphabet[number] for number in np.flatnonzero(refused)]


def _must_be_known(names: Sequence[str], said: Sequence[str]) -> None:
    for name in said:
        if name not in names:
            raise UsageError(
                f"There is no state {name!r}{nearest(name, names)}; there are {', '.join(names)}."
            )
