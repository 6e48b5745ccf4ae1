"""`ken rules`."""

from __future__ import annotations

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


def rules(
    action: Annotated[Action, typer.Argument(help="init begins a file, check looks for faults.")],
    path: Annotated[Path, typer.Argument(help="init: the images. check: the rules file.")],
    images: Annotated[
        Path | None, typer.Argument(help="check: images whose labels are held against the rules.")
    ] = None,
    columns: options.Columns = "",
    task: Annotated[
        str, typer.Option("--task", help="tag, where an image may have several labels.")
    ] = "classify",
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
    with terminal.progress(quiet or json) as tell:
        named = options.pairs(columns, "--columns")
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
