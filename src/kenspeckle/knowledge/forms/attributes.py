"""`attributes`: what classes look like; what is not said of a class is unknown, not false."""

from __future__ import annotations

import math

from kenspeckle.knowledge.draft import Draft, tidy
from kenspeckle.knowledge.formulas import NO, YES, Any, Choice, Formula, Is, Not
from kenspeckle.knowledge.names import CLASS, shown
from kenspeckle.knowledge.problems import Place
from kenspeckle.knowledge.source import Items, Node, Table, Text

ONE_OF, VALUES, USUALLY = "one of", "values", "usually"
_PLAIN = {"always": YES, "never": NO}


class Attributes:
    """Plain ones by `always`, `never` and `usually P`; others by `one of` and `values`.

    ```yaml
    attributes:
      has wings:   {always: [bird, plane], never: [dog, cat]}
      can be blue: {usually 0.3: [car], never: [husky]}
      legs:        {one of: [0, 2, 4], values: {bird: 2, dog: 4, vehicle: 0}}
    ```
    """

    def declare(self, node: Node, draft: Draft) -> None:
        """Add each as a choice."""
        for key, value in draft.table(node, "`attributes`") or ():
            name = draft.new_name(key)
            listed = value.get(ONE_OF) if isinstance(value, Table) else None
            values: tuple[str, ...] = ("no", "yes")
            if listed is not None:
                texts = draft.texts(listed, f"The values of '{key.text}' ('{ONE_OF}')", least=2)
                values = tuple(dict.fromkeys(text.text for text in texts))
                if len(values) < len(texts):
                    words = f"'{key.text}' has a value twice. Take one of both out."
                    draft.problem("E108", words, listed.place)
            if name is not None:
                draft.names.add_choice(Choice(name.text, values, "attribute"), name.place)

    def state(self, node: Node, draft: Draft) -> None:
        """Add a rule for each class that something is said of."""
        for key, value in draft.table(node, "`attributes`") or ():
            name = tidy(key)
            number = draft.names.number(name.text)
            table = draft.table(value, f"What is said of '{name.text}'")
            if number is None or table is None or draft.names.places[name.text] != name.place:
                continue
            if table.get(ONE_OF) is None:
                _state_plain(draft, name, number, table)
            else:
                for said_key, values in draft.known_keys(table, (ONE_OF, VALUES), f"'{name.text}'"):
                    rows = draft.table(values, f"'{VALUES}'") if said_key.text == VALUES else None
                    for of, said in rows or ():
                        state_cell(draft, tidy(of), name, said, "attributes", of.place)


def state_cell(
    draft: Draft, of: Text, attribute: Text, said: Node, form: str, place: Place
) -> None:
    """That a class has a value of an attribute, or one of several; the rule stands at `place`."""
    number = draft.names.number(attribute.text)
    if number is None or draft.names.choices[number].kind != "attribute":
        known = [choice.name for choice in draft.names.choices if choice.kind == "attribute"]
        near = draft.names.hint(attribute.text, known)
        words = f"There is no attribute {shown(attribute.text)}{near}"
        if near == ".":
            words += " Check its spelling, or add it to `attributes`."
        draft.problem("E101", words, place)
        return
    leaves = draft.leaves(of, f"What '{attribute.text}' is said of")
    texts = draft.texts(said, f"'{attribute.text}'", 1) if isinstance(said, Items) else [said]
    values = set()
    for text in texts:
        value = draft.names.value(number, str(text)) if isinstance(text, Text) else None
        if value is None:
            draft.no_value(attribute.text, number, text)
            continue
        values.add(value)
    if leaves is not None and values:
        told = " or ".join(str(text) for text in texts)
        words = f"{of.text}: {attribute.text} is {told}"
        then = Is(number, frozenset(values))
        draft.add_rule(place, words, _if(Is(CLASS, leaves), then), form=form)


def _state_plain(draft: Draft, name: Text, number: int, table: Table) -> None:
    for key, classes in table:
        share = _usual(key, draft) if key.text.split()[:1] == [USUALLY] else None
        if share is None and key.text not in _PLAIN:
            if key.text.split()[:1] != [USUALLY]:
                near = draft.names.hint(key.text, ("always", "never", "usually"))
                words = f"'{name.text}' has no {shown(key.text)}{near} Say 'always', 'never' or "
                words += f"'usually 0.3'; or list its values under '{ONE_OF}'."
                draft.problem("E109", words, key.place)
            continue
        for item in classes.items if isinstance(classes, Items) else (classes,):
            leaves = draft.leaves(item, f"What '{name.text}' is said of")
            if leaves is not None and isinstance(item, Text):
                _add(draft, item, name, Is(0, leaves), number, key, share, item.place)


def _add(
    draft: Draft,
    item: Text,
    name: Text,
    condition: Is,
    number: int,
    key: Text,
    share: float | None,
    place: Place,
) -> None:
    words = f"{item.text}: {key.text} {name.text}"
    if share is None:
        then = Is(number, frozenset({_PLAIN[key.text]}))
        draft.add_rule(place, words, _if(condition, then), form="attributes")
    elif share != 0.5:
        then = Is(number, frozenset({YES if share > 0.5 else NO}))
        odds = abs(math.log(share / (1 - share)))
        draft.add_rule(place, words, _if(condition, then), odds, "attributes")


def _usual(key: Text, draft: Draft) -> float | None:
    share = Text(key.text.removeprefix(USUALLY).strip(), key.place)
    found = draft.number(share, f"What follows '{USUALLY}'", 0, 1)
    if found in (0.0, 1.0):
        sure = "always" if found else "never"
        words = f"'{key.text}' is '{sure}'. Say '{sure}', or a number between 0 and 1."
        draft.problem("E107", words, key.place)
        return None
    return found


def _if(condition: Is, then: Formula) -> Formula:
    return Any((Not(condition), then))
