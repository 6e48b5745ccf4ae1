"""`report.html`: one page for people, drawn without network or scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray


def page(report: Mapping[str, Any], pictures: Mapping[str, NDArray[np.uint8]]) -> str:
    """The whole page as HTML."""
    surroundings = Environment(
        loader=PackageLoader("kenspeckle.trust", ""), autoescape=True, undefined=StrictUndefined
    )
    return surroundings.get_template("report.html.jinja").render(report=report)
