"""`ken enroll`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kenspeckle.cli import options, terminal
from kenspeckle.errors import UsageError


def enroll(
    model: Annotated[Path, typer.Argument(help="A model file (.ken) of the task match.")],
    name: Annotated[
        str | None, typer.Argument(help="Of a person, place or thing. [default: list who is in]")
    ] = None,
    images: Annotated[
        list[Path] | None, typer.Argument(help="Files, folders or archives that show them.")
    ] = None,
    remove: Annotated[
        str | None, typer.Option("--remove", help="Forget whoever has this name.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write another model file. [default: the same one]"),
    ] = None,
    expect_sha256: options.ExpectSha256 = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Let a model know a person, place or thing by its images, forget one, or list who is in it.

    The model file is written anew, whole or not at all. People must agree to be enrolled.

    Examples:

        ken enroll faces.ken anna anna1.jpg anna2.jpg

        ken enroll faces.ken --remove anna
    """
    from kenspeckle.verbs.model import load
    from kenspeckle.verbs.people import enrol, people_of, removed

    if remove is not None and (name or images):
        raise UsageError(
            "--remove takes the name; leave the others out, or enrol in a second line."
        )
    if name is not None and not images:
        raise UsageError(f"Say which images show {name}: `ken enroll {model} {name} IMAGE ...`.")
    changed = load(model, expect_sha256)
    before = people_of(changed)
    if remove is not None:
        changed = removed(changed, remove)
    elif name is not None:
        with terminal.progress(quiet or json) as tell:
            changed = enrol(changed, name, [str(image) for image in images or []], tell=tell)
    after = people_of(changed)
    if after != before or output is not None:
        changed.save(output or model)
    if json:
        terminal.print_json({"model": str(output or model), "people": after})
        return
    if name is None and remove is None:
        terminal.print_table(["enrolled", "images"], [[n, str(c)] for n, c in after.items()])
        return
    said = f"{remove} is forgotten" if name is None else f"{name} is known by {after[name]} images"
    terminal.console.print(
        f"{said}; {len(after)} enrolled in {output or model}", soft_wrap=True, markup=False
    )
