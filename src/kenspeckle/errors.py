"""What can go wrong, as a tree, and the exit code each branch gives to the command line.

    KenError                a user's mistake or a fault of their material       exit 1
    ├── UsageError          an option, a name or a recipe key that is not one   exit 2
    ├── DataError           the images or their labels                          exit 3
    │   ├── UnreadableImage     one file that cannot be turned into pixels
    │   └── EmptyDataset        nothing left to work on
    ├── BundleError         a model file: damaged, too new, or not one          exit 4
    ├── MissingExtra        an optional package that this needs                 exit 5
    └── StorageError        a disk that is full or a folder that is read-only   exit 6

Every message says what is wrong, where, what was found and what to do, on one line where it can.
Faults of our own raise anything else and may show a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class KenError(Exception):
    """A fault the user can mend; its text is a full sentence or two."""

    exit_code = 1


class UsageError(KenError):
    """An option, a name or a recipe key that does not exist or does not fit the others."""

    exit_code = 2


class DataError(KenError):
    """The images or their labels are not what the command needs."""

    exit_code = 3


class UnreadableImage(DataError):
    """One file cannot be turned into pixels.

    Args:
        reason: a short code, the same in `data_issues.csv`: `empty`, `not_an_image`, `corrupt`,
            `truncated`, `too_many_pixels`, `lfs_pointer`, `needs_extra`, `missing`, `unsupported`.
        text: the reason in words.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class EmptyDataset(DataError):
    """Nothing is left to work on."""


class BundleError(KenError):
    """A model file is damaged, altered, newer than this version, or not a model file."""

    exit_code = 4


class MissingExtra(KenError):
    """An optional package is not installed."""

    exit_code = 5


class StorageError(KenError):
    """The disk is full, or the folder cannot be written to."""

    exit_code = 6


def nearest(name: str, names: Iterable[str]) -> str:
    """The words `, did you mean 'x'?` when one of `names` is close to `name`, else nothing.

    >>> nearest("learnig_rate", ["learning_rate", "epochs"])
    ", did you mean 'learning_rate'?"
    >>> nearest("zebra", ["learning_rate"])
    ''
    """
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f", did you mean '{close[0]}'?" if close else ""
