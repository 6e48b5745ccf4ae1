"""What other people's code may rely on is a list that changes only on purpose."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kenspeckle

NAMES = [
    "Answer",
    "Dataset",
    "Finding",
    "KenError",
    "Model",
    "Recipe",
    "Sample",
    "Score",
    "__version__",
    "check",
    "load",
    "packaged",
    "scan",
    "train",
]


def test_the_public_names_are_these():
    assert sorted(kenspeckle.__all__) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there_and_explained(name):
    found = getattr(kenspeckle, name)
    assert isinstance(found, str) or found.__doc__


def test_another_name_is_not_there():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = kenspeckle.trian


@pytest.mark.parametrize("statement", ["import kenspeckle", "import kenspeckle.cli.main"])
def test_importing_brings_no_torch(statement):
    heavy = "{'torch', 'torchvision', 'sklearn', 'matplotlib', 'scipy', 'numpy'}"
    code = f"import sys; {statement}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
