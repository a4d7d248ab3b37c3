"""The command line: help that helps, errors in one sentence, JSON that is JSON, and ^C that loses nothing."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from numzero.agent import Agent
from numzero.commands import main
from numzero.commands.display import StatusDisplay
from numzero.drawing.words import duration, number
from numzero.errors import UserError
from numzero.files import read_folder
from numzero.metrics import read_metrics
from numzero.replay import GameStore
from numzero.training.config import RunConfig, load_config, load_preset, preset_names
from tests import warm
from tests.tiny import RUN, write_agent

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = "tests.games.environments"
PATIENCE_SECONDS = 120.0


def invoke(*arguments: object, typed: str | None = None) -> Result:
    """A command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=typed)


def succeed(*arguments: object, typed: str | None = None) -> Result:
    """A command in this process that must end well; a bug keeps its traceback."""
    words = [str(argument) for argument in arguments]
    result = CliRunner().invoke(main, words, input=typed, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def tiny(*more: str) -> list[str]:
    """Options that make a training run tiny."""
    return [word for setting in (*RUN, *more) for word in ("--set", setting)]


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of untrained agents: tictactoe, other, cartpole, and some that are none."""
    folder = tmp_path_factory.mktemp("agents")
    write_agent(folder / "tictactoe")
    write_agent(folder / "other", seed=1)
    write_agent(folder / "cartpole", "CartPole-v1")
    damaged = write_agent(folder / "damaged") / "recurrent.onnx"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    (folder / "empty").mkdir()
    (folder / "file").write_text("something else", encoding="utf-8")
    (folder / "notes").mkdir()
    (folder / "notes" / "diary.txt").write_text("dear diary", encoding="utf-8")
    (folder / "database").mkdir()
    (folder / "database" / "replay.sqlite").write_text("no database", encoding="utf-8")
    (folder / "broken.toml").write_text("game = ", encoding="utf-8")
    return folder


# ---------------------------------------------------------------------------------------------------- help


def all_commands(command: click.Command = main, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from all_commands(inner, (*path, name))


COMMANDS = dict(all_commands())


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    """--help exits well and shows an example, which names the command; options of it and of what follows exist."""
    shown = succeed(*path, "--help").stdout
    examples = re.findall(r"^ *python cli\.py (.+)$", shown.partition("Example:")[2], re.MULTILINE)
    assert examples
    assert tuple(shlex.split(examples[0])[: len(path)]) == path
    for example in examples:
        words = shlex.split(example)
        context, command = click.Context(main), main
        while isinstance(command, click.Group):
            name, command, words = command.resolve_command(context, words)  # type: ignore[assignment]
        assert command.make_context(str(name), words, resilient_parsing=False).params is not None


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_says_what_it_does(path: tuple[str, ...]) -> None:
    """No option of any command is without a help text."""
    for parameter in COMMANDS[path].params:
        assert not isinstance(parameter, click.Option) or parameter.help, f"{path} {parameter.name}"


def test_all_subjects_have_a_command() -> None:
    """What the README promises exists."""
    names = {
        "train",
        "resume",
        "reanalyze",
        "selfplay",
        "evaluate",
        "play",
        "export",
        "bench",
        "bench search",
        "presets",
    }
    assert names <= {" ".join(path) for path in COMMANDS}


# ---------------------------------------------------------------------------------------------------- bad input

BAD_INPUT = {
    "unknown preset": ("train tictactoo", "Did you mean 'tictactoe'?"),
    "preset of nothing": ("presets nonsense", "mountaincar-continuous, othello, pendulum, pig, tictactoe, twenty48."),
    "ratings of one player": (
        "train cartpole --set evaluation.rated_games=2",
        "is for games of two; CartPole-v1 has one",
    ),
    "odd ratings": ("train tictactoe --set evaluation.rated_games=3", "evaluation.rated_games must be even"),
    "unknown field": ("train tictactoe --set search.num_simulatons=3", "Did you mean 'search.num_simulations'?"),
    "setting without value": ("train tictactoe --set search", "path=value"),
    "value of another kind": ("train tictactoe --set schedule.num_updates=many", "num_updates"),
    "negative setting": (
        "train tictactoe --set schedule.num_updates=-5",
        "schedule.num_updates must be 1 or more; got -5",
    ),
    "settings that do not fit": ("train cartpole --run AGENTS/new --set network.body=conv", "network.body"),
    "no such settings": ("train AGENTS/nowhere.toml", "cannot be read"),
    "broken settings": ("train AGENTS/broken.toml", "is not TOML"),
    "training an unknown environment": ("train cartpole --run AGENTS/new --set game=CartPole-v7", "'CartPole-v1'"),
    "unknown environment": ("selfplay --env CartPol-v1 --out AGENTS/new", "Did you mean 'CartPole-v1'?"),
    "actions in words": (f"selfplay --env {ENVIRONMENTS}:SpokenActions --out AGENTS/new", "must be a list of actions"),
    "observations without a size": (
        f"train cartpole --run AGENTS/new --set game={ENVIRONMENTS}:SequenceObservations",
        "observation_space",
    ),
    "environment that is none": (f"selfplay --env {ENVIRONMENTS}:NoEnvironment --out AGENTS/new", "gymnasium.Env"),
    "argument without a value": ("evaluate AGENTS/cartpole --env-arg size", "is key=value, like size=3; got 'size'"),
    "argument that is none": (
        "evaluate AGENTS/cartpole --env-arg sise=1",
        "takes no argument 'sise'. Known: max_episode_steps",
    ),
    "argument of a page": ("play AGENTS/tictactoe --web --env-arg size=1", "as it is, without arguments. See"),
    "unknown agent": ("evaluate AGENTS/nowhere", "neither an agent's folder"),
    "folder that is no run": ("evaluate AGENTS/empty", "neither an agent's folder"),
    "file for an agent": ("play AGENTS/file", "neither an agent's folder"),
    "damaged agent": ("evaluate AGENTS/damaged", "recurrent.onnx is damaged"),
    "export of nothing": ("export AGENTS/nowhere --out AGENTS/new", "neither an agent's folder"),
    "export onto something else": ("export AGENTS/tictactoe --games 0 --out AGENTS/notes", "is not an agent's folder"),
    "export onto a file": ("export AGENTS/tictactoe --games 0 --out AGENTS/file", "file"),
    "games onto a file": ("selfplay --agent AGENTS/tictactoe --games 1 --out AGENTS/file", "file"),
    "games into another file": ("selfplay --agent AGENTS/tictactoe --games 1 --out AGENTS/database", "replay.sqlite"),
    "run over a folder": ("train tictactoe --run AGENTS/notes", "exists already"),
    "negative games": ("evaluate AGENTS/tictactoe --games -1", "-1 is not in the range"),
    "no games": ("selfplay --games 0", "0 is not in the range"),
    "negative seed": ("train tictactoe --seed -1", "-1 is not in the range"),
    "negative simulations": ("play AGENTS/tictactoe --simulations -3", "-3 is not in the range"),
    "offline from nowhere": ("train tictactoe --offline", "--offline and --from belong together"),
    "from without offline": ("train tictactoe --from AGENTS", "--offline and --from belong together"),
    "resume of what is no run": ("resume AGENTS/notes", "is not the folder of a run"),
    "reanalyze of what is no run": ("reanalyze AGENTS/notes", "is neither a folder with replay.sqlite nor such a file"),
    "negative workers": ("train tictactoe --workers -1", "-1 is not in the range"),
    "time that runs backwards": ("selfplay --minutes -1", "-1"),
    "words for numbers": ("evaluate AGENTS/tictactoe --games many", "'many' is not a valid integer"),
    "opponent of one": ("evaluate AGENTS/cartpole --opponent mcts:10", "has one player"),
    "perfect play of the unsolved": ("evaluate AGENTS/cartpole --opponent minimax", "one player"),
    "all positions of the unsolved": ("evaluate AGENTS/cartpole --games 1 --exhaustive", "needs a solved game"),
    "opponent that is nobody": ("evaluate AGENTS/tictactoe --opponent AGENTS/nowhere", "neither an agent's folder"),
    "opponent at another game": ("evaluate AGENTS/tictactoe --opponent AGENTS/cartpole", "plays CartPole-v1"),
    "agent of another game": ("selfplay --agent AGENTS/tictactoe --env CartPole-v1 --out AGENTS/new", "CartPole-v1"),
    "unknown command": ("trian tictactoe", "trian"),
    "unknown rule": ("bench search --rule alphago", "'alphago'"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_answered_in_one_sentence(case: str, agents: Path) -> None:
    """Exit code 2, what was wrong and the way out on stderr, no traceback, nothing on stdout, nothing written."""
    words, expected = BAD_INPUT[case]
    before = sorted(agents.rglob("*"))
    result = invoke(*(word.replace("AGENTS", str(agents)) for word in words.split()))
    assert isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code == 2
    assert result.stdout == ""
    message = result.stderr.rpartition("Error: ")[2]
    assert expected in message
    assert len(message.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr
    assert sorted(agents.rglob("*")) == before


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, agents: Path) -> None:
    """What no user can mend is not dressed up as the user's mistake."""

    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(Agent, "act_batch", fail)
    assert isinstance(invoke("evaluate", agents / "tictactoe").exception, ZeroDivisionError)


# ---------------------------------------------------------------------------------------------------- evaluate, presets

CONTEXT = {"game", "games", "simulations", "seed", "seconds"}
OUTCOMES = {"wins", "draws", "losses"}
POINTS = {"points", "points_low", "points_high"}


def test_evaluate_says_of_a_match_what_is_documented(agents: Path) -> None:
    """One JSON object with exactly these keys; both sides add up."""
    said = json.loads(succeed("evaluate", agents / "tictactoe", "--games", 7, "--seed", 3, "--json").stdout)
    assert set(said) == CONTEXT | OUTCOMES | POINTS | {"as_first", "as_second"}
    assert set(said["as_first"]) == set(said["as_second"]) == OUTCOMES
    assert (said["game"], said["games"], said["simulations"], said["seed"]) == ("tictactoe", 7, 4, 3)
    assert sum(said[name] for name in OUTCOMES) == 7
    assert said["seconds"] > 0


def test_evaluate_says_of_episodes_what_is_documented(agents: Path) -> None:
    """Where one plays: the mean, the deviation and the minimum of the returns."""
    words = ("evaluate", agents / "cartpole", "--games", 3, "--simulations", 0, "--json")
    said = json.loads(succeed(*words).stdout)
    assert set(said) == CONTEXT | {"mean_return", "std_return", "min_return", "mean_length", "truncated"}
    assert said["simulations"] == 0
    assert 1 <= said["min_return"] <= said["mean_return"] <= 500


def test_evaluate_plays_a_random_policy_beside_one_player(agents: Path) -> None:
    """Its scores, both intervals and one sentence, for programs and for people."""
    words = ("evaluate", agents / "cartpole", "--games", 8, "--simulations", 0, "--opponent", "random")
    said = json.loads(succeed(*words, "--json").stdout)
    means = [said["mean_return"], said["random"]["mean_return"]]
    for mean, (low, high) in zip(means, (said["interval"], said["random_interval"]), strict=True):
        assert low <= mean <= high
    assert said["verdict"].endswith(f"than random: {number(means[0])} against {number(means[1])}")
    shown = succeed(*words).stdout
    assert f"{said['verdict']}; 95 % intervals of the means: {number(said['interval'][0])} to" in shown
    assert "a random policy, as many episodes: mean return" in shown


def test_evaluate_judges_all_positions_on_request(agents: Path) -> None:
    """--exhaustive adds the number of positions and of those whose value the agent keeps."""
    words = ("evaluate", agents / "tictactoe", "--games", 2, "--simulations", 0, "--exhaustive", "--json")
    said = json.loads(succeed(*words).stdout)
    assert set(said) == CONTEXT | OUTCOMES | POINTS | {"as_first", "as_second", "positions", "optimal"}
    assert said["positions"] == 4520
    assert 2000 < said["optimal"] < 4520


@pytest.mark.parametrize("opponent", ["random", "minimax", "AGENTS/other"])
def test_evaluate_plays_every_kind_of_opponent(opponent: str, agents: Path) -> None:
    """People read one line that names the opponent; the same seed gives the same scores."""
    opponent = opponent.replace("AGENTS", str(agents))
    words = ("evaluate", agents / "tictactoe", "--opponent", opponent, "--games", 6)
    first, again = (succeed(*words).stdout for _ in range(2))
    assert f"against {opponent}" in first
    assert first.partition(": ")[2] == again.partition(": ")[2]
    assert len(first.splitlines()) == 1


def test_presets_are_listed() -> None:
    """Every preset is named, for people and as JSON."""
    shown = succeed("presets").stdout
    assert [line.partition(":")[0] for line in shown.splitlines()] == preset_names()
    assert set(json.loads(succeed("presets", "--json").stdout)) == set(preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_shown_as_settings_that_load(name: str, tmp_path: Path) -> None:
    """What is shown is TOML, every field of it, and the same preset when read back."""
    shown = succeed("presets", name).stdout
    assert set(tomllib.loads(shown)) == {field.name for field in msgspec.structs.fields(RunConfig)}
    (tmp_path / "preset.toml").write_text(shown, encoding="utf-8")
    assert load_config(tmp_path / "preset.toml") == load_preset(name)


# ------------------------------------------------------------------------------------------------- from preset to play


def test_train_evaluate_export_play(tmp_path: Path) -> None:
    """A run becomes an agent, is judged, exported with its card, and played against."""
    run, out = tmp_path / "run", tmp_path / "exported"
    said = json.loads(succeed("train", "tictactoe", "--run", run, "--json", *tiny()).stdout)
    assert {"run", "game", "seed"} | OUTCOMES <= set(said)
    assert said["run"] == str(run)
    judged = json.loads(succeed("evaluate", run, "--games", 4, "--json").stdout)
    assert judged["simulations"] == 2, "the agent's own"
    shown = succeed("export", run, "--out", out, "--games", 2, "--check", "--positions", 30).stdout
    assert "initial.onnx" in shown
    assert "ONNX against torch: largest error" in shown
    assert "30 positions: 100.00% of moves equal, 100.00% of visits" in shown
    networks = {"initial.onnx", "recurrent.onnx", "agent.onnx"}
    assert set(read_folder(out)) == networks | {"agent.json", "card.md", "game.json", "golden.json", "rules.mjs"}
    card = (out / "card.md").read_text(encoding="utf-8")
    assert "updates: 12" in card
    assert "of 4,520" in card
    assert Agent.load(out).files == Agent.load(run).files
    succeed("export", run, "--out", out, "--games", 0)  # an agent's folder may be replaced
    copied = json.loads(succeed("export", out, "--out", tmp_path / "copy", "--games", 0, "--check", "--json").stdout)
    assert set(copied) == {"out", "precision", "bytes", "compressed_bytes", "graph_seconds", "golden_cases", "check"}
    assert copied["check"]["torch_error"] is None
    assert copied["check"]["search"]["different"] == 0
    for word in ("quit", "q"):
        assert "You left the game." in succeed("play", out, typed=f"{word}\n").stdout


def test_an_export_that_falls_short_leaves_nothing_behind(
    agents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph that moves otherwise than Numba's search is refused in one sentence, and no folder is made."""
    from numzero.exporting import folder

    other = Agent.load(agents / "other")
    honest = folder.agent_graph
    monkeypatch.setattr(folder, "agent_graph", lambda info, _: honest(info, other.files))
    options = ("--games", 0, "--check", "--positions", 20)
    result = invoke("export", agents / "tictactoe", "--out", tmp_path / "new", *options)
    assert result.exit_code == 2
    assert "agent.onnx searches otherwise than Numba" in result.stderr
    assert "Nothing was written." in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_train_shows_people_what_it_does(tmp_path: Path) -> None:
    """Without --json, progress goes to stderr and the next step is named on stdout."""
    result = succeed("train", "cartpole", "--run", tmp_path / "run", *tiny("selfplay.batch_size=2"))
    assert "parameters, 12 updates, seed 0" in result.stderr
    assert "finished after" in result.stderr
    assert f"python cli.py play {tmp_path / 'run'}" in result.stdout


def test_runs_get_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --run each run of a preset gets the next free number."""
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        succeed("train", "tictactoe", "--json", *tiny("schedule.num_updates=1"))
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["tictactoe-0", "tictactoe-1"]


def test_play_understands_what_is_typed(agents: Path) -> None:
    """Illegal moves are refused with the legal ones, a hint shows the search, `agent` moves, and the game ends."""
    typed = "zero\n5\n5\nhint\n" + 9 * "agent\n"
    shown = succeed("play", agents / "tictactoe", "--seed", 0, typed=typed).stdout
    assert "'zero' is not a legal move; legal are 1, 2, 3, 4, 5, 6, 7, 8, 9." in shown
    assert shown.count("is not a legal move") == 2
    assert re.search(r"value [+-]\d\.\d{3}; expects [1-9]", shown)
    assert "action  visits       Q  policy" in shown
    assert "The agent plays" in shown
    assert shown.splitlines()[-1] in ("You win.", "The agent wins.", "A draw.")


def test_play_says_who_won(agents: Path) -> None:
    """Whoever watches or moves second is told the result in words that fit."""
    agent = agents / "tictactoe"
    watched = succeed("play", agent, "--watch").stdout.splitlines()
    assert watched[-1] in ("Player 1 wins.", "Player 2 wins.", "A draw.")
    second = succeed("play", agent, "--second", typed=5 * "agent\n").stdout
    assert second.index("The agent plays") < second.index("Your move")


def test_play_shows_an_episode_of_one(agents: Path) -> None:
    """--watch plays a whole episode and tells its return."""
    shown = succeed("play", agents / "cartpole", "--watch", "--simulations", 0, "--seed", 1).stdout
    returned = re.fullmatch(r"The episode is over: return (\d+)\.0\.", shown.splitlines()[-1])
    assert returned
    assert shown.count("Action ") == int(returned[1])


# ---------------------------------------------------------------------------------------------------- selfplay


def stored_games(folder: Path) -> int:
    """How many games are in the store; 0 while it is not there yet."""
    try:
        with GameStore(folder / "replay.sqlite", reading=True) as store:  # makes none in a folder that is still free
            return store.num_games()
    except UserError:
        return 0


def test_selfplay_stores_as_many_games_as_asked_for(agents: Path, tmp_path: Path) -> None:
    """Two processes share the games, all are stored once, and a second run adds to them."""
    out = tmp_path / "games"
    words = ("selfplay", "--agent", agents / "tictactoe", "--workers", 2, "--batch", 4, "--out", out, "--json")
    said = json.loads(succeed(*words, "--games", 9, "--seed", 1).stdout)
    assert (said["games"], said["stored"], said["workers"], said["seed"]) == (9, 9, 2, 1)
    assert stored_games(out) == 9
    with GameStore(out / "replay.sqlite") as store:
        games = store.read_after(0, 100)[1]
    assert said["moves"] == sum(game.num_steps for game in games)
    assert {game.game_id.split("-")[2] for game in games} == {"0", "1"}
    said = json.loads(succeed(*words, "--games", 1, "--seed", 2).stdout)
    assert (said["workers"], said["stored"]) == (1, 1)
    said = json.loads(succeed(*words, "--games", 2, "--seed", 1, "--simulations", 3).stdout)
    assert said["stored"] == 2  # the same seed with other settings is another game
    assert stored_games(out) == 12


def test_selfplay_ends_after_its_minutes(agents: Path, tmp_path: Path) -> None:
    """A time limit ends it, and people read where the games are."""
    out = tmp_path / "games"
    words = ("--agent", agents / "cartpole", "--simulations", 1, "--workers", 1, "--minutes", 0.005, "--out", out)
    shown = succeed("selfplay", *words).stdout
    assert re.search(
        rf"^[\d,]+ games of CartPole-v1 stored in {re.escape(str(out / 'replay.sqlite'))} \(seed \d+\)$", shown
    )


# ---------------------------------------------------------------------------------------------------- ^C


def interrupt_when(ready: Callable[[], bool], *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run cli.py in a session of its own and send ^C to all of it once something is so."""
    with warm.Command(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not ready():
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)
            stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


@pytest.mark.skipif(os.name != "posix", reason="sends ^C to a process group")
def test_interrupted_selfplay_keeps_and_counts_its_games(agents: Path, tmp_path: Path) -> None:
    """^C ends an endless self-play with exit code 0; the games it says it stored are there."""
    words = ("selfplay", "--agent", agents / "tictactoe", "--workers", 2, "--batch", 2, "--out", tmp_path, "--json")
    done = interrupt_when(lambda: stored_games(tmp_path) > 20, *words)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["stored"] == said["games"] == stored_games(tmp_path) > 20
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="sends ^C to a process group")
@pytest.mark.parametrize("workers", [0, 1])
def test_interrupted_training_keeps_its_agent_and_says_how_to_go_on(workers: int, tmp_path: Path) -> None:
    """^C exits with 130, keeps an agent that plays, and says what can be done with it."""
    run = tmp_path / "run"

    def is_learning() -> bool:
        return (run / "agents" / "000000030").exists()

    settings = tiny("schedule.num_updates=1000000", "selfplay.batch_size=4", "evaluation.interval=0")
    settings = [word.replace("checkpoint_interval=3", "checkpoint_interval=30") for word in settings]
    done = interrupt_when(is_learning, "train", "tictactoe", "--run", run, "--workers", workers, *settings)
    assert done.returncode == 130, done.stderr
    assert f"python cli.py evaluate {run}" in done.stderr
    assert "Traceback" not in done.stderr
    assert Agent.load(run).info.model_version >= 30
    assert read_metrics(run / "metrics.jsonl")[-1].reason == "interrupted"  # type: ignore[union-attr]


def test_a_run_that_goes_on_is_compared_with_the_random_policy_of_before(tmp_path: Path) -> None:
    """It was measured when the run began, and is not measured again."""
    settings = tiny("evaluation.interval=4", "evaluation.games=2", "evaluation.random_steps=100")
    begun = succeed("train", "cartpole", "--run", tmp_path / "run", "--workers", 0, *settings)
    assert "for comparison, a random policy" in begun.stderr
    resumed = succeed("resume", tmp_path / "run", "--updates", 16)
    assert "for comparison" not in resumed.stderr
    said = [line for line in resumed.stderr.splitlines() if line.startswith("evaluation after 16 updates")]
    assert said
    assert all(" than random: " in line for line in said), said


def test_a_run_is_stopped_resumed_refreshed_and_learned_from(tmp_path: Path) -> None:
    """`resume` ends what was begun, `reanalyze` renews its games once, and `--offline` learns from them alone."""
    run, learned = tmp_path / "run", tmp_path / "learned"
    settings = tiny("selfplay.batch_size=4", "reanalyze.fraction=1.0", "reanalyze.positions=16")
    succeed("train", "tictactoe", "--run", run, *settings)
    shutil.rmtree(run / "checkpoints" / "000000012")
    resumed = succeed("resume", run)
    assert "goes on at update 9" in resumed.stderr
    assert "finished after" in resumed.stderr
    first = json.loads(succeed("reanalyze", run, "--workers", 0, "--json").stdout)
    assert first["games"] > 0
    assert (first["left"], first["agent_updates"]) == (0, 12)
    again = json.loads(succeed("reanalyze", run, "--workers", 0, "--json").stdout)
    assert (again["games"], again["left"]) == (0, 0)
    other = succeed("reanalyze", run, "--agent", write_agent(tmp_path / "other"), "--workers", 1).stdout
    assert "have fresh statistics" in other
    assert "; 0 are left." in other
    shown = succeed("train", "tictactoe", "--from", run, "--offline", "--run", learned, *settings)
    assert "offline" in shown.stderr
    assert Agent.load(learned).info.training["environment_steps"] == 0


def test_games_of_selfplay_can_be_learned_from_and_refreshed(agents: Path, tmp_path: Path) -> None:
    """Its folder says which game it holds; no run is needed."""
    games, learned = tmp_path / "games", tmp_path / "learned"
    succeed("selfplay", "--agent", agents / "tictactoe", "--games", 30, "--workers", 1, "--out", games)
    succeed("train", "tictactoe", "--from", games, "--offline", "--run", learned, *tiny())
    assert Agent.load(learned).info.model_version == 12
    said = json.loads(succeed("reanalyze", games, "--agent", learned, "--workers", 0, "--json").stdout)
    assert (said["games"], said["left"]) == (30, 0)


# ---------------------------------------------------------------------------------------------------- the display


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0, "0 s"), (59.4, "59 s"), (60, "1:00 min"), (3599, "59:59 min"), (7265, "2:01 h")]
)
def test_durations_read_well(seconds: float, shown: str) -> None:
    """Seconds, minutes and hours, each in its range."""
    assert duration(seconds) == shown


def test_the_display_is_quiet_when_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed for --json; without a terminal rows become lines, few of them unless asked for."""
    with StatusDisplay("title", quiet=True) as display:
        display.say("line")
        display.show({"name": "value"}, now=True)
    assert capsys.readouterr() == ("", "")
    with StatusDisplay("title") as display:
        for number in range(3):
            display.show({"name": str(number)})
        display.show({"name": "last", "other": "x"}, now=True)
    assert capsys.readouterr() == ("", "name 0\nname last | other x\n")


def test_numbers_in_json_are_json(agents: Path) -> None:
    """No NumPy number and no NaN reaches stdout: the object survives a strict reader."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    text = succeed("evaluate", agents / "cartpole", "--games", 1, "--simulations", 0, "--json").stdout
    said = json.loads(text, parse_constant=refuse)
    assert said["std_return"] == 0.0
    assert np.isfinite(said["mean_return"])
