"""Small networks and agents with random weights, made in milliseconds, for tests of what surrounds them."""

from __future__ import annotations

from typing import Any

import torch

from numzero.agent import AgentInfo, agent_files
from numzero.games.base import GameSpec
from numzero.inference import ModelFiles
from numzero.networks.config import NetworkConfig, network_config
from numzero.networks.export import Exporter
from numzero.networks.network import MuZeroNetwork, make_network
from numzero.search import SearchConfig

BOARD = (2, 3, 3)
NUM_ACTIONS = 5
NUM_OUTCOMES = 4


def small_config(**changes: Any) -> NetworkConfig:
    """Few units, and heads whose outputs differ from one position to the next."""
    settings = {"width": 8, "latent_size": 6, "channels": 3, "blocks": 1, "head_scale": 1.0}
    settings |= {"value": {"num_bins": 7, "limit": 3.0}, "reward": {"num_bins": 5, "limit": 2.0, "transform": "none"}}
    return network_config(**{**settings, **changes})


def small_network(
    seed: int = 0, observation_shape: tuple[int, ...] = BOARD, turn_gamma: float | None = None, **changes: Any
) -> MuZeroNetwork:
    """A network whose every parameter is random, biases included: nothing is 0 that could hide a difference."""
    config = small_config(**changes)
    known = NUM_OUTCOMES if config.chance == "known" else 0
    network = make_network(observation_shape, NUM_ACTIONS, config, seed, turn_gamma, num_known=known)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network


def small_files(seed: int = 0, version: int = 1, *, discount: float = -1.0, **changes: Any) -> ModelFiles:
    """The ONNX files of `small_network`."""
    network = small_network(seed, **changes)
    return Exporter(network, discount).files(network, version)


def small_agent(seed: int = 0, rule: Any = "gumbel", **training: Any) -> dict[str, bytes]:
    """The files of an agent that plays a board game nobody knows."""
    spec = GameSpec(
        name="nobody:Knows",
        num_actions=NUM_ACTIONS,
        observation_shape=BOARD,
        observation_dtype="uint8",
        num_players=2,
        max_steps=9,
        action_names=("a", "b", "c", "d", "e"),
        observation_layout="Two planes of 3 x 3.",
        legal_rule="Nobody knows.",
    )
    search = SearchConfig(rule=rule, num_simulations=12)
    info = AgentInfo(spec=spec, discount=1.0, search=search, model_version=1, training=training)
    return agent_files(info, small_files(seed))
