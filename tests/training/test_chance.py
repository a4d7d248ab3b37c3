"""Worlds that throw dice: what a model without chance cannot learn, one with chance does, and goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.games import check_game
from numzero.inference import OnnxWithChance
from numzero.limits import LARGEST_BUDGET
from numzero.metrics import Diagnosed, Event, Noted, read_metrics
from numzero.networks.config import OutsideConfig
from numzero.replay import GameStore
from numzero.studies.findings import findings
from numzero.training.chance import decide_chance, decided_settings, follows, with_chance
from numzero.training.config import RunConfig, load_config, load_general
from numzero.training.run import TrainingRun
from tests import warm
from tests.games.coin import SAFE, Coin, FixedCoin, SilentCoin
from tests.tiny import RUN, run_config

QUICK = (
    "network.num_codes=4",
    "network.observation_scaling=none",
    "network.body.width=32",
    "network.body.latent_size=16",
    "learner.learning_rate=5e-3",
    "learner.entropy_weight=0.0",
    "selfplay.batch_size=16",
    "selfplay.random_move_probability=0.2",
    "evaluation.interval=0",
    "schedule.num_updates=500",
)


def coin_config(game: type[Coin], chance: str, *overrides: str) -> RunConfig:
    return load_general(f"tests.games.coin:{game.__name__}", [*QUICK, f"network.chance={chance}", *overrides])


def train(config: RunConfig, folder: Path, **arguments: Any) -> Agent:
    TrainingRun(config, folder, seed=0, on_event=lambda _: None, **arguments).train()
    return Agent.load(folder)


def choices(agent: Agent, simulations: int) -> list[int]:
    """At the start, at heads and at tails."""
    return agent.act_batch(np.eye(4, dtype=np.float32)[:3], simulations=simulations).action.tolist()


@pytest.mark.parametrize("game", [Coin, SilentCoin, FixedCoin])
def test_the_coin_keeps_the_contract(game: type[Coin]) -> None:
    """It reports each toss, or nothing."""
    check_game(game(3), num_steps=40)


@pytest.mark.learning
@pytest.mark.parametrize(
    ("game", "chance"), [pytest.param(Coin, "known", marks=pytest.mark.slow), (SilentCoin, "learned")]
)
def test_a_model_with_chance_looks_before_it_chooses(game: type[Coin], chance: str, tmp_path: Path) -> None:
    """It tosses the coin, which is worth 1, and knows how likely each side is; all positions were seen often."""
    seen = ("learner.entropy_weight=0.3", "selfplay.random_move_probability=0.5")
    agent = train(coin_config(game, chance, *seen), tmp_path / "run")
    assert [choices(agent, n) for n in (16, 64)] == [[1, 0, 1]] * 2
    model = agent.make_model()
    assert isinstance(model, OnnxWithChance)
    root = model.model.initial(np.eye(4, dtype=np.float32)[:1])
    after = model.model.afterstate(root.latent, np.ones(1, np.int32))
    odds = np.exp(after.outcome_logits[0]) / np.exp(after.outcome_logits[0]).sum()
    assert np.sort(odds)[-2:] == pytest.approx([0.5, 0.5], abs=0.1)
    assert float(after.value[0]) == pytest.approx(1.0, abs=0.1)


@pytest.mark.learning
def test_a_world_without_chance_is_learned_with_codes_as_well(tmp_path: Path) -> None:
    """One code stands for all that can follow an action, so the search is not led astray."""
    agent = train(coin_config(FixedCoin, "learned", "schedule.num_updates=300"), tmp_path / "run")
    assert choices(agent, 16)[:2] == [1, 0]
    model = agent.make_model()
    assert isinstance(model, OnnxWithChance)
    root = model.model.initial(np.eye(4, dtype=np.float32)[[0, 0, 1, 1]])
    after = model.model.afterstate(root.latent, np.array([0, 1, 0, 1], np.int32))
    odds = np.exp(after.outcome_logits) / np.exp(after.outcome_logits).sum(axis=1, keepdims=True)
    assert odds.max(axis=1).min() > 0.9


@pytest.mark.learning
def test_a_model_without_chance_does_not(tmp_path: Path) -> None:
    """To it the coin that it names is one that nobody has seen."""
    agent = train(coin_config(Coin, "none"), tmp_path / "run")
    assert choices(agent, 16) == [0, 0, 1]
    decision = agent.act(np.eye(4, dtype=np.float32)[0], simulations=64)
    assert decision.q_values[1] < SAFE
    diagnosed = [event for event in read_metrics(tmp_path / "run" / "metrics.jsonl") if isinstance(event, Diagnosed)]
    assert (diagnosed[-1].repeated, diagnosed[-1].repeated_by_chance) == (6, 1)
    report = findings(read_metrics(tmp_path / "run" / "metrics.jsonl"), load_config(tmp_path / "run" / "config.toml"))
    assert "chance" in {each.name for each in report}


KNOWN = ("game='tests.games.coin:Coin'", "network.chance=known", "selfplay.stored_start_share=0.0")
LEARNED = (
    "game='tests.games.coin:SilentCoin'",
    "network.chance=learned",
    "network.num_codes=3",
    "reanalyze.fraction=1.0",
    "selfplay.stored_start_share=0.0",
)


def test_outcomes_are_stored_as_they_were_reported(tmp_path: Path) -> None:
    """What was seen next is what the toss said."""
    train(run_config("tictactoe", *KNOWN), tmp_path / "run")
    with GameStore(tmp_path / "run" / "replay.sqlite") as store:
        games = store.read_after(0, 10**6)[1]
    tossed = [game for game in games if game.observation[0, 0] == 1.0 and game.action[0] == 1]
    assert {int(game.outcome[0, 0]) for game in tossed} == {0, 1}
    for game in tossed:
        assert game.observation[1].argmax() == 1 + game.outcome[0, 0]


@pytest.mark.parametrize(
    ("game", "chance", "words"),
    [
        (SilentCoin, "learned", "by chance in 1 of 4 repeated situations: chance nodes with 4 learned codes are used"),
        (FixedCoin, "none", "by chance in none of 3 repeated situations"),
        (Coin, "known", "the game reports 2 outcomes of chance"),
    ],
)
def test_a_run_decides_whether_there_is_chance(game: type[Coin], chance: str, words: str, tmp_path: Path) -> None:
    """Once, when it begins: its settings say what, an event says why."""
    events: list[Event] = []
    config = coin_config(game, "auto", "schedule.num_updates=1", "evaluation.games=1", "evaluation.random_steps=0")
    TrainingRun(config, tmp_path / "run", seed=0, on_event=events.append).train()
    kept = load_config(tmp_path / "run" / "config.toml")
    assert kept.network.chance == chance
    times = 1 if chance == "none" else 2
    assert kept.search.num_simulations == times * config.search.num_simulations
    assert kept.evaluation.num_simulations == times * config.evaluation.num_simulations
    (said,) = (event.message for event in events if isinstance(event, Noted) and event.kind == "chance")
    assert words in said


def test_smaller_searches_of_self_play_are_doubled_where_it_makes_them() -> None:
    """They are shares of the full number."""
    off, on = coin_config(Coin, "auto"), ("selfplay.growth_updates=5", "selfplay.fast_move_share=0.5")
    assert with_chance(off, "known").selfplay == off.selfplay
    used = coin_config(Coin, "auto", *on, "selfplay.first_simulations=3", "selfplay.fast_simulations=5")
    told = decided_settings(used, with_chance(used, "known"))
    assert told[-2:] == ["selfplay.first_simulations=6", "selfplay.fast_simulations=10"]
    assert decided_settings(used, with_chance(used, "none")) == []


def test_what_cannot_be_doubled_is_not_said_to_be() -> None:
    """A search has no more simulations than its limit."""
    many = coin_config(Coin, "auto", f"search.num_simulations={LARGEST_BUDGET - 1}")
    decided, words = decide_chance(many, Coin(1).spec, 0, offline=False)
    assert decided.search.num_simulations == LARGEST_BUDGET
    assert f"{LARGEST_BUDGET} simulations, the most there may be, since" in words


def test_runs_follow_settings_that_left_chance_open() -> None:
    """As a run decides now, and as it did before simulations were doubled; nothing else may differ."""
    asked, other = coin_config(Coin, "auto"), coin_config(Coin, "auto", "search.num_simulations=3")
    for found in (asked, *(with_chance(asked, "known", doubled) for doubled in (True, False))):
        assert follows(found, asked)
        assert not follows(found, other)
    assert not follows(coin_config(Coin, "known"), coin_config(Coin, "none"))
    assert not follows(asked, coin_config(Coin, "known"))


def test_nothing_is_played_where_learning_is_offline_or_codes_cannot_be_learned(tmp_path: Path) -> None:
    """Then there are no codes, and the reason is said."""
    config, spec = coin_config(SilentCoin, "auto"), SilentCoin(1).spec
    decided, words = decide_chance(config, spec, 0, offline=True)
    assert (decided.network.chance, words.startswith("learning offline")) == ("none", True)
    own = replace(config, network=replace(config.network, body=OutsideConfig(name="module:Body")))
    assert decide_chance(own, spec, 0, offline=False)[1].startswith("a body of your own cannot learn codes")
    pair = replace(spec, num_players=2)
    assert decide_chance(config, pair, 0, offline=False)[0].network.chance == "none"


def test_several_workers_play_and_search_again_with_chance(tmp_path: Path) -> None:
    """Processes without torch, of self-play and reanalyze."""
    config = run_config("tictactoe", *LEARNED)
    agent = train(config, tmp_path / "run", workers=1, reanalyze_workers=1)
    assert agent.act(np.eye(4, dtype=np.float32)[0]).visit_counts.sum() == 2


def test_known_outcomes_need_a_game_that_reports_them(tmp_path: Path) -> None:
    """Refused before anything is written."""
    with pytest.raises(UserError, match=r"network.chance = 'known' needs a game that reports the outcomes of chance"):
        train(run_config("tictactoe", "network.chance=known"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_command_line_trains_evaluates_and_plays_with_chance(tmp_path: Path) -> None:
    """From a game of one file to a judged agent."""
    settings = [word for each in (*RUN, "network.chance=known") for word in ("--set", each)]
    done = warm.run("train", "tests.games.coin:Coin", "--run", tmp_path / "run", *settings, "--json")
    assert done.returncode == 0, done.stderr
    done = warm.run("evaluate", tmp_path / "run", "--games", "5", "--json", "--trust")
    assert done.returncode == 0, done.stderr
    assert 0.0 <= json.loads(done.stdout)["mean_return"] <= 1.0
