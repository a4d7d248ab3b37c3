"""What listens to a run: hooks, a threshold, the best agent, curves for TensorBoard."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

import numzero as nz
from numzero.agent import Agent
from numzero.commands import main
from numzero.metrics import Diagnosed, Evaluated, Finished, Noted, Progress, RandomPlayed, Started, read_metrics
from tests.games.environments import Corridor
from tests.tiny import RUN

TINY: dict[str, Any] = dict(setting.split("=") for setting in RUN)
TINY |= {"selfplay.batch_size": 4, "evaluation.interval": 4, "schedule.checkpoint_interval": 7}
"""Evaluations where no checkpoint is written."""


class Best(nz.KeepBest):
    """Keeps what is best by a made-up score, the listed one for each evaluation in turn."""

    def __init__(self, out: Path, scores: list[float]) -> None:
        given = iter(scores)
        self.kept: list[int] = []
        super().__init__(out, score=lambda _: next(given))

    def on_evaluation(self, event: Evaluated) -> None:
        super().on_evaluation(event)
        self.kept.append(Agent.load(self.out).info.model_version)


class Counts(nz.Listener):
    """How often each hook was called."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("on_"):
            calls = object.__getattribute__(self, "calls")
            calls[name] = calls.get(name, 0)
            return lambda event: calls.__setitem__(name, calls[name] + 1)
        return object.__getattribute__(self, name)


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> tuple[nz.Run, Counts, Best]:
    """A run that all listen to."""
    folder = tmp_path_factory.mktemp("runs")
    counts, best = Counts(), Best(folder / "best", [0.5, 0.9, 0.1])
    run = nz.train(Corridor, folder / "run", workers=0, check=False, on_event=[counts, best], **TINY)
    return run, counts, best


def test_every_event_has_its_hook(heard: tuple[nz.Run, Counts, Best]) -> None:
    """Each was called as often as the metrics have the event."""
    run, counts, _ = heard
    kinds = {
        Started: "on_training_start",
        Progress: "on_progress",
        Diagnosed: "on_diagnosis",
        RandomPlayed: "on_random_play",
        Evaluated: "on_evaluation",
        Noted: "on_note",
        Finished: "on_training_end",
    }
    written = dict.fromkeys(kinds.values(), 0)
    for event in read_metrics(run.folder / "metrics.jsonl"):
        written[kinds[type(event)]] += 1
    assert counts.calls == written
    assert counts.run == run.folder.absolute()
    assert written["on_evaluation"] == 3
    assert all(nz.Listener()(event) is None for event in read_metrics(run.folder / "metrics.jsonl"))


def test_the_best_agent_is_kept(heard: tuple[nz.Run, Counts, Best], tmp_path: Path) -> None:
    """It is the one that was judged, and stays when a worse one comes; another's folder is refused before training."""
    run, _, best = heard
    assert best.kept == [4, 8, 8]
    assert best.best == 0.9
    kept = Agent.load(best.out)
    judged = dict(nz_generations(run))[12]
    assert kept.files != Agent.load(judged).files
    assert nz.evaluate(best.out, games=2, trust=True)["games"] == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(nz.UserError, match=r"holds what numzero did not write there: letter\.txt"):
        nz.train(Corridor, tmp_path / "run", workers=0, check=False, on_event=nz.KeepBest(tmp_path / "mine"), **TINY)


def nz_generations(run: nz.Run) -> list[tuple[int, Path]]:
    return [(int(path.name), path) for path in sorted((run.folder / "agents").iterdir())]


def test_the_best_of_before_stands_when_a_run_goes_on(tmp_path: Path) -> None:
    """Its score is that of its own evaluation; an agent of another run, or of another game, stays, and is named."""
    settings = TINY | {"schedule.num_updates": 5}
    run = nz.train(
        Corridor, tmp_path / "run", workers=0, check=False, on_event=Best(tmp_path / "best", [7, 8]), **settings
    )
    last = run.metrics("evaluations")["scores/mean_return"][-1]
    again = nz.KeepBest(tmp_path / "best")
    again(read_metrics(run.folder / "metrics.jsonl")[0])
    assert again.best == last
    game = nz.Agent.load(tmp_path / "best").info.spec.name
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "metrics.jsonl").touch()
    for folder, played, seed in (("run", "x", 0), ("run", game, 1), ("new", game, 0)):
        begun = Started(run=str(tmp_path / folder), game=played, seed=seed, workers=0, num_updates=1, num_parameters=1)
        with pytest.raises(nz.UserError, match=r"hold an agent of this run; it holds another, of .* after 5 updates"):
            nz.KeepBest(tmp_path / "best")(begun)
    (tmp_path / "empty").mkdir()
    nz.KeepBest(tmp_path / "empty")(begun)


def test_a_run_stops_at_a_threshold(tmp_path: Path) -> None:
    """The given one, else the environment's; where there is none it says so."""
    stop = nz.StopAtThreshold(-1e9)
    run = nz.train(Corridor, tmp_path / "run", workers=0, check=False, on_event=stop, **TINY)
    assert run.agent.info.model_version == 4
    (last,) = [each for each in read_metrics(run.folder / "metrics.jsonl") if isinstance(each, Finished)]
    assert last.reason == "ended by a listener"
    started = Started(run="x", game="CartPole-v1", seed=0, workers=0, num_updates=1, num_parameters=1)
    with pytest.raises(nz.UserError, match=r"CartPole-v1 was registered without one\. Give it one"):
        nz.StopAtThreshold()(started)
    own = nz.StopAtThreshold()
    own(Started(run="x", game="g", seed=0, workers=0, num_updates=1, num_parameters=1, reward_threshold=475.0))
    told = [own(Evaluated(seconds=0, updates=1, steps=1, scores={"mean_return": each})) for each in (474.9, 475.0)]
    assert told == [False, True]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard reads there: steps and values by tag."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    make_ndarray = pytest.importorskip("tensorboard.util.tensor_util").make_ndarray
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    tags = events.Tags()["tensors"]
    return {tag: [(e.step, float(make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)] for tag in tags}


def test_tensorboard_shows_a_run(tmp_path: Path) -> None:
    """By a command: every evaluation at its steps, the last one too, and the rest by the names of SB3."""
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    settings = {**TINY, "evaluation.games": 2}
    sets = [word for path, value in settings.items() for word in ("--set", f"{path}={value}")]
    words = ["train", "CartPole-v1", "--run", str(tmp_path / "run"), "--no-check", "--workers", "0", *sets]
    done = CliRunner().invoke(main, [*words, "--tensorboard", "--json"])
    assert done.exit_code == 0, done.output
    shown = scalars(tmp_path / "run" / "tensorboard")
    run = nz.Run(tmp_path / "run")
    evaluations, progress = run.metrics("evaluations"), run.metrics()
    assert [step for step, _ in shown["eval/mean_reward"]] == evaluations["steps"].tolist()
    returns = [value for _, value in shown["eval/mean_reward"]]
    assert returns == pytest.approx(evaluations["scores/mean_return"].tolist())
    assert shown["time/total_timesteps"][-1] == (progress["steps"][-1], progress["steps"][-1])
    assert shown["train/n_updates"][-1][1] == 12
    assert {"rollout/ep_rew_mean", "rollout/ep_len_mean", "time/fps", "train/loss", "train/policy_loss"} <= shown.keys()
    assert {"train/learning_rate", "eval/mean_ep_length", "eval/random_mean_reward", "eval/score"} <= shown.keys()


def test_without_tensorboard_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is made."""
    monkeypatch.setitem(sys.modules, "tensorboard.summary", None)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    done = CliRunner().invoke(main, ["train", "tictactoe", "--run", str(tmp_path / "run"), "--tensorboard"])
    assert done.exit_code == 2
    assert "need it: pip install 'numzero[tensorboard]'" in done.output
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_ends_a_run_before_it_begins(tmp_path: Path) -> None:
    """Nothing was played, so the run can be begun again at once."""
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    (tmp_path / "file").write_text("")
    with pytest.raises(nz.UserError, match=r"file.curves cannot be used"):
        nz.train(
            Corridor,
            tmp_path / "run",
            workers=0,
            check=False,
            on_event=nz.TensorBoardListener(tmp_path / "file" / "curves"),
            **TINY,
        )
    nz.train(Corridor, tmp_path / "run", workers=0, check=False, **TINY | {"schedule.num_updates": 1})


class FakeWandb(ModuleType):
    """What `WandbListener` asks of the library: sessions, with what was logged in each."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.sessions: list[dict[str, Any]] = []

    def init(self, **options: Any) -> Any:
        session: dict[str, Any] = {"options": options, "logged": [], "finished": 0, "axes": {}}
        self.sessions.append(session)

        def log(scalars: dict[str, Any], step: int | None = None) -> None:
            if step is None or step >= session.get("step", 0):  # the library drops what is older
                session["step"] = session.get("step", 0) if step is None else step
                session["logged"].append((scalars[session["axes"]["*"]] if step is None else step, scalars))

        return SimpleNamespace(
            define_metric=lambda name, step_metric: session["axes"].update({name: step_metric}),
            log=log,
            finish=lambda: session.__setitem__("finished", session["finished"] + 1),
        )


def test_wandb_is_told_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings, curves at their steps, the last evaluation too; each session is ended, of a stopped run too."""
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)

    class Stop(nz.Listener):
        def on_evaluation(self, event: Evaluated) -> bool:
            return event.updates == 4

    listeners = [nz.WandbListener("mine", mode="offline"), Stop()]
    run = nz.train(Corridor, tmp_path / "run", workers=0, check=False, on_event=listeners, seed=3, **TINY)
    run.resume(on_event=listeners[0])
    assert [session["finished"] for session in fake.sessions] == [1, 1]
    options = fake.sessions[0]["options"]
    assert {key: options[key] for key in ("project", "mode", "name", "group")} == {
        "project": "mine", "mode": "offline", "name": "run", "group": "run",
    }  # fmt: skip
    assert (options["dir"], options["config"]["seed"]) == (str(run.folder.absolute()), 3)
    assert options["config"]["search"]["num_simulations"] == 2
    steps = [step for session in fake.sessions for step, _ in session["logged"]]
    assert steps == sorted(steps)
    logged = {
        tag: value for session in fake.sessions for _, scalars in session["logged"] for tag, value in scalars.items()
    }
    assert logged["eval/mean_reward"] == run.scores["mean_return"]
    assert logged["train/n_updates"] == 12


def test_wandb_is_told_of_evaluations_that_come_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made beside training they are of fewer steps than what was said before; the session ends, whatever comes."""
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    listener = nz.WandbListener()

    def late(event: Any) -> None:
        if isinstance(event, Evaluated) and event.updates == 4:
            listener.write(event.steps - 1, {"eval/late": 1.0})
        if isinstance(event, Finished):
            raise OSError("before the last evaluation")

    with pytest.raises(OSError, match="before the last"):
        nz.train(Corridor, tmp_path / "run", workers=0, check=False, on_event=[listener, late], **TINY)
    (session,) = fake.sessions
    assert sum("eval/late" in scalars for _, scalars in session["logged"]) == 1
    assert session["finished"] == 1


def test_without_wandb_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is made."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    done = CliRunner().invoke(main, ["train", "tictactoe", "--run", str(tmp_path / "run"), "--wandb"])
    assert done.exit_code == 2
    assert "need its library: pip install 'numzero[wandb]'" in done.output
    assert not (tmp_path / "run").exists()
