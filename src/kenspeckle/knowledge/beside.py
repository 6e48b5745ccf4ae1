"""The tables that a rules file names: beside it on disk, or carried along in a model file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kenspeckle.errors import DataError
from kenspeckle.files import inside


class Beside:
    """Where the tables of a rules file are found; keeps what was read, so that it can travel.

    Args:
        folder: of the rules file.
        carried: name -> text of tables that came along; these are not looked for on disk.
    """

    def __init__(
        self, folder: Path | None = None, carried: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.texts: dict[str, str] = dict(carried or {})

    def text(self, name: str) -> str:
        """The text of a table.

        Raises:
            OSError, UnicodeDecodeError: it cannot be read.
            DataError: its name leaves the folder, or there is no folder.
        """
        if name not in self.texts:
            if self.folder is None:
                raise DataError("it did not come along with the rules")
            path = inside(self.folder, name, "the rules file")
            self.texts[name] = path.read_text("utf-8-sig")
        return self.texts[name]
