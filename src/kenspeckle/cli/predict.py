"""`ken predict`."""

from __future__ import annotations

import sys
from glob import glob
from pathlib import Path
from typing import Annotated

import typer

from kenspeckle.cli import options, terminal
from kenspeckle.errors import DataError, UsageError


def predict(
    images: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders, archives, patterns; - reads a list from stdin."),
    ] = None,
    model: options.ModelFile = None,
    expect_sha256: options.ExpectSha256 = None,
    topk: Annotated[int, typer.Option("--topk", min=1, help="Classes shown.")] = 1,
    conf: Annotated[
        float,
        typer.Option("--conf", min=0, max=1, help="Below this say `not sure` and claim no class."),
    ] = 0.0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write a CSV here.")] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Say what images show. Leaves with exit code 3 if any file could not be read.

    Examples:

        ken predict photo.jpg

        ken predict --model runs/train/exp/weights/best.ken new_photos/ --topk 3
    """
    from kenspeckle.verbs.model import load, packaged
    from kenspeckle.verbs.predict import predict as run
    from kenspeckle.verbs.tables import write_predictions

    if not images:
        raise UsageError("Say which images: `ken predict photo.jpg`, or `-` for a list on stdin.")
    named = _expanded(images)
    recogniser = load(model, expect_sha256) if model else packaged()
    with terminal.progress(quiet or json) as tell:
        answers = run(recogniser, named, conf=conf, tell=tell)
    if output is not None:
        write_predictions(output, answers)
    if json:
        terminal.print_json([_cut(answer.as_dict(), topk) for answer in answers])
    else:
        for answer in answers:
            more = list(answer.probabilities.items())[1:topk] if answer.label else []
            tail = "".join(f", {name} {100 * p:.0f} %" for name, p in more)
            print(f"{answer.path}: {answer.words}{tail}")
    unread = sum(answer.error is not None for answer in answers)
    if unread:
        raise DataError(
            f"{unread} of {len(answers)} files could not be read; they are named above."
        )


def _cut(answer: dict[str, object], topk: int) -> dict[str, object]:
    """At most max(topk, 5) classes: a thousand probabilities an image help nobody."""
    probabilities = answer["probabilities"]
    assert isinstance(probabilities, dict)
    return {**answer, "probabilities": dict(list(probabilities.items())[: max(topk, 5)])}


def _expanded(images: list[str]) -> list[str]:
    """Names from stdin and from patterns the shell left alone."""
    named: list[str] = []
    for image in images:
        if image == "-":
            named += [line for line in sys.stdin.read().splitlines() if line.strip()]
        elif any(c in image for c in "*?[") and not Path(image).exists():
            found = sorted(glob(image, recursive=True))  # noqa: PTH207  absolute patterns too
            if not found:
                raise DataError(f"No file matches {image}.")
            named += found
        else:
            named.append(image)
    return named
