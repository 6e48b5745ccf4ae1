"""Tables of names lead to code, late, and cannot be taken over."""

from __future__ import annotations

import sys

import pytest

import kenspeckle.catalogue as module
from kenspeckle.catalogue import Catalogue
from kenspeckle.cli.main import COMMANDS
from kenspeckle.data.checks import CHECKS
from kenspeckle.errors import UsageError
from kenspeckle.models import BACKBONES
from kenspeckle.tasks import TASKS
from kenspeckle.trust.explain import EXPLANATIONS

TABLES = (COMMANDS, CHECKS, BACKBONES, TASKS, EXPLANATIONS)


class Point:
    """What `importlib.metadata` gives for an entry point, as far as the table looks."""

    def __init__(self, name: str, value: str) -> None:
        self.name, self.value = name, value


@pytest.fixture
def shapes(monkeypatch):
    points = [Point("ring", "others:taken"), Point("star", "os.path:join")]
    asked = []

    def entry_points(group: str) -> list[Point]:
        asked.append(group)
        return points

    monkeypatch.setattr(module, "entry_points", entry_points)
    table = Catalogue("sea shape", {"ring": ("wave:open", "round", {"size": 3})})
    return table, asked


def test_what_another_package_offers_joins_the_table(shapes):
    table, asked = shapes
    assert set(table) == {"ring", "star"}
    assert table.row("star").summary == "from os"
    assert asked == ["kenspeckle.sea_shapes"]


def test_our_own_names_cannot_be_taken_over(shapes):
    assert shapes[0].row("ring").target == "wave:open"
    assert shapes[0].row("ring").facts == {"size": 3}


def test_code_is_imported_when_it_is_asked_for(shapes, monkeypatch):
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    table, _ = shapes
    table.row("ring")
    assert "wave" not in sys.modules
    assert table.load("ring") is sys.modules["wave"].open


def test_a_name_that_is_not_there_is_told_with_the_nearest(shapes):
    with pytest.raises(UsageError, match="no sea shape 'stra', did you mean 'star'"):
        shapes[0].row("stra")


@pytest.mark.parametrize(
    ("table", "name"),
    [pytest.param(t, n, id=f"{t.kind}-{n}") for t in TABLES for n in t],
)
def test_every_row_of_every_table_leads_to_code_with_a_summary(table, name):
    assert callable(table.load(name))
    assert table.row(name).summary
    assert "\n" not in table.row(name).summary
