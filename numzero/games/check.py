"""Does a game keep its contract? Plays it and says which field breaks which rule at which step, and what to do.

Knows the contract in `base`; knows no game's rules, so it cannot tell whether they are the right ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.games.actions import staying
from numzero.games.base import MOST_OUTCOMES, STAY, Game, GameSpec, Placeable, StepResult, Symmetries, parts_fit
from numzero.games.turns import require_alternation

__all__ = ["GameContractError", "check_game"]

LARGEST_OBSERVATION = 1e6
"""A float observation beyond it would drown all others in a network's first layer."""

TOLERANCE = 1e-4
"""How far images may differ, relative and absolute: float32 sums depend on the order that a symmetry changes."""


class GameContractError(UserError):
    """A game breaks its contract; the message names the field, the step and the remedy."""


class _View(NamedTuple):
    """Copies of what a game shows at one time."""

    observation: NDArray[np.generic]  # [B, *O]
    legal: NDArray[np.bool_]  # [B, A]
    to_play: NDArray[np.int8]  # [B]


class _Move(NamedTuple):
    """One step of a recorded play."""

    action: NDArray[Any]  # [B], or vectors [B, D]
    result: StepResult
    after: _View  # before any reset
    restarted: NDArray[np.bool_]  # [B] reset after the step
    shown: _View  # after the resets


class _Record(NamedTuple):
    seed: int
    start: _View
    moves: list[_Move]


def check_game(game: Game, *, seed: int = 0, num_steps: int = 200) -> None:
    """Play random legal moves and check all that `Game` promises.

    Shapes, dtypes, finite and bounded numbers; a legal action in every running copy; `max_steps`; resets that touch
    their copies only; steps that refuse finished copies; the same episodes again from an equal rng; and symmetries
    that are permutations and map play onto play; positions that show and bring in another copy what they did in the
    first, of a game whose copies can be placed. Symmetries are replayed on episodes whose first state is its own image
    (no others can be started twice), so those of a game that never starts symmetrically are checked for shape only.
    Where chance decides, which does not play the image, steps that happen to be images of each other are compared.
    Every copy is reset several times; the game is left running.

    Args:
      game: any game; give it a batch of 2 or more, or resets that touch other copies go unseen.
      seed: of the moves and the resets.
      num_steps: of the batch, at least 1; it is played once, replayed once, twice more if copies can be placed, and
        once more for each symmetry.

    Raises:
      GameContractError: the first thing that is wrong: the field, the step (0 is the reset) and the remedy.
    """
    if num_steps < 1:
        raise UserError(f"num_steps must be at least 1; got {num_steps}. Play a step or more.")
    _check_spec(game)
    record = _play(game, seed, num_steps)
    _check_determinism(game, record)
    if isinstance(game, Placeable):
        _check_placing(game, record)
    if game.symmetries is not None:
        _check_permutations(game, game.symmetries)
        for index in range(len(game.symmetries.action)):
            check = _check_like_steps if game.spec.num_outcomes else _check_equivariance
            check(game, record, game.symmetries, index)


def _fail(game: Game, step: int | None, rule: str, seen: str, remedy: str) -> NoReturn:
    where = "" if step is None else f" at step {step}"
    name = getattr(game.spec, "name", type(game).__name__)
    raise GameContractError(f"{rule}; got {seen}{where} of game {name!r}. {remedy}")


def _check_spec(game: Game) -> None:
    spec = game.spec
    if not isinstance(spec, GameSpec):
        _fail(game, None, "spec must be a GameSpec", type(spec).__name__, "Return one from spec.")
    shape, names = spec.observation_shape, spec.action_names
    rules: list[tuple[bool, str, object]] = [
        (spec.name != "", "name must not be empty", spec.name),
        (spec.num_actions >= 1, "num_actions must be at least 1", spec.num_actions),
        (all(size >= 1 for size in shape), "observation_shape must have positive sizes", shape),
        (
            spec.observation_dtype in ("uint8", "float32"),
            "observation_dtype must be uint8 or float32",
            spec.observation_dtype,
        ),
        (spec.num_players in (1, 2), "num_players must be 1 or 2", spec.num_players),
        (spec.turns in ("alternate", "vary"), "turns must be alternate or vary", spec.turns),
        (spec.num_players == 2 or spec.turns == "alternate", "turns can vary between two players only", spec.turns),
        (0 <= spec.num_outcomes <= MOST_OUTCOMES, f"num_outcomes must be 0 to {MOST_OUTCOMES:,}", spec.num_outcomes),
        (spec.max_steps is None or spec.max_steps >= 1, "max_steps must be None or at least 1", spec.max_steps),
        (
            len(names) == len(set(names)) == (spec.action_size or spec.num_actions),
            "action_names must name each action once, of vectors each number",
            names,
        ),
        (
            spec.vectors is None or (spec.num_actions == 1 and not spec.vectors.problems()),
            "actions that are vectors must have spaces, and num_actions of 1",
            (spec.actions, spec.num_actions),
        ),
        (all(name.strip() for name in names), "action_names must not be empty", names),
        (
            len(set(spec.outcome_names)) == len(spec.outcome_names)
            and len(spec.outcome_names) in (0, spec.num_outcomes),
            "outcome_names must name each outcome once, or none",
            spec.outcome_names,
        ),
        (
            spec.observation_layout.strip() != "",
            "observation_layout must say in words what the numbers of an observation mean",
            spec.observation_layout,
        ),
        (spec.legal_rule.strip() != "", "legal_rule must say in words which actions are legal", spec.legal_rule),
        (
            parts_fit(spec),
            "observation_parts must lie one behind the other and be all of an observation, if there are any",
            [(part.name, part.start, part.stop) for part in spec.observation_parts],
        ),
    ]
    for holds, rule, seen in rules:
        if not holds:
            _fail(game, None, f"spec.{rule}", repr(seen), "Correct the game's spec.")
    if game.batch_size < 1:
        _fail(game, None, "batch_size must be at least 1", str(game.batch_size), "Make the game with a copy or more.")


def _play(game: Game, seed: int, num_steps: int) -> _Record:
    """Play random legal moves and check each; half of the copies are also reset in the middle of it all."""
    rng, choice = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    everyone = np.ones(game.batch_size, np.bool_)
    game.reset(everyone, rng)
    start = shown = _look(game, 0, everyone)
    moves: list[_Move] = []
    lengths = np.zeros(game.batch_size, np.int64)
    for step in range(1, num_steps + 1):
        action = _draw_actions(game, shown.legal, choice)
        result = _step(game, action, step)
        ended = result.terminated | result.truncated
        lengths += 1
        _check_length(game, step, lengths, ended)
        after = _look(game, step, ~ended)
        _check_turns(game, step, shown, after, result.terminated)
        if step == 1 or ended.any():
            _check_stay(game, step, after)
        if ended.any():
            _check_refusal(game, step, action, after)
        restarted = ended.copy()
        if step == (num_steps + 1) // 2:
            restarted[::2] = True
        shown = _restart(game, step, restarted, rng, after)
        lengths[restarted] = 0
        moves.append(_Move(action, result, after, restarted, shown))
    return _Record(seed, start, moves)


def _draw_actions(game: Game, legal: NDArray[np.bool_], choice: np.random.Generator) -> NDArray[Any]:
    """`[B]` int32, or vectors `[B, D]`, each uniform among the legal ones."""
    if (vectors := game.spec.vectors) is not None:
        return vectors.in_units(vectors.proposal.uniform(choice, (game.batch_size,), legal))
    chances = np.where(legal, choice.random(legal.shape), -1.0)
    return np.asarray(chances.argmax(axis=1), np.int32)


def _check_array(game: Game, step: int, field: str, array: object, shape: tuple[int, ...], dtype: str) -> None:
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != np.dtype(dtype):
        seen = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        _fail(game, step, f"{field} must be an array {dtype} {shape}", seen, f"Convert what the game gives as {field}.")


def _look(game: Game, step: int, running: NDArray[np.bool_]) -> _View:
    """Copies of what the game shows, checked."""
    spec, size = game.spec, game.batch_size
    observation, legal, to_play = game.observation(), game.legal(), game.to_play()
    _check_array(game, step, "observation", observation, (size, *spec.observation_shape), spec.observation_dtype)
    _check_array(game, step, "legal", legal, (size, spec.num_legal), "bool")
    _check_array(game, step, "to_play", to_play, (size,), "int8")
    view = _View(observation.copy(), legal.copy(), to_play.copy())
    if not (np.abs(observation.astype(np.float64)) <= LARGEST_OBSERVATION).all():
        rule = f"observation must be finite and at most {LARGEST_OBSERVATION:g} in size"
        flat = observation.ravel()
        worst = flat[np.argmax(np.nan_to_num(np.abs(flat), nan=np.inf))]
        _fail(game, step, rule, f"{worst}", "Scale or clip it in the game.")
    stuck = running & ~(legal.any(axis=1) if spec.vectors is None else spec.vectors.proposal.allows(legal))
    if stuck.any():
        seen = f"none in copy {np.argmax(stuck)}"
        _fail(
            game,
            step,
            "legal must have an action in a running copy",
            seen,
            "Let a state without moves end its episode.",
        )
    if not ((to_play >= 0) & (to_play < spec.num_players)).all():
        seen = f"{to_play.tolist()}"
        _fail(
            game, step, f"to_play must be below num_players = {spec.num_players}", seen, "Correct to_play or the spec."
        )
    if _differing(view, _View(game.observation(), game.legal(), game.to_play())):
        _fail(
            game,
            step,
            "observation must stay until the next step or reset",
            "another when asked again",
            "Move nothing.",
        )
    return view


def _step(game: Game, action: NDArray[Any], step: int) -> StepResult:
    """A copy of what one step brought, checked."""
    result = game.step(action.copy())
    if not isinstance(result, StepResult):
        _fail(game, step, "step must return a StepResult", type(result).__name__, "Wrap the arrays in one.")
    for field, dtype in (("reward", "float32"), ("terminated", "bool"), ("truncated", "bool")):
        _check_array(game, step, field, getattr(result, field), (game.batch_size,), dtype)
    if not np.isfinite(result.reward).all():
        _fail(game, step, "reward must be finite", f"{result.reward.tolist()}", "Correct or clip it in the game.")
    _check_outcome(game, step, result.outcome)
    return result._replace(**{field: array.copy() for field, array in result._asdict().items() if array is not None})


def _check_outcome(game: Game, step: int, outcome: NDArray[np.int32] | None) -> None:
    """What chance made of the actions is reported where the spec says so, and only there."""
    count = game.spec.num_outcomes
    if count == 0:
        if outcome is not None:
            seen, remedy = type(outcome).__name__, "Say in spec.num_outcomes how many outcomes there are."
            _fail(game, step, "outcome must be None where spec.num_outcomes is 0", seen, remedy)
        return
    _check_array(game, step, "outcome", outcome, (game.batch_size,), "int32")
    assert outcome is not None
    if not ((outcome >= 0) & (outcome < count)).all():
        rule = f"outcome must be from 0 to num_outcomes - 1 = {count - 1}"
        _fail(game, step, rule, f"{outcome.tolist()}", "Correct the outcomes or spec.num_outcomes.")


def _check_turns(game: Game, step: int, before: _View, after: _View, terminated: NDArray[np.bool_]) -> None:
    """A turn that stays must have been declared: values behind it would be learned with the wrong sign."""
    try:
        require_alternation(game.spec, before.to_play, after.to_play, terminated)
    except UserError:
        rule = "to_play must pass to the other player at every step where spec.turns is 'alternate'"
        _fail(game, step, rule, "the same player again", "Declare turns='vary' in the spec, or correct to_play.")


def _check_length(game: Game, step: int, lengths: NDArray[np.int64], ended: NDArray[np.bool_]) -> None:
    limit = game.spec.max_steps
    if limit is not None and (~ended & (lengths >= limit)).any():
        seen = f"copy {np.argmax(~ended & (lengths >= limit))} still running after {lengths.max()}"
        _fail(
            game,
            step,
            f"max_steps = {limit} must bound every episode",
            seen,
            "Raise spec.max_steps or end the episode.",
        )


def _check_stay(game: Game, step: int, before: _View) -> None:
    """A step of STAY alone must bring nothing and move nothing, finished copies included."""
    result = _step(game, staying(game.spec.actions, game.batch_size), step)
    moved = _differing(before, _View(game.observation(), game.legal(), game.to_play()))
    brought = [field for field, array in result._asdict().items() if array is not None and array.any()]
    if moved or brought:
        rule = f"an action of STAY ({STAY}) must leave a copy as it is and bring nothing"
        _fail(game, step, rule, f"another {', '.join(moved + brought)}", "Skip copies whose action is STAY.")


def _check_refusal(game: Game, step: int, action: NDArray[Any], after: _View) -> None:
    """Stepping a batch with a finished copy must raise a ValueError and move nothing."""
    if game.spec.vectors is None:
        action = np.where(after.legal.any(axis=1), after.legal.argmax(axis=1), action).astype(np.int32)
    try:
        game.step(action)
    except ValueError:
        if not _differing(after, _View(game.observation(), game.legal(), game.to_play())):
            return
        seen = "a refusal that had moved something"
    else:
        seen = "a step that went through"
    rule = "step must refuse a batch with a finished copy (ValueError) and move nothing"
    _fail(game, step, rule, seen, "Keep finished copies as they are until reset, and check before moving.")


def _restart(game: Game, step: int, which: NDArray[np.bool_], rng: np.random.Generator, before: _View) -> _View:
    """Reset some copies and check that the others stay as they are."""
    game.reset(which.copy(), rng)
    running = which | before.legal.any(axis=1)
    after = _look(game, step, running)
    for field, one, other in _side_by_side(before, after):
        if not np.array_equal(one[~which], other[~which]):
            seen = f"another {field} in a copy that was not chosen"
            rule = f"reset must leave {field} of the other copies"
            _fail(game, step, rule, seen, "Reset only the copies where which is True.")
    return after


def _differing(first: _View | StepResult, second: _View | StepResult) -> list[str]:
    """The fields in which two of a kind differ."""
    return [field for field, one, other in _side_by_side(first, second) if not np.array_equal(one, other)]


def _side_by_side(
    first: _View | StepResult, second: _View | StepResult
) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    """The fields of two of a kind. By name: what mypy makes of looping over either of two tuples changes by run."""
    others = second._asdict()
    return ((field, array, others[field]) for field, array in first._asdict().items() if array is not None)


def _check_determinism(game: Game, record: _Record) -> None:
    """Replay the record from an equal rng: all must come out the same, bit for bit."""
    rng = np.random.default_rng(record.seed)
    everyone = np.ones(game.batch_size, np.bool_)
    game.reset(everyone, rng)
    _require_same(game, 0, _look(game, 0, everyone), record.start)
    for step, move in enumerate(record.moves, 1):
        result = _step(game, move.action, step)
        _require_same(game, step, result, move.result)
        _require_same(game, step, _look(game, step, ~(result.terminated | result.truncated)), move.after)
        game.reset(move.restarted.copy(), rng)
        _require_same(game, step, _look(game, step, move.restarted), move.shown)


class _Claim(NamedTuple):
    """What it means that two views of a game are the same, and what to do where they are not."""

    rule: str
    """Follows the name of the array that differs."""
    where: str
    remedy: str


_REPLAYED = _Claim(
    "must come out the same from an equal rng and equal actions",
    "a replay",
    "Draw only from reset's rng, and forget the past in reset.",
)
_PLACED = _Claim("must be what positions() was asked of", "a placed copy", "Put all that matters into positions().")
_KEPT = _PLACED._replace(where="a copy left alone")


def _require_same(
    game: Game, step: int, seen: _View | StepResult, recorded: _View | StepResult, claim: _Claim = _REPLAYED
) -> None:
    for field in _differing(seen, recorded):
        _fail(game, step, f"{field} {claim.rule}", f"another one in {claim.where}", claim.remedy)


def _check_placing(game: Game, record: _Record) -> None:
    """Play each move of the record from the position before it, placed in the next copy: all must come out the same."""
    assert isinstance(game, Placeable)
    rng = np.random.default_rng(record.seed)
    everyone = np.ones(game.batch_size, np.bool_)
    game.reset(everyone, rng)
    positions, shown = [game.positions().copy()], record.start
    for move in record.moves:
        game.step(move.action)
        game.reset(move.restarted.copy(), rng)
        positions.append(game.positions().copy())
    for step, (position, move) in enumerate(zip(positions[:-1], record.moves, strict=True), 1):
        game.place(everyone, np.roll(position, 1, axis=0))
        _require_same(game, step, _look(game, step, everyone), _rolled(shown), _PLACED)
        result = _step(game, np.roll(move.action, 1, axis=0), step)
        _require_same(game, step, result, _rolled(move.result), _PLACED)
        after = _look(game, step, ~(result.terminated | result.truncated))
        _require_same(game, step, after, _rolled(move.after), _PLACED)
        shown = move.shown
    kept = _look(game, len(record.moves), np.zeros(game.batch_size, np.bool_))
    game.place(~everyone, positions[0])
    _require_same(game, len(record.moves), _look(game, len(record.moves), ~everyone), kept, _KEPT)


_T = TypeVar("_T", _View, StepResult)


def _rolled(of: _T, by: int = 1) -> _T:
    """The same with each copy's row in the next one, or another."""
    rolled = {field: np.roll(array, by, axis=0) for field, array in of._asdict().items() if array is not None}
    return of._replace(**rolled)


def _check_permutations(game: Game, symmetries: Symmetries) -> None:
    spec, count = game.spec, len(symmetries.action)
    tables: list[tuple[str, object, int]] = [
        ("observation", symmetries.observation, int(np.prod(spec.observation_shape))),
        ("action", symmetries.action, spec.num_actions),
    ]
    if spec.num_outcomes or symmetries.outcome is not None:
        tables.append(("outcome", symmetries.outcome, spec.num_outcomes))
    for field, table, width in tables:
        _check_array(game, 0, f"symmetries.{field}", table, (count, width), "int32")
        assert isinstance(table, np.ndarray)
        wrong = (np.sort(table, axis=1) != np.arange(width)).any(axis=1)
        if wrong.any():
            rule = f"symmetries.{field} must have permutations of 0 .. {width - 1} as rows"
            _fail(game, 0, rule, f"another row {np.argmax(wrong)}", "Name each index once in each row.")


def _check_equivariance(game: Game, record: _Record, symmetries: Symmetries, index: int) -> None:
    """Replay the record with mapped actions wherever an episode starts in its own image; expect images throughout.

    Copies that start otherwise repeat the record as it was, so that all episodes end, and draw, when they did before.
    """
    rng = np.random.default_rng(record.seed)
    everyone = np.ones(game.batch_size, np.bool_)
    game.reset(everyone, rng)
    mapped = _are_images(_look(game, 0, everyone), _image(record.start, symmetries, index))  # [B] played as images
    for step, move in enumerate(record.moves, 1):
        action = np.where(mapped, symmetries.action[index][move.action], move.action).astype(np.int32)
        result = _step(game, action, step)
        _require_images(game, step, index, mapped, result, move.result)
        after = _look(game, step, ~(result.terminated | result.truncated))
        _require_images(game, step, index, mapped, after, _image(move.after, symmetries, index))
        game.reset(move.restarted.copy(), rng)
        shown = _look(game, step, move.restarted)
        mapped = np.where(move.restarted, _are_images(shown, _image(move.shown, symmetries, index)), mapped)


def _check_like_steps(game: Game, record: _Record, symmetries: Symmetries, index: int) -> None:
    """Wherever the image of an observation, an action and an outcome was played too, expect the image of what followed.

    Observations are taken for all that there is to know of a position, but for when it is cut off.
    """
    assert symmetries.outcome is not None
    views = [record.start, *(move.shown for move in record.moves)]
    known = {
        key: (step, b)
        for step, move in enumerate(record.moves)
        for b, key in enumerate(_step_keys(views[step], move.action, move.result.outcome))
        if not move.result.truncated[b]
    }
    for step, move in enumerate(record.moves):
        assert move.result.outcome is not None
        action, outcome = symmetries.action[index][move.action], symmetries.outcome[index][move.result.outcome]
        expected = _image(move.after, symmetries, index)
        for b, key in enumerate(_step_keys(_image(views[step], symmetries, index), action, outcome)):
            if key in known and not move.result.truncated[b]:
                other, row = known[key]
                seen, one = record.moves[other], np.arange(game.batch_size) == b
                brought = _rolled(seen.result, b - row)._replace(outcome=None)
                _require_images(game, other + 1, index, one, brought, move.result)
                _require_images(game, other + 1, index, one, _rolled(seen.after, b - row), expected)


def _step_keys(view: _View, action: NDArray[np.int32], outcome: NDArray[np.int32] | None) -> Iterator[bytes]:
    """`[B]` what decides the step of each copy."""
    assert outcome is not None
    for observation, *choice in zip(view.observation, view.to_play, action, outcome, strict=True):
        yield observation.tobytes() + np.array(choice, np.int64).tobytes()


def _require_images(
    game: Game,
    step: int,
    index: int,
    mapped: NDArray[np.bool_],
    seen: _View | StepResult,
    expected: _View | StepResult,
) -> None:
    for field, one, other in _side_by_side(seen, expected):
        if not _rows_close(one, other)[mapped].all():
            rule = f"symmetries must map play onto play, so mapped actions must bring the image of {field}"
            remedy = f"Correct row {index} of symmetries.observation or symmetries.action, or leave it out."
            _fail(game, step, rule, f"another {field} under symmetry {index}", remedy)


def _image(view: _View, symmetries: Symmetries, index: int) -> _View:
    """What a symmetry makes of a view."""
    flat = view.observation.reshape(len(view.observation), -1)
    legal = np.empty_like(view.legal)
    legal[:, symmetries.action[index]] = view.legal
    return _View(flat[:, symmetries.observation[index]].reshape(view.observation.shape), legal, view.to_play)


def _are_images(seen: _View, expected: _View) -> NDArray[np.bool_]:
    """`[B]` whether all fields are close."""
    close = [_rows_close(one, other) for one, other in zip(seen, expected, strict=True)]
    return np.asarray(np.all(close, axis=0))


def _rows_close(one: NDArray[np.generic], other: NDArray[np.generic]) -> NDArray[np.bool_]:
    """`[B]` whether all numbers of a row are close."""
    first, second = (array.reshape(len(array), -1).astype(np.float64) for array in (one, other))
    return np.asarray(np.isclose(first, second, rtol=TOLERANCE, atol=TOLERANCE).all(axis=1))
