"""`priors`: how much likelier what is told beside the pixels makes each class."""

from __future__ import annotations

import csv
import io

from kenspeckle.errors import KenError
from kenspeckle.files import inside
from kenspeckle.knowledge.draft import Draft, Prior, tidy
from kenspeckle.knowledge.source import Node, Table, Text

_OWN = ("column", "value", "table", "why")


class Priors:
    """By hand, a factor a class; or a table, a row a value and a column a class.

    ```yaml
    priors:
      - {column: region, value: antarctica, penguin: x20, sparrow: x0.01}
      - {column: month, table: month_species.csv}
    ```
    """

    def declare(self, node: Node, draft: Draft) -> None:
        """Nothing."""

    def state(self, node: Node, draft: Draft) -> None:
        """Add each."""
        for item in draft.items(node, "`priors`"):
            table = draft.table(item, "A prior")
            if table is None:
                continue
            column, value = table.get("column"), table.get("value")
            file = table.get("table")
            if not isinstance(column, Text) or (value is None) == (file is None):
                words = "A prior needs 'column', and either a 'value' with factors or a 'table'."
                draft.problem("E105", words, table.place)
            elif file is not None:
                self._from_file(draft, column, file, table)
            else:
                self._by_hand(draft, column, value, table)

    def _by_hand(self, draft: Draft, column: Text, value: Node | None, table: Table) -> None:
        factors: dict[int, float] = {}
        for key, said in table:
            if key.text in _OWN:
                continue
            leaves = draft.leaves(tidy(key), "What a prior is about")
            text = Text(str(said).removeprefix("x").removeprefix("×"), said.place)
            factor = draft.number(text, f"The factor of '{key.text}' (x20, x0.01)", 0)
            if leaves is not None and factor is not None:
                factors.update(dict.fromkeys(leaves, factor))
        draft.add("priors", Prior(column.text, {str(value): factors}, table.place))

    def _from_file(self, draft: Draft, column: Text, file: Node, table: Table) -> None:
        if draft.folder is None or not isinstance(file, Text):
            draft.problem("E502", "A table is a file beside the rules file.", file.place)
            return
        try:
            path = inside(draft.folder, file.text, "the rules file")
            rows = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"))))
        except (KenError, OSError, ValueError, csv.Error) as error:
            draft.problem("E502", f"The table '{file.text}' cannot be read: {error}.", file.place)
            return
        head, *body = rows or [[]]
        leaves = []
        for name in head[1:]:
            found = draft.leaves(Text(name, file.place), f"A column of '{file.text}'")
            leaves.append(found)
        factors: dict[str, dict[int, float]] = {}
        for number, row in enumerate(body, 2):
            if len(row) != len(head):
                words = f"Row {number} of '{file.text}' has {len(row)} cells, not {len(head)}."
                draft.problem("E502", words, file.place)
                return
            own = factors.setdefault(row[0], {})
            for of, cell in zip(leaves, row[1:], strict=True):
                what = f"Row {number} of '{file.text}'"
                factor = draft.number(Text(cell, file.place), what, 0)
                if of is not None and factor is not None:
                    own.update(dict.fromkeys(of, factor))
        draft.add("priors", Prior(column.text, factors, table.place))
