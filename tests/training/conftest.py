from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("tiny_world", Path(__file__).parent / "tiny.py")
_WORLD = importlib.util.module_from_spec(_SPEC)
sys.modules["tiny_world"] = _WORLD
_SPEC.loader.exec_module(_WORLD)


@pytest.fixture(scope="session")
def tiny():
    return _WORLD
