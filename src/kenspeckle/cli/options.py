"""Options that several commands share, each explained once, and how their words are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from kenspeckle.errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")]
Columns = Annotated[
    str,
    typer.Option(
        "--columns", help="Which column of a table is which: label=sign_name,group=track."
    ),
]
ModelFile = Annotated[
    Path | None,
    typer.Option(
        "--model", "-m", "--weights", help="A model file (.ken). [default: the packaged network]"
    ),
]
Exclude = Annotated[
    Path | None,
    typer.Option("--exclude", help="A list of files to leave out, one a line."),
]
ExpectSha256 = Annotated[
    str | None,
    typer.Option("--expect-sha256", help="Refuse the model file unless its hash is this."),
]


RulesFile = Annotated[
    Path | None, typer.Option("--rules", help="A rules file that every answer keeps.")
]
Side = Annotated[
    str,
    typer.Option("--side", help="What is known beside the image: month=7,region=alps."),
]


def pairs(text: str, option: str) -> dict[str, str]:
    """`a=b,c=d` -> {"a": "b", "c": "d"}.

    >>> pairs("label=sign_name,group=track", "--columns")
    {'label': 'sign_name', 'group': 'track'}
    """
    found = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, value = part.partition("=")
        if not (equals and name and value):
            raise UsageError(f"{option} should be written NAME=COLUMN, found '{part}'.")
        found[name.strip()] = value.strip()
    return found


def settings(parts: Sequence[str]) -> Mapping[str, Any]:
    """`["training.epochs=5"]` -> {"training.epochs": 5}; values are read as YAML."""
    found: dict[str, Any] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not (equals and name):
            raise UsageError(f"--set should be written a.b=value, found '{part}'.")
        try:
            found[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UsageError(f"The value in --set {part} cannot be read.") from None
    return found
