"""`ken rules`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kenspeckle.cli import options, terminal
from kenspeckle.errors import UsageError


class Action(StrEnum):
    """What is done with a rules file."""

    INIT = "init"
    CHECK = "check"
    TEST = "test"


def rules(
    action: Annotated[
        Action, typer.Argument(help="init begins a file, check proves it, test tries it.")
    ],
    path: Annotated[Path, typer.Argument(help="init: the images. Else the rules file.")],
    images: Annotated[
        Path | None, typer.Argument(help="Labelled images: check holds labels against rules.")
    ] = None,
    columns: options.Columns = "",
    task: Annotated[
        str, typer.Option("--task", help="tag, where an image may have several labels.")
    ] = "classify",
    model: options.ModelFile = None,
    beside: Annotated[
        Path | None,
        typer.Option("--beside", help="test: a model that was trained without rules."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="init: the file that is written.")
    ] = Path("rules.yaml"),
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Write down what you know: begin a rules file, or check one. Exit code 3 if it is wrong.

    Examples:

        ken rules init photos/

        ken rules check rules.yaml photos/

        ken rules test rules.yaml photos/ --model photos.ken
    """
    from kenspeckle.files import write_text
    from kenspeckle.knowledge.problems import in_order
    from kenspeckle.verbs.rules import begin_rules, check_rules

    if action is Action.INIT:
        if output.exists():
            raise UsageError(f"{output} exists; say another name with --output.")
        with terminal.progress(quiet or json) as tell:
            text = begin_rules(path, tell, task=task)
        write_text(output, text)
        if json:
            terminal.print_json({"file": str(output)})
        else:
            terminal.console.print(f"written {output}", soft_wrap=True, markup=False)
        return 0
    named = options.pairs(columns, "--columns")
    if action is Action.TEST:
        return _test(path, images, model, beside, named, json, quiet)
    with terminal.progress(quiet or json) as tell:
        checked = check_rules(path, images, named, tell, task=task)
    if json:
        terminal.print_json(checked.as_dict())
    else:
        for problem in in_order(checked.problems):
            terminal.console.print(problem.told(str(path)), soft_wrap=True, markup=False)
        kinds = f"{len(checked.rules.leaves)} classes, {len(checked.rules.rules)} rules"
        looked = f", {checked.images} images" if checked.images else ""
        verdict = "Mend what is above" if checked.is_wrong else "They can hold together"
        terminal.console.print(f"{kinds}{looked}. {verdict}.", markup=False)
    return 3 if checked.is_wrong else 0


def _test(
    path: Path,
    images: Path | None,
    model: Path | None,
    beside: Path | None,
    columns: Mapping[str, str],
    json: bool,
    quiet: bool,
) -> int:
    from kenspeckle.verbs.ablation import try_rules
    from kenspeckle.verbs.model import load
    from kenspeckle.words import percent, points

    if images is None or model is None:
        raise UsageError(
            "Say what to try the rules on: `ken rules test rules.yaml photos/ --model photos.ken`."
        )
    with terminal.progress(quiet or json) as tell:
        other = load(beside) if beside is not None else None
        tried = try_rules(load(model), path, images, columns, tell, beside=other)
    if json:
        terminal.print_json(tried.as_dict())
        return 0
    told = terminal.console.print
    ways = {"alone": "without rules", "ruled": "with rules", "beside": "trained without"}
    for way, score in (("alone", tried.alone), ("ruled", tried.ruled), ("beside", tried.beside)):
        if score is not None:
            ends = f"{percent(score.low)} to {percent(score.high)}"
            line = f"{ways[way]:16}{percent(score.value)} right ({ends}, n = {score.n})"
            if way in tried.far:
                line += f", {percent(tried.far[way])} of another kind"
            told(line, markup=False)
    if tried.gain is not None:
        gain = [points(end) for end in (tried.gain.value, tried.gain.low, tried.gain.high)]
        told(f"{'gain':16}{gain[0]} points over the other ({gain[1]} to {gain[2]})", markup=False)
    rows = [
        [
            rule.name,
            rule.words,
            *map(str, (rule.fired, rule.mended, rule.spoiled)),
            f"{points(rule.gain.value)} ({points(rule.gain.low)} to {points(rule.gain.high)})",
        ]
        for rule in tried.rules
    ]
    if rows:
        terminal.print_table(["", "rule", "fired", "mended", "spoiled", "points"], rows)
    for rule in tried.rules:
        if rule.hurts:
            words = f"{rule.name} hurts: it spoils more right answers than it mends, such as "
            told(words + ", ".join(rule.spoiled_paths) + ".", soft_wrap=True, markup=False)
    return 0
