"""The settings of the networks: one struct for each body, and what all of them share.

Knows numbers and names only, so that a run's settings can be read, checked and shown without torch. A body's struct is
told by its `kind`, which also names the module in `bodies` that builds it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from numzero.errors import UserError, nearest
from numzero.limits import ABOVE_0, LARGEST_SIZE, at_least, beyond
from numzero.networks.activations import ACTIVATIONS

__all__ = ["BodyConfig", "ConvConfig", "MlpConfig", "NetworkConfig", "OutsideConfig", "SupportConfig"]
__all__ += ["body_settings", "choose_body", "modern_path", "modern_table", "network_config", "strict_table"]
__all__ += ["written_table"]


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
    fitted: bool = False
    """Bins keep the spacing that the settings above say, and all of them grow with the largest target that training
    has seen: the outermost stand for twice that. For rewards of unknown size; MuZero has fixed ones."""

    def check(self, path: str) -> list[str]:
        """All that is wrong, one sentence each; `path` names the setting."""
        return beyond(self, path, num_bins=at_least(2, LARGEST_SIZE), limit=ABOVE_0)


class BodyConfig(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What the bodies that ship have in common."""

    width: int = 128
    """Units of each hidden layer."""
    prediction_layers: int = 1
    """Hidden layers of the trunk that the heads share."""
    activation: str = "relu"
    """Hidden activation, `relu` or `silu`. relu is fused into its matrix product by onnxruntime; silu is one or two
    nodes more."""
    hidden_norm: bool = False
    """LayerNorm before each hidden activation."""
    latent_scaling: Literal["minmax", "layernorm"] = "minmax"
    """How a latent is kept in range: to [0, 1] (MuZero, appendix G), or LayerNorm without affine (one node)."""
    head_scale: float = 0.0
    """Initial output weights, times PyTorch's default: 0 starts with a uniform policy and value and reward 0."""

    def check(self, path: str) -> list[str]:
        """All that is wrong, one sentence each; `path` names the setting."""
        problems = beyond(
            self,
            path,
            width=at_least(1, LARGEST_SIZE),
            prediction_layers=at_least(1, MOST_LAYERS),
            head_scale=at_least(0),
        )
        if self.activation not in ACTIVATIONS:
            known = nearest(self.activation, ACTIVATIONS)
            problems.append(
                f"{path}.activation must be one of {', '.join(ACTIVATIONS)}; got {self.activation!r}.{known}"
            )
        return problems


class MlpConfig(BodyConfig, frozen=True, kw_only=True, tag="mlp"):
    """Plain layers, for vectors and tiny boards."""

    latent_size: int = 64
    """Size of the hidden state; MuZero has no MLP, EfficientZero V2 128."""
    representation_layers: int = 1
    """Hidden layers of the representation."""
    dynamics_layers: int = 1
    """Hidden layers of the dynamics, around which the residual runs."""

    def check(self, path: str) -> list[str]:
        """All that is wrong, one sentence each; `path` names the setting."""
        bounds = {
            "latent_size": at_least(1, LARGEST_SIZE),
            "representation_layers": at_least(0, MOST_LAYERS),
            "dynamics_layers": at_least(1, MOST_LAYERS),
        }
        return super().check(path) + beyond(self, path, **bounds)

    def latent_shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """`*H` of observations `*O`; None where only the body's own code knows."""
        return (self.latent_size,)

    def num_hidden_weights(self) -> int:
        """Roughly the weights between hidden layers: nearly all that a large network has."""
        layers = self.representation_layers + self.dynamics_layers + self.prediction_layers
        return self.width**2 * layers + 3 * self.width * self.latent_size


class ConvConfig(BodyConfig, frozen=True, kw_only=True, tag="conv"):
    """Convolutions and residual blocks, for observations `[C, H, W]`; `width` is that of the heads' hidden layer."""

    channels: int = 32
    """Channels of the hidden state; MuZero 256."""
    blocks: int = 2
    """Residual blocks of representation and of dynamics; MuZero 16."""
    head_channels: int = 4
    """Channels that the heads' hidden layer sees."""

    def check(self, path: str) -> list[str]:
        """All that is wrong, one sentence each; `path` names the setting."""
        bounds = {
            "channels": at_least(1, LARGEST_SIZE),
            "blocks": at_least(0, MOST_LAYERS),
            "head_channels": at_least(1, LARGEST_SIZE),
        }
        return super().check(path) + beyond(self, path, **bounds)

    def latent_shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """`*H` of observations `*O`; None where they are no pictures."""
        return (self.channels, *observation_shape[1:]) if len(observation_shape) == 3 else None

    def num_hidden_weights(self) -> int:
        """Roughly the weights between hidden layers: nearly all that a large network has."""
        return 9 * self.channels**2 * 4 * self.blocks + self.width**2


class ImageConfig(ConvConfig, frozen=True, kw_only=True, tag="image"):
    """As `conv`, on pictures that are halved first, as MuZero's are: 96x96 and 84x84 become 6x6, 64x64 8x8.

    `blocks` are those of the smallest size, `channels` those behind the second halving; the first makes half as many.
    """

    largest: int = 8
    """Pictures are halved, rounded up, until neither height nor width is above this. 10x10 become 5x5; with 10 they
    stay."""
    early_blocks: int = 1
    """Residual blocks behind each halving but the last; MuZero 2 or 3."""

    def check(self, path: str) -> list[str]:
        """All that is wrong, one sentence each; `path` names the setting."""
        bounds = {"largest": at_least(1, LARGEST_SIZE), "early_blocks": at_least(0, MOST_LAYERS)}
        return super().check(path) + beyond(self, path, **bounds)

    def num_halvings(self, observation_shape: tuple[int, ...]) -> int:
        """How often pictures `[C, H, W]` are halved."""
        return max(0, math.ceil(math.log2(max(1, *observation_shape[1:]) / self.largest)))

    def latent_shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """`*H` of observations `*O`; None where they are no pictures."""
        if len(observation_shape) != 3:
            return None
        parts = 2 ** self.num_halvings(observation_shape)
        return (self.channels, *(-(-size // parts) for size in observation_shape[1:]))


class AxialConfig(BodyConfig, frozen=True, kw_only=True, tag="axial"):
    """Layers that all rows share beside layers that all columns share, for boards `[C, H, W]` with moves along lines.

    `width` is that of a line's hidden layer and of the heads'.
    """

    channels: int = 32
    """Channels of the hidden state."""
    blocks: int = 2
    """Blocks of representation and of dynamics, each of which sees every row and every column whole."""

    def check(self, path: str) -> list[str]:
        """All that is wrong, one sentence each; `path` names the setting."""
        bounds = {"channels": at_least(1, LARGEST_SIZE), "blocks": at_least(0, MOST_LAYERS)}
        return super().check(path) + beyond(self, path, **bounds)

    def latent_shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """`*H` of observations `*O`; None where they are no boards."""
        return (*observation_shape[1:], self.channels) if len(observation_shape) == 3 else None

    def num_hidden_weights(self) -> int:
        """Roughly the weights between hidden layers, on boards of 8x8."""
        return 8 * self.channels * self.width * (8 * self.blocks + 8) + self.width**2 * self.prediction_layers


class OutsideConfig(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="outside"):
    """A body that somebody else wrote: see `bodies.outside`. People write its name as the body's kind."""

    name: str
    """A class, as "package.module:Class" or "file.py:Class"."""
    settings: dict[str, Any] = {}
    """Given to the class by name."""

    def check(self, path: str) -> list[str]:
        """All that is wrong, one sentence each; `path` names the setting."""
        return [] if ":" in self.name else [f"{path}.name must be module:Class; got {self.name!r}."]

    def latent_shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Nobody knows before it is made."""
        return None

    def num_hidden_weights(self) -> int:
        """Nobody knows before it is made."""
        return 0


Body = MlpConfig | ConvConfig | ImageConfig | AxialConfig | OutsideConfig
KINDS: dict[str, type[Body]] = {str(each.__struct_config__.tag): each for each in get_args(Body)}
"""The bodies by name."""
_OUTSIDE = str(OutsideConfig.__struct_config__.tag)
_FORMERLY_FLAT = {name for kind in (MlpConfig, ConvConfig) for name in kind.__struct_fields__}
"""Settings that stood beside `body` before each body had a struct of its own."""


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The three networks: the body they share, what goes in and what comes out."""

    body: Body = MlpConfig()
    """`kind` is `mlp`, `conv`, `image`, `axial`, or a class of your own as module:Class; its settings stand beside
    it."""
    observation_scaling: Literal["none", "symlog", "running", "pictures"] = "none"
    """What the body sees of an observation x, by a layer of the network: `none` x; `symlog` sign(x) log(1 + |x|), for
    numbers of unknown range (DreamerV3); `running` (x - mean) / spread, learned while training, logarithmic beyond some
    5 spreads; `pictures` x / 255."""
    value: SupportConfig = SupportConfig()
    """Bins of the value."""
    reward: SupportConfig = SupportConfig()
    """Bins of the reward."""
    chance: Literal["none", "known", "learned", "auto"] = "none"
    """What the model makes of chance (Stochastic MuZero, Antonoglou et al. 2022). "none": nothing, a position and an
    action make one next position. "known": behind an action lies an afterstate, behind it one of the outcomes that the
    game reports. "learned": the outcomes are codes, which an encoder learns to read off what was seen next. "auto": a
    run decides when it begins, by what the game reports, or by playing it for a moment; with chance its searches have
    twice the simulations that are set, those of `selfplay.first_simulations` and `selfplay.fast_simulations` too."""
    num_codes: int = 32
    """How many outcomes there are where they are learned; Stochastic MuZero 32."""

    def num_outcomes(self, num_known: int) -> int:
        """C, the number of outcomes of a game that reports `num_known`; 0: the model has no chance.

        The most that it may come to where it is not decided.
        """
        choices = {"none": 0, "known": num_known, "learned": self.num_codes, "auto": num_known or self.num_codes}
        return choices[self.chance]

    def check(self) -> list[str]:
        """All that is wrong with the settings, one sentence each."""
        problems = self.body.check("network.body") + beyond(self, "network", num_codes=at_least(1, LARGEST_SIZE))
        if not problems and (weights := self.body.num_hidden_weights()) > MOST_WEIGHTS:
            problems.append(f"network must have {MOST_WEIGHTS:,} weights at most; its hidden layers have {weights:,}.")
        return problems + self.value.check("network.value") + self.reward.check("network.reward")

    def latent_size(self, observation_shape: tuple[int, ...]) -> int | None:
        """Numbers of a latent, of which each node of a tree has one; None where only the body's own code knows."""
        shape = self.body.latent_shape(observation_shape)
        return None if shape is None else math.prod(shape)


def network_config(**settings: Any) -> NetworkConfig:
    """Settings from plain values, as they stand in a file: `network_config(body={"kind": "mlp", "width": 64})`."""
    return msgspec.convert(strict_table(modern_table(settings)), NetworkConfig)


# ---------------------------------------------------------------------------------------------- as people write it


def modern_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """The network's settings of a file with `body` as a table, also of files in which it was a word among others.

    Those files held the settings of all bodies, whichever was chosen; what the chosen one does not have meant nothing.
    """
    table = dict(table)
    body, formerly = table.get("body", "mlp"), isinstance(table.get("body", "mlp"), str)
    if not formerly and not isinstance(body, Mapping):
        return table
    flat = {name: table.pop(name) for name in [*table] if name in _FORMERLY_FLAT}
    body = {"kind": body} if formerly else {"kind": "mlp", **body}
    known = body_settings(body["kind"]) if formerly else None
    table["body"] = body | {name: value for name, value in flat.items() if known is None or name in known}
    return table


def modern_path(path: list[str]) -> list[str]:
    """Where a setting is now: `network.width` is `network.body.width`."""
    if len(path) == 2 and path[0] == "network" and path[1] in _FORMERLY_FLAT:
        return ["network", "body", path[1]]
    return path


def choose_body(table: dict[str, Any], kind: object) -> None:
    """Make `kind` the body of a `modern_table`; it keeps those settings that it has too."""
    body = table.get("body", {})
    if isinstance(kind, Mapping):
        table["body"] = {"kind": "mlp", **kind}
    elif isinstance(kind, str) and kind != body.get("kind"):
        known = body_settings(kind) or ()
        table["body"] = {"kind": kind} | {name: value for name, value in body.items() if name in known}
    elif not isinstance(kind, str):
        table["body"] = kind  # refused by its type


def body_settings(kind: object) -> tuple[str, ...] | None:
    """The settings of a body by its kind; None where only its own code knows them.

    Raises:
        UserError: there is no such body.
    """
    if isinstance(kind, str) and (":" in kind or kind == _OUTSIDE):
        return None
    if kind not in KINDS:
        names = [name for name in KINDS if name != _OUTSIDE]
        raise UserError(
            f"network.body.kind must be {', '.join(names)}, or a class of your own as module:Class; got {kind!r}."
            f"{nearest(str(kind), names)}"
        )
    return KINDS[str(kind)].__struct_fields__


def strict_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """A `modern_table` as `NetworkConfig` has it: a class of one's own is told from the settings beside its name."""
    body = table.get("body")
    if not isinstance(body, Mapping) or ":" not in str(body.get("kind")):
        return dict(table)
    settings = {name: value for name, value in body.items() if name != "kind"}
    return {**table, "body": {"kind": _OUTSIDE, "name": body["kind"], "settings": settings}}


def written_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `strict_table`."""
    body = table["body"]
    if body["kind"] != _OUTSIDE:
        return dict(table)
    return {**table, "body": {"kind": body["name"], **body["settings"]}}
