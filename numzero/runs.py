"""Runs as objects: train in one line, look at what came out, go on with it.

Knows folders of runs and how settings, classes and functions are named; `api` does the work. What a notebook or a
program imports, by way of `numzero` itself; commands print what `api` returns and need none of it.
"""

from __future__ import annotations

import contextlib
import html
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from numzero import api
from numzero.agent import Agent
from numzero.drawing.words import score_line
from numzero.errors import UserError
from numzero.folders import METRICS_NAME
from numzero.games import Trust
from numzero.judging.positions import Sight
from numzero.listeners import closed_after
from numzero.metrics import Evaluated, Event, Progress, history, read_metrics
from numzero.outside import leave_import
from numzero.studies.report import Report
from numzero.training.config import RunConfig
from numzero.training.named import run_name

__all__ = ["OnEvent", "Run", "evaluate", "export", "inspect", "play", "resume", "train"]

OnEvent = Callable[[Event], object]
"""Is called with every event of a run; True asks it to stop."""

Kind = Literal["progress", "evaluations"]
_EVENTS: dict[Kind, type[Progress] | type[Evaluated]] = {"progress": Progress, "evaluations": Evaluated}


class Run:
    """A run of training: its folder, and what can be asked of it.

    Args:
        folder: of the run.
        trust: whether code that the run's settings name may be imported; see `numzero.games.trusted_name`.
    """

    def __init__(self, folder: str | Path, trust: Trust = False) -> None:
        self.folder = Path(folder)
        self.trust = trust

    def __repr__(self) -> str:
        """How it is made again."""
        return f"Run({str(self.folder)!r})"

    def _repr_html_(self) -> str:
        """For notebooks: its last evaluation and what the report finds."""
        report = self.report()
        rows = "".join(
            f"<tr><td>{html.escape(finding.kind)}</td><td>{html.escape(finding.name)}</td>"
            f"<td style='text-align: left'>{html.escape(finding.sentence)}</td></tr>"
            for finding in report.findings
        )
        scores = f"({html.escape(score_line(self.scores))})" if self.scores else ""
        return f"<b>{html.escape(str(self.folder))}</b>: {html.escape(report.judgement)} {scores}<table>{rows}</table>"

    @property
    def agent(self) -> Agent:
        """The newest agent of the run."""
        return Agent.load(self.folder)

    @property
    def scores(self) -> dict[str, Any]:
        """Of the newest evaluation; empty before the first."""
        evaluations = [event for event in self._events() if isinstance(event, Evaluated)]
        return evaluations[-1].scores if evaluations else {}

    def metrics(self, kind: Kind = "progress") -> dict[str, NDArray[Any]]:
        """What the run said of itself, a column for each number, `[T]`; NaN where an event does not say it.

        Args:
            kind: "progress": where it stood, every other second or so; "evaluations": how the agent did. Numbers below
                a name are columns of their own: "losses/policy", "scores/mean_return". As a table: `frame`.

        Raises:
            UserError: there is no such kind.
        """
        if kind not in _EVENTS:
            raise UserError(f"metrics must be of kind {' or '.join(map(repr, _EVENTS))}; got {kind!r}.")
        wanted = _EVENTS[kind]
        return _columns([event for event in self._events() if isinstance(event, wanted)])

    def frame(self, kind: Kind = "progress") -> Any:
        """The same as a `pandas.DataFrame`.

        Raises:
            UserError: pandas is not installed, or there is no such kind.
        """
        try:
            pandas = importlib.import_module("pandas")
        except ModuleNotFoundError as error:
            raise UserError("a frame needs pandas: pip install pandas. `metrics` needs nothing.") from error
        return pandas.DataFrame(self.metrics(kind))

    def inspect(self, moves: Sequence[str] = (), **options: Any) -> Sight:
        """What its agent's search sees in one position; see `api.inspect`."""
        return api.inspect(self.folder, moves, trust=self.trust, **options)

    def report(self) -> Report:
        """How it learned, or why it did not."""
        return api.report(self.folder)

    def evaluate(self, opponent: str | Path | None = None, **options: Any) -> dict[str, Any]:
        """Measure its agent, without noise; see `api.evaluate`."""
        return api.evaluate(self.folder, opponent, trust=self.trust, **options)

    def export(self, out: str | Path, **options: Any) -> dict[str, Any]:
        """Write its agent to a folder of its own; see `api.export`."""
        return api.export(self.folder, Path(out), trust=self.trust, **options)

    def resume(
        self,
        *,
        updates: int | None = None,
        steps: int | None = None,
        on_event: OnEvent | Iterable[OnEvent] = (),
        drop_episodes: bool = False,
        **settings: Any,
    ) -> Run:
        """Go on, if it was stopped, or make it longer, if it has finished.

        Args:
            updates: that the run has in all from now on; None: as its settings say.
            steps: of the environment in all, in place of updates.
            on_event: one or more that hear of every event.
            drop_episodes: begin new episodes in place of those under way.
            settings: that are others from now on, by their path: `**{"learner.learning_rate": 1e-4}`.

        Raises:
            UserError: it is no run, or what is asked cannot change.
            KeyboardInterrupt: ^C.
        """
        ears = _Ears(on_event)
        run = api.prepare_resume(
            self.folder,
            trust=self.trust,
            drop_episodes=drop_episodes,
            updates=updates,
            steps=steps,
            overrides=_overrides(settings),
            on_event=ears,
        )
        with ears.heard():
            run.train()
        return self

    def _events(self) -> list[Event]:
        """Without those that a crash undid."""
        return history(read_metrics(self.folder / METRICS_NAME))


def train(
    what: str | Path | RunConfig | type | FunctionType,
    run: str | Path | None = None,
    *,
    steps: int | None = None,
    seed: int = 0,
    workers: int | None = None,
    reanalyze_workers: int | None = None,
    source: str | Path | Run | None = None,
    init: str | Path | Run | None = None,
    on_event: OnEvent | Iterable[OnEvent] = (),
    check: bool = True,
    **settings: Any,
) -> Run:
    """Train an agent; returns the run when it has ended, by itself or because a listener asked for it.

    Args:
        what: a preset's name, the path of a TOML file, settings, or a game, which takes the preset `general`: an id of
            gymnasium, "my_env.py:Env", or an environment's class or a function that makes one.
        run: its folder, new or empty; None: a new one, runs/NAME-N.
        steps: of the environment; None: as the preset says.
        seed: decides all that is drawn.
        workers: self-play processes; 0: everything in this one, bit for bit reproducible; None: as the preset says.
        reanalyze_workers: processes that search stored games again; None: as the preset says.
        source: a run, a folder of self-play, a store's file or minari:NAME: learn from its games alone, offline, as
            the command `train` does; no environment is made, so that there are no scores.
        init: an agent's folder, or a run: its weights are begun from; None: from random ones.
        on_event: one or more that hear of every event.
        check: play the environment for a moment first, and say what is wrong with it.
        settings: others, by their path: `**{"search.num_simulations": 8}`.

    Raises:
        UserError: something given is wrong, or training is not installed.
        KeyboardInterrupt: ^C; `Run(folder).resume()` goes on.
    """
    leave_import()
    word: str | RunConfig = what if isinstance(what, RunConfig) else _word(what)
    in_notebook = isinstance(word, str) and word.startswith(f"{_PROGRAM}:")
    if in_notebook and (workers or reanalyze_workers):
        raise _of_a_notebook(str(word).partition(":")[2], workers or 0)
    folder = Path(run) if run is not None else _new_folder(word if isinstance(word, str) else word.game)
    ears = _Ears(on_event)
    prepared = api.prepare_train(
        word,
        folder,
        seed=seed,
        steps=steps,
        workers=0 if in_notebook else workers,
        reanalyze_workers=0 if in_notebook else reanalyze_workers,
        source=None if source is None else _of(source)[0],
        init=None if init is None else _of(init)[0],
        overrides=_overrides(settings),
        check=check and not in_notebook,  # a process of its own makes what is checked
        on_event=ears,
    )
    with ears.heard():
        prepared.train()
    return Run(folder, trust=prepared.config.game)


def resume(run: str | Path | Run, *, trust: Trust = False, **options: Any) -> Run:
    """Go on with a run that was stopped, or make it longer; see `Run.resume`."""
    return (run if isinstance(run, Run) else Run(run, trust)).resume(**options)


def evaluate(agent: str | Path | Run, opponent: str | Path | None = None, **options: Any) -> dict[str, Any]:
    """Measure an agent, or a run's, without noise; see `api.evaluate`."""
    folder, trust = _of(agent)
    return api.evaluate(folder, opponent, **{"trust": trust} | options)


def inspect(agent: str | Path | Run, moves: Sequence[str] = (), **options: Any) -> Sight:
    """What the search of an agent, or of a run's, sees in one position; see `api.inspect`."""
    folder, trust = _of(agent)
    return api.inspect(folder, moves, **{"trust": trust} | options)


def play(agent: str | Path | Run, choose: Callable[..., int | None], **options: Any) -> NDArray[np.float64] | None:
    """Play one episode of an agent's game, with `choose` to say what is played; see `api.play`."""
    folder, trust = _of(agent)
    return api.play(folder, choose, **{"trust": trust} | options)


def export(agent: str | Path | Run, out: str | Path, **options: Any) -> dict[str, Any]:
    """Write an agent, or a run's, to a folder of its own; see `api.export`."""
    folder, trust = _of(agent)
    return api.export(folder, Path(out), **{"trust": trust} | options)


def _of(agent: str | Path | Run) -> tuple[Path, Trust]:
    """An agent's folder, and whether its code is trusted."""
    return (agent.folder, agent.trust) if isinstance(agent, Run) else (Path(agent), False)


def _of_a_notebook(name: str, workers: int) -> UserError:
    return UserError(
        "workers must be able to import the environment, and "
        f"{name!r} is written in a notebook; got {workers} workers. Write it into a file, my_env.py, "
        f"and train 'my_env.py:{name}', or set workers=0."
    )


_PROGRAM = "__main__"


def _word(what: str | Path | type | FunctionType) -> str:
    """What `api.train` calls a preset or a game by.

    Raises:
        UserError: a class or function that nobody else can import.
    """
    if isinstance(what, str | Path):
        return str(what)
    name, module = getattr(what, "__qualname__", None), getattr(what, "__module__", None)
    if name is None or module is None or "<" in name:
        raise UserError(
            f"an environment must have a name that can be imported; got {what!r}. Define the class, or a function that "
            "makes it, at the top of a file."
        )
    if module != _PROGRAM:
        return f"{module}:{name}"
    file = Path(getattr(sys.modules[_PROGRAM], "__file__", None) or "")  # "<stdin>" of a program that is piped in
    return f"{_near(file)}:{name}" if file.is_file() else f"{_PROGRAM}:{name}"


def _near(file: Path) -> str:
    """A file's path from the current folder, where it lies below that."""
    path = Path(os.path.abspath(file))
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else path.as_posix()


def _new_folder(word: str) -> Path:
    """A folder below runs/ that nobody has."""
    with api.free_folder(Path("runs"), run_name(word)) as folder:
        pass
    return folder


class _Ears:
    """All listeners as one, which asks for a stop where any does."""

    def __init__(self, listeners: OnEvent | Iterable[OnEvent]) -> None:
        self._listeners = [listeners] if callable(listeners) else list(listeners)
        self._asked = False  # for a stop

    def __call__(self, event: Event) -> bool:
        answers = [listener(event) is True for listener in self._listeners]  # every one hears of it
        self._asked = self._asked or any(answers)
        return any(answers)

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """A run inside may be ended by listeners, which are closed with it; ^C goes through."""
        try:
            with closed_after(self._listeners):
                yield
        except KeyboardInterrupt:
            if not self._asked:
                raise


def _overrides(settings: Mapping[str, Any]) -> list[str]:
    """Settings by their path as "path=value"."""
    return [f"{path}={_toml(value)}" for path, value in settings.items()]


def _toml(value: object) -> str:
    """A setting's value as an override has it."""
    return value if isinstance(value, str) else json.dumps(msgspec.to_builtins(value))


def _columns(events: Sequence[Event]) -> dict[str, NDArray[Any]]:
    """`[T]` of each number, by name."""
    rows = [dict(_numbers(msgspec.to_builtins(event))) for event in events]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}


def _numbers(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of nested tables, by their paths."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{path}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{path}{name}", value
