"""The manual cannot lie: its examples are run, its links and lists compared with what is there."""

from __future__ import annotations

import contextlib
import dataclasses
import doctest
import importlib
import io
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
import threadpoolctl
import torch
import typer

from kenspeckle.cli.main import COMMANDS, run
from kenspeckle.errors import KenError
from kenspeckle.recipe import Recipe

REPO = Path(__file__).parent.parent
PAGES = sorted([*REPO.glob("*.md"), *REPO.glob("docs/**/*.md")])
NAMES = [page.relative_to(REPO).as_posix() for page in PAGES]
TUTORIAL = REPO / "docs" / "tutorial.md"
# The demo trains on 1797 digits; the Chinese page has the examples of README.md, which is tested.
SLOW = {"docs/how-to/demo.md", "README.zh-CN.md"}
FORGIVING = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, content) of each fenced block."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    return [(language, content) for language, content in found]


@dataclasses.dataclass
class Command:
    """A line after `$ `, what the page says it prints (blank: anything) and its exit code."""

    line: str
    output: str = ""
    exit_code: int = 0


def commands(block: str) -> list[Command]:
    """The commands of a console block; `$ echo $?` tells the exit code of the one before it."""
    found: list[Command] = []
    for part in re.split(r"^\$ ", block.replace("\\\n", " "), flags=re.M)[1:]:
        line, _, output = part.partition("\n")
        if line == "echo $?":
            found[-1].exit_code = int(output)
        else:
            found.append(Command(line, output))
    return found


def execute(line: str) -> tuple[int, str]:
    """Exit code and what a terminal shows; `… | ken predict -` is given its list."""
    before, _, command = line.rpartition(" | ")
    listed = subprocess.check_output(before, shell=True, text=True) if before else ""
    program, *arguments = shlex.split(command, comments=True)
    assert program == "ken", f"a console block may only run ken, found: {line}"
    shown = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(shown),
        contextlib.redirect_stderr(shown),
    ):
        patch.setattr(sys, "stdin", io.StringIO(listed))
        code = run(arguments)
    return code, shown.getvalue()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`photos/` as the tutorial's first block draws it, and `photos.ken`, trained on it."""
    home = tmp_path_factory.mktemp("manual")
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch, threadpoolctl.threadpool_limits(1):
        patch.setenv("KENSPECKLE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.chdir(home)
        torch.set_num_threads(1)
        language, drawing = blocks(TUTORIAL)[0]
        assert language == "python"
        exec(compile(drawing, str(TUTORIAL), "exec"), {})
        code, shown = execute("ken train photos/ --quiet")
        assert code == 0, shown
        shutil.copy(home / "runs" / "train" / "exp" / "weights" / "best.ken", home / "photos.ken")
        shutil.rmtree(home / "runs")
        yield home
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in NAMES]
)
def test_every_example_of_a_page_works(
    name: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(world, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    space: dict[str, typing.Any] = {}
    for language, content in blocks(REPO / name):
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(content, name, "exec"), space)
        elif language == "console":
            for command in commands(content):
                code, shown = execute(command.line)
                assert code == command.exit_code, f"{command.line}\n{shown}"
                if command.output:
                    want, got = without_percentages(command.output), without_percentages(shown)
                    same = doctest.OutputChecker().check_output(want, got, FORGIVING)
                    assert same, f"{command.line}\nexpected\n{command.output}\nfound\n{shown}"


def without_percentages(text: str) -> str:
    """The last digit of an answer's probability differs between processors."""
    return re.sub(r"(over )?\d+ %", "N %", text)


@pytest.mark.parametrize("name", NAMES)
def test_every_block_says_its_language(name: str) -> None:
    assert {language for language, _ in blocks(REPO / name)} <= {
        "python", "console", "sh", "text", "csv", "yaml",
    }  # fmt: skip
    assert REPO.joinpath(name).read_text("utf-8").count("```") == 2 * len(blocks(REPO / name))


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name: str) -> None:
    page = REPO / name
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        led = (page.parent / path).resolve() if path else page
        assert led.exists(), f"{name} links to {target}"
        if anchor:
            assert anchor in anchors(led), f"{name} links to {target}"


def anchors(page: Path) -> set[str]:
    """What a Markdown reader makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def test_every_page_can_be_reached_from_the_index() -> None:
    index = REPO / "docs" / "README.md"
    linked = re.findall(r"\]\(([^)#\s]+\.md)", index.read_text("utf-8"))
    reached = {(index.parent / target).resolve() for target in linked}
    assert {page.resolve() for page in REPO.glob("docs/**/*.md")} - {index.resolve()} <= reached


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_page_of_a_command_names_every_option(name: str) -> None:
    module, _, function = COMMANDS.row(name).target.partition(":")
    app = typer.Typer(add_completion=False)
    app.command()(getattr(importlib.import_module(module), function))
    page = (REPO / "docs" / "how-to" / f"{name}.md").read_text("utf-8")
    options = {o for p in typer.main.get_command(app).params for o in p.opts if o.startswith("--")}
    assert not {option for option in options if f"`{option}" not in page}


def test_the_page_of_train_names_every_key_of_a_recipe() -> None:
    page = (REPO / "docs" / "how-to" / "train.md").read_text("utf-8")
    assert not {key for key in keys(Recipe().as_dict()) if f"`{key}`" not in page}


def keys(values: dict[str, typing.Any], start: str = "") -> Iterator[str]:
    """Dotted names of all settings."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from keys(value, f"{start}{key}.")
        else:
            yield f"{start}{key}"


def test_the_table_of_exit_codes_is_that_of_the_errors() -> None:
    page = (REPO / "docs" / "how-to" / "python.md").read_text("utf-8")
    told = {(n, int(c)) for n, c in re.findall(r"^\| `(\w+)` \| (\d) \|", page, re.M)}
    branches: set[type[KenError]] = {KenError, *KenError.__subclasses__()}
    here = {kind for kind in branches if kind.__module__ == "kenspeckle.errors"}
    assert told == {(kind.__name__, kind.exit_code) for kind in here}


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["project"]
    kinds = [project["dependencies"], *project["optional-dependencies"].values()]
    needed = {re.split(r"[<>=!~\[; ]", entry)[0] for kind in kinds for entry in kind}
    page = (REPO / "docs" / "contributing" / "dependencies.md").read_text("utf-8")
    assert set(re.findall(r"^\| `([^`]+)` \|", page, re.M)) == needed


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text("utf-8"), re.M))
    for page in PAGES:
        named = re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text("utf-8"), re.M)
        assert set(named) <= targets, page


def test_the_chinese_first_page_has_the_same_examples() -> None:
    def bare(page: str) -> list[tuple[str, str]]:
        return [(kind, re.sub(r" *#.*", "", code)) for kind, code in blocks(REPO / page)]

    assert bare("README.zh-CN.md") == bare("README.md")
