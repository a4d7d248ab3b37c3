"""Obvious twin of the kernels that evaluate plain networks: NumPy formulas in float64, one position at a time."""

from __future__ import annotations

from typing import Any

import numpy as np


def forward(layers: list[tuple[str, Any]], latent: Any, action: Any, bins: list[Any], num_actions: int) -> Any:
    """(new latent, policy logits, value, reward, ...) of layers (name, parameters) in order; a scalar for each bins."""
    x = np.asarray(latent, np.float64)
    new_latent = None
    for name, parameters in layers:
        if name == "dense":
            x = parameters[0] @ x + parameters[1]
        elif name == "action":
            x = parameters[0] @ x + parameters[1][action]
        elif name == "vector":  # the action is what stands for a vector: its numbers, or a 1 for each choice
            x = parameters[0] @ x + action @ parameters[1]
        elif name == "residual":
            x = parameters[0] @ x + latent
        elif name == "norm":
            x = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * parameters[0] + parameters[1]
        elif name == "relu":
            x = np.maximum(x, 0)
        elif name == "silu":
            x = x / (1 + np.exp(-x))
        elif name == "minmax":
            x = (x - x.min()) / max(x.max() - x.min(), 1e-5)
        elif name == "symlog":
            x = np.sign(x) * np.log(1 + np.abs(x))
        elif name == "affine":
            x = (x - parameters[1]) * parameters[0]
        elif name == "latent":
            new_latent = x
    ends = np.cumsum([num_actions, *(len(each) for each in bins)])
    logits, *scalars = np.split(x, ends[:-1])
    return new_latent, logits, *(softmax(scalar) @ each for scalar, each in zip(scalars, bins, strict=True))


def softmax(x: Any) -> Any:
    """Probabilities."""
    weight = np.exp(x - x.max())
    return weight / weight.sum()
