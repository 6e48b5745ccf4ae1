"""`ken explain`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from kenspeckle.cli import options, terminal


def explain(
    image: Annotated[Path, typer.Argument(help="An image, or a clip.")],
    model: options.ModelFile = None,
    expect_sha256: options.ExpectSha256 = None,
    label: Annotated[
        str | None, typer.Option("--label", help="The class to explain. [default: the likeliest]")
    ] = None,
    method: Annotated[str, typer.Option("--method", help="`ken list explanations`.")] = "grad-cam",
    rules: options.RulesFile = None,
    side: options.Side = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The PNG to write. [default: NAME-explained.png here]"),
    ] = None,
    json: options.Json = False,
) -> None:
    """Draw where an answer comes from, and name the training images most like it.

    The picture holds the image at the left and the heat at the right; of a model that says what
    stands where, the image with everything it names outlined and numbered; of a clip, its frames,
    each over a bar: blue to the right where it speaks for the class, orange to the left against it.

    Example:

        ken explain photo.jpg --model photos.ken

        ken explain photo.jpg --model birds.ken --rules rules.yaml --side month=7
    """
    from kenspeckle.verbs.explain import explain as run
    from kenspeckle.verbs.model import load, packaged
    from kenspeckle.verbs.predict import rules_for

    recogniser = load(model, expect_sha256) if model else packaged()
    picture = output or Path(f"{image.stem}-explained.png")
    under = rules_for(recogniser, rules, options.pairs(side, "--side"))
    told = run(recogniser, image, picture, label, method, under)
    if json:
        found = {"path": str(image), "words": told.words, "nearest": dict(told.nearest)}
        places = [asdict(place) for place in told.places]
        rest = {"places": places, "rules": told.rules, "picture": str(picture)}
        terminal.print_json({**found, **rest})
        return
    lines = [f"{image}: {told.words}", f"picture {picture}"]
    lines += [
        f"{i:>4}    {p.name} ({100 * p.probability:.0f} %) at {p.left:.0f}, {p.top:.0f} to "
        f"{p.right:.0f}, {p.bottom:.0f}"
        for i, p in enumerate(told.places, 1)
    ]
    if told.rules is not None:
        from kenspeckle.knowledge.explained import lines_of

        lines += lines_of(told.rules)
    lines += [f"alike   {path} ({label})" for path, label in told.nearest.items()]
    terminal.console.print("\n".join(lines), soft_wrap=True, markup=False)
