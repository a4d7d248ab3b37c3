"""The smallest agents and runs that still do all there is to do, made in a second and good at nothing."""

from __future__ import annotations

import functools
from pathlib import Path

from numzero.agent import Agent, AgentInfo, agent_files
from numzero.files import write_folder
from numzero.frames import FrameStack, ObservationConfig
from numzero.games import GameSpec, game_spec, make_game
from numzero.games.turns import model_discount, turn_gamma
from numzero.inference import ModelFiles
from numzero.networks.config import network_config
from numzero.networks.export import Exporter
from numzero.networks.network import make_network
from numzero.search import SearchConfig
from numzero.training.config import RunConfig, load_preset

CORRIDOR = "tests.games.environments:Corridor"
"""Terminates where it ends, truncates at the tenth step."""

SEARCH = SearchConfig(rule="gumbel", num_simulations=4)
GAMMA = {"tictactoe": 1.0, "go(size=5, komi=0.5)": 1.0, "CartPole-v1": 0.99, CORRIDOR: 0.9}

RUN = (
    "network.width=16",
    "network.latent_size=8",
    "search.num_simulations=2",
    "targets.unroll_steps=2",
    "learner.batch_size=8",
    "learner.warmup_updates=2",
    "evaluation.games=4",
    "evaluation.num_simulations=2",
    "evaluation.random_steps=40",
    "schedule.num_updates=12",
    "schedule.samples_per_step=1.0",
    "schedule.start_steps=60",
    "schedule.publish_interval=3",
    "schedule.checkpoint_interval=3",
)
"""Settings that make a run of a preset tiny."""


@functools.cache
def model_files(game: str = "tictactoe", seed: int = 0) -> ModelFiles:
    """Networks with random weights, all outputs alive."""
    made = make_game(game, 1)
    made.close()
    return files_for(made.spec, GAMMA.get(game, 0.9), seed)


def files_for(
    spec: GameSpec, gamma: float, seed: int = 0, *, observation: ObservationConfig | None = None
) -> ModelFiles:
    """Networks with random weights for any game."""
    config = network_config(width=16, latent_size=8, latent_scaling="layernorm", head_scale=1.0)
    shape = FrameStack(spec, observation or ObservationConfig()).shape
    network = make_network(shape, spec.num_actions, config, seed, turn_gamma(spec, gamma))
    return Exporter(network, model_discount(spec, gamma)).files(network, version=seed)


def make_agent(game: str = "tictactoe", seed: int = 0, search: SearchConfig = SEARCH) -> Agent:
    """An agent with random weights."""
    info = AgentInfo(spec=game_spec(game), discount=GAMMA.get(game, 0.9), search=search, model_version=seed)
    return Agent(info, model_files(game, seed))


def write_agent(folder: Path, game: str = "tictactoe", seed: int = 0) -> Path:
    """The folder of an agent with random weights."""
    agent = make_agent(game, seed)
    write_folder(folder, agent_files(agent.info, agent.files))
    return folder


def run_config(preset: str, *overrides: str) -> RunConfig:
    """A preset made tiny."""
    return load_preset(preset, [*RUN, "selfplay.batch_size=4", *overrides])


BITS = """
import gymnasium

class Bits(gymnasium.Env):
    observation_space, action_space = gymnasium.spaces.Discrete(2), gymnasium.spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.bit = 0, int(self.np_random.integers(2))
        return self.bit, {}
    def step(self, action):
        reward, self.steps, self.bit = float(action == self.bit), self.steps + 1, int(self.np_random.integers(2))
        return self.bit, reward, self.steps >= 10, False, {}
"""
"""How a program begins that brings an environment of its own."""
