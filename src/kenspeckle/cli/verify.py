"""`ken verify`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from kenspeckle.cli import options, terminal


def verify(
    one: Annotated[Path, typer.Argument(help="An image.")],
    other: Annotated[Path, typer.Argument(help="Another image.")],
    model: Annotated[
        Path, typer.Option("--model", "-m", help="A model file (.ken) of the task match.")
    ],
    expect_sha256: options.ExpectSha256 = None,
    json: options.Json = False,
) -> None:
    """Say whether two images show the same person, place or thing.

    Example:

        ken verify passport.jpg door.jpg --model faces.ken
    """
    from kenspeckle.verbs.model import load
    from kenspeckle.verbs.people import verify as run

    recogniser = load(model, expect_sha256)
    verdict = run(recogniser, one, other)
    if json:
        terminal.print_json({"same": verdict.same, **asdict(verdict)})
        return
    words = "the same" if verdict.same else "not the same"
    print(f"{words} (similarity {verdict.similarity:.2f}; {verdict.threshold:.2f} is needed)")
