"""Whether layers may compute in bfloat16 on this processor: half the bits, twice as fast where it has instructions.

Knows processors and layers; knows nothing of losses. Weights, their averages, gradients and losses are float32 always.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Literal

import llvmlite.binding
import torch
from torch import nn

from numzero.networks.layers import Layer

__all__ = ["Precision", "computed", "ordered", "refused"]

Precision = Literal["float32", "bfloat16"]

_FEATURES = ("avx512bf16", "amx-bf16", "bf16")
"""Any of them: Intel's, AMD's and ARM's."""


def refused(network: nn.Module) -> str:
    """Why layers stay in float32, in a sentence; empty where bfloat16 is worth it."""
    if not any(isinstance(module, Layer) and module.gains_by_bfloat16 for module in network.modules()):
        return "bfloat16 gains nothing with plain layers; the network computes in float32."
    features = llvmlite.binding.get_host_cpu_features()
    if not any(features.get(name) for name in _FEATURES):
        return "this processor has no instructions for bfloat16; the network computes in float32."
    return ""


def computed(precision: Precision) -> AbstractContextManager[object]:
    """Inside, on this thread, torch's matrix products and convolutions are of this precision."""
    return torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()


def ordered(observation: torch.Tensor, precision: Precision) -> torch.Tensor:
    """Pictures `[N, C, H, W]` with the channels of a place side by side, which is faster in bfloat16 alone."""
    if precision == "bfloat16" and observation.ndim == 4:
        return observation.contiguous(memory_format=torch.channels_last)
    return observation
