"""`ken predict`."""

from __future__ import annotations

import sys
from glob import glob
from pathlib import Path
from typing import Annotated

import typer

from kenspeckle.answer import Answer
from kenspeckle.cli import options, terminal
from kenspeckle.errors import DataError, UsageError


def predict(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files, folders, archives, patterns, or strings; - reads a list from stdin."
        ),
    ] = None,
    model: options.ModelFile = None,
    expect_sha256: options.ExpectSha256 = None,
    topk: Annotated[int, typer.Option("--topk", min=1, help="Classes shown.")] = 1,
    conf: Annotated[
        float,
        typer.Option("--conf", min=0, max=1, help="Below this say `not sure` and claim no class."),
    ] = 0.0,
    rules: options.RulesFile = None,
    side: options.Side = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write a CSV here.")] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Say what images show. Leaves with exit code 3 if any file could not be read.

    Examples:

        ken predict photo.jpg

        ken predict --model runs/train/exp/weights/best.ken new_photos/ --topk 3

        ken predict --model dates.ken "3 May 1999"

        ken predict photo.jpg --model birds.ken --rules rules.yaml --side month=7
    """
    from kenspeckle.verbs.model import load, packaged
    from kenspeckle.verbs.predict import predict as run
    from kenspeckle.verbs.tables import write_predictions

    if not images:
        raise UsageError("Say which images: `ken predict photo.jpg`, or `-` for a list on stdin.")
    recogniser = load(model, expect_sha256) if model else packaged()
    is_text = recogniser.reads == "pairs"
    if topk > 1 and is_text:
        raise UsageError("--topk is for models that name classes; this one writes one string.")
    named = _named(images, is_text)
    is_tagged = recogniser.bundle.config.task == "tag"
    with terminal.progress(quiet or json) as tell:
        answers = run(
            recogniser,
            named,
            conf=conf,
            rules=rules,
            side=options.pairs(side, "--side"),
            tell=tell,
        )
    if output is not None:
        write_predictions(output, answers)
    if json:
        terminal.print_json([_cut(answer.as_dict(), topk) for answer in answers])
    else:
        for answer in answers:
            print(f"{answer.path}: {answer.words}{_runners_up(answer, topk, is_tagged)}")
    unread = sum(answer.error is not None for answer in answers)
    if unread:
        noun = "strings" if is_text else "files"
        raise DataError(
            f"{unread} of {len(answers)} {noun} could not be read; they are named above."
        )


def _runners_up(answer: Answer, topk: int, is_tagged: bool) -> str:
    """The likeliest of `topk` names that the answer does not say."""
    likely = list(answer.probabilities.items())[:topk]
    if answer.label is None:
        return ""
    if not is_tagged:
        return "".join(f", {name} {100 * p:.0f} %" for name, p in likely[1:])
    from kenspeckle.data.dataset import tags_in

    said = tags_in(answer.label)
    rest = [f"{name} {100 * p:.0f} %" for name, p in likely if topk > 1 and name not in said]
    return f"; below the threshold: {', '.join(rest)}" if rest else ""


def _cut(answer: dict[str, object], topk: int) -> dict[str, object]:
    """At most max(topk, 5) classes beside those said: a thousand an image help nobody."""
    probabilities = answer["probabilities"]
    most = max(topk, 5, str(answer["label"]).count(";") + 1)
    assert isinstance(probabilities, dict)
    return {**answer, "probabilities": dict(list(probabilities.items())[:most])}


def _named(images: list[str], is_text: bool) -> list[str]:
    """Names from stdin and from patterns the shell left alone; a string is no pattern."""
    named: list[str] = []
    for image in images:
        if image == "-":
            named += [line for line in sys.stdin.read().splitlines() if line.strip()]
        elif not is_text and any(c in image for c in "*?[") and not Path(image).exists():
            found = sorted(glob(image, recursive=True))  # noqa: PTH207  absolute patterns too
            if not found:
                raise DataError(f"No file matches {image}.")
            named += found
        else:
            named.append(image)
    return named
