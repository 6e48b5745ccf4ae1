"""`mirror`: what an image shows when it is mirrored, for augmentation."""

from __future__ import annotations

from dataclasses import dataclass

from kenspeckle.knowledge.draft import Draft, tidy
from kenspeckle.knowledge.problems import Place
from kenspeckle.knowledge.source import Node, Table, Text

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
        table = draft.table(node, "`mirror`")
        for key, value in table or Table((), node.place):
            if key.text == MATTERS:
                for name in draft.texts(value, f"'{MATTERS}'"):
                    for leaf in draft.leaves(name, "What has a direction") or ():
                        draft.add("mirror", Mirrored(leaf, None, name.place))
                continue
            one, other = draft.leaves(tidy(key), "What is mirrored"), None
            if isinstance(value, Text):
                other = draft.leaves(tidy(value), "What it becomes")
            if one is None or other is None:
                continue
            if len(one) != 1 or len(other) != 1:
                words = "What is mirrored should be single classes, not groups of them."
                draft.problem("E106", words, key.place)
                continue
            (a,), (b,) = one, other
            draft.add("mirror", Mirrored(a, b, key.place))
            draft.add("mirror", Mirrored(b, a, key.place))
