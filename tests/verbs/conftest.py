"""The command line and the drawings of the journeys, for tests of single verbs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[1] / "journeys" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("journeys_world", _PATH)
_WORLD = importlib.util.module_from_spec(_SPEC)
sys.modules["journeys_world"] = _WORLD
_SPEC.loader.exec_module(_WORLD)

cache, ken, drawn, small, small_run = (
    getattr(_WORLD, name) for name in ("cache", "ken", "drawn", "small", "small_run")
)


class Killed(BaseException):
    """Ends a run as a signal would: nothing in the package catches it."""


@pytest.fixture
def killed_after():
    """A `tell` that ends the run at the given update of training."""

    def make(updates):
        def tell(stage):
            if stage.name == "training" and stage.total and stage.done >= updates:
                raise Killed

        return tell

    return make


@pytest.fixture
def killed():
    return Killed


@pytest.fixture
def own_cache(cache, monkeypatch):
    """The cache of these tests, for verbs that are called without the command line."""
    monkeypatch.setenv("KENSPECKLE_CACHE", str(cache))
