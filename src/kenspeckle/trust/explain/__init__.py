"""Pictures of where an answer comes from, one file a method. The table is `EXPLANATIONS`."""

from __future__ import annotations

from kenspeckle.catalogue import Catalogue

EXPLANATIONS = Catalogue(
    "explanation",
    {
        "grad-cam": (
            "kenspeckle.trust.explain.grad_cam:explain_by_grad_cam",
            "which places of the waist raise the class (fast; any backbone)",
            {},
        ),
        "attention": (
            "kenspeckle.trust.explain.attention:explain_by_attention",
            "which places the whole picture looks at, block by block (transformer alone)",
            {},
        ),
    },
)
