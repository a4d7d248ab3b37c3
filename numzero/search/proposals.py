"""Action vectors, as networks see and propose them: a squashed normal for each number, or categories for each factor.

Knows parameters and densities, on arrays; knows nothing of trees, of games or of an environment's units. What
noise makes of parameters: `sampling.py`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LARGEST_MEAN",
    "LARGEST_VECTOR",
    "LEAST_SPREAD",
    "Proposal",
    "log_density",
    "normals",
    "unsquashed",
]

_Float32Array = NDArray[np.float32]

LARGEST_MEAN = 5.0
"""Of a normal before it is squashed by tanh; EfficientZero V2 5."""
LEAST_SPREAD = 0.1
"""Standard deviation before it is squashed; EfficientZero V2 0.1."""
SPREAD_OFFSET = 1.0
"""Spread = softplus(parameter + offset) + least spread: 1.41 where parameters are 0; EfficientZero V2."""
LARGEST_VECTOR = 0.999
"""Numbers of candidates are clipped to it, where tanh has all but ended; EfficientZero V2 0.999."""


class Proposal(NamedTuple):
    """What an action vector is, and with it what a network must say of how actions are distributed.

    Without `factors` it has `size` numbers from -1 to 1, each the tanh of a normal; with them, a whole number from 0 to
    n - 1 for each n of `factors`, each of a categorical distribution.
    """

    size: int
    """D, the numbers of a vector."""
    factors: tuple[int, ...] = ()
    """How many choices each number is one of; nothing where numbers are continuous."""

    @property
    def num_parameters(self) -> int:
        """P: a mean and a spread for each number, `[2 D]`, or a logit for each choice of each factor."""
        return sum(self.factors) if self.factors else 2 * self.size

    @property
    def num_inputs(self) -> int:
        """Numbers that stand for a vector in a network: itself, or a 1 for what each factor is."""
        return sum(self.factors) if self.factors else self.size

    @property
    def text(self) -> str:
        """As it stands in files; `parsed` reads it."""
        return " ".join(["factors", *map(str, self.factors)]) if self.factors else f"box {self.size}"

    @classmethod
    def parsed(cls, text: str) -> Proposal:
        """Of a file's words; ValueError where they are none."""
        kind, *numbers = text.split(" ")
        sizes = [int(number) for number in numbers if number.isascii() and number.isdecimal()]
        if len(sizes) == len(numbers) > 0 and min(sizes) > 0 and sum(sizes) <= MOST_CHOICES:
            if kind == "factors":
                return cls(len(sizes), tuple(sizes))
            if kind == "box" and len(sizes) == 1:
                return cls(sizes[0])
        raise ValueError(
            f"a space of action vectors must be 'box' and a size or 'factors' and sizes; got {text[:40]!r}"
        )

    def fill_noise(self, rng: np.random.Generator, noise: _Float32Array) -> None:
        """Draw what candidates `[..., D]` are made of: standard normals, or numbers from 0 to 1 of each factor."""
        if self.factors:
            rng.random(dtype=np.float32, out=noise)
        else:
            rng.standard_normal(dtype=np.float32, out=noise)

    def uniform(
        self, rng: np.random.Generator, shape: tuple[int, ...], legal: NDArray[np.bool_] | None = None
    ) -> _Float32Array:
        """`[*shape, D]` vectors, each as likely; of choices those that are `legal` `[*shape, C]`, None: all of them.

        Where a row has no legal choice at all, its vector is none that may be played.
        """
        if not self.factors:
            return np.asarray(rng.uniform(-1.0, 1.0, (*shape, self.size)), np.float32)
        if legal is None or legal.all():
            return np.asarray(rng.integers(np.array(self.factors), size=(*shape, self.size)), np.float32)
        chances = np.where(legal, rng.random(legal.shape), -1.0)
        parts = np.split(chances, self.begins()[1:], axis=-1)
        return np.stack([part.argmax(axis=-1) for part in parts], axis=-1).astype(np.float32)

    def permits(self, vectors: _Float32Array, legal: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """`[...]` whether vectors `[..., D]` are of choices that are `legal` `[..., C]`; of numbers all are."""
        if not self.factors:
            return np.ones(vectors.shape[:-1], np.bool_)
        chosen = vectors.astype(np.int64) + np.array(self.begins())
        return np.asarray(np.take_along_axis(legal, chosen, axis=-1).all(axis=-1))

    def allows(self, legal: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """`[...]` whether each factor has a choice among those that are `legal` `[..., C]`; of numbers `[..., 1]`."""
        if not self.factors:
            return np.asarray(legal[..., 0])
        return np.asarray(np.logical_or.reduceat(legal, self.begins(), axis=-1).all(axis=-1))

    def inputs(self, vectors: _Float32Array) -> _Float32Array:
        """`[..., num_inputs]` what a network is given for vectors `[..., D]`."""
        if not self.factors:
            return vectors
        return np.asarray(vectors[..., self.factor_of()] == self.choice_of(), np.float32)

    def factor_of(self) -> NDArray[np.int64]:
        """`[sum of factors]` which factor each choice is of."""
        return np.repeat(np.arange(self.size), self.factors)

    def choice_of(self) -> _Float32Array:
        """`[sum of factors]` which of its factor's choices each is."""
        return np.concatenate([np.arange(count, dtype=np.float32) for count in self.factors])

    def begins(self) -> list[int]:
        """Where the logits of each factor begin."""
        return [sum(self.factors[:i]) for i in range(len(self.factors))]


MOST_CHOICES = 2**16
"""Numbers of a vector, or choices of all factors together."""


def normals(parameters: _Float32Array) -> tuple[_Float32Array, _Float32Array]:
    """Mean and spread `[..., D]` before they are squashed, of parameters `[..., 2 D]`.

    mean = 5 tanh(x / 5), spread = softplus(y + 1) + 0.1 (EfficientZero V2): both bounded where networks are not.
    """
    x, y = np.split(parameters, 2, axis=-1)
    mean = LARGEST_MEAN * np.tanh(x / LARGEST_MEAN)
    return mean, np.logaddexp(np.float32(0.0), y + np.float32(SPREAD_OFFSET)) + np.float32(LEAST_SPREAD)


def unsquashed(vectors: _Float32Array) -> _Float32Array:
    """What tanh made them of; those at -1 and 1 as at the largest that candidates have."""
    return np.arctanh(np.clip(vectors, -LARGEST_VECTOR, LARGEST_VECTOR))


def log_density(
    proposal: Proposal, parameters: _Float32Array, vectors: _Float32Array, scale: float | _Float32Array = 1.0
) -> NDArray[np.float64]:
    """`[N, k]` log-probabilities of vectors `[N, k, D]`, or log-densities before they are squashed.

    What squashing adds is the same for all distributions, so differences of densities of one vector are right.
    parameters: `[N, P]`. scale: as of `propose`, one for all or `[k]`.
    """
    width = np.broadcast_to(np.asarray(scale, np.float64), vectors.shape[1:2])
    if not proposal.factors:
        mean, spread = normals(parameters)
        wide = spread[:, None] * width[:, None]  # [N, k, D]
        offset = (unsquashed(vectors) - mean[:, None]) / wide
        return np.asarray(-(0.5 * offset**2 + np.log(wide) + 0.5 * math.log(2 * math.pi)).sum(axis=-1), np.float64)
    total: NDArray[Any] = np.zeros(vectors.shape[:2])
    for f, (begin, count) in enumerate(zip(proposal.begins(), proposal.factors, strict=True)):
        logits = parameters[:, None, begin : begin + count] / width[:, None]  # [N, k, n]
        share = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
        total += np.take_along_axis(share, vectors[..., f, None].astype(np.int64), axis=-1)[..., 0]
    return total
