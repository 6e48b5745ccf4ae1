"""`mirror`: what an image shows when it is mirrored, for augmentation."""

from __future__ import annotations

from dataclasses import dataclass

from kenspeckle.knowledge.draft import Draft, tidy
from kenspeckle.knowledge.names import CLASS, shown
from kenspeckle.knowledge.problems import Place
from kenspeckle.knowledge.source import Node

MATTERS = "direction matters"


@dataclass(frozen=True)
class Mirrored:
    """A leaf that another one becomes in the mirror; None where it becomes nothing known."""

    leaf: int
    becomes: int | None
    place: Place


class Mirror:
    """Name -> what it becomes, both ways; `direction matters` lists what becomes nothing known.

    ```yaml
    mirror: {b: d, left turn: right turn, direction matters: [3, 7]}
    ```
    """

    def declare(self, node: Node, draft: Draft) -> None:
        """Nothing."""

    def state(self, node: Node, draft: Draft) -> None:
        """Add each, and the way back."""
        said: dict[int, Mirrored] = {}
        for key, value in draft.table(node, "`mirror`") or ():
            if key.text == MATTERS:
                for name in draft.texts(value, f"'{MATTERS}'"):
                    for leaf in draft.leaves(name, "What has a direction") or ():
                        self._add(Mirrored(leaf, None, name.place), said, draft)
                continue
            one = draft.leaves(tidy(key), "What is mirrored")
            other = draft.leaves(value, "What it becomes in the mirror")
            if one is None or other is None:
                continue
            if len(one) != 1 or len(other) != 1:
                group = key.text if len(one) != 1 else str(value)
                words = f"{shown(group)} is a group of classes. Name single classes here."
                draft.problem("E106", words, key.place)
                continue
            (a,), (b,) = one, other
            self._add(Mirrored(a, b, key.place), said, draft)
            self._add(Mirrored(b, a, key.place), said, draft)

    def _add(self, mirrored: Mirrored, said: dict[int, Mirrored], draft: Draft) -> None:
        before = said.setdefault(mirrored.leaf, mirrored)
        if before is mirrored:
            draft.add("mirror", mirrored)
        elif before.becomes != mirrored.becomes:
            leaf = draft.names.choices[CLASS].values[mirrored.leaf]
            words = (
                f"What '{leaf}' becomes in the mirror is said in line {before.place.line} already, "
                "otherwise. Take one of both out."
            )
            draft.problem("E110", words, mirrored.place, before.place)
