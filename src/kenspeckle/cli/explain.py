"""`ken explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kenspeckle.cli import options, terminal


def explain(
    image: Annotated[Path, typer.Argument(help="An image.")],
    model: options.ModelFile = None,
    expect_sha256: options.ExpectSha256 = None,
    label: Annotated[
        str | None, typer.Option("--label", help="The class to explain. [default: the likeliest]")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The PNG to write. [default: NAME-explained.png here]"),
    ] = None,
    json: options.Json = False,
) -> None:
    """Draw where an answer comes from (Grad-CAM): left the image, right the heat.

    Example:

        ken explain photo.jpg --model photos.ken
    """
    from kenspeckle.verbs.explain import explain as run
    from kenspeckle.verbs.model import load, packaged

    recogniser = load(model, expect_sha256) if model else packaged()
    picture = output or Path(f"{image.stem}-explained.png")
    words = run(recogniser, image, picture, label)
    if json:
        terminal.print_json({"path": str(image), "words": words, "picture": str(picture)})
    else:
        terminal.console.print(f"{image}: {words}\npicture {picture}", soft_wrap=True, markup=False)
