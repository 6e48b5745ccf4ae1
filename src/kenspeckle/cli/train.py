"""`ken train`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from kenspeckle.cli import options, terminal
from kenspeckle.errors import UsageError
from kenspeckle.recipe import Recipe
from kenspeckle.verbs.runs import abandon, new_run, resumed_run

Folder = Annotated[
    Path | None, typer.Argument(help="A folder with one folder a class, a zip, or a table.")
]

# What stands for the next sample in the line that says how to go on.
ASKED = {
    "images": "PHOTO",
    "sequences": "FILE",
    "pairs": "STRING",
    "clips": "CLIP",
    "pixels": "PHOTO",
}


def train(
    images: Folder = None,
    data: Annotated[Path | None, typer.Option("--data", help="The same as the argument.")] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="`ken list tasks`. [default: classify]")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "--arch", "-m", help="`ken list models`. [default: efficientnet-lite0]"
        ),
    ] = None,
    pool: Annotated[str | None, typer.Option("--pool", help="avg, max or avgmax.")] = None,
    pos: Annotated[
        str | None, typer.Option("--pos", help="sin2d, sin1d, learned or none (Transformer).")
    ] = None,
    head: Annotated[
        str | None,
        typer.Option("--head", help="Of fixed features: lda, logistic, ...; read: ctc, decoder."),
    ] = None,
    loss: Annotated[
        str | None, typer.Option("--loss", help="auto, cross-entropy, balanced or focal.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help="A safetensors file with trained weights.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="Start from this args.yaml.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="Passes over the images, at most.")
    ] = None,
    batch_size: Annotated[
        str | None, typer.Option("--batch-size", "--batch", "-b", help="A number, or `full`.")
    ] = None,
    imgsz: Annotated[
        str | None,
        typer.Option("--imgsz", "--img-size", help="Pixels a side, or HEIGHTxWIDTH."),
    ] = None,
    resize: Annotated[str | None, typer.Option("--resize", help="pad, stretch or crop.")] = None,
    lr: Annotated[
        float | None, typer.Option("--lr", "--learning-rate", help="Peak of the schedule.")
    ] = None,
    opt: Annotated[
        str | None,
        typer.Option("--opt", help="sgd, momentum, nesterov, rmsprop, adam, adamw, ..., lbfgs."),
    ] = None,
    weight_decay: Annotated[float | None, typer.Option("--weight-decay", help="Decoupled.")] = None,
    l1: Annotated[float | None, typer.Option("--l1", help="Literal penalty.")] = None,
    l2: Annotated[float | None, typer.Option("--l2", help="Literal penalty.")] = None,
    sched: Annotated[
        str | None, typer.Option("--sched", help="constant, step, cosine, one-cycle, plateau.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option("--patience", help="Epochs; 0 never stops early.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", help="Time to spend, such as 10m.")
    ] = None,
    freeze: Annotated[
        str | None, typer.Option("--freeze", help="yes: features only; no: train all.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu or cuda.")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of the split and of training.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any recipe key: training.clip=1.")
    ] = None,
    columns: options.Columns = "",
    split: Annotated[Path | None, typer.Option("--split", help="A split.csv to use again.")] = None,
    exclude: options.Exclude = None,
    rules: Annotated[
        Path | None, typer.Option("--rules", help="A rules file to obey: ken rules init.")
    ] = None,
    project: Annotated[Path, typer.Option("--project", help="Where runs go.")] = Path("runs/train"),
    name: Annotated[str, typer.Option("--name", help="The run; numbered if it exists.")] = "exp",
    exist_ok: Annotated[
        bool, typer.Option("--exist-ok", help="Overwrite a run of that name.")
    ] = False,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Continue this run's folder.")
    ] = None,
    diagnose: Annotated[
        bool, typer.Option("--diagnose", help="Draw the gradients' health.")
    ] = False,
    find_lr: Annotated[bool, typer.Option("--find-lr", help="Find a learning rate first.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and plan, train nothing.")
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Turn a folder of images into a checked, trained, honestly measured model file.

    Examples:

        ken train photos/

        ken train photos/ --model seed-cnn --epochs 5 --budget 2m
    """
    from kenspeckle.verbs.train import planned
    from kenspeckle.verbs.train import train as run

    source = images or data
    given = {
        "task": task,
        "model": model,
        "pool": pool,
        "positions": pos,
        "head": head,
        "loss": loss,
        "weights": weights,
        "freeze": _yes(freeze),
        **_sides(imgsz),
        "data.resize": resize,
        "data.seed": seed,
        "training.seed": seed,
        "training.epochs": epochs,
        "training.batch_size": _batch(batch_size),
        "training.learning_rate": lr,
        "training.optimiser": opt,
        "training.weight_decay": weight_decay,
        "training.l1": l1,
        "training.l2": l2,
        "training.schedule": sched,
        "training.patience": patience,
        "training.device": device,
    }
    chosen = {key: value for key, value in given.items() if value is not None}
    chosen |= options.settings(set_ or [])
    named = options.pairs(columns, "--columns")
    with terminal.progress(quiet or json) as tell:
        if resume is not None:
            past = resumed_run(resume)
            if chosen or recipe:
                raise UsageError(
                    "--resume repeats the run's own recipe; leave the other choices out."
                )
            result = run(
                past.source.data,
                past.recipe,
                columns=past.source.columns,
                split=past.source.split,
                exclude=past.source.exclude,
                rules=past.source.rules,
                folder=resume,
                resume=True,
                tell=tell,
            )
            folder = resume
        else:
            if source is None:
                raise UsageError("Say which images to train on: `ken train FOLDER`.")
            start = Recipe.from_yaml(recipe) if recipe else None
            if dry_run:
                plan = planned(
                    source,
                    start,
                    budget=budget,
                    settings=chosen,
                    columns=named,
                    split=split,
                    exclude=exclude,
                    rules=rules,
                    tell=tell,
                )
                if json:
                    terminal.print_json(plan)
                else:
                    terminal.console.print("nothing was trained (--dry-run)")
                return
            folder = new_run(project, name, exist_ok)
            try:
                result = run(
                    source,
                    start,
                    budget=budget,
                    settings=chosen,
                    columns=named,
                    split=split,
                    exclude=exclude,
                    rules=rules,
                    folder=folder,
                    diagnose=diagnose,
                    find_rate=find_lr,
                    tell=tell,
                )
            finally:
                abandon(folder)
    telling, model_file = result.task.telling, folder / "weights" / "best.ken"
    own = telling.commands
    line = own[0] if own else f"ken {telling.verb} --model {{file}} {ASKED[result.reads]}"
    _say(result.bundle.report, folder, line.format(file=model_file), json)


def _yes(text: str | None) -> bool | None:
    if text is None:
        return None
    if text.lower() in ("yes", "true", "all"):
        return True
    if text.lower() in ("no", "false", "none"):
        return False
    raise UsageError(f"--freeze should be yes or no, found '{text}'.")


def _sides(text: str | None) -> dict[str, int]:
    """Settings for `--imgsz 224` or `--imgsz 32x128`."""
    if text is None:
        return {}
    sides = re.fullmatch(r"([1-9][0-9]*)(?:x([1-9][0-9]*))?", text)
    if sides is None:
        raise UsageError(f"--imgsz should be pixels, such as 224 or 32x128; found '{text}'.")
    high, wide = sides.groups()
    return {
        "data.image_size": int(high),
        **({} if wide is None else {"data.image_width": int(wide)}),
    }


def _batch(text: str | None) -> int | str | None:
    if text is None or text == "full":
        return text
    if not re.fullmatch(r"[1-9][0-9]*", text):
        raise UsageError(f"--batch-size should be a whole number above 0, or full; found '{text}'.")
    return int(text)


def _say(report: Any, folder: Path, next_line: str, json: bool) -> None:
    if json:
        terminal.print_json({**report, "run": str(folder)})
        return
    model = folder / "weights" / "best.ken"
    terminal.console.print(f"\nmodel   {model}", soft_wrap=True, markup=False)
    terminal.console.print(f"report  {folder / 'report.html'}", soft_wrap=True, markup=False)
    terminal.console.print(f"next    {next_line}", soft_wrap=True, markup=False)
