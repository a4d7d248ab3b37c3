"""Stacks of frames: what a network sees where one observation does not say enough, as of how fast things move.

Knows frames, actions and where episodes begin; knows nothing of search, learning, nor of where frames are kept.

The rule. The stack of position t holds the frames of positions t - F + 1 to t, the oldest first, one behind the other
along their first axis. The first frame of an episode stands in for all before it. With past actions, behind all frames
comes for each of them, in the same order, the action that led to it: pictures (two axes or more) get a plane that holds
(a + 1) / A everywhere, times 255 where the frames are pictures of 0 to 255, vectors get A numbers that are 1 at a and 0
elsewhere; of a frame that no action led to, an episode's first, they are 0. MuZero's planes are a / A, which takes the
first action for none (Schrittwieser et al. 2020, appendix E).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.limits import at_least, beyond

__all__ = ["FrameStack", "History", "ObservationConfig", "SeenGame", "frame_shape", "seen_at", "stack_shape"]

_Int32Array = NDArray[np.int32]
_Int64Array = NDArray[np.int64]

MOST_FRAMES = 256
NO_ACTION = -1
"""In place of the action that led to a frame: the episode began there. As an action that is played: none was."""


class ObservationConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the past a network sees; the rule is told in `numzero.frames`."""

    frames: int = 1
    """Newest observations, stacked along their first axis; each is stored once. MuZero 32 (Atari), 8 (Go), 100 (chess);
    EfficientZero 4."""
    past_actions: bool = False
    """Behind the frames the action that led to each: a plane for pictures, A numbers for vectors. MuZero: true for
    Atari."""

    def check(self) -> list[str]:
        """All that is wrong with the settings, one sentence each."""
        return beyond(self, "observation", frames=at_least(1, MOST_FRAMES))


class SeenGame(Protocol):
    """What stacks depend on of a game's spec."""

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """O, of one frame."""
        ...

    @property
    def observation_dtype(self) -> str:
        """Of its numbers: uint8 or float32."""
        ...

    @property
    def num_actions(self) -> int:
        """A."""
        ...

    @property
    def observation_parts(self) -> Sequence[Any]:
        """What its numbers are, each with a `kind`; empty where nobody said."""
        ...


def _goes_to_255(spec: SeenGame) -> bool:
    """Whether frames are bytes that are used up to 255, not planes of 0 and 1."""
    kinds = {part.kind for part in spec.observation_parts}
    return spec.observation_dtype == "uint8" and (not kinds or "picture" in kinds)


def stack_shape(spec: SeenGame, config: ObservationConfig) -> tuple[int, ...]:
    """The shape S of a stack, of any spec that a file may give."""
    shape = spec.observation_shape
    if config.frames == 1 and not config.past_actions:
        return shape
    first, *rest = shape or (1,)
    extra = 0 if not config.past_actions else 1 if len(shape) >= 2 else spec.num_actions
    return (config.frames * (first + extra), *rest)


def frame_shape(shown: tuple[int, ...], known: tuple[int, ...]) -> tuple[int, ...]:
    """Of frames, where a game shows `shown`: `known` if that is `[H, W, C]` of pictures `[C, H, W]`, else `shown`."""
    return known if len(shown) == 3 and known == (*shown[1:], shown[0]) else shown


class FrameStack:
    """Makes stacks `[*S]` of frames `[*O]`.

    Attributes:
        shape: S.
        is_plain: a stack is the newest frame itself.
        num_before: how many positions before its own a stack depends on.
    """

    def __init__(self, spec: SeenGame, config: ObservationConfig) -> None:
        self._num_frames, self._num_actions = config.frames, spec.num_actions
        self._past_actions = config.past_actions
        self.frame_shape, self.frame_dtype = spec.observation_shape, np.dtype(spec.observation_dtype)
        self._is_picture = len(spec.observation_shape) >= 2
        self._top = 255.0 if self._is_picture and _goes_to_255(spec) else 1.0
        self.is_plain = config.frames == 1 and not config.past_actions
        self.num_before = config.frames - 1 + config.past_actions
        self.shape = stack_shape(spec, config)
        first, *rest = spec.observation_shape or (1,)
        self._first, self._rest = first, tuple(rest)

    def at(
        self, observation: NDArray[Any], action: _Int32Array, first: _Int64Array, position: _Int64Array
    ) -> NDArray[Any]:
        """`[*P, *S]` the stacks of positions `[*P]` of flat arrays in which those of an episode lie one after another.

        observation: `[slots, *O]`. action: `[slots]` or one shorter, played there. first: `[*P]`, where the episodes of
        the positions begin.
        """
        if self.is_plain:
            return np.asarray(observation[position])
        wanted = position[..., None] - np.arange(self._num_frames - 1, -1, -1)  # [*P, F]
        begin = first[..., None]
        frame = observation[np.maximum(wanted, begin)]  # [*P, F, *O]
        if not self._past_actions:
            return np.asarray(frame.reshape(*position.shape, *self.shape))
        led = np.where(wanted > begin, action[np.maximum(wanted - 1, begin)], NO_ACTION)
        return self.join(frame, led)

    def as_frames(self, observation: NDArray[Any]) -> NDArray[Any]:
        """What games show, as frames are, `[B, *O]`: older agents see pictures `[H, W, C]` that are `[C, H, W]` now."""
        shown = observation.shape[1:]
        turns = shown != self.frame_shape == frame_shape(shown, self.frame_shape)
        return np.moveaxis(observation, 1, -1) if turns else observation

    def join(self, frame: NDArray[Any], led: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """`[*P, *S]` of frames `[*P, F, *O]` and the actions that led to them, `[*P, F]`, `NO_ACTION` if none did."""
        rows = led.shape[:-1]
        if not self._past_actions:
            return np.asarray(frame.reshape(*rows, *self.shape))
        frames = frame.reshape(*rows, self._num_frames * self._first, *self._rest).astype(np.float32, copy=False)
        return np.concatenate([frames, self._planes(led)], axis=len(rows))

    def _planes(self, led: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """What stands for actions `[*P, F]` behind the frames."""
        if self._is_picture:
            plane = ((led + 1) * (self._top / self._num_actions)).astype(np.float32)  # [*P, F]
            plane = plane.reshape(*led.shape, *(1 for _ in self._rest))
            return np.broadcast_to(plane, (*led.shape, *self._rest))
        one_hot = led[..., None] == np.arange(self._num_actions)  # [*P, F, A]
        return np.asarray(one_hot.reshape(*led.shape[:-1], -1), np.float32)

    def in_words(self) -> str:
        """What a stack is made of, for people who make one themselves; "" where it is the observation itself."""
        if self.is_plain:
            return ""
        shape, count = list(self.shape), self._num_frames
        words = (
            f"the networks see {shape}: the newest {count} observations" if count > 1 else f"the networks see {shape}"
        )
        words += ", the oldest first, the first of an episode in place of those before it" if count > 1 else ""
        if not self._past_actions:
            return f"{words}."
        one = (
            f"a plane of (a + 1) / {self._num_actions}" if self._is_picture else f"{self._num_actions} numbers, 1 at a"
        )
        scale = f" times {self._top:g}" if self._is_picture and self._top != 1.0 else ""
        return f"{words}; behind them for each the action a that led to it, {one}{scale}, all 0 where none did."

    def kinds(self, kinds: NDArray[np.str_] | None) -> NDArray[np.str_] | None:
        """`[*S]` which kind of part each number of a stack belongs to, from those of a frame, `[*O]`; None of None."""
        if kinds is None or self.is_plain:
            return kinds
        frames = np.concatenate([kinds.reshape(self._first, *self._rest)] * self._num_frames)
        plane = "picture" if self._top == 255.0 else "numbers"
        actions = np.full((self.shape[0] - len(frames), *self._rest), plane if self._is_picture else "one-hot")
        return np.concatenate([frames, actions])

    def symmetries(self, maps: _Int32Array) -> _Int32Array:
        """Symmetries of stacks, `[S, prod(stack)]`, from those of frames, `[S, prod(O)]`.

        Raises:
            UserError: planes of past actions cannot be turned.
        """
        if self._past_actions:
            raise UserError(
                "learner.symmetries turns observations and not past actions. Set learner.symmetries or "
                "observation.past_actions to false."
            )
        steps = np.arange(self._num_frames)[:, None] * math.prod(self.frame_shape)  # [F, 1]
        return np.asarray((maps[:, None, :] + steps).reshape(len(maps), -1), np.int32)


def seen_at(
    frames: FrameStack | None,
    observation: NDArray[Any],
    action: _Int32Array,
    first: _Int64Array,
    position: _Int64Array,
) -> NDArray[Any]:
    """As `FrameStack.at`; None: the observations as they are."""
    return observation[position] if frames is None else frames.at(observation, action, first, position)


class History:
    """What B running copies showed before, as far as stacks need it.

    Copies begin anew by `begin`; `stack` looks at a position, `advance` says which action was played there.
    """

    def __init__(self, frames: FrameStack, batch_size: int, dtype: npt.DTypeLike | None = None) -> None:
        """`dtype` of what is kept; None: of the frames."""
        self.frames = frames
        num_past = 0 if frames.is_plain else frames._num_frames - 1
        shape, dtype = (batch_size, num_past, *frames.frame_shape), frames.frame_dtype if dtype is None else dtype
        self._past = np.zeros(shape, dtype)  # the newest last
        self._led = np.full((batch_size, num_past + 1), NO_ACTION, np.int32)  # to each of these, and to what comes
        self._count = np.zeros(batch_size, np.int64)  # how many there are

    def begin(self, which: NDArray[np.bool_]) -> None:
        """Episodes begin in the copies `which` `[B]`."""
        if self.frames.is_plain:
            return
        self._count[which] = 0
        self._led[which] = NO_ACTION

    def stack(self, observation: NDArray[Any]) -> NDArray[Any]:
        """`[B, *S]` where copies show `observation` `[B, *O]` now; the array itself where stacks are plain."""
        observation = self.frames.as_frames(observation)
        if self.frames.is_plain:
            return observation
        num_past = self._past.shape[1]
        frame = np.concatenate([self._past, observation[:, None]], axis=1, dtype=self._past.dtype)  # [B, F, *O]
        index = np.maximum(np.arange(num_past + 1), num_past - self._count[:, None])  # [B, F]
        return self.frames.join(frame[np.arange(len(frame))[:, None], index], self._led)

    def advance(self, observation: NDArray[Any], action: NDArray[Any]) -> None:
        """Copies that showed `observation` `[B, *O]` played `action` `[B]`; `NO_ACTION`: they stayed as they are.

        Of action vectors `[B, D]` it is only told who moved: all but rows of NaN.
        """
        if self.frames.is_plain:
            return
        if action.ndim == 2:
            action = np.where(np.isnan(action[:, 0]), NO_ACTION, 0)
        observation, moved = self.frames.as_frames(observation), action != NO_ACTION
        num_past = self._past.shape[1]
        if num_past:
            self._past[moved] = np.concatenate([self._past[moved, 1:], observation[moved, None]], axis=1)
            self._count[moved] = np.minimum(self._count[moved] + 1, num_past)
        self._led[moved] = np.concatenate([self._led[moved, 1:], action[moved, None]], axis=1)

    def state(self) -> dict[str, NDArray[Any]]:
        """All that `restore` needs; nothing where stacks are plain."""
        if self.frames.is_plain:
            return {}
        return {"past": self._past.copy(), "led": self._led.copy(), "count": self._count.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on where `state` was taken.

        Raises:
            UserError: it is none of ours.
        """
        if self.frames.is_plain:
            return
        for name, ours in (("past", self._past), ("led", self._led), ("count", self._count)):
            theirs = state[name]
            if theirs.shape != ours.shape or theirs.dtype != ours.dtype:
                raise UserError("stacks of frames must be of this game and these settings. Take another checkpoint.")
        num_actions, num_past = self.frames._num_actions, self._past.shape[1]
        in_range = state["led"].min() >= -1 and state["led"].max() < num_actions
        if not in_range or state["count"].min() < 0 or state["count"].max() > num_past:
            raise UserError("stacks of frames must hold actions of the game. Take another checkpoint.")
        self._past[:], self._led[:], self._count[:] = state["past"], state["led"], state["count"]
