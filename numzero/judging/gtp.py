"""An agent that speaks GTP 2, the Go Text Protocol (Farneback 2002), one command at a time.

Knows the protocol, one agent and one game; knows nothing of streams. Any board is played: a vertex is what the game
calls its move, in capitals or not; black is who moves first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import metadata
from typing import NamedTuple

import numpy as np

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.games import Game
from numzero.games.naming import parse_name

__all__ = ["Answer", "GtpEngine"]

_COLOURS = {"b": 0, "black": 0, "w": 1, "white": 1}
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
"""What the protocol has removed before a line is read; a tab counts as a blank."""


class Answer(NamedTuple):
    """What is said to one line."""

    text: str
    """To be written as it is; "" to a line without a command."""
    ends: bool = False
    """Whether the engine has been told to quit."""


class _Failure(Exception):
    """A command that is answered by "?" and this."""


class GtpEngine:
    """Plays one game after the other, as it is told.

    Args:
        agent: searches each position.
        game: one copy of its game; reset here. Where one player moves, that is black.
        simulations: of each search; None: the agent's own.
    """

    def __init__(self, agent: Agent, game: Game, simulations: int | None = None) -> None:
        if game.spec.vectors is not None:
            raise UserError(f"a game played by GTP must have a list of actions; {game.spec.name!r} has vectors.")
        self._agent, self._game, self._simulations = agent, game, simulations
        self._names = {name.lower(): action for action, name in enumerate(game.spec.action_names)}
        self._history = agent.history(1)
        self._moves: list[int] = []
        self._begin()
        self._commands: dict[str, Callable[[list[str]], str]] = {
            "boardsize": self._boardsize,
            "clear_board": lambda words: self._begin(),
            "genmove": self._genmove,
            "known_command": lambda words: str(bool(words) and words[0] in self._commands).lower(),
            "komi": self._komi,
            "list_commands": lambda words: "\n".join(sorted(self._commands)),
            "name": lambda words: "numzero",
            "play": self._play,
            "protocol_version": lambda words: "2",
            "quit": lambda words: "",
            "showboard": lambda words: "\n" + self._game.render(0),
            "undo": self._undo,
            "version": lambda words: metadata.version("numzero"),
        }

    def answer(self, line: str) -> Answer:
        """To a line: "=" and what was asked for, or "?" and why not, with the number that the command had."""
        words = _UNSEEN.sub("", line.replace("\t", " ")).partition("#")[0].split()
        number = words.pop(0) if words and words[0].isascii() and words[0].isdigit() else ""
        if not words:
            return Answer("")
        name, *rest = words
        try:
            if name not in self._commands:
                raise _Failure("unknown command")
            return Answer(f"={number} {self._commands[name](rest)}".rstrip(" ") + "\n\n", name == "quit")
        except _Failure as failure:
            return Answer(f"?{number} {failure}\n\n")

    def _begin(self, moves: tuple[int, ...] = ()) -> str:
        """A new game, in which so much has been played."""
        self._game.reset(np.ones(1, np.bool_), np.random.default_rng(0))
        self._history = self._agent.history(1)
        self._moves = []
        for action in moves:
            self._move(action)
        return ""

    def _move(self, action: int) -> None:
        played = np.array([action], np.int32)
        self._history.advance(self._game.observation(), played)
        self._game.step(played)
        self._moves.append(action)

    def _boardsize(self, words: list[str]) -> str:
        """Only the size that the agent has learned is one."""
        if len(words) != 1 or not (words[0].isascii() and words[0].isdigit()):
            raise _Failure("syntax error")
        if self._game.spec.observation_shape[-2:] != (int(words[0][:4]),) * 2:
            raise _Failure("unacceptable size")
        return self._begin()

    def _komi(self, words: list[str]) -> str:
        """Komi is a rule of the game that was learned: of Go any other is refused, other games have none."""
        try:
            (komi,) = map(float, words)
        except ValueError:
            raise _Failure("syntax error") from None
        name = parse_name(self._game.spec.name)
        if name.base == "go" and komi != name.arguments.get("komi", 7.5):
            raise _Failure(f"unacceptable komi: this agent plays with {name.arguments.get('komi', 7.5)}")
        return ""

    def _play(self, words: list[str]) -> str:
        """A move of either colour, in turn."""
        if len(words) != 2 or words[0].lower() not in _COLOURS:
            raise _Failure("syntax error")
        action = self._names.get(words[1].lower(), -1)
        if not self._may_move(words[0]) or action < 0 or not self._game.legal()[0, action]:
            raise _Failure("illegal move")
        self._move(action)
        return ""

    def _genmove(self, words: list[str]) -> str:
        """The agent's move, which is played."""
        if len(words) != 1 or words[0].lower() not in _COLOURS:
            raise _Failure("syntax error")
        if not self._may_move(words[0]):
            if "pass" in self._names and not self._game.legal().any():
                return "PASS"
            raise _Failure("the game is over" if not self._game.legal().any() else "it is the other's turn")
        seen = self._history.stack(self._game.observation())[0]
        action: int = self._agent.act(seen, self._game.legal()[0], simulations=self._simulations).action
        self._move(action)
        return self._game.spec.action_names[action].upper()

    def _may_move(self, colour: str) -> bool:
        """Whether it is a colour's turn in a game that is not over."""
        return bool(self._game.legal().any()) and int(self._game.to_play()[0]) == _COLOURS[colour.lower()]

    def _undo(self, words: list[str]) -> str:
        """Take the last move back."""
        if not self._moves:
            raise _Failure("cannot undo")
        return self._begin(tuple(self._moves[:-1]))
