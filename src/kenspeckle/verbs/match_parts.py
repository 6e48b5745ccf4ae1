"""Who is learned from and who is held out, where images are about recognising people again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kenspeckle.data.duplicates import joined
from kenspeckle.data.split import Parts, split
from kenspeckle.errors import DataError
from kenspeckle.recipe import Recipe
from kenspeckle.verbs.prepare import Prepared

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

LEAST_LEARNED = 4  # people: with fewer no limit can be set on people not learned from
LEAST_APART = 3  # of these: two are held out at a time, and one is learned from
LEAST_TESTED = 2  # people: with one nobody can be told apart


@dataclass(frozen=True)
class People:
    """Who the N images show.

    Args:
        names: P, in natural order.
        of: (N,) who each image shows, 0 .. P-1.
        units: (P,) who belongs together: people who share a copy or a group.
        keys: (N,) equal where two images are the same file.
    """

    names: tuple[str, ...]
    of: Ints
    units: Ints
    keys: Ints

    @classmethod
    def on(cls, prepared: Prepared) -> People:
        """Those on the prepared images."""
        used = prepared.used
        present, of = np.unique(used.targets(), return_inverse=True)
        _, first, group = np.unique(prepared.groups, return_index=True, return_inverse=True)
        units = joined(len(present), zip(of[first[group]].tolist(), of.tolist(), strict=True))
        _, keys = np.unique(np.array(prepared.keys), return_inverse=True)
        return cls(tuple(used.classes[k] for k in present), of, units, keys)

    def several(self, rows: Ints) -> Flags:
        """(P,) who is on two different images of `rows` or more."""
        pairs = np.unique(np.stack([self.of[rows], self.keys[rows]]), axis=1)
        return np.bincount(pairs[0], minlength=len(self.names)) >= 2

    def among(self, rows: Ints) -> Ints:
        """The numbers of those on `rows`, ascending."""
        return np.unique(self.of[rows])


def parts_of_people(prepared: Prepared, people: People, recipe: Recipe) -> tuple[Parts, Ints]:
    """Rows to learn from and rows held out, and those of the latter that are measured.

    Nobody is in both. The owner's test part is kept: whoever is in it is not learned from, and
    their images in other parts are left out. Without one, people are drawn.

    Raises:
        DataError: too few are left to learn from.
    """
    owners = np.array([sample.split == "test" for sample in prepared.used.samples])
    if owners.any():
        held = np.isin(np.arange(len(people.names)), people.of[owners])
        test = owners
    else:
        held = _drawn(people, recipe)
        test = held[people.of]
    apart = np.isin(people.units, people.units[held])[people.of]
    learned = np.flatnonzero(~apart)
    _check(prepared, people, learned)
    notes = []
    left_out = np.flatnonzero(apart & ~test)
    if len(left_out):
        notes.append(
            f"{len(left_out)} images left out of training: whoever they show is in the test part, "
            "or shares a copy or a group with somebody there"
        )
    measured = _measurable(people, np.flatnonzero(test))
    if not len(measured):
        notes.append("nothing was measured: there were too few to hold out two with two images")
    none = learned[:0]
    return Parts(learned, none, np.flatnonzero(test), left_out, tuple(notes)), measured


def _drawn(people: People, recipe: Recipe) -> Flags:
    """(P,) who is held out: of those with several images, so that enough are left."""
    several = np.flatnonzero(people.several(np.arange(len(people.of))))
    share = recipe.data.test_share
    wanted = max(LEAST_TESTED, round(share * len(several))) if share else 0
    count = min(wanted, len(people.names) - LEAST_LEARNED)
    held = np.zeros(len(people.names), dtype=bool)
    if count < LEAST_TESTED or len(several) < LEAST_TESTED:
        return held
    parts = split(
        np.zeros(len(several), dtype=np.int64),
        people.units[several],
        test_share=count / len(several),
        tune_share=0.0,
        seed=recipe.data.seed,
        names=[people.names[k] for k in several],
    )
    held[several[parts.test]] = True
    return held


def _check(prepared: Prepared, people: People, rows: Ints) -> None:
    root, count = prepared.used.root, len(people.among(rows))
    if count < LEAST_LEARNED:
        raise DataError(
            f"What tells people, places or things apart is learned from {LEAST_LEARNED} of them or "
            f"more, and {root} has {count} that are not in its test part. Add others; if each is "
            "in every part, give the folder without parts, and some will be held out as a whole."
        )
    if not people.several(rows).any():
        raise DataError(
            f"Nobody who is learned from in {root} is on two different images, so what changes "
            "from one image to the next cannot be learned. Add second images."
        )
    if len(np.unique(people.units[people.among(rows)])) < LEAST_APART:
        raise DataError(
            f"Almost all who are learned from in {root} belong together by copies or groups, so "
            "nobody can be held out to set a limit. Look at the groups."
        )


def _measurable(people: People, rows: Ints) -> Ints:
    """One image of each file, of people with several; none where these are fewer than two."""
    _, first = np.unique(np.stack([people.of[rows], people.keys[rows]]), axis=1, return_index=True)
    once = rows[np.sort(first)]
    kept = once[people.several(rows)[people.of[once]]]
    return kept if len(people.among(kept)) >= LEAST_TESTED else kept[:0]
