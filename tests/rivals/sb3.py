"""Train Stable-Baselines3's DQN, PPO, SAC or CrossQ on a task as rl-baselines3-zoo tunes it; write results.json.

The settings of the tasks in `ZOO` are those of the zoo's `hyperparams/dqn.yml` and the files beside it
(github.com/DLR-RM/rl-baselines3-zoo; "lin_x" is a rate that falls from x to 0 over the steps that are asked for;
`normalize`: running means of observations and returns); other tasks have the program's own. Each seed has one thread,
and is judged as `numzero study` judges: greedily over 20 episodes every 1,000 environment steps, of which neither time
is counted, and at the end over the 100 episodes that studies play. A seed is trained once: those in the file stay. Runs
by hand, in an environment that needs no numzero: `pip install stable-baselines3 sb3-contrib`. `python cli.py results`
reads the file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import stable_baselines3
import torch
from gymnasium.wrappers import FlattenObservation, TimeLimit
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

INTERVAL = 1_000
EPISODES, EVALUATION_SEED = 20, 1_000_003
FINAL_EPISODES, FINAL_SEED = 100, 2_000_003
SEED_LIMIT = 2**31
"""An episode's own seed is below it."""
WARM_UP_STEPS = 2_000

Settings = dict[str, object]
WIDE = {"policy_kwargs": {"net_arch": [256, 256]}}
CONTINUOUS = {"sac", "crossq"}
"""Act by numbers; the others choose from a list."""

ZOO: dict[str, dict[str, Settings]] = {
    "dqn": {
        "CartPole-v1": {
            "n_envs": 1,
            "n_timesteps": 50_000,
            "learning_rate": 2.3e-3,
            "batch_size": 64,
            "buffer_size": 100_000,
            "learning_starts": 1_000,
            "gamma": 0.99,
            "target_update_interval": 10,
            "train_freq": 256,
            "gradient_steps": 128,
            "exploration_fraction": 0.16,
            "exploration_final_eps": 0.04,
            **WIDE,
        },
        "MountainCar-v0": {
            "n_envs": 1,
            "n_timesteps": 120_000,
            "learning_rate": 4e-3,
            "batch_size": 128,
            "buffer_size": 10_000,
            "learning_starts": 1_000,
            "gamma": 0.98,
            "target_update_interval": 600,
            "train_freq": 16,
            "gradient_steps": 8,
            "exploration_fraction": 0.2,
            "exploration_final_eps": 0.07,
            **WIDE,
        },
        "Acrobot-v1": {
            "n_envs": 1,
            "n_timesteps": 100_000,
            "learning_rate": 6.3e-4,
            "batch_size": 128,
            "buffer_size": 50_000,
            "learning_starts": 0,
            "gamma": 0.99,
            "target_update_interval": 250,
            "train_freq": 4,
            "gradient_steps": -1,
            "exploration_fraction": 0.12,
            "exploration_final_eps": 0.1,
            **WIDE,
        },
    },
    "ppo": {
        "CartPole-v1": {
            "n_envs": 8,
            "n_timesteps": 100_000,
            "n_steps": 32,
            "batch_size": 256,
            "gae_lambda": 0.8,
            "gamma": 0.98,
            "n_epochs": 20,
            "ent_coef": 0.0,
            "learning_rate": "lin_0.001",
            "clip_range": "lin_0.2",
        },
        "MountainCar-v0": {
            "normalize": True,
            "n_envs": 16,
            "n_timesteps": 1_000_000,
            "n_steps": 16,
            "gae_lambda": 0.98,
            "gamma": 0.99,
            "n_epochs": 4,
            "ent_coef": 0.0,
        },
        "Acrobot-v1": {
            "normalize": True,
            "n_envs": 16,
            "n_timesteps": 1_000_000,
            "n_steps": 256,
            "gae_lambda": 0.94,
            "gamma": 0.99,
            "n_epochs": 4,
            "ent_coef": 0.0,
        },
    },
    "sac": {
        "Pendulum-v1": {"n_envs": 1, "n_timesteps": 20_000, "learning_rate": 1e-3},
        "MountainCarContinuous-v0": {
            "n_envs": 1,
            "n_timesteps": 50_000,
            "learning_rate": 3e-4,
            "buffer_size": 50_000,
            "batch_size": 512,
            "ent_coef": 0.1,
            "train_freq": 32,
            "gradient_steps": 32,
            "gamma": 0.9999,
            "tau": 0.01,
            "learning_starts": 0,
            "use_sde": True,
            "policy_kwargs": {"log_std_init": -3.67, "net_arch": [64, 64]},
        },
        "LunarLanderContinuous-v3": {
            "n_envs": 1,
            "n_timesteps": 500_000,
            "learning_rate": "lin_0.00073",
            "buffer_size": 1_000_000,
            "batch_size": 256,
            "gamma": 0.99,
            "tau": 0.01,
            "learning_starts": 10_000,
            "policy_kwargs": {"net_arch": [400, 300]},
        },
    },
    "crossq": {
        "Pendulum-v1": {"n_envs": 1, "n_timesteps": 20_000, "policy_delay": 2, **WIDE},
        "MountainCarContinuous-v0": {
            "n_envs": 1,
            "n_timesteps": 50_000,
            "learning_rate": 7e-4,
            "buffer_size": 50_000,
            "train_freq": 32,
            "gradient_steps": 32,
            "gamma": 0.9999,
            "learning_starts": 100,
            "use_sde": True,
            "policy_delay": 2,
            "policy_kwargs": {"use_expln": True, "log_std_init": -1, "net_arch": [64, 64]},
        },
        "LunarLanderContinuous-v3": {
            "n_envs": 1,
            "n_timesteps": 200_000,
            "buffer_size": 1_000_000,
            "learning_starts": 10_000,
        },
    },
}
"""By algorithm and task."""


def settings_of(algorithm: str, game: str) -> Settings:
    """The zoo's, or none but one copy of the game."""
    return {"n_envs": 1, **ZOO[algorithm].get(game, {})}


def make_model(algorithm: str, game: str, seed: int) -> BaseAlgorithm:
    """The algorithm with the zoo's settings, on as many copies of the game as they say."""
    settings = {name: falling(value) for name, value in settings_of(algorithm, game).items() if name != "n_timesteps"}
    normalize, num_envs = settings.pop("normalize", False), settings.pop("n_envs")
    envs: VecEnv = make_vec_env(lambda: make_env(game), num_envs, seed=seed)
    if normalize:
        envs = VecNormalize(envs, gamma=settings["gamma"])
    return class_of(algorithm)("MlpPolicy", envs, seed=seed, device="cpu", **settings)


def make_env(game: str) -> gymnasium.Env:
    """One copy; several numbers of lists, which these algorithms do not take, as one vector of zeros and ones."""
    env = gymnasium.make(game)
    return FlattenObservation(env) if isinstance(env.observation_space, gymnasium.spaces.Tuple) else env


def class_of(algorithm: str) -> type[BaseAlgorithm]:
    """Of that name, here or in the contributions beside it."""
    if algorithm == "crossq":
        from sb3_contrib import CrossQ  # which the others do without

        return CrossQ
    return getattr(stable_baselines3, algorithm.upper())


def falling(value: object) -> object:
    """The zoo's "lin_x" as a function of the share of training that is left; anything else as it is."""
    if not isinstance(value, str):
        return value
    start = float(value.removeprefix("lin_"))
    return lambda left: left * start


def mean_return(model: BaseAlgorithm, game: str, episodes: int, seed: int) -> float:
    """Of greedy episodes that begin as those of numzero's `episodes` do, all in lockstep; at most 1,000 steps long."""
    envs = [TimeLimit(make_env(game), 1_000) for _ in range(episodes)]
    normalizer = model.get_vec_normalize_env()
    rng = np.random.default_rng([seed, 1])
    observations = np.stack([env.reset(seed=int(rng.integers(SEED_LIMIT)))[0] for env in envs])
    total, playing = np.zeros(episodes), np.ones(episodes, bool)
    while playing.any():
        seen = observations if normalizer is None else normalizer.normalize_obs(observations)
        actions, _ = model.predict(seen, deterministic=True)
        for row in np.flatnonzero(playing):
            action = actions[row] if actions.ndim > 1 else int(actions[row])
            observations[row], reward, terminated, truncated, _ = envs[row].step(action)
            total[row] += reward
            playing[row] = not (terminated or truncated)
    for env in envs:
        env.close()
    return float(total.mean())


class Judge(BaseCallback):
    """Keeps the learning curve, and how long training took without what it costs to keep it."""

    def __init__(self, game: str) -> None:
        super().__init__()
        self.game = game
        self.curve: list[dict[str, float]] = []
        self.start = self.times()
        self.next_steps = INTERVAL

    def times(self) -> np.ndarray:
        """Seconds by the clock, and of the CPU."""
        return np.array([time.perf_counter(), time.process_time()])

    def took(self) -> tuple[float, float]:
        """Seconds and CPU seconds since the start, evaluations left out."""
        seconds, cpu_seconds = (self.times() - self.start).round(1).tolist()
        return seconds, cpu_seconds

    def _on_step(self) -> bool:
        if self.num_timesteps >= self.next_steps:
            self.next_steps += INTERVAL
            seconds, before = self.took()[0], self.times()
            score = mean_return(self.model, self.game, EPISODES, EVALUATION_SEED)
            point = {"updates": self.model._n_updates, "steps": self.num_timesteps, "score": score, "seconds": seconds}
            self.curve.append(point)
            self.start += self.times() - before
        return True


def train_seed(algorithm: str, game: str, num_steps: int, seed: int) -> dict[str, object]:
    """What one seed came to, in the form of a study's seeds."""
    judge = Judge(game)
    model = make_model(algorithm, game, seed)
    model.learn(num_steps, callback=judge)
    seconds, cpu_seconds = judge.took()
    network = model.q_net if algorithm == "dqn" else model.policy
    return {
        "variant": "preset",
        "seed": seed,
        "scores": {"mean return": mean_return(model, game, FINAL_EPISODES, FINAL_SEED)},
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "updates": model._n_updates,
        "steps": model.num_timesteps,
        "parameters": sum(each.numel() for each in network.parameters()),
        "curve": judge.curve,
    }


def results(options: argparse.Namespace, command: str, seeds: list[dict[str, object]]) -> dict[str, object]:
    """The whole of results.json; `results` of numzero makes the summary."""
    settings = {**settings_of(options.algorithm, options.game), "n_timesteps": options.steps}
    package = sys.modules["sb3_contrib" if options.algorithm == "crossq" else "stable_baselines3"]
    name = package.__name__.replace("_", "-")
    return {
        "preset": f"{name} {package.__version__} {options.algorithm.upper()}",
        "game": options.game,
        "command": command,
        "machine": machine(),
        "settings": {"preset": [f"{name}={value}" for name, value in settings.items()]},
        "threshold": gymnasium.spec(options.game).reward_threshold,
        "seeds": seeds,
    }


def trained(path: Path, settings: object) -> list[dict[str, object]]:
    """The seeds that the file at `path` has, from 0 on; none where there is no file.

    Raises:
        SystemExit: they were trained otherwise.
    """
    if not path.exists():
        return []
    before = json.loads(path.read_text("utf-8"))
    if before["settings"] != settings:
        raise SystemExit(f"{path} holds seeds of other settings or steps. Give another --out.")
    return before["seeds"]


def machine() -> str:
    """What this runs on, in the words of numzero's studies."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    words = [f"{platform.system()} {platform.machine()}", model, f"{os.cpu_count()} cores"]
    return ", ".join(word for word in [*words, f"Python {platform.python_version()}"] if word)


def parsed() -> argparse.Namespace:
    """What was asked for; as many steps as the zoo has, or 50,000."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python tests/rivals/sb3.py dqn --game Acrobot-v1 --steps 30000 --out studies/dqn-acrobot",
    )
    parser.add_argument("algorithm", choices=sorted(ZOO))
    parser.add_argument("--game", default="CartPole-v1", help="a gymnasium id (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="environment steps (default: the zoo's)")
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 0 on (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json, written after every seed")
    options = parser.parse_args()
    wanted = gymnasium.spaces.Box if options.algorithm in CONTINUOUS else gymnasium.spaces.Discrete
    space = gymnasium.make(options.game).action_space
    if not isinstance(space, wanted):
        parser.error(
            f"{options.algorithm} takes tasks with actions in a {wanted.__name__}; {options.game} has {space}."
        )
    options.steps = options.steps or settings_of(options.algorithm, options.game).get("n_timesteps", 50_000)
    return options


def main() -> None:
    options = parsed()
    torch.set_num_threads(1)
    command = f"python tests/rivals/sb3.py {options.algorithm} --game {options.game} --steps {options.steps}"
    command += f" --seeds {options.seeds} --out studies/{options.out.resolve().name}"
    options.out.mkdir(parents=True, exist_ok=True)
    make_model(options.algorithm, options.game, 0).learn(WARM_UP_STEPS)  # what torch does once is no seed's time
    path = options.out / "results.json"
    seeds = trained(path, results(options, command, [])["settings"])
    for seed in range(len(seeds), options.seeds):
        seeds.append(train_seed(options.algorithm, options.game, options.steps, seed))
        print({name: value for name, value in seeds[-1].items() if name != "curve"}, flush=True)
        text = json.dumps(results(options, command, seeds), indent=2)
        path.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
