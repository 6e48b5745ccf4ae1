"""People, places or things that were enrolled by image, and who of them a new image shows."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kenspeckle.errors import DataError, MissingExtra, UsageError, nearest
from kenspeckle.models.vectors import unit

Floats = NDArray[np.float32]

NUMPY_MOST = 200_000  # images: 0.1 s for one query against these, one thread (D = 512)
CANDIDATES = 256  # images that the index is asked for at first
AT_ONCE = 2**24  # similarities held at once: 64 MB
CLOSE = 0.01  # people this near the most similar one are told too, however few were asked for
NOT_ASKED = -2.0  # in place of the similarity of an image that may not be compared


@dataclass(frozen=True)
class Candidate:
    """A person and the enrolled image of theirs that is most similar.

    Args:
        name: of the person, place or thing.
        similarity: cosine in [-1, 1].
        path: of that image.
    """

    name: str
    similarity: float
    path: str


@dataclass(frozen=True)
class Identity:
    """Who an image shows, as far as the gallery can tell.

    Args:
        matches: people at or above the threshold, the most similar first; none: nobody.
        nearest: whoever is most similar, at the threshold or not; None where nobody is enrolled.
    """

    matches: tuple[Candidate, ...]
    nearest: Candidate | None

    @property
    def name(self) -> str | None:
        """Of the most similar person, or None for nobody."""
        return self.matches[0].name if self.matches else None

    @property
    def is_doubtful(self) -> bool:
        """Whether a second person is nearly as similar, so that `name` is one of several."""
        alike = [m for m in self.matches if m.similarity >= self.matches[0].similarity - CLOSE]
        return len(alike) > 1


@dataclass(frozen=True)
class Verdict:
    """Whether two images show the same person.

    Args:
        similarity: cosine in [-1, 1].
        threshold: in [-1, 1].
    """

    similarity: float
    threshold: float

    @property
    def same(self) -> bool:
        """Whether the similarity reaches the threshold."""
        return self.similarity >= self.threshold


@dataclass(frozen=True, eq=False)
class Gallery:
    """Images of known people as unit vectors; enrolling and removing give a new gallery.

    Args:
        names: N, who each image shows; one person may have several.
        vectors: (N, D), each of length 1.
        paths: N, where each image was.

    >>> gallery = Gallery().enrolled("anna", np.array([[3.0, 4.0]]), ["a.jpg"])
    >>> [identity.name for identity in gallery.identify(np.array([[3.0, 4.0], [-4.0, 3.0]]), 0.5)]
    ['anna', None]
    """

    names: tuple[str, ...] = ()
    vectors: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    paths: tuple[str, ...] = ()

    @property
    def people(self) -> tuple[str, ...]:
        """Each name once, in the order of enrolling."""
        return tuple(dict.fromkeys(self.names))

    def enrolled(self, name: str, vectors: NDArray[np.floating], paths: Sequence[str]) -> Gallery:
        """This gallery with more images of `name`.

        Args:
            vectors: (n, D) of one image or more, any length but 0.
            paths: n.

        Raises:
            UsageError: the name is empty.
            DataError: there is no image, or a vector is not finite, is 0 or has another length D.
        """
        if not name.strip():
            raise UsageError("Whoever is enrolled needs a name; found an empty one.")
        if not len(vectors):
            raise DataError(f"There is no image of '{name}' to enrol.")
        assert len(vectors) == len(paths)
        added = self._units(vectors)
        return Gallery(
            self.names + (name,) * len(added),
            np.concatenate([self.vectors, added]) if self.names else added,
            self.paths + tuple(paths),
        )

    def removed(self, name: str) -> Gallery:
        """This gallery without any image, vector or path of `name`.

        Raises:
            UsageError: nobody of that name is enrolled; naming the nearest.
        """
        if name not in self.names:
            hint = nearest(name, self.people) or "."
            raise UsageError(
                f"Nobody called '{name}' is enrolled{hint} {_count(len(self.people))} enrolled."
            )
        kept = [i for i, other in enumerate(self.names) if other != name]
        # A copy, so that the removed vectors do not live on in a shared array.
        vectors = self.vectors[kept].copy() if kept else np.zeros((0, 0), np.float32)
        return Gallery(
            tuple(self.names[i] for i in kept), vectors, tuple(self.paths[i] for i in kept)
        )

    def identify(
        self,
        vectors: NDArray[np.floating],
        threshold: float,
        most: int = 3,
        without: Sequence[Sequence[int]] | None = None,
    ) -> list[Identity]:
        """Who each image shows; a person is as similar as the most similar image of theirs.

        Up to 200 000 images are compared one by one. Of more, usearch finds the nearest ones,
        exactly: its approximate search missed people.

        Args:
            vectors: (M, D) of new images, any length but 0.
            threshold: similarity from which on a person is accepted.
            most: people told at most, though all that are as similar as the first within 0.01.
            without: M, rows of the gallery that each is not compared with: itself and its copies,
                where images that are enrolled are measured. All are then compared one by one.

        Raises:
            DataError: a vector is not finite, is 0 or has another length D.
            MissingExtra: more than 200 000 images and no usearch.
        """
        asked = self._units(vectors)
        if not self.names:
            return [Identity((), None) for _ in asked]
        if len(self.names) > NUMPY_MOST and without is None:
            return [self._identity_by_index(one, threshold, most) for one in asked]
        found: list[Identity] = []
        everyone = _People.of(np.arange(len(self.names)), self.names)
        step = max(1, AT_ONCE // len(self.names))
        for start in range(0, len(asked), step):
            alike = asked[start : start + step] @ self.vectors.T
            if without is not None:
                for row, own in enumerate(without[start : start + step]):
                    alike[row, [*own]] = NOT_ASKED
            found += [
                self._identity(row, everyone, threshold, most) for row in alike[:, everyone.rows]
            ]
        return found

    def _identity_by_index(self, asked: Floats, threshold: float, most: int) -> Identity:
        """Who is meant by one vector (D,), among enrolled images that the index finds near."""
        count = CANDIDATES
        while True:
            near = self._index.search(asked, min(count, len(self.names)), exact=True)
            rows = np.sort(near.keys)
            if count >= len(self.names) or len({self.names[row] for row in rows}) > most:
                break
            count *= 4
        people = _People.of(rows.astype(np.int64), self.names)
        return self._identity(self.vectors[people.rows] @ asked, people, threshold, most)

    def _identity(self, alike: Floats, people: _People, threshold: float, most: int) -> Identity:
        """Who is meant by similarities (n,) to the images `people.rows`."""
        best = np.maximum.reduceat(alike, people.starts)
        ranked = np.argsort(-best, kind="stable")
        accepted = ranked[best[ranked] >= threshold]
        close = int((best[accepted] >= best[ranked[0]] - CLOSE).sum())
        matches = [self._match(alike, people, i) for i in accepted[: max(most, close)]]
        first = matches[0] if matches else self._match(alike, people, ranked[0])
        return Identity(tuple(matches), first)

    def _match(self, alike: Floats, people: _People, person: int) -> Candidate:
        """The most similar of one person's images."""
        start, end = people.starts[person], people.ends[person]
        place = start + int(alike[start:end].argmax())
        row = people.rows[place]
        return Candidate(self.names[row], float(alike[place]), self.paths[row])

    @cached_property
    def _index(self) -> Any:
        """Of all vectors, for large galleries; 5000 of 512 numbers took 14 s to add, one thread."""
        try:
            usearch = importlib.import_module("usearch.index")
        except ImportError:
            raise MissingExtra(
                f"A gallery of {len(self.names)} images needs the package usearch. Run "
                "`pip install 'kenspeckle[gallery]'`."
            ) from None
        index = usearch.Index(ndim=self.vectors.shape[1], metric="ip", dtype="f32")
        index.add(np.arange(len(self.names)), self.vectors)
        return index

    def _units(self, vectors: NDArray[np.floating]) -> Floats:
        """(M, D) at length 1, if they can be compared with what is enrolled."""
        vectors = np.asarray(vectors)
        if self.names and vectors.shape[1] != self.vectors.shape[1]:
            raise DataError(
                f"The gallery holds vectors of {self.vectors.shape[1]} numbers, these have "
                f"{vectors.shape[1]}: they were made by another model. Enrol everyone again with "
                "this one."
            )
        return _unit_rows(vectors)


def verify(a: NDArray[np.floating], b: NDArray[np.floating], threshold: float) -> Verdict:
    """Whether two images show the same person.

    Args:
        a, b: (D,) their vectors, any length but 0.
        threshold: similarity from which on they do.

    Raises:
        DataError: a vector is not finite or is 0.

    >>> verify(np.array([1.0, 0.0]), np.array([2.0, 0.0]), 0.5)
    Verdict(similarity=1.0, threshold=0.5)
    """
    one, other = _unit_rows(np.stack([a, b]))
    return Verdict(float(one @ other), threshold)


@dataclass(frozen=True, eq=False)
class _People:
    """Rows of a gallery with each person's together: person i has rows[starts[i]:ends[i]]."""

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, rows: NDArray[np.int64], names: Sequence[str]) -> _People:
        number: dict[str, int] = {}
        who = np.array([number.setdefault(names[row], len(number)) for row in rows])
        order = np.argsort(who, kind="stable")
        ends = np.bincount(who).cumsum()
        return cls(rows[order], np.append(0, ends[:-1]), ends)


def _unit_rows(vectors: NDArray[np.floating]) -> Floats:
    """Rows at length 1.

    Raises:
        DataError: a row has no direction.
    """
    lengths = np.linalg.norm(vectors, axis=1)
    bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if len(bad):
        raise DataError(
            f"{len(bad)} of {len(vectors)} images cannot be compared: the vector of image "
            f"{bad[0] + 1} is zero or not finite. Leave such images out."
        )
    return unit(vectors)


def _count(people: int) -> str:
    return "1 person is" if people == 1 else f"{people} people are"
