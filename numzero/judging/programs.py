"""Programs of other people that play by GTP 2, the Go Text Protocol (Farneback 2002), as opponents.

Knows processes, their streams and the protocol's other side; knows nothing of agents, of matches and of scores. Any
game of two whose moves have names is played: a vertex is what the game calls its move, black is who moves first.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.games import STAY, Game, GameSpec
from numzero.games.naming import parse_name
from numzero.text import plain

__all__ = ["RESIGN", "GtpPlayer", "GtpProgram", "GtpRefusal"]

RESIGN = -2
"""In place of an action: the player gives the game up, which is lost."""

ANSWER_SECONDS = 120.0
"""A program that takes longer over one command hangs."""
QUIT_SECONDS = 2.0
"""So long it may take to end when it is told to."""
LONGEST_LINE = 10_000
MOST_LINES = 1_000
"""Of one answer; more is none."""
AT_A_TIME = 64
"""Commands on their way: their bytes fit any system's pipe, so that neither side waits for the other."""
SHOWN = 200
"""Characters of a program's own words that a message shows."""

_PASS = "pass"


class GtpRefusal(UserError):
    """A program answered a command by "?"."""


class _Move(NamedTuple):
    """A move of a game as the program is told of it."""

    colour: str
    vertex: str
    is_forced_pass: bool
    """Nothing else could be played: some programs know that without being told, and know no such vertex."""


class GtpProgram:
    """A running program, asked by lines; every fault of its is a UserError that names it.

    Args:
        command: the program and its arguments, as one types them in a shell, which is not asked.
        answer_seconds: how long it may think over one command.
    """

    def __init__(self, command: str, answer_seconds: float = ANSWER_SECONDS) -> None:
        words = _words(command)
        if not words:
            raise UserError(
                "gtp must be given a program and its arguments; got none. Write gtp:PROGRAM ARGUMENTS.",
                arguments=("opponent",),
            )
        self.name = plain(command.strip())[:SHOWN]
        self._answer_seconds = answer_seconds
        self._lines: queue.Queue[str | None] = queue.Queue(MOST_LINES)
        self._complaints: deque[str] = deque(maxlen=1)
        self._closed = False
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=sys.platform != "win32",  # ^C is for us: we end it
            )
        except (OSError, ValueError) as error:
            said = str(getattr(error, "strerror", None) or error).lower()
            raise self._fault(f"cannot be started: {said}", "Install it, or write where it is") from None
        for target, stream in ((self._hear, self._process.stdout), (self._overhear, self._process.stderr)):
            threading.Thread(target=target, args=(stream,), daemon=True).start()

    def ask(self, *commands: str) -> list[str]:
        """What is answered to each command, without the sign before it.

        Raises:
            UserError: it refused one, took too long, ended, or said what is no answer.
        """
        answers: list[str] = []
        for start in range(0, len(commands), AT_A_TIME):
            some = commands[start : start + AT_A_TIME]
            with contextlib.suppress(OSError):  # it has ended: which is seen when its answer is read
                self._tell(some)
            answers += [self._answer(command) for command in some]
        return answers

    def close(self) -> None:
        """End it: it is told to quit, and killed with all that it started where it does not."""
        if self._closed:
            return
        self._closed = True
        try:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                self._tell(["quit"])
                self._process.wait(QUIT_SECONDS)
        finally:  # after ^C too
            self._kill()
        with contextlib.suppress(queue.Empty):  # who waits to put a line is let go
            while True:
                self._lines.get_nowait()

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(OSError):
            _stream(self._process.stdin).close()

    def _tell(self, commands: list[str] | tuple[str, ...]) -> None:
        stream = _stream(self._process.stdin)
        stream.write("".join(f"{command}\n" for command in commands).encode())
        stream.flush()

    def _hear(self, stream: IO[bytes]) -> None:
        """Queue lines as they come, None behind the last; of a thread of its own."""
        with stream, contextlib.suppress(OSError):
            while not self._closed and (line := stream.readline(LONGEST_LINE)):
                self._lines.put(line.decode(errors="replace").replace("\r", ""))
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=self._answer_seconds)

    def _overhear(self, stream: IO[bytes]) -> None:
        """Keep the last line of what it says to people; of a thread of its own."""
        with stream, contextlib.suppress(OSError):
            while line := stream.readline(LONGEST_LINE).decode(errors="replace"):
                if line.strip():
                    self._complaints.append(plain(line.strip())[:SHOWN])

    def _answer(self, command: str) -> str:
        """The next answer, which is to `command`."""
        until = time.monotonic() + self._answer_seconds
        text = self._line(command, until)
        while not text.strip():  # a blank line too many is no harm
            text = self._line(command, until)
        if text[0] not in "=?":
            raise self._nonsense(command, text)
        lines = [text]
        while lines[-1].strip():
            lines.append(self._line(command, until))
            if len(lines) > MOST_LINES:
                raise self._nonsense(command, text)
        answer = "".join(lines)[1:].strip()
        if text[0] == "?":
            refusal = self._fault(f"refuses {command!r}: {plain(answer)[:SHOWN]}", "See that it plays this game")
            raise GtpRefusal(*refusal.args, arguments=refusal.arguments)
        return answer

    def _line(self, command: str, until: float) -> str:
        try:
            line = self._lines.get(timeout=max(until - time.monotonic(), 0.001))
        except queue.Empty:
            said = f"did not answer {command!r} within {self._answer_seconds:g} seconds"
            raise self._fault(said, "Let it think for a shorter time") from None
        if line is None:
            raise self._ended(command)
        return line

    def _ended(self, command: str) -> UserError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(QUIT_SECONDS)
        last = f", and said last: {self._complaints[0]}" if self._complaints else ""
        code = self._process.poll()
        how = "closed its output" if code is None else f"ended with code {code}"
        return self._fault(f"{how} instead of answering {command!r}{last}", "See that it speaks GTP on stdout")

    def _nonsense(self, command: str, text: str) -> UserError:
        said = f"answered {command!r} by {plain(text.strip())[:SHOWN]!r}, which is no answer of GTP"
        return self._fault(said, "See that its arguments ask for GTP")

    def _fault(self, what: str, way_out: str) -> UserError:
        return UserError(f"the program {self.name!r} {what}. {way_out}.", arguments=("opponent",))


def _words(command: str) -> list[str]:
    """A command taken apart as a shell does; on Windows a backslash is a letter."""
    try:
        if sys.platform == "win32":
            return [word.strip('"') for word in shlex.split(command, posix=False)]
        return shlex.split(command)
    except ValueError as error:
        raise UserError(
            f"gtp must be given a program and its arguments; {plain(command)[:SHOWN]!r} has {str(error).lower()}. "
            "Close its quotes.",
            arguments=("opponent",),
        ) from None


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    """The stream, which was asked for as a pipe."""
    assert stream is not None
    return stream


class GtpPlayer:
    """Lets a program play in a batch of games: before each move it is shown that copy's game, from where they part.

    Args:
        program: is closed with the player.
        spec: of the game, whose moves have names.

    Raises:
        UserError: the game has one player or moves without names, or the program refuses the board's size or komi.
    """

    def __init__(self, program: GtpProgram, spec: GameSpec) -> None:
        self._program, self._spec = program, spec
        self._moves: list[list[_Move]] = []
        self._over = np.zeros(0, np.bool_)
        self._shown: list[_Move] | None = None
        """What lies on the program's board; None: it is not known."""
        if spec.num_players != 2 or not spec.action_names:
            raise UserError(
                f"gtp needs a game for two whose moves have names; {spec.name} is none. Play random.",
                arguments=("opponent",),
            )
        self._actions = {name.lower(): action for action, name in enumerate(spec.action_names)}
        program.ask(*self._settings(program.ask("list_commands")[0].split()))

    def close(self) -> None:
        """End the program."""
        self._program.close()

    def begin(self, batch_size: int) -> None:
        """See `Remembers`."""
        self._moves = [[] for _ in range(batch_size)]
        self._over = np.zeros(batch_size, np.bool_)

    def advance(self, game: Game, action: NDArray[np.int32]) -> None:
        """See `Remembers`."""
        self._over |= action == STAY
        is_forced = game.legal().sum(axis=1) == 1
        for row in np.flatnonzero(~self._over):
            vertex = self._spec.action_names[action[row]]
            forced_pass = bool(is_forced[row]) and vertex == _PASS
            self._moves[row].append(_Move("bw"[int(game.to_play()[row])], vertex, forced_pass))

    def choose(self, game: Game, rng: np.random.Generator) -> NDArray[np.int32]:
        """See `Player`; what is forced is played unasked."""
        del rng
        legal = game.legal().copy()
        chosen = np.asarray(legal.argmax(axis=1), np.int32)
        for row in np.flatnonzero(~self._over & (legal.sum(axis=1) > 1)):
            chosen[row] = self._move(self._moves[row], "bw"[int(game.to_play()[row])], legal[row])
        return chosen

    def _move(self, moves: list[_Move], colour: str, legal: NDArray[np.bool_]) -> int:
        """The program's answer to one game."""
        self._show(moves)
        self._shown = None  # until it has answered what is known
        said = self._program.ask(f"genmove {colour}")[0]
        if said.lower() == "resign":
            return RESIGN
        action = self._actions.get(said.lower(), -1)
        if action < 0 or not legal[action]:
            played = " ".join(move.vertex for move in moves) or "nothing"
            raise UserError(
                f"the program {self._program.name!r} plays {plain(said)[:SHOWN]!r} as {colour}, which is not legal in "
                f"{self._spec.name} after {played}. See that its arguments ask for the same rules.",
                arguments=("opponent",),
            )
        self._shown = [*moves, _Move(colour, self._spec.action_names[action], False)]
        return action

    def _show(self, moves: list[_Move]) -> None:
        """Have so much been played on the program's board."""
        known, self._shown = self._shown, None
        if known is None or known != moves[: len(known)]:
            self._program.ask("clear_board")
            known = []
        waiting: list[str] = []
        for move in moves[len(known) :]:
            waiting.append(f"play {move.colour} {move.vertex}")
            if move.is_forced_pass:
                self._program.ask(*waiting[:-1])
                with contextlib.suppress(GtpRefusal):
                    self._program.ask(waiting[-1])
                waiting = []
        self._program.ask(*waiting)

    def _settings(self, known: list[str]) -> list[str]:
        """What the program must be told of the game, as far as it can be."""
        name, (rows, columns) = parse_name(self._spec.name), self._spec.observation_shape[-2:]
        told = [f"boardsize {rows}"] if rows == columns and "boardsize" in known else []
        return told + ([f"komi {name.arguments.get('komi', 7.5)}"] if name.base == "go" else [])
