"""What a run takes of memory: bounded, estimated before it begins, and refused with settings that fit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from numzero.errors import UserError
from numzero.games import game_spec, make_game
from numzero.inference import OnnxModel
from numzero.replay import COLUMNS, MEBIBYTE
from numzero.training import memory
from numzero.training.config import RunConfig, load_preset
from numzero.training.memory import check_memory, memory_of, pieces_of
from numzero.training.plan import most_slots
from numzero.training.roles.selfplay import Actor, SelfPlayConfig, SelfPlayTask
from numzero.training.run import TrainingRun
from tests.tiny import CORRIDOR, SEARCH, model_files, run_config

PRESETS = ["acrobot", "cartpole", "tictactoe"]


@pytest.mark.parametrize("preset", PRESETS)
def test_no_preset_is_bounded_by_memory(preset: str) -> None:
    """Their windows have as many slots, and their pieces as many steps, as they ask for."""
    config = load_preset(preset)
    spec = game_spec(config.game)
    assert not pieces_of(config, spec, 8).binds
    assert most_slots(config, spec) == config.replay.capacity_steps
    check_memory(config, spec, 8, 8)


@pytest.mark.parametrize("most_steps", [1, 3, 8])
def test_running_episodes_keep_to_their_memory(most_steps: int) -> None:
    """However long episodes are; what comes out is whole, and learned once."""
    game = make_game(CORRIDOR, 4)
    task = SelfPlayTask(CORRIDOR, SEARCH, SelfPlayConfig(batch_size=4), 0.9, 0, 0, num_games=5, most_steps=most_steps)
    actor, pieces, steps = Actor(game, task, np.random.default_rng(0)), [], 0
    actor.use_model(OnnxModel(model_files(CORRIDOR)), 0)
    while not actor.done:
        pieces += actor.play()
        columns = actor._recorder._columns
        assert all(len(getattr(columns, name)) <= most_steps + 1 for name in COLUMNS)
    game.close()
    steps = actor.take_counts()["steps"]
    assert sum(piece.num_own_steps for piece in pieces) == steps
    assert max(piece.num_steps for piece in pieces) <= most_steps
    assert len({piece.game_id for piece in pieces}) == len(pieces)
    assert sum(piece.ended != "cut" for piece in pieces) == 5


def pictures(**changes: Any) -> tuple[RunConfig, Any]:
    """Settings for pictures of an Atari screen, of episodes that nobody knows the length of."""
    config = load_preset("cartpole", [f"{name.replace('__', '.')}={value}" for name, value in changes.items()])
    spec = replace(game_spec(config.game), observation_shape=(3, 210, 160), observation_dtype="uint8", max_steps=None)
    return config, spec


def test_long_episodes_are_cut_where_memory_ends() -> None:
    """Before anything starts it is known how long pieces may be: a quarter of memory_mb for all copies together."""
    config, spec = pictures(selfplay__segment_steps=0, selfplay__batch_size=4, replay__memory_mb=400)
    pieces = pieces_of(config, spec, 0)
    assert pieces.binds
    assert 100 < pieces.most_steps < 130
    assert pieces.num_bytes <= 100 * MEBIBYTE
    assert memory_of(config, spec, 0, 0).window + pieces.num_bytes <= 400 * MEBIBYTE
    assert pieces_of(config, spec, 2).most_steps == pieces.most_steps  # workers share them
    assert pieces_of(config, spec, 6).most_steps < pieces.most_steps  # one each at least


def test_what_cannot_hold_a_piece_names_the_setting_that_binds() -> None:
    """And what it says would do does."""
    config, spec = pictures(selfplay__segment_steps=0, selfplay__batch_size=4, replay__memory_mb=60)
    with pytest.raises(UserError, match=r"replay\.memory_mb must hold 32 steps of each of 4 episodes") as refused:
        pieces_of(config, spec, 0)
    numbers = re.search(r"it, ([0-9]+) in all.*batch_size to ([0-9]+)", str(refused.value))
    assert numbers is not None
    enough, fitting = map(int, numbers.groups())
    assert pieces_of(replace(config, replay=replace(config.replay, memory_mb=enough)), spec, 0).most_steps >= 32
    assert pieces_of(replace(config, selfplay=replace(config.selfplay, batch_size=fitting)), spec, 0).most_steps >= 32
    config, spec = pictures(selfplay__segment_steps=0, selfplay__batch_size=1, replay__capacity_steps=20)
    with pytest.raises(UserError, match=r"replay\.capacity_steps must hold 32 steps of an episode, 33 positions"):
        pieces_of(config, spec, 0)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"network__body": "conv"}, "selfplay.batch_size"),
        ({"replay__memory_mb": 6000, "replay__capacity_steps": 10**6}, "replay.memory_mb"),
    ],
)
def test_what_the_machine_cannot_hold_is_refused_with_what_it_can(
    changes: dict[str, Any], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trees of large latents, or a window: the settings that are named fit."""
    config, spec = pictures(**changes)
    monkeypatch.setattr(memory, "machine_bytes", lambda: 4096 * MEBIBYTE)
    with pytest.raises(UserError, match=r"memory of this machine, 4,096 MB.*Set ") as refused:
        check_memory(config, spec, 0, 0)
    assert named in str(refused.value)
    named_settings = re.findall(r"([a-z_]+)\.([a-z_]+) to ([0-9]+)", str(refused.value))
    for table, name, value in named_settings:
        config = replace(config, **{table: replace(getattr(config, table), **{name: int(value)})})
    check_memory(config, spec, 0, 0)


def test_a_window_from_before_running_episodes_counted_is_taken_up(tmp_path: Path) -> None:
    """It has all of memory_mb to itself, and goes on so."""
    config = run_config("tictactoe", "replay.memory_mb=1", "replay.capacity_steps=1000000", "evaluation.interval=0")
    run = TrainingRun(config, tmp_path / "run", seed=0, on_event=lambda _: None)
    trainer, slots = run._trainer, most_slots(config, run.plan.spec)
    assert trainer.window.capacity_steps < slots
    from numzero.training.plan import make_window

    trainer.window = make_window(config, run.plan, slots)
    run.train()
    again = TrainingRun.resume(tmp_path / "run", lambda _: None)
    assert again._trainer.window.capacity_steps == slots
    again.close()
