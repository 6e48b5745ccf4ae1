"""The `ken` command: finds the command, turns a user's mistake into one line and an exit code."""

from __future__ import annotations

import importlib
import io
import os
import sys

import typer

from kenspeckle.catalogue import Catalogue
from kenspeckle.errors import KenError, UsageError, nearest
from kenspeckle.version import __version__

COMMANDS = Catalogue(
    "command",
    {
        "check": ("kenspeckle.cli.check:check", "look for faults in images before training", {}),
        "train": ("kenspeckle.cli.train:train", "images in, a measured model file out", {}),
        "val": ("kenspeckle.cli.val:val", "measure a model on labelled images", {}),
        "predict": ("kenspeckle.cli.predict:predict", "say what images show", {}),
        "explain": ("kenspeckle.cli.explain:explain", "show where an answer comes from", {}),
        "restore": ("kenspeckle.cli.restore:restore", "mend damaged images", {}),
        "compress": ("kenspeckle.cli.compress:compress", "write images in few bytes", {}),
        "decompress": ("kenspeckle.cli.decompress:decompress", "turn those back into images", {}),
        "enroll": ("kenspeckle.cli.enroll:enroll", "let a model know a person, or forget one", {}),
        "identify": ("kenspeckle.cli.identify:identify", "who of those enrolled images show", {}),
        "verify": ("kenspeckle.cli.verify:verify", "whether two images show the same one", {}),
        "sample": ("kenspeckle.cli.sample:sample", "draw new images of a class", {}),
        "rules": ("kenspeckle.cli.rules:rules", "write down what you know, and check it", {}),
        "report": ("kenspeckle.cli.report:report", "show the report of a run or a model file", {}),
        "list": ("kenspeckle.cli.list:list_", "what can be chosen: models, tasks, checks", {}),
        "cache": ("kenspeckle.cli.cache:cache", "show, limit or clear what is remembered", {}),
        "demo": ("kenspeckle.cli.demo:demo", "the whole way on data that is at hand", {}),
    },
)

# Typer brings its own copy of Click in newer versions and uses Click's in older ones; the classes
# of its errors are reached through one that both have.
_ClickUsageError: type[Exception] = typer.BadParameter.__mro__[1]


def main() -> None:
    """Run the command line and leave with its exit code."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file's name may be no text at all, or of a script that the terminal does not know.
            is_unicode = stream.encoding.lower().replace("-", "") == "utf8"
            stream.reconfigure(errors="surrogateescape" if is_unicode else "backslashreplace")
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()  # a reader that left is noticed here, not while the process ends
        sys.exit(code)
    except BrokenPipeError:  # the reader (`head`) has enough: no complaint, no traceback
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(0)


def run(arguments: list[str]) -> int:
    """Run one command line; mistakes are printed on stderr as one line each.

    Only the module of the command that is asked for is imported.
    """
    try:
        return _run(arguments)
    except KenError as error:
        print(f"ken: {error}", file=sys.stderr)
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        print("ken: stopped.", file=sys.stderr)
        return 130


def _run(arguments: list[str]) -> int:
    name = arguments[0] if arguments else "--help"
    if name in ("--help", "-h", "help"):
        print(overview())
        return 0
    if name in ("--version", "version"):
        print(f"kenspeckle {__version__}")
        return 0
    module, _, function = COMMANDS.row(name).target.partition(":")
    app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    app.command()(getattr(importlib.import_module(module), function))
    command = typer.main.get_command(app)
    try:  # not command.main: it turns a broken pipe into exit code 1
        with command.make_context(f"ken {name}", arguments[1:]) as context:
            result = command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except _ClickUsageError as error:
        known = [option for parameter in command.params for option in parameter.opts]
        raise UsageError(f"{_in_words(error, known)} See `ken {name} --help`.") from None
    return result if isinstance(result, int) else 0


def _in_words(error: Exception, known: list[str]) -> str:
    """What is wrong with an option, naming the nearest one that exists."""
    option = getattr(error, "option_name", None)
    if type(error).__name__ == "NoSuchOption" and isinstance(option, str):
        return f"There is no option '{option}'{nearest(option, known) or '.'}"
    words: str = error.format_message() if hasattr(error, "format_message") else str(error)
    return words


def overview() -> str:
    """`ken --help`: every command with its line, made from the table."""
    lines = [f"  {name:<11}{COMMANDS.row(name).summary}" for name in COMMANDS]
    return "\n".join(
        [
            f"Kenspeckle {__version__}: image recognition for people with few images and",
            "knowledge of their field.",
            "",
            "  ken train photos/            where photos/ has one folder a class",
            "  ken predict --model runs/train/exp/weights/best.ken photo.jpg",
            "",
            "Commands:",
            *lines,
            "",
            "`ken COMMAND --help` says more.",
        ]
    )
