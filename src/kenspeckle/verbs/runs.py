"""The folders of runs: numbered by themselves, never overwritten unasked, taken up again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kenspeckle.errors import UsageError
from kenspeckle.files import storage_error, write_text
from kenspeckle.recipe import Recipe

_FILES = ("split", "exclude", "rules")  # that a run is started with beside its data


def new_run(project: Path, name: str, exist_ok: bool) -> Path:
    """A folder for a run: PROJECT/NAME, or NAME2, NAME3, … where there is one already.

    Raises:
        UsageError: the name would leave the project's folder.
        StorageError: the folder cannot be made.
    """
    if Path(name).name != name or name in ("", ".", ".."):
        raise UsageError(
            f"--name should be a plain name, found '{name}'; use --project for a folder."
        )
    folder, number = project / name, 1
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=exist_ok)
            return folder
        except FileExistsError:
            number += 1
            folder = project / f"{name}{number}"
        except OSError as error:
            raise storage_error(folder, error) from None


def abandon(folder: Path) -> None:
    """Take back the folder of a run if nothing was written into it."""
    with suppress(OSError):  # not empty: what was written is worth keeping
        folder.rmdir()


@dataclass(frozen=True)
class Source:
    """Where a run's samples come from.

    Args:
        split: a split.csv to use again.
        exclude: a list of files to leave out.
        rules: a rules file to obey.
    """

    data: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    split: Path | None = None
    exclude: Path | None = None
    rules: Path | None = None


@dataclass(frozen=True)
class Past:
    """What a run was started with."""

    source: Source
    recipe: Recipe


def remember(folder: Path, past: Past) -> None:
    """Write down what a run is started with, so that it can be resumed."""
    past.recipe.to_yaml(folder / "args.yaml")
    source = past.source
    start = {
        "data": str(source.data.resolve()),
        "columns": dict(source.columns),
        **{name: _whole(getattr(source, name)) for name in _FILES},
    }
    write_text(folder / "start.json", json.dumps(start, indent=1) + "\n")


def _whole(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def resumed_run(folder: Path) -> Past:
    """What the run in `folder` was started with.

    Raises:
        UsageError: there is no run there that can be resumed.
    """
    try:
        start = json.loads((folder / "start.json").read_text("utf-8"))
        files = {n: Path(start[n]) for n in _FILES if start.get(n) is not None}
        recipe = Recipe.from_yaml(folder / "args.yaml")
        return Past(Source(Path(start["data"]), start["columns"], **files), recipe)
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(
            f"There is no run to resume in {folder}; name the folder of a run, such as "
            "runs/train/exp."
        ) from None
