"""`ken sample`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from kenspeckle.cli import options, terminal


def sample(
    model: Annotated[Path, typer.Argument(help="A model file (.ken) of the task generate.")],
    n: Annotated[int, typer.Option("-n", "--number", help="How many images.")] = 100,
    label: Annotated[
        str | None, typer.Option("--label", help="The class. [default: all in turn]")
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", help="Of the first image; then one more each.")
    ] = 0,
    truncation: Annotated[
        float | None,
        typer.Option("--truncation", help="Such as 0.7: more typical, more alike. [default: none]"),
    ] = None,
    interpolate: Annotated[
        bool, typer.Option("--interpolate", help="Go from the image of --seed to the next one.")
    ] = False,
    expect_sha256: options.ExpectSha256 = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write to.")] = Path(
        "drawn"
    ),
    json: options.Json = False,
) -> None:
    """Draw images: CLASS/drawn-SEED.png for each, and sheet.png.

    The same seed gives the same image, however many are drawn. Each file says in its text that it
    is synthetic, by which `ken train` and `ken val` keep it out of what is measured.

    Example:

        ken sample runs/train/exp/weights/best.ken -n 100 --output drawn
    """
    from kenspeckle.verbs.model import load
    from kenspeckle.verbs.sample import sample as run
    from kenspeckle.verbs.sample import write_drawn

    drawn = run(
        load(model, expect_sha256),
        n,
        label=label,
        seed=seed,
        truncation=math.inf if truncation is None else truncation,
        interpolate=interpolate,
    )
    paths, sheet = write_drawn(output, drawn)
    if json:
        images = [
            {"path": str(path), "label": one.label, "name": one.name}
            for path, one in zip(paths, drawn, strict=True)
        ]
        terminal.print_json({"images": images, "sheet": str(sheet)})
        return
    classes = len({one.label for one in drawn})
    noun = "class" if classes == 1 else "classes"
    terminal.console.print(f"{len(drawn)} images of {classes} {noun} in {output}", soft_wrap=True)
    terminal.console.print(f"sheet   {sheet}", soft_wrap=True, markup=False)
