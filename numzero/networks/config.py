"""The settings of the networks.

Knows numbers and names only, so that a run's settings can be read, checked and shown without torch.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from numzero.limits import ABOVE_0, LARGEST_SIZE, at_least, beyond

__all__ = ["NetworkConfig", "SupportConfig"]


MOST_LAYERS = 1000
MOST_WEIGHTS = 2**29
"""Of a network, which with its optimizer's state takes 16 bytes for each."""


class SupportConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The bins of one categorical scalar."""

    num_bins: int = 41
    """How many bins; MuZero 601. 3 over -1..1 without transform are loss, draw and win."""
    limit: float = 20.0
    """The bins lie evenly from -limit to limit, after the transform where there is one; MuZero 300."""
    transform: Literal["h", "none"] = "h"
    """`h`: bins are spaced by MuZero's h, closely near 0; `none`: evenly."""

    def check(self, path: str) -> list[str]:
        """All that is wrong, one sentence each; `path` names the setting."""
        return beyond(self, path, num_bins=at_least(2, LARGEST_SIZE), limit=ABOVE_0)


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of the three networks."""

    body: Literal["mlp", "conv"] = "mlp"
    """`mlp` for vectors and tiny boards, `conv` (residual blocks) for observations `[C, H, W]`."""
    width: int = 128
    """Units of each hidden layer; of the heads' hidden layer for `conv`."""
    latent_size: int = 64
    """`mlp`: size of the hidden state; MuZero has no MLP, EfficientZero V2 128."""
    representation_layers: int = 1
    """`mlp`: hidden layers of the representation."""
    dynamics_layers: int = 1
    """`mlp`: hidden layers of the dynamics, around which the residual runs."""
    prediction_layers: int = 1
    """`mlp`: hidden layers of the trunk that the heads share."""
    channels: int = 32
    """`conv`: channels of the hidden state; MuZero 256."""
    blocks: int = 2
    """`conv`: residual blocks of representation and of dynamics; MuZero 16."""
    head_channels: int = 4
    """`conv`: channels that the heads' hidden layer sees."""
    activation: Literal["relu", "silu"] = "relu"
    """Hidden activation. relu is fused into its matrix product by onnxruntime; silu is one or two nodes more."""
    hidden_norm: bool = False
    """LayerNorm before each hidden activation."""
    latent_scaling: Literal["minmax", "layernorm"] = "minmax"
    """How a latent is kept in range: to [0, 1] (MuZero, appendix G), or LayerNorm without affine (one node)."""
    observation_scaling: Literal["none", "symlog"] = "none"
    """`symlog`: sign(x) log(1 + |x|), for observations of unknown range (DreamerV3)."""
    head_scale: float = 0.0
    """Initial output weights, times PyTorch's default: 0 starts with a uniform policy and value and reward 0."""
    value: SupportConfig = SupportConfig()
    """Bins of the value."""
    reward: SupportConfig = SupportConfig()
    """Bins of the reward."""

    def check(self) -> list[str]:
        """All that is wrong with the settings, one sentence each."""
        problems = beyond(
            self,
            "network",
            width=at_least(1, LARGEST_SIZE),
            latent_size=at_least(1, LARGEST_SIZE),
            representation_layers=at_least(0, MOST_LAYERS),
            dynamics_layers=at_least(1, MOST_LAYERS),
            prediction_layers=at_least(1, MOST_LAYERS),
            channels=at_least(1, LARGEST_SIZE),
            blocks=at_least(0, MOST_LAYERS),
            head_channels=at_least(1, LARGEST_SIZE),
            head_scale=at_least(0),
        )
        if not problems and (weights := self._hidden_weights()) > MOST_WEIGHTS:
            problems.append(f"network must have {MOST_WEIGHTS:,} weights at most; its hidden layers have {weights:,}.")
        return problems + self.value.check("network.value") + self.reward.check("network.reward")

    def _hidden_weights(self) -> int:
        """Roughly the weights between hidden layers: nearly all that a large network has."""
        if self.body == "conv":
            return 9 * self.channels**2 * 4 * self.blocks + self.width**2
        layers = self.representation_layers + self.dynamics_layers + self.prediction_layers
        return self.width**2 * layers + 3 * self.width * self.latent_size
