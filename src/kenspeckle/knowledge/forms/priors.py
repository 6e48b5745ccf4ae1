"""`priors`: how much likelier what is told beside the pixels makes each class."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

from kenspeckle.errors import KenError
from kenspeckle.knowledge.draft import Draft, Prior, tidy
from kenspeckle.knowledge.names import shown
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
            column, value, file = table.get("column"), table.get("value"), table.get("table")
            if not isinstance(column, Text) or (value is None) == (file is None):
                words = (
                    "A prior needs 'column', and either a 'value' with factors, as {column: "
                    "region, value: antarctica, penguin: x20}, or a 'table'."
                )
                draft.problem("E105", words, table.place)
            elif file is not None:
                self._from_file(draft, column, file, table)
            elif not isinstance(value, Text):
                words = "What follows 'value' should be a single value."
                draft.problem("E105", words, table.place)
            else:
                self._by_hand(draft, column, value, table)

    def _by_hand(self, draft: Draft, column: Text, value: Text, table: Table) -> None:
        factors: dict[int, float] = {}
        own = [(key, said) for key, said in table if key.text not in _OWN]
        if not own:
            words = "This prior has no factors. Give some, as {..., penguin: x20}."
            draft.problem("E105", words, table.place)
        for key, said in own:
            leaves = draft.leaves(tidy(key), "What a prior is about")
            what = f"The factor of '{key.text}' (x20, x0.01)"
            factor = draft.number(_factor(said) if isinstance(said, Text) else said, what, 0)
            if leaves is not None and factor is not None:
                factors.update(dict.fromkeys(leaves, factor))
        self._check_value(draft, column, value)
        draft.add("priors", Prior(column.text, {value.text: factors}, table.place))

    def _check_value(self, draft: Draft, column: Text, value: Text) -> None:
        number = draft.names.number(column.text)
        if number is not None and draft.names.value(number, value.text) is None:
            draft.no_value(column.text, number, value)

    def _from_file(self, draft: Draft, column: Text, file: Node, table: Table) -> None:
        if not isinstance(file, Text):
            words = "What follows 'table' should be the name of a file beside the rules file."
            draft.problem("E502", words, file.place)
            return
        try:
            rows = list(csv.reader(io.StringIO(draft.beside.text(file.text))))
        except UnicodeDecodeError:
            said = "it is no UTF-8 text"
        except OSError as error:
            said = error.strerror or str(error)
        except (KenError, ValueError, csv.Error) as error:
            said = str(error)
        else:
            self._read_rows(draft, column, file, table, rows)
            return
        words = f"The table {shown(file.text)} cannot be read: {said.removesuffix('.')}."
        draft.problem("E502", words, file.place)

    def _read_rows(
        self, draft: Draft, column: Text, file: Text, table: Table, rows: list[list[str]]
    ) -> None:
        head = rows[0] if rows else []
        if len(head) < 2:
            words = (
                f"The table '{file.text}' should begin with a row of names: '{column.text}', then "
                f"classes. Found {shown(','.join(head)) if head else 'nothing'}."
            )
            draft.problem("E502", words, file.place)
            return
        what = f"A column of the table '{file.text}'"
        leaves = [draft.leaves(Text(name, file.place), what) for name in head[1:]]
        factors: dict[str, dict[int, float]] = {}
        for number, row in enumerate(rows[1:], 2):
            if not row:
                continue  # an empty line
            if len(row) != len(head) or row[0] in factors:
                words = f"Row {number} of '{file.text}' has {len(row)} cells, not {len(head)}."
                if row[0] in factors:
                    words = f"Row {number} of '{file.text}' is the second of {shown(row[0])}."
                draft.problem("E502", words + " Mend the table.", file.place)
                continue
            self._check_value(draft, column, Text(row[0], file.place))
            own = factors.setdefault(row[0], {})
            for name, of, cell in zip(head[1:], leaves, row[1:], strict=True):
                what = f"The factor of {shown(name)} in row {number} of '{file.text}'"
                factor = draft.number(_factor(Text(cell.strip(), file.place)), what, 0)
                if of is not None and factor is not None:
                    own.update(dict.fromkeys(of, factor))
        draft.add("priors", Prior(column.text, factors, table.place, True))


def _factor(text: Text) -> Text:
    """`x20` as 20."""
    return replace(text, text=text.text.removeprefix("x").removeprefix("×") or text.text)
