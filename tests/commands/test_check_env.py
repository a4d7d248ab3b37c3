"""`check-env`: what is wrong with an environment is told, what numzero makes of it is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from numzero.commands import main

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
    for words in ("float32 [4]", "Cart Position", "steps and", "resets a second", "random return", "the same from the"):
        assert words in said.stdout


def test_a_faulty_environment_is_told_by_field_step_and_remedy() -> None:
    """As sentences, and as JSON."""
    said = invoke(f"{HERE}:NanObservation", "--steps", 60)
    assert said.exit_code == 1
    assert "1 fault" in said.stdout
    report = json.loads(invoke(f"{HERE}:NanObservation", "--steps", 60, "--json").stdout)
    (fault,) = report["findings"]
    assert (fault["field"], fault["step"], fault["kind"]) == ("observation", 2, "fault")
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
