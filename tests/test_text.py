"""Text of others on its way to a terminal."""

from __future__ import annotations

import pickle
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero.errors import DiskFullError, UserError
from numzero.text import plain, plain_lines

STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of what a terminal obeys, and of what nobody sees."""


@given(st.text(st.characters(), max_size=40))
def test_plain_text_holds_nothing_that_a_terminal_obeys(text):
    """No control, no mark of direction, no half of a surrogate, no line end; it can be encoded."""
    shown = plain(text)
    assert not [character for character in shown if unicodedata.category(character) in STEERING]
    shown.encode()
    assert plain(shown) == shown
    assert "".join(map(plain, text)) == shown


@given(st.text(st.characters(exclude_categories=[*STEERING, "Cn", "Co"]), max_size=40))
def test_ordinary_text_stays_as_it_is(text):
    """Of any script, with any space."""
    assert plain(text) == plain_lines(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("safe\rEVIL", r"safe\rEVIL"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u202eb\u2066c\u200bd\ufeff", r"a\u202eb\u2066c\u200bd\ufeff"),
        ("\ud800", r"\ud800"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\u00a0\u3000 caf\u00e9 \U0001f600", "\u00a0\u3000 caf\u00e9 \U0001f600"),
    ],
)
def test_what_steers_is_shown_as_an_escape(text, shown):
    """It is seen, and does nothing."""
    assert plain(text) == shown


def test_lines_and_tabs_may_stay():
    """Where a text has several lines of its own."""
    assert plain_lines("a\tb\n\x1bc\r\n") == "a\tb\n\\x1bc\\r\n"


@pytest.mark.parametrize("kind", [UserError, DiskFullError])
def test_a_users_error_quotes_nothing_that_a_terminal_obeys(kind):
    """Wherever it is shown: in a traceback too, and on the other side of a pickle."""
    error = kind("there is no game '\x1b[31mx'.")
    assert str(error) == str(pickle.loads(pickle.dumps(error))) == r"there is no game '\x1b[31mx'."
