"""Images become maps; heads read them. The tables are `BACKBONES` and `ENCODERS` (sequences)."""

from __future__ import annotations

from kenspeckle.catalogue import Catalogue

# facts: image_size, pixels a side by default; adapts, whether it takes the images' own size where
# that is smaller; smallest, what it can work on at all; head, which of models/heads.py belongs to
# it; packaged, whose trained weights come with an installed package; options, what of
# models/backbone.py:Input it is built with.
_OWN = {"image_size": 64, "adapts": True, "head": "pooled", "packaged": None}
BACKBONES = Catalogue(
    "model",
    {
        "efficientnet-lite0": (
            "kenspeckle.models.efficientnet_lite:EfficientNetLite",
            "CNN of 3.4 M weights, trained on ImageNet, packaged (the default)",
            {"image_size": 224, "head": "features", "packaged": "efficientnet-lite0"},
        ),
        "cnn-tiny": ("kenspeckle.models.cnn:tiny", "residual CNN, 0.2 M weights", _OWN),
        "cnn": ("kenspeckle.models.cnn:CNN", "residual CNN, 0.7 M weights", _OWN),
        "cnn-base": ("kenspeckle.models.cnn:base", "residual CNN, 2.7 M weights", _OWN),
        "rnn": (
            "kenspeckle.models.rnn:simple",
            "simple recurrent network that sweeps rows and columns, both ways",
            _OWN,
        ),
        "lstm": ("kenspeckle.models.rnn:lstm", "the same with LSTM cells, 0.4 M weights", _OWN),
        "gru": ("kenspeckle.models.rnn:gru", "the same with GRU cells, 0.3 M weights", _OWN),
        "transformer": (
            "kenspeckle.models.transformer:VisionTransformer",
            "small vision Transformer, 0.2 M weights, trained from scratch",
            {**_OWN, "options": ("positions", "image_size")},
        ),
        "seed-cnn": (
            "kenspeckle.models.seed_cnn:SeedCNN",
            "the founding text's CNN: three 3x3 convolutions, 28 px grey, trained from scratch",
            {"image_size": 28, "smallest": 18, "head": "flatten", "packaged": None},
        ),
    },
)

ENCODERS = Catalogue(
    "sequence model",
    {
        "gru": ("kenspeckle.models.sequence:gru", "GRU, both ways (the default)", {}),
        "lstm": ("kenspeckle.models.sequence:lstm", "LSTM, both ways", {}),
        "rnn": ("kenspeckle.models.sequence:simple", "simple recurrent network, both ways", {}),
        "transformer": ("kenspeckle.models.sequence:transformer", "Transformer encoder", {}),
        "mean": (
            "kenspeckle.models.sequence:mean",
            "each step by itself, then their mean: the order plays no part",
            {},
        ),
        "seed-rnn": (
            "kenspeckle.models.sequence:seed_rnn",
            "the founding text's SimpleRNN(50), one way, sigmoid for two classes",
            {"head": "sigmoid"},
        ),
        "seed-transformer": (
            "kenspeckle.models.seed_transformer:TokenEncoder",
            "the founding text's encoder-decoder, corrected; for the task translate",
            {"reads": "pairs"},
        ),
    },
)
