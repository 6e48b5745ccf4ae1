"""Class names that may be one class written in two ways."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from kenspeckle.answer import Finding, Severity
from kenspeckle.data.checks import Evidence
from kenspeckle.data.dataset import Dataset

RARE = 10  # times fewer images than the other name: who mistypes does so seldom
SHORT = 5  # letters of a word in which a slip is looked for; `stop` and `shop` have fewer
LONG = 8  # letters from where a slip of the pen is likelier than another word
SHOWN = 5  # pairs in a sentence
_CODES = 4  # names alike but for one letter; more (`caseax`, `casebx`, ...) were made by counting
_JOINED = re.compile(r"(?<=[^\W_])(?:[\s_]|-(?!\d))+(?=[^\W_])")
_APART = re.compile(r"[\s_\-/]+")
_Words = tuple[str, ...]


@dataclass
class _Use:
    """How often a name is used, where, and by which files."""

    paths: list[str]
    parts: set[str]


def check_names(dataset: Dataset, evidence: Evidence) -> Iterator[Finding]:
    """Names that are the same but for their form, a warning, and likely slips, a note.

    Form is upper or lower case, the Unicode form of a letter, and spaces, underscores and hyphens
    between words; not those between digits nor a hyphen before one (`1 2` and `12`, `x-1` and `x1`
    are two classes), nor the case of a name of one character (so are `a` and `A`).

    A slip is looked for in names whose words are equal but for one, which holds no digits and whose
    first and last letters agree (so `masked` and `unmasked`, `type a` and `type b` are none):

    - the last word of the one is the plural of that of the other; or
    - it has `LONG` letters, and two neighbours are swapped or one letter is doubled or left out; or
    - the same with `SHORT` letters, or with `LONG` one exchanged, or doubled beside another slip,
      where one name has `RARE` times fewer images than the other, or the two never share a given
      part (train, val, test).

    Each name is looked up under the words it becomes when a letter is left out, so that the cost
    grows with the letters and not with the pairs.
    """
    uses = _uses(dataset, evidence)
    forms: dict[str, list[str]] = {}
    for name in uses:
        forms.setdefault(_form(name), []).append(name)
    same = [names for names in forms.values() if len(names) > 1]
    if same:
        yield _finding(
            "warning",
            "Classes whose names differ in case, spaces or Unicode form alone",
            "Rename one, if they are meant to be the same class.",
            same,
            uses,
        )
    alike = _slips([names[0] for names in forms.values()], uses)
    if alike:
        yield _finding(
            "note",
            "Classes that may be one, written in two ways (a plural or a slip of the pen)",
            "If they are one class, give it one name.",
            alike,
            uses,
        )


def _uses(dataset: Dataset, evidence: Evidence) -> dict[str, _Use]:
    uses = {name: _Use([], set()) for name in dataset.classes}
    for row, sample in enumerate(dataset.samples):
        if row not in evidence.faults:
            for name in dataset.labels_of(sample):
                uses[name].paths.append(sample.path)
                if sample.split is not None:
                    uses[name].parts.add(sample.split)
    return uses


def _finding(
    severity: Severity,
    what: str,
    advice: str,
    groups: Sequence[Sequence[str]],
    uses: Mapping[str, _Use],
) -> Finding:
    """The files are those of all names of a group but the commonest."""
    paths: list[str] = []
    said: list[str] = []
    for group in groups:
        commonest = max(group, key=lambda name: len(uses[name].paths))
        paths += [path for name in group if name != commonest for path in uses[name].paths]
        names = ", ".join(f"'{name}'" for name in group)
        images = " and ".join(f"{len(uses[name].paths):,}" for name in group)
        said.append(f"{names} ({images} images)")
    more = f" and {len(said) - SHOWN:,} more" if len(said) > SHOWN else ""
    return Finding(
        check="names",
        severity=severity,
        words=f"{what}: {'; '.join(said[:SHOWN])}{more}.",
        advice=advice,
        paths=tuple(paths),
        facts={"classes": [list(group) for group in groups]},
    )


def _folded(name: str) -> str:
    """One Unicode form, lower case, no space around."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()


def _form(name: str) -> str:
    """What is left of a name without case, spaces and the like; equal for what looks equal."""
    plain = unicodedata.normalize("NFC", name).strip()
    if len(plain) == 1:
        return plain
    return _JOINED.sub(_space_between_digits, _folded(name))


def _space_between_digits(found: re.Match[str]) -> str:
    text = found.string
    return " " if text[found.start() - 1].isdigit() and text[found.end()].isdigit() else ""


def _slips(names: Sequence[str], uses: Mapping[str, _Use]) -> list[tuple[str, str]]:
    """Pairs of names that may be one, in the order of the names."""
    words = {name: tuple(_APART.split(_folded(name))) for name in names}
    found = _plurals(words)
    for first, second in _candidates(words):
        kind = _slip(words[first], words[second])
        if kind == "likely" or (kind == "possible" and _is_suspect(uses[first], uses[second])):
            found.add((first, second))
    place = {name: i for i, name in enumerate(names)}
    ordered = (sorted(pair, key=place.__getitem__) for pair in found)
    return sorted(((a, b) for a, b in ordered), key=lambda pair: (place[pair[0]], place[pair[1]]))


def _is_suspect(first: _Use, second: _Use) -> bool:
    """Whether one name is rare beside the other, or they never share a given part."""
    few, many = sorted((len(first.paths), len(second.paths)))
    apart = bool(first.parts and second.parts) and not first.parts & second.parts
    return many >= RARE * max(few, 1) or apart


def _plurals(words: Mapping[str, _Words]) -> set[tuple[str, str]]:
    """Pairs whose last words are an English singular and its plural."""
    named = {parts: name for name, parts in words.items()}
    return {
        (name, named[(*parts[:-1], plural)])
        for name, parts in words.items()
        for plural in _plural(parts[-1])
        if (*parts[:-1], plural) in named
    }


def _plural(word: str) -> Iterator[str]:
    """`glass` and `glasses` are often two things, and so are `princes` and `princess`: left out."""
    if len(word) < 3 or not word.isalpha() or word.endswith("s"):
        return
    yield word + "s"
    if word.endswith(("x", "z", "ch", "sh")):
        yield word + "es"
    if word.endswith("y"):
        yield word[:-1] + "ies"


def _candidates(words: Mapping[str, _Words]) -> set[tuple[str, str]]:
    """Pairs of names that become equal when each loses at most one letter, doubled ones apart."""
    places: dict[str, list[str]] = {}
    for name, parts in words.items():
        for at, word in enumerate(parts):
            if len(word) >= SHORT and word.isalpha():
                rest = " ".join((*parts[:at], *parts[at + 1 :]))
                place = f"\n{at} of {len(parts)}\n{rest}"
                for shorter in _shorter(_single(word)):
                    places.setdefault(shorter + place, []).append(name)
    return {
        pair
        for names in places.values()
        if 1 < len(names) <= _CODES
        for pair in combinations(names, 2)
    }


def _shorter(word: str) -> Iterator[str]:
    """The word, and what it becomes without one of its inner letters."""
    yield word
    yield from (word[:i] + word[i + 1 :] for i in range(1, len(word) - 1))


def _single(word: str) -> str:
    """The word with every run of a letter made one.

    >>> _single("dessert")
    'desert'
    """
    return "".join(a for i, a in enumerate(word) if i == 0 or a != word[i - 1])


def _slip(first: _Words, second: _Words) -> str:
    """`likely`, `possible` or nothing, as `check_names` says."""
    unlike = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
    if len(unlike) != 1:
        return ""
    ((a, b),) = unlike
    shorter = min(len(a), len(b))
    step = _step(_single(a), _single(b))
    if shorter < SHORT or a[0] != b[0] or _end(a) != _end(b) or not step:
        return ""
    is_doubled = len(a) - len(_single(a)) != len(b) - len(_single(b))
    is_one = step == "none" or (step != "exchanged" and not is_doubled)
    if is_one:
        return "likely" if shorter >= LONG else "possible"
    return "possible" if shorter >= LONG else ""


def _end(word: str) -> str:
    """The last letter, doubled where it is."""
    return word[-2:] if word[-2:-1] == word[-1:] else word[-1:]


def _step(a: str, b: str) -> str:
    """What makes one word of the other, where a single step does; nothing where none does.

    >>> _step("tulip", "tluip"), _step("tulip", "tlip"), _step("tulip", "tolip"), _step("a", "bc")
    ('swapped', 'left out', 'exchanged', '')
    """
    if a == b:
        return "none"
    if len(a) != len(b):
        short, long = sorted((a, b), key=len)
        return "left out" if short in _shorter(long) else ""
    differ = [i for i in range(len(a)) if a[i] != b[i]]
    if len(differ) == 1:
        return "exchanged"
    i, j = differ[0], differ[-1]
    return "swapped" if j == i + 1 and a[i] + a[j] == b[j] + b[i] else ""
