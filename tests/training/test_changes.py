"""A run that is made longer, or goes on with other settings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from numzero.commands import main
from numzero.errors import UserError
from numzero.metrics import Event, Noted, Started
from numzero.training.changes import CHANGEABLE, Changes, may_change, paths_changed
from numzero.training.config import RunConfig, load_config
from numzero.training.run import TrainingRun
from tests.tiny import RUN, run_config
from tests.training.test_resume import Stopper, assert_same, contents, new_run


def going_on(folder: Path, *overrides: str, heard: list[Event] | None = None, **length: int) -> TrainingRun:
    listen = (lambda event: None) if heard is None else heard.append
    return TrainingRun.resume(folder, listen, trust=True, changes=Changes(overrides=overrides, **length))


def test_a_longer_run_has_the_bits_of_one_that_was_as_long_from_its_beginning(tmp_path: Path) -> None:
    """But for the learning rate, which is held here: all else hangs on what was done and not on what is to come."""
    config = run_config("tictactoe", "learner.final_learning_rate=1.0", "schedule.checkpoint_interval=5")
    new_run(replace(config, schedule=replace(config.schedule, num_updates=18)), tmp_path / "whole").train()
    new_run(config, tmp_path / "run").train()
    going_on(tmp_path / "run", updates=18).train()
    assert_same(contents(tmp_path / "run"), contents(tmp_path / "whole"))


def test_the_learning_rate_of_a_longer_run_is_that_of_its_whole_length(tmp_path: Path) -> None:
    """It rises again from where the shorter run ended; one that is stopped on the way goes on alike."""
    config = run_config("cartpole", "schedule.checkpoint_interval=5")
    first = new_run(config, tmp_path / "run")
    first.train()
    lowest = first._trainer.learner.learning_rate()
    heard: list[Event] = []
    longer = Stopper(16).attach(going_on(tmp_path / "run", updates=20, heard=heard))
    as_planned = new_run(replace(config, schedule=replace(config.schedule, num_updates=20)), tmp_path / "planned")
    as_planned._trainer.learner.num_updates_done = 12
    assert longer._trainer.learner.learning_rate() == as_planned._trainer.learner.learning_rate() > lowest
    as_planned.close()
    with pytest.raises(KeyboardInterrupt):
        longer.train()
    (started,) = (event for event in heard if isinstance(event, Started))
    assert (started.resumed_at, started.num_updates) == (12, 20)
    (note,) = (event.message for event in heard if isinstance(event, Noted) and event.kind == "changed")
    assert note == (
        "schedule.num_updates is 20 in place of 12 from update 12 on, and the learning rate what a run of this length "
        "from its beginning has there."
    )
    again = going_on(tmp_path / "run")  # without being told once more
    again.train()
    assert again._trainer.num_updates_done == 20


UNIFORM = ("replay.priority_exponent=0.0",)
"""What `replay.freshest_of` needs."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of twelve updates."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    new_run(run_config("tictactoe", *UNIFORM), folder).train()
    return folder


OTHERS: dict[str, Any] = {
    "search.max_considered_actions": 3,
    "selfplay.random_start_moves": 2,
    "selfplay.fast_move_share": 0.5,
    "selfplay.stored_start_share": 0.5,
    "selfplay.growth_updates": 20,
    "targets.kind": "n_step",
    "targets.bootstrap": "network",
    "targets.cut": "unlikely",
    "targets.unroll_steps": 3,
    "learner.symmetries": False,
    "learner.threads": 2,
    "schedule.average_acts": True,
    "schedule.num_updates": 18,
    "evaluation.interval": 0,
}
"""Where not every other value will do, or one has more to say; all others grow by one."""


def other_values() -> Iterable[tuple[str, Any]]:
    """A value other than that of the tiny run for each setting that may change."""
    config = run_config("tictactoe", *UNIFORM)
    for group, names in CHANGEABLE.items():
        for name in names:
            value = getattr(getattr(config, group), name)
            path = f"{group}.{name}"
            if isinstance(value, bool):
                yield path, OTHERS.get(path, not value)
            elif isinstance(value, str):
                yield path, OTHERS.get(path, value)
            else:
                yield path, OTHERS.get(path, value / 2 if isinstance(value, float) and value else value + 1)


def test_a_run_goes_on_with_every_setting_that_may_change_changed(finished: Path, tmp_path: Path) -> None:
    """All at once; they are kept for later sessions, and each is said."""
    shutil.copytree(finished, tmp_path / "run")
    before, values, heard = load_config(tmp_path / "run" / "config.toml"), dict(other_values()), []
    overrides = [f"{path}={json.dumps(value)}" for path, value in values.items()]
    going_on(tmp_path / "run", *overrides, heard=heard).train()
    after = load_config(tmp_path / "run" / "config.toml")
    changed = paths_changed(before, after)
    assert {path for path in values if "precision" not in path} == set(changed)
    assert all(getattr(getattr(after, p.partition(".")[0]), p.partition(".")[2]) == v for p, v in values.items())
    assert len([e for e in heard if isinstance(e, Noted) and e.kind == "changed"]) == len(changed)
    going_on(tmp_path / "run").close()


FIXED = {
    "game=CartPole-v1": "game cannot change while a run goes on: what was learned is of that game. Begin a new run",
    "network.width=32": "network.body.width cannot change .*: the weights have its shapes",
    "schedule.gamma=0.5": "schedule.gamma cannot change .*: stored games have its discounts",
    "learner.batch_size=4": "learner.batch_size cannot change .*: updates, steps and searches are held to a ratio",
    "runtime.kind=ray": "runtime.kind cannot change .*: it is chosen for each session",
    "observation.frames=2": "observation.frames cannot change",
    "learner.learning_rate=-1": "learner.learning_rate must be above 0",
    "learner.learning_rat=1": "there is no setting 'learner.learning_rat'. Did you mean 'learner.learning_rate'",
}


@pytest.mark.parametrize("override", FIXED)
def test_what_the_past_was_made_with_cannot_change(override: str, finished: Path) -> None:
    """The sentence says why; nothing is written."""
    before = (finished / "config.toml").read_bytes()
    with pytest.raises(UserError, match=FIXED[override]):
        going_on(finished, override)
    assert (finished / "config.toml").read_bytes() == before
    going_on(finished, "schedule.gamma=1.0").close()  # the same value is none


@pytest.mark.parametrize(
    ("length", "sentence"),
    [
        ({"updates": 12}, "has made 12 updates and must be given more in all; got 12"),
        ({"updates": 5}, "has made 12 updates and must be given more in all; got 5"),
        ({"steps": 70}, "has made 12 updates and must be given more in all; got 1"),
        ({"steps": 10}, "a run must have 68 steps or more"),
        ({"steps": 400, "updates": 40}, "in updates or in steps; got both"),
    ],
)
def test_a_length_that_is_none_is_refused(length: dict[str, int], sentence: str, finished: Path) -> None:
    """Less than what is done already, or two at a time."""
    with pytest.raises(UserError, match=sentence):
        going_on(finished, **length)


def test_every_setting_that_may_change_is_there() -> None:
    """And every setting of the random policy, which was measured, is not among them."""
    groups = {field.name: field.type for field in msgspec.structs.fields(RunConfig)}
    for group, names in CHANGEABLE.items():
        assert set(names) <= set(groups[group].__annotations__)
    assert not may_change("evaluation.random_steps")
    assert not may_change("game")


def test_a_command_makes_a_run_longer(tmp_path: Path) -> None:
    """In steps as in updates; what cannot be is said with the option's name."""
    sets = [word for setting in [*RUN, "selfplay.batch_size=4"] for word in ("--set", setting)]
    runner, folder = CliRunner(), str(tmp_path / "run")
    assert runner.invoke(main, ["train", "tictactoe", "--run", folder, *sets]).exit_code == 0
    done = runner.invoke(main, ["resume", folder, "--steps", "180", "--json", "--set", "evaluation.games=2"])
    assert json.loads(done.stdout)["outcome"]
    config = load_config(tmp_path / "run" / "config.toml")
    assert (config.schedule.num_updates, config.evaluation.games) == (15, 2)
    refused = runner.invoke(main, ["resume", folder, "--updates", "15"])
    assert refused.exit_code == 2
    assert "must be given more in all; got 15. See --updates and --steps." in refused.output
    refused = runner.invoke(main, ["resume", folder, "--set", "search.rule=paper"])
    assert "search.rule cannot change" in refused.output
