"""`frames`: in which order the classes of a clip's frames come, and how long each lasts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kenspeckle.errors import UsageError
from kenspeckle.knowledge.automaton import Automaton
from kenspeckle.knowledge.draft import Draft, tidy
from kenspeckle.knowledge.frames import frames
from kenspeckle.knowledge.names import CLASS, shown
from kenspeckle.knowledge.problems import Place
from kenspeckle.knowledge.source import Items, Node, Text

ORDER, NEVER, LASTS = "order", "never follows", "lasts at least"
LONGEST = 1000  # frames that a state may be said to last


@dataclass(frozen=True)
class FramesRule:
    """What sequences of classes a clip may show, a class a frame.

    Args:
        order: classes that may stay or go forward only.
        never: pairs (before, after).
        least: class -> frames of a run, at least.
        place: of the section.
    """

    order: tuple[str, ...]
    never: tuple[tuple[str, str], ...]
    least: Mapping[str, int]
    place: Place

    def automaton(self, names: Sequence[str]) -> Automaton:
        """The sequences of these names that it permits.

        Raises:
            UsageError: a class of the rules is not among the names, or too much would have to be
                remembered.

        >>> rule = FramesRule(("egg", "larva"), (), {}, Place(1, 1))
        >>> rule.automaton(["egg", "larva"]).accepts(["larva", "egg"])
        False
        """
        return frames(names, order=self.order, never_follows=self.never, lasts_at_least=self.least)


class Frames:
    """Of the classes, which are then states of what a clip shows.

    ```yaml
    frames:
      order: [egg, larva, pupa, adult]
      never follows: [[red, yellow]]
      lasts at least: {green: 5 frames}
    ```
    """

    def declare(self, node: Node, draft: Draft) -> None:
        """Nothing."""

    def state(self, node: Node, draft: Draft) -> None:
        """Add it, if every state can be come to."""
        before = len(draft.problems)
        table = draft.table(node, "`frames`")
        said = {} if table is None else dict(draft.known_keys(table, _KNOWN, "`frames`"))
        by_name = {key.text: value for key, value in said.items()}
        order = self._order(by_name, draft)
        never = self._never(by_name, draft)
        least = self._least(by_name, draft)
        if len(draft.problems) > before:
            return
        rule = FramesRule(tuple(order), tuple(never), least, node.place)
        names = draft.names.choices[CLASS].values
        try:
            rule.automaton(names)
        except UsageError as error:
            draft.problem("E303", str(error), node.place)
            return
        for name in closed(rule, names):
            words = (
                f"The state {shown(name)} can never begin: the order and 'never follows' together "
                "leave nothing that may come right before it. Take one of these rules out."
            )
            draft.problem("E302", words, order[name])
        draft.add("frames", rule)

    def _order(self, said: Mapping[str, Node], draft: Draft) -> dict[str, Place]:
        found: dict[str, Place] = {}
        for text in draft.texts(said[ORDER], f"'{ORDER}'", 2) if ORDER in said else ():
            name = _state(text, draft)
            if name in found:
                words = f"{shown(name)} is twice in the order. Say each state once."
                draft.problem("E110", words, text.place, found[name])
            elif name is not None:
                found[name] = text.place
        return found

    def _never(self, said: Mapping[str, Node], draft: Draft) -> list[tuple[str, str]]:
        found = []
        for pair in draft.items(said[NEVER], f"'{NEVER}'") if NEVER in said else ():
            if not isinstance(pair, Items) or len(pair.items) != 2:
                words = (
                    f"'{NEVER}' should hold pairs, as [[red, yellow]]: what is, what comes next."
                )
                draft.problem("E108", words, pair.place)
                continue
            before, after = (_state(item, draft) for item in pair.items)
            if before is not None and before == after:
                words = (
                    f"{shown(before)} never follows itself: then it could not last. Take it out."
                )
                draft.problem("E108", words, pair.place)
            elif before is not None and after is not None:
                found.append((before, after))
        return found

    def _least(self, said: Mapping[str, Node], draft: Draft) -> dict[str, int]:
        found: dict[str, int] = {}
        table = draft.table(said[LASTS], f"'{LASTS}'") if LASTS in said else None
        for key, value in table or ():
            name = _state(tidy(key), draft)
            text = value.text if isinstance(value, Text) else ""
            match = re.fullmatch(r"([0-9]{1,4})(?: frames?)?", text)
            if match is None or not 1 <= int(match[1]) <= LONGEST:
                words = f"How long {shown(key.text)} lasts should be frames, as '5 frames', 1 to "
                draft.problem("E107", f"{words}{LONGEST}; found {shown(text)}.", value.place)
            elif name is not None:
                found[name] = int(match[1])
        return found


_KNOWN = (ORDER, NEVER, LASTS, "why")


def closed(rule: FramesRule, names: Sequence[str]) -> list[str]:
    """States of the order, but for its first, that may come after no other state.

    >>> rule = FramesRule(("a", "b", "c"), (("a", "c"), ("b", "c")), {}, Place(1, 1))
    >>> closed(rule, ["a", "b", "c"]), closed(rule, ["a", "b", "c", "pause"])
    (['c'], [])
    """
    place = {name: number for number, name in enumerate(rule.order)}
    found = []
    for after in rule.order[1:]:
        ways = [
            before
            for before in names
            if before != after
            and (before, after) not in rule.never
            and place.get(before, -1) < place[after]
        ]
        if not ways:
            found.append(after)
    return found


def _state(node: Node, draft: Draft) -> str | None:
    """The class that is meant; None, noted, where it is no single one."""
    leaves = draft.leaves(node, "A state")
    if leaves is None:
        return None
    if len(leaves) != 1:
        words = f"{shown(str(node))} is a group of classes. A frame shows one: name a single class."
        draft.problem("E106", words, node.place)
        return None
    return draft.names.choices[CLASS].values[next(iter(leaves))]
