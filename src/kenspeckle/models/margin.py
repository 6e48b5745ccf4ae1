"""A head that puts images of one person, place or thing close together on a sphere."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kenspeckle.models.heads import Head, Transform, pooled, transformed

SHRINKAGE = 0.1  # of the spread within classes; .01 to .5 gave the same (0.02 points of area)
EDGE = 1e-6  # a cosine of exactly 1 has an angle of infinite slope


class MarginHead(Head):
    """Packaged features -> a vector of length 1; classes are directions that it is compared with.

    What comes out are the vectors that a gallery keeps. For training only, `logits` are
    scale * cosine, and `margin_loss` asks for more than that. `start_from` makes it good before any
    training, which is nearly all there is to gain from few people: 40 steps of AdamW (rate 3e-4)
    moved the area under ROC on people never seen by -0.1 to +0.1 points (orl-faces, 20 people to
    learn from, 20 to test on, three draws; 60 hand-drawn characters to learn from, 40 to test on:
    -0.5). Keep what training gives only where it wins out of fold.

    Args:
        widths: channels of the pooled stages, shallow to deep; the last is the waist's.
        classes: people to learn from; those who are enrolled later are others. 0 in a model file,
            so that nobody's direction stays in it.
        size: numbers a vector; fewer than 512 lose people who were not in training (true accepts
            at 1 % false ones, cross-validated over 20 people of orl-faces: 93 of 100 with 128,
            97.7 with 512, 97.2 with all 2024).
        margin: radians that an image must be nearer to its class than needed.
        scale: of the logits; 32 was worse.
        transform: of the stages, as of `FeatureHead`; `layers` where the waist may be negative.

    Source: Deng et al. 2019, arXiv:1801.07698 (ArcFace).

    >>> head = MarginHead([40, 80], classes=3, size=16)
    >>> head.likeness(torch.rand(2, 120)).detach().norm(dim=1).round(decimals=4)
    tensor([1., 1.])
    """

    def __init__(
        self,
        widths: Sequence[int],
        classes: int,
        size: int = 512,
        margin: float = 0.5,
        scale: float = 16.0,
        transform: Transform = "layers-root",
    ) -> None:
        super().__init__()
        self.widths, self.transform = tuple(widths), transform
        self.margin, self.scale = margin, scale
        inside = sum(widths) if transform.startswith("layers") else widths[-1]
        self.embedding = nn.Linear(inside, min(size, inside))
        self.directions = nn.Parameter(F.normalize(torch.randn(classes, min(size, inside)), dim=1))

    def vector(self, stages: Sequence[Tensor], valid: Tensor | None = None) -> Tensor:
        """(B, sum(widths)): the pooled stages, as they are cached."""
        return pooled(stages, self.widths)

    def likeness(self, vectors: Tensor) -> Tensor:
        """(B, sum(widths)) -> (B, size), each of length 1."""
        return F.normalize(self.embedding(self._read(vectors)), dim=1)

    def from_vector(self, vectors: Tensor) -> Tensor:
        """The same as `likeness`: an image is answered by what lies near it."""
        return self.likeness(vectors)

    def logits(self, vectors: Tensor) -> Tensor:
        """(B, sum(widths)) -> (B, K): scale * cosine to the direction of each class."""
        return self.scale * self.likeness(vectors) @ F.normalize(self.directions, dim=1).T

    @torch.no_grad()
    def start_from(self, vectors: Tensor, targets: Tensor) -> None:
        """Set the embedding by linear algebra, and each class to the mean of its images.

        What varies between images of one class is made to count less: features are multiplied by
        the inverse root of their covariance within classes, shrunken towards a multiple of the
        identity so that directions no training image varies in are kept as they are. A fixed
        random rotation then keeps `size` of the dimensions: principal components of so few people
        would lose what tells others apart (85 to 93 of 100 true accepts against 97.7).

        Args:
            vectors: (N, sum(widths)) of the training images, as they are cached.
            targets: (N,) class numbers; a class without an image keeps a random direction.

        Source: Hatch, Kajarekar and Stolcke 2006, Interspeech (within-class covariance
        normalisation); random projection, Dasgupta and Gupta 2003, Random Structures & Algorithms
        22(1).
        """
        x = self._read(vectors.double())
        centre, weight = _whitening(x, targets)
        weight = _rotation(x.shape[1], self.embedding.out_features) @ weight
        lengths = ((x - centre) @ weight.T).norm(dim=1)
        weight /= lengths.median().clamp(min=1e-12)  # the size of a step is relative to this
        self.embedding.weight.copy_(weight)
        self.embedding.bias.copy_(-weight @ centre)
        images = self.likeness(vectors)
        for k in targets.unique():
            self.directions[k] = F.normalize(images[targets == k].mean(0), dim=0)

    def _read(self, vectors: Tensor) -> Tensor:
        return transformed(vectors, self.widths, self.transform)


def margin_loss(logits: Tensor, targets: Tensor, margin: float, scale: float) -> Tensor:
    """(B,) cross-entropies after the angle to the true class was made `margin` wider.

    Beyond pi, where the cosine would rise again, it goes on falling in a straight line. Chosen over
    CosFace (Wang et al. 2018, arXiv:1801.09414): at scale 16, true accepts at 1 % false ones were
    0.0 to 1.1 points above in all of 8 pairs of settings (cross-validation over 20 people of
    orl-faces, two draws), the area under ROC the same within 0.1.

    Args:
        logits: (B, K), scale * cosine.
        targets: (B,) class numbers.
        margin: radians, 0 for plain cross-entropy.

    Source: Deng et al. 2019, arXiv:1801.07698, equation 3.

    >>> logits = torch.tensor([[16.0, 0.0]])   # as near as can be to class 0, at a right angle to 1
    >>> margin_loss(logits, torch.tensor([1]), 0.0, 16.0).item() > 15.9
    True
    """
    place = targets[:, None]
    cosine = (logits.gather(1, place) / scale).clamp(EDGE - 1, 1 - EDGE)
    sine = (1 - cosine**2).sqrt()
    wider = cosine * math.cos(margin) - sine * math.sin(margin)
    beyond = cosine - margin * math.sin(margin)
    wider = torch.where(cosine > -math.cos(margin), wider, beyond)
    return F.cross_entropy(logits.scatter(1, place, scale * wider), targets, reduction="none")


def _whitening(x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of the classes (D,), and the inverse root of the shrunken covariance (D, D).

    covariance = (1 - s) * within-class scatter / N + s * its mean variance * identity. One class
    alone has no centre: it would take away what the class is known by.
    """
    present, number = targets.unique(return_inverse=True)
    means = torch.stack([x[number == k].mean(0) for k in range(len(present))])
    centre = means.mean(0) if len(present) > 1 else torch.zeros_like(means[0])
    residuals = x - means[number]
    _, singular, directions = torch.linalg.svd(residuals, full_matrices=False)
    variance = singular**2 / len(x)
    ridge = SHRINKAGE * float(variance.sum()) / x.shape[1]
    identity = torch.eye(x.shape[1], dtype=x.dtype)
    if ridge < 1e-12:  # one image a class: no spread is known, so all directions count alike
        return centre, identity
    gain = (((1 - SHRINKAGE) * variance + ridge) / ridge).rsqrt() - 1
    return centre, identity + (directions.T * gain) @ directions


def _rotation(inside: int, out: int) -> Tensor:
    """`out` random directions at right angles, (out, inside), always the same."""
    if out == inside:
        return torch.eye(inside, dtype=torch.float64)
    values = np.random.default_rng(0).normal(size=(inside, out))
    return torch.from_numpy(np.linalg.qr(values)[0].T)
