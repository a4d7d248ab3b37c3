"""The command `results`, the table of docs/compare.md that it makes, and the rivals that stand in it."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from numzero.commands import main
from numzero.studies.results import Results, SeedResult, read_results, summarize
from numzero.studies.table import BEGIN, END, results_table
from tests.made_results import results, seed_result

ROOT = Path(__file__).resolve().parents[2]
STUDIES = sorted((ROOT / "models" / "studies").glob("*.json"))
RIVAL = ROOT / "tests" / "rivals" / "sb3.py"


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, ["results", *(str(word) for word in words)], catch_exceptions=False)


def write(path: Path, whole: Results) -> Path:
    path.write_bytes(msgspec.json.encode(whole))
    return path


def board_game(*seeds: SeedResult) -> Results:
    """Two measures, no threshold, more settings than a row has room for."""
    many = ["schedule.num_updates=6000", "evaluation.interval=0", "schedule.start_steps=100"]
    return Results(
        preset="tictactoe", game="tictactoe", command="python cli.py study tictactoe --out studies/ttt",
        machine="another machine", settings={"preset": many, "k1": [*many, "x.y=1"]},
        threshold=None, seeds=list(seeds),
    )  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    positions = {"right, bare": 4512.0, "right, 8": 4520.0}
    seeds = [seed_result(0, 500.0, 9.0, 480.0), seed_result(1, 235.5, 9.0, 9.0)]
    exact = msgspec.structs.replace(seeds[0], scores=positions)
    few = msgspec.structs.replace(seed_result(0, 20.0, 20.0, variant="few"), steps=5000, seconds=1234.4)
    rival = msgspec.structs.replace(
        results(seed_result(0, 500.0, 500.0)), preset="a rival", settings={"preset": ["x=a|b"]}
    )
    return [
        write(tmp_path / "cp.json", results(*seeds, few)),
        write(tmp_path / "ttt.json", board_game(exact, msgspec.structs.replace(exact, variant="k1", seed=3))),
        write(tmp_path / "rival.json", msgspec.structs.replace(rival, summaries=summarize(rival.seeds, 475.0))),
    ]


TABLE = """\
| task | agent | judged by | median | worst | seeds | environment steps | seconds (CPU) | threshold reached |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
| CartPole-v1 | cartpole | mean return | 367.8 | 235.5 | 2 | 5 | 0 (1) | 475: never (1 of 2 seeds) |
| CartPole-v1 | cartpole, few: `search.num_simulations=4` | mean return | 20 | 20 | 1 | 5,000 | 1,234 (1) | 475: never |
| CartPole-v1 | a rival: `x=a\\|b` | mean return | 500 | 500 | 1 | 0 | 0 (1) | 475: 100 steps, 2 s |
| tictactoe | tictactoe (3 settings) | right, bare / 8 | 4,512 / 4,520 | 4,512 / 4,520 | 1 | 0 | 0 (1) | none |
| tictactoe | tictactoe, k1: `x.y=1` | right, bare / 8 | 4,512 / 4,520 | 4,512 / 4,520 | 1 | 0 | 0 (1) | none |

On a machine:

- cartpole: `python cli.py study cartpole --out studies/cp`
- a rival: `python cli.py study cartpole --out studies/cp`

On another machine:

- tictactoe: `python cli.py study tictactoe --out studies/ttt`
"""


def test_all_studies_are_one_table(files: list[Path]):
    """Rivals stand beside whom they are compared with, whatever the order of the files; commands stand below."""
    result = invoke(*files)
    assert (result.exit_code, result.stdout) == (0, TABLE)


def test_rows_as_json_say_what_the_table_says(files: list[Path]):
    """An object for each row; never is null."""
    rows = json.loads(invoke("--json", *files[:1], *files[2:]).stdout)["rows"]
    assert [(row["preset"], row["variant"]) for row in rows] == [
        ("cartpole", "preset"), ("cartpole", "few"), ("a rival", "preset"),
    ]  # fmt: skip
    assert [row["steps_to_threshold"] for row in rows] == [None, None, 100]
    assert [row["threshold"] for row in rows] == [475.0] * 3
    assert rows[1]["settings"] == ["search.num_simulations=4"]


def test_the_table_replaces_the_one_between_the_markers(files: list[Path], tmp_path: Path):
    """What stands around it stays, and a second time changes nothing."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    for _ in range(2):
        result = invoke(*files, "--into", page)
        assert result.stdout == f"{page} holds the table of 3 files.\n"
        assert page.read_text("utf-8") == f"before\n{BEGIN}\n{TABLE}{END}\nafter\n"


@pytest.mark.parametrize("text", ["", f"{BEGIN}\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n"])
def test_a_page_without_one_place_for_the_table_is_left_alone(files: list[Path], tmp_path: Path, text: str):
    """One sentence, exit code 2."""
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    result = invoke(*files, "--into", page)
    assert (result.exit_code, "Add them where the table shall stand." in result.stderr) == (2, True)
    assert page.read_text("utf-8") == text


def test_what_is_no_results_file_is_refused(files: list[Path], tmp_path: Path):
    """Of any of the files, and before anything is written."""
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n", encoding="utf-8")
    result = invoke(*files, tmp_path / "none.json", "--into", page)
    assert (result.exit_code, "none.json cannot be read" in result.stderr) == (2, True)
    assert page.read_text("utf-8") == f"{BEGIN}\n{END}\n"


def test_the_comparison_shows_the_studies_that_lie_in_models():
    """Its table is what the command makes of them, to the letter: python cli.py results ... --into docs/compare.md."""
    page = (ROOT / "docs" / "compare.md").read_text("utf-8")
    shown = page.partition(f"{BEGIN}\n")[2].partition(END)[0]
    assert shown.rstrip() == results_table([read_results(path) for path in STUDIES]).rstrip()


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_studies_in_models_name_no_folder_of_the_machine_they_ran_on(path: Path):
    """A reader types the command as it stands."""
    whole = read_results(path)
    settings = [each for variant in whole.settings.values() for each in variant]
    words = " ".join([whole.preset, whole.command, whole.machine, *settings]).split()
    assert [word for word in words if word.startswith("/")] == []
    assert "--out studies/" in whole.command


class FakeCallback:
    """As much of stable-baselines3's as the rival uses."""

    num_timesteps = 0

    def on_step(self, model: FakeAlgorithm) -> None:
        self.model, self.num_timesteps = model, model.num_timesteps
        self._on_step()

    def _on_step(self) -> bool:
        raise NotImplementedError


class FakeAlgorithm:
    """Plays CartPole by the angular velocity, which keeps the pole up, from step 1,500 on."""

    def __init__(self, policy: str, env: object, seed: int, device: str, **settings: object) -> None:
        assert (policy, device) == ("MlpPolicy", "cpu")
        assert callable(settings.get("clip_range", len))
        self.num_timesteps, self._n_updates = 0, 0
        self.policy = self.q_net = torch.nn.Linear(4, 2)

    def learn(self, steps: int, callback: FakeCallback | None = None) -> None:
        for _ in range(0, min(steps, 3_000), 8):
            self.num_timesteps += 8
            self._n_updates += 1
            if callback is not None:
                callback.on_step(self)

    def get_vec_normalize_env(self) -> None:
        """Observations are as they are."""

    def predict(self, observations: np.ndarray, deterministic: bool) -> tuple[np.ndarray, None]:
        assert deterministic
        learned = self.num_timesteps >= 1_500
        return ((observations[:, 3] + observations[:, 2] > 0) & learned).astype(int), None


class FakeSwinger(FakeAlgorithm):
    """Pushes Pendulum along, as an algorithm that acts by numbers does."""

    def __init__(self, policy: str, env: object, seed: int, device: str, **settings: object) -> None:
        super().__init__(policy, env, seed, device, **settings)
        self.policy_delay = settings.get("policy_delay", 1)

    def predict(self, observations: np.ndarray, deterministic: bool) -> tuple[np.ndarray, None]:
        assert deterministic
        return np.sign(observations[:, 2:]).astype(np.float32) * 2.0, None


@pytest.fixture
def rival(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The program, with a stand-in for stable-baselines3."""
    fake, contributed = types.ModuleType("stable_baselines3"), types.ModuleType("sb3_contrib")
    fake.__dict__.update(__version__="0", DQN=FakeAlgorithm, PPO=FakeAlgorithm, SAC=FakeSwinger)
    contributed.__dict__.update(__version__="1", CrossQ=FakeSwinger)
    for name, members in {
        "common": {}, "common.base_class": {"BaseAlgorithm": FakeAlgorithm},
        "common.callbacks": {"BaseCallback": FakeCallback}, "common.env_util": {"make_vec_env": lambda *a, seed: None},
        "common.vec_env": {"VecEnv": object, "VecNormalize": object},
    }.items():  # fmt: skip
        module = types.ModuleType(name)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, f"stable_baselines3.{name}", module)
    monkeypatch.setitem(sys.modules, "stable_baselines3", fake)
    monkeypatch.setitem(sys.modules, "sb3_contrib", contributed)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    spec = importlib.util.spec_from_file_location("sb3", RIVAL)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize("algorithm", ["sac", "crossq"])
def test_rivals_that_act_by_numbers_are_judged_alike(
    algorithm: str,
    rival: types.ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """Their vectors reach the environment as they are; a list of actions is none of theirs."""
    words = [str(RIVAL), algorithm, "--seeds", "1", "--out", str(tmp_path / "sb3")]
    monkeypatch.setattr(sys, "argv", [*words, "--game", "Pendulum-v1", "--steps", "1000"])
    rival.main()
    whole = read_results(tmp_path / "sb3" / "results.json")
    (seed,) = whole.seeds
    made_by = {"sac": "stable-baselines3 0 SAC", "crossq": "sb3-contrib 1 CROSSQ"}[algorithm]
    assert (whole.preset, whole.game, whole.threshold) == (made_by, "Pendulum-v1", None)
    assert -2000.0 < seed.scores["mean return"] < -500.0
    assert [point.steps for point in seed.curve] == [1000]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit):
        rival.main()
    assert f"{algorithm} takes tasks with actions in a Box; CartPole-v1 has Discrete(2)." in capsys.readouterr().err


@pytest.mark.parametrize(("algorithm", "steps"), [("dqn", 50_000), ("ppo", 100_000)])
def test_a_rivals_results_stand_in_the_same_table(
    algorithm: str, steps: int, rival: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The program's own file is read, checked and counted as a study's."""
    monkeypatch.setattr(sys, "argv", [str(RIVAL), algorithm, "--seeds", "2", "--out", str(tmp_path / "sb3")])
    rival.main()

    whole = read_results(tmp_path / "sb3" / "results.json")
    (summary,) = whole.summaries
    assert (whole.preset, whole.threshold) == (f"stable-baselines3 0 {algorithm.upper()}", 475.0)
    assert whole.command.endswith(f"{algorithm} --game CartPole-v1 --steps {steps} --seeds 2 --out studies/sb3")
    assert (summary.num_seeds, summary.steps) == (2, 3000)
    assert summary.worst["mean return"] >= 475.0
    assert (summary.num_reached, summary.steps_to_threshold) == (2, 2000)
    assert all([point.steps for point in seed.curve] == [1000, 2000, 3000] for seed in whole.seeds)
