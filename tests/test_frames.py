"""Stacks of frames: as the rule says, the same for who plays, learns, searches again and judges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.exporting.folder import export
from numzero.frames import NO_ACTION, FrameStack, History, ObservationConfig
from numzero.games import GameSpec, make_game
from numzero.games.base import ObservationPart
from numzero.inference import OnnxModel
from numzero.judging.evaluate import evaluate
from numzero.judging.opponents import AgentPlayer
from numzero.replay import GameStore, Trajectory, Window
from numzero.targets import make_batch
from numzero.training.roles.selfplay import Actor, SelfPlayConfig, SelfPlayTask
from numzero.training.run import TrainingRun
from tests.reference import frames as reference
from tests.tiny import CORRIDOR, SEARCH, files_for, run_config

SHAPES = [(), (3,), (2, 3), (2, 3, 4)]


def spec_for(shape: tuple[int, ...], dtype: str = "float32", num_actions: int = 3) -> GameSpec:
    names = tuple(map(str, range(num_actions)))
    return GameSpec(
        name="nobody:Knows",
        num_actions=num_actions,
        observation_shape=shape,
        observation_dtype=dtype,
        num_players=1,
        max_steps=None,
        action_names=names,
    )


settings_of_stacks = st.builds(ObservationConfig, frames=st.integers(1, 5), past_actions=st.booleans())


@given(
    shape=st.sampled_from(SHAPES),
    dtype=st.sampled_from(["uint8", "float32"]),
    config=settings_of_stacks,
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_stacks_are_as_the_rule_says(
    shape: tuple[int, ...], dtype: str, config: ObservationConfig, lengths: list[int], seed: int
) -> None:
    """Whether gathered from flat arrays or built move by move, and whatever lies beside an episode."""
    rng = np.random.default_rng(seed)
    frames = FrameStack(spec_for(shape, dtype), config)
    observation = rng.integers(0, 256, (sum(lengths), *shape)).astype(dtype)
    action = rng.integers(0, 3, sum(lengths)).astype(np.int32)
    ends = np.cumsum(lengths)
    first = np.repeat(ends - lengths, lengths)
    stacked = frames.at(observation, action, first, np.arange(sum(lengths)))
    assert stacked.shape == (sum(lengths), *frames.shape)
    history = History(frames, 1)
    for begin, end in zip(ends - lengths, ends, strict=True):
        history.begin(np.ones(1, np.bool_))
        episode = list(observation[begin:end]), action[begin:end].tolist()
        for t in range(end - begin):
            expected = reference.stack(*episode, t, config.frames, 3, config.past_actions)
            np.testing.assert_allclose(stacked[begin + t], expected.reshape(frames.shape), rtol=1e-6)
            played = observation[begin + t][None], action[begin + t][None]
            np.testing.assert_array_equal(history.stack(played[0])[0], stacked[begin + t])
            history.advance(*played)


@pytest.mark.parametrize(("kind", "most"), [("picture", 255.0), ("numbers", 1.0), ("", 255.0)])
def test_planes_of_past_actions_go_as_far_as_frames_do(kind: str, most: float) -> None:
    """Bytes of a picture go to 255, planes of 0 and 1 to 1; where nobody said what they are, they are a picture."""
    parts = (ObservationPart(name="", kind=kind, shape=(1, 2, 2), start=0, stop=4),) if kind else ()  # type: ignore[arg-type]
    spec = msgspec.structs.replace(spec_for((1, 2, 2), "uint8"), observation_parts=parts)
    frames = FrameStack(spec, ObservationConfig(past_actions=True))
    assert frames.join(np.zeros((1, 1, 1, 2, 2), np.uint8), np.array([[2]])).max() == most


def test_copies_that_stay_or_begin_anew_leave_the_others_alone() -> None:
    """A batch of copies is as many copies alone."""
    frames = FrameStack(spec_for((2,)), ObservationConfig(frames=3, past_actions=True))
    rng, together, alone = np.random.default_rng(0), History(frames, 3), [History(frames, 1) for _ in range(3)]
    for _ in range(20):
        observation = rng.normal(size=(3, 2)).astype(np.float32)
        action = rng.integers(NO_ACTION, 3, 3).astype(np.int32)
        begins = rng.random(3) < 0.2
        together.begin(begins)
        for row, one in enumerate(alone):
            one.begin(begins[row : row + 1])
            np.testing.assert_array_equal(one.stack(observation[row : row + 1])[0], together.stack(observation)[row])
            one.advance(observation[row : row + 1], action[row : row + 1])
        together.advance(observation, action)
    other = History(frames, 3)
    other.restore(together.state())
    np.testing.assert_array_equal(other.stack(observation), together.stack(observation))
    with pytest.raises(UserError, match="Take another checkpoint"):
        History(frames, 2).restore(together.state())


@given(shape=st.sampled_from(SHAPES), dtype=st.sampled_from(["uint8", "float32"]), config=settings_of_stacks)
def test_kinds_of_stacks_are_those_of_frames_and_what_past_actions_are(
    shape: tuple[int, ...], dtype: str, config: ObservationConfig
) -> None:
    """Each number of a stack is as it was in its frame; one-hots of actions are such, planes as pictures are."""
    frames, kinds = FrameStack(spec_for(shape, dtype), config), np.full(shape, "numbers")
    kinds.flat[0] = "one-hot"
    found = frames.kinds(kinds)
    assert found is not None
    assert found.shape == frames.shape
    is_one_hot = (kinds == "one-hot").astype(np.float32)
    history = History(frames, 1, np.float32)
    for _ in range(config.frames):  # each number of a stack shows whether it was one of a one-hot
        stack = history.stack(is_one_hot[None])[0]
        history.advance(is_one_hot[None], np.zeros(1, np.int32))
    if not config.past_actions:
        np.testing.assert_array_equal(found == "one-hot", stack == 1)
    else:
        count = config.frames * (shape[0] if shape else 1)
        np.testing.assert_array_equal(found[:count] == "one-hot", stack[:count] == 1)
        plane = "picture" if dtype == "uint8" else "numbers"
        assert np.unique(found[count:]).tolist() == [plane if len(shape) >= 2 else "one-hot"]
    assert frames.kinds(None) is None


def test_symmetries_of_stacks_turn_every_frame() -> None:
    """Turning all frames and stacking them is stacking them and turning the stack."""
    rng, frames = np.random.default_rng(0), FrameStack(spec_for((2, 3)), ObservationConfig(frames=4))
    maps = np.stack([rng.permutation(6) for _ in range(5)]).astype(np.int32)
    frame = rng.normal(size=(4, 6))
    for own, turn in zip(maps, frames.symmetries(maps), strict=True):
        np.testing.assert_array_equal(frame.ravel()[turn].reshape(4, 6), frame[:, own])
    with pytest.raises(UserError, match="past_actions"):
        FrameStack(spec_for((2, 3)), ObservationConfig(past_actions=True)).symmetries(maps)


CONFIG = ObservationConfig(frames=4, past_actions=True)


class Watched:
    """A model that notes what it was shown at roots."""

    def __init__(self, spec: GameSpec) -> None:
        self.inner = OnnxModel(files_for(spec, 0.9, observation=CONFIG))
        self.seen: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def initial(self, observation: Any) -> Any:
        self.seen.append(np.array(observation))
        return self.inner.initial(observation)


@pytest.mark.parametrize("segment_steps", [0, 1, 2, 5])
def test_what_is_learned_from_is_what_was_acted_on(segment_steps: int) -> None:
    """In whole episodes and in pieces of any length, down to those shorter than a stack; each step is learned once."""
    game = make_game(CORRIDOR, 3)
    selfplay = SelfPlayConfig(batch_size=3, segment_steps=segment_steps, random_move_probability=0.5)
    task = SelfPlayTask(CORRIDOR, SEARCH, selfplay, 0.9, 0, 0, observation=CONFIG)
    actor, model = Actor(game, task, np.random.default_rng(0)), Watched(game.spec)
    actor.use_model(model, 0)  # type: ignore[arg-type]
    pieces = [piece for _ in range(60) for piece in actor.play()]
    game.close()
    acted = {seen.tobytes() for batch in model.seen for seen in batch.astype(np.float32)}
    window = Window(1000, game.spec.observation_shape, np.float32, game.spec.num_actions)
    for piece in pieces:
        window.add(piece)
    slots = {int(slot) for slot in window.sample(5000, np.random.default_rng(0)).slot}
    assert len(slots) == window.num_steps == sum(piece.num_own_steps for piece in pieces)
    played = actor.take_counts()["steps"]
    assert window.num_steps <= played <= window.num_steps + 3 * 10
    if segment_steps:
        assert {piece.lead_in for piece in pieces} >= {0, min(4, segment_steps)}
    batch = make_batch(
        window,
        np.array(sorted(slots)),
        np.ones(len(slots), np.float32),
        2,
        np.random.default_rng(0),
        frames=FrameStack(game.spec, CONFIG),
    )
    assert all(row[0].tobytes() in acted for row in batch.observation)
    later = batch.policy_mask[:, 1:] == 1  # nobody acts on the last position
    assert all(seen.tobytes() in acted for seen in batch.observation[:, 1:][later])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run whose network sees four frames and the actions between them."""
    folder: Path = tmp_path_factory.mktemp("frames") / "run"
    settings = ("observation.frames=4", "observation.past_actions=true", "selfplay.segment_steps=5")
    searched = ("reanalyze.fraction=1.0", "reanalyze.positions=16", "reanalyze.order=sweep")
    config = run_config("cartpole", f"game='{CORRIDOR}'", *settings, *searched, "learner.consistency_weight=0.5")
    TrainingRun(config, folder, seed=0, on_event=lambda _: None).train()
    return folder


def test_an_agent_that_sees_frames_is_judged_exported_and_played(run: Path) -> None:
    """By the batch, position by position, and by its own game, with the same moves."""
    agent = Agent.load(run)
    assert agent.info.observation == CONFIG
    scores = evaluate(agent, opponent=None, games=3, simulations=4, seed=0, trust=True)
    assert "mean_return" in scores
    out = run.parent / "exported"
    export(run, out, games=2, trust=True)
    again = Agent.load(out)
    game, rng = make_game(CORRIDOR, 1), np.random.default_rng(3)
    game.reset(np.ones(1, np.bool_), rng)
    player, own = AgentPlayer(again), again.game()
    player.begin(1)
    over, num_moves = False, 0
    while not over:
        chosen = player.choose(game, rng)
        assert own.act(game.observation()[0]).action == int(chosen[0])
        player.advance(game, chosen)
        own.advance(int(chosen[0]))
        step = game.step(chosen)
        over = bool(step.terminated[0] | step.truncated[0])
        num_moves += 1
    game.close()
    assert num_moves > 1


def test_one_frame_is_refused_where_several_are_seen(run: Path) -> None:
    """Silently repeated it would be another position; the message names what keeps those before."""
    agent = Agent.load(run)
    with pytest.raises(UserError, match=r"see 4 frames.*agent\.game\(\)"):
        agent.act(np.zeros(2, np.float32))
    game = agent.game()
    with pytest.raises(UserError, match="one frame"):
        game.act(np.zeros(16, np.float32))
    with pytest.raises(UserError, match="must be shown"):
        game.advance(0)
    game.show(np.zeros(2, np.float32))
    game.advance(0)
    assert game.act(np.ones(2, np.float32)).visit_counts.sum() > 0


def test_the_store_holds_each_frame_once(run: Path) -> None:
    """But for what a piece looks back at: as many positions as a stack depends on."""
    with GameStore(run / "replay.sqlite", reading=True) as store:
        games: list[Trajectory] = store.read_last(10**6)
        assert store.problems() == []
        assert store.num_steps() == sum(game.num_own_steps for game in games)
    assert all(game.observation.shape == (game.num_steps + 1, 2) for game in games)
    assert {game.lead_in for game in games} == {0, 4}
