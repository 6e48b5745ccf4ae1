"""What a recipe may not ask for is refused before any image is read."""

from __future__ import annotations

import pytest

from kenspeckle.errors import UsageError
from kenspeckle.tasks import TASKS
from kenspeckle.verbs.settle import settled


@pytest.mark.parametrize(
    "task", [n for n in TASKS if n not in ("classify", "tag", "watch", "read")]
)
def test_a_head_for_a_task_with_one_of_its_own_is_refused(task):
    with pytest.raises(UsageError, match="head"):
        settled(None, None, {"task": task, "head": "logistic"})


def test_the_nearest_head_of_a_task_is_named():
    with pytest.raises(UsageError, match="did you mean 'decoder'"):
        settled(None, None, {"task": "read", "head": "decodr"})


@pytest.mark.parametrize("task", list(TASKS))
def test_every_task_starts_from_a_recipe_that_is_allowed(task):
    assert settled(None, None, {"task": task}).task == task
