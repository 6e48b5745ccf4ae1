"""`ken identify`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kenspeckle.cli import options, terminal
from kenspeckle.errors import DataError

if TYPE_CHECKING:
    from kenspeckle.verbs.people import Identified


def identify(
    images: Annotated[list[Path], typer.Argument(help="Files, folders or archives.")],
    model: Annotated[
        Path, typer.Option("--model", "-m", help="A model file (.ken) of the task match.")
    ],
    topk: Annotated[int, typer.Option("--topk", min=1, help="People shown at most.")] = 1,
    expect_sha256: options.ExpectSha256 = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Say who of those that are enrolled images show, or nobody.

    Leaves with exit code 3 if any file could not be read.

    Example:

        ken identify photo.jpg --model faces.ken
    """
    from kenspeckle.verbs.model import load
    from kenspeckle.verbs.people import identify as run

    recogniser = load(model, expect_sha256)
    with terminal.progress(quiet or json) as tell:
        found = run(recogniser, [str(image) for image in images], topk, tell=tell)
    if json:
        terminal.print_json([_plain(one) for one in found])
    else:
        for one in found:
            print(f"{one.path}: {one.words}{_others(one, topk)}")
    unread = sum(one.error is not None for one in found)
    if unread:
        raise DataError(f"{unread} of {len(found)} files could not be read; they are named above.")


def _others(one: Identified, topk: int) -> str:
    """Further people who are similar enough, where they were asked for."""
    if one.identity is None or one.identity.is_doubtful:
        return ""
    return "".join(f", {m.name} {m.similarity:.2f}" for m in one.identity.matches[1:topk])


def _plain(one: Identified) -> dict[str, Any]:
    identity = one.identity
    matches = [asdict(match) for match in identity.matches] if identity else []
    nearest = asdict(identity.nearest) if identity and identity.nearest else None
    return {
        "path": one.path,
        "name": identity.name if identity else None,
        "words": one.words,
        "matches": matches,
        "nearest": nearest,
        "error": one.error,
    }
