"""`check-env`: what is wrong with an environment is told, what numzero makes of it is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from numzero.commands import main
from numzero.metrics import Noted, read_metrics
from tests.tiny import RUN

HERE = "tests.games.environments"
MISBEHAVING = "tests.games.misbehaving"


def invoke(*arguments: object) -> Result:
    words = ["check-env", *(str(argument) for argument in arguments)]
    return CliRunner().invoke(main, words)


def test_a_sound_environment_is_shown_with_what_it_costs() -> None:
    """Its spaces, what numzero makes of them, speed, lengths, a random policy's return; exit code 0."""
    said = invoke("CartPole-v1", "--steps", 300)
    assert said.exit_code == 0, said.output
    assert "CartPole-v1: no fault found\n" in said.stdout
    for words in (
        "float32 [4]",
        "Cart Position",
        "steps and",
        "resets a second",
        "random return",
        "the same from the",
        "a run",
    ):
        assert words in said.stdout


def test_a_faulty_environment_is_told_by_field_step_and_remedy() -> None:
    """As sentences, and as JSON."""
    said = invoke(f"{HERE}:NanObservation", "--steps", 60)
    assert said.exit_code == 1
    assert "1 fault" in said.stdout
    report = json.loads(invoke(f"{HERE}:NanObservation", "--steps", 60, "--json").stdout)
    (fault,) = report["findings"]
    assert (fault["field"], fault["step"], fault["kind"]) == ("observation", 2, "fault")
    assert set(report["run_mb"]) >= {"window", "trees", "environments"}
    assert "finite" in fault["rule"]
    assert "clip" in fault["remedy"]


@pytest.mark.parametrize(("name", "seen"), [("OsExits", "exit code 0"), ("Hangs", "within 1 s")])
def test_what_ends_or_holds_its_process_is_told_with_its_step(
    name: str, seen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command itself goes on."""
    monkeypatch.setenv("NUMZERO_TEST_FAULTS", str(tmp_path))
    said = invoke(f"{MISBEHAVING}:{name}", "--patience", 1)
    assert said.exit_code == 1
    assert "step() must return" in said.stdout
    assert seen in said.stdout
    assert "at step 3" in said.stdout


def train(folder: Path, *more: str, game: str = "tests.games.planted:NormalizesObservations") -> Result:
    """A tiny run, by default with an environment that keeps statistics."""
    settings = [*RUN, f"game={game}"]
    words = ["train", "cartpole", "--run", str(folder), "--workers", "0", *more]
    return CliRunner().invoke(main, words + [word for setting in settings for word in ("--set", setting)])


def checks_noted(folder: Path) -> list[str]:
    events = read_metrics(folder / "metrics.jsonl")
    return [event.message for event in events if isinstance(event, Noted) and event.kind == "check"]


def test_training_says_first_what_a_short_check_found(tmp_path: Path) -> None:
    """On the display and in the run's events; it trains all the same."""
    said = train(tmp_path)
    assert said.exit_code == 0, said.output
    summary, fault = checks_noted(tmp_path)
    assert "was checked: 1 fault found; 200 steps of random play" in summary
    assert "NormalizeObservation keeps statistics" in fault
    assert summary in said.stderr
    assert fault in said.stderr


def test_training_says_first_what_it_does_not_see(tmp_path: Path) -> None:
    """Words that an environment shows, by the name of the part."""
    assert train(tmp_path, game="tests.games.environments:Talks").exit_code == 0
    assert checks_noted(tmp_path)[0].endswith(". Left out of what it shows: order (words).")


def test_training_can_do_without_the_check(tmp_path: Path) -> None:
    """Where it must not be made twice, say."""
    assert train(tmp_path, "--no-check").exit_code == 0
    assert checks_noted(tmp_path) == []
