"""Which games may be made of a name that was read from a folder."""

from __future__ import annotations

import sys

import pytest

from numzero.errors import UserError
from numzero.games import trusted_code, trusted_name

IMPORTING = [
    "os:abort",
    "http.server:test",
    "antigravity:x",
    "antigravity:CartPole-v1",
    "antigravity:tests:Corridor",
    ":x",
    "antigravity:",
    "gymnasium.envs.classic_control:CartPoleEnv",
]


@pytest.mark.parametrize("name", IMPORTING)
def test_a_name_that_would_import_a_module_needs_the_users_word(name: str) -> None:
    """Without it the module stays unloaded, and the sentence says what was named and what to say."""
    with pytest.raises(
        UserError, match=r"^a folder may name only .* yourself, or trust whatever the folder names"
    ) as refused:
        trusted_name(name, "the agent in x")
    assert f"the agent in x names {name!r}" in str(refused.value)
    assert "antigravity" not in sys.modules
    assert trusted_name(name, "the agent in x", name) == name
    assert trusted_name(name, "the agent in x", True) == name


@pytest.mark.parametrize("name", ["tictactoe", "CartPole-v1", "phys2d/CartPole-v1", "Unknown-v7"])
def test_a_plain_name_needs_none(name: str) -> None:
    """Nothing is imported for it: it is a game here, or no game at all, as `make_game` says."""
    assert trusted_name(name, "the agent in x") == name


@pytest.mark.parametrize("name", ["tictactoe", "CartPole-v1", "os:abort"])
def test_the_users_name_must_be_the_folders(name: str) -> None:
    """Whatever it is: she would play another game than she asked for."""
    with pytest.raises(UserError, match=f"must play the game that was asked for, 'mine:Env'; it plays '{name}'"):
        trusted_name(name, "the agent in x", "mine:Env")


def test_a_folders_name_is_shown_short_and_without_what_a_terminal_obeys() -> None:
    """It is a stranger's text."""
    for trust in (False, "mine:Env"):
        with pytest.raises(UserError) as refused:
            trusted_name("evil\x1b[31m\r\n\u202e" + "x" * 100_000 + ":y", "the agent in x", trust)
        assert len(str(refused.value)) < 1000
        assert str(refused.value).isprintable()


@pytest.mark.parametrize("trust", [False, "tictactoe", "os:abort"])
def test_other_code_than_the_game_needs_trust_itself(trust: bool | str) -> None:
    """A body or a loss that settings of a folder name: naming the game does not cover it."""
    with pytest.raises(UserError, match=r"^a folder may name no code of its own, and the run in x names 'os:abort'"):
        trusted_code(["os:abort"], "the run in x", trust)
    trusted_code([], "the run in x", trust)
    trusted_code(["os:abort"], "the run in x", True)


WRAPPED = "CartPole-v1(render_mode=null) > antigravity:W(x=1)"


def test_a_wrapper_needs_the_users_word_too() -> None:
    """It is code, whatever it stands around."""
    with pytest.raises(UserError, match="would import module 'antigravity'"):
        trusted_name(WRAPPED, "the agent in x")
    for word in (True, WRAPPED, "CartPole-v1 > antigravity:W( x=1 )"):
        assert trusted_name(WRAPPED, "the agent in x", word) == WRAPPED
    for word in ("CartPole-v1", "CartPole-v1 > antigravity:W(x=2)"):
        with pytest.raises(UserError, match="must play the game that was asked for"):
            trusted_name(WRAPPED, "the agent in x", word)
    assert "antigravity" not in sys.modules


def test_arguments_need_no_word_unless_they_may_name_code() -> None:
    """Numbers and plain words are data; a path or a module in the hands of an environment is more."""
    plain, code = 'FrozenLake-v1(map_name="8x8", size=3)', 'Ant-v5(deep=[{"xml_file": "/tmp/evil.xml"}])'
    assert trusted_name(plain, "the agent in x") == plain
    for word in (False, "Ant-v5"):
        with pytest.raises(UserError, match=r"would give it '/tmp/evil\.xml', which may be a file or a module"):
            trusted_name(code, "the agent in x", word)
    assert trusted_name(code, "the agent in x", code) == code


def test_a_name_without_arguments_is_her_word_for_the_folders() -> None:
    """But not for other arguments than she names."""
    name = "os:abort(size=3)"
    assert trusted_name(name, "the agent in x", "os:abort") == name
    with pytest.raises(UserError, match=r"asked for, 'os:abort\(size=4\)'; it plays 'os:abort\(size=3\)'"):
        trusted_name(name, "the agent in x", "os:abort(size=4)")
