"""A game's name: what is written is read back, and what is no name is refused with a sentence."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero.errors import UserError
from numzero.games.naming import GameName, Wrapper, extended, is_code, parse_name

SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=6)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
KEYS = st.text(string.ascii_letters + "_", min_size=1, max_size=4)
ARGUMENTS = st.dictionaries(KEYS, VALUES, max_size=3)
BASES = st.sampled_from(
    [
        "tictactoe",
        "CartPole-v1",
        "ALE/Pong-v5",
        "a.b:Class",
        "mine.py:make",
        r"C:\me (old)\mine.py:Env",
        "a (b)/mine.py:Env",
        "openspiel:go",
        "",
    ]
)
NAMES = st.builds(
    GameName,
    BASES,
    ARGUMENTS,
    st.lists(st.builds(Wrapper, st.sampled_from(["a:W", "b/c.py:W"]), ARGUMENTS), max_size=2).map(tuple),
)


@given(NAMES)
def test_a_name_is_read_back_as_it_was_written(name: GameName) -> None:
    """Whatever its arguments hold; the text is one line that can be shown, and stays as it is."""
    text = name.text()
    assert text.isprintable()
    assert parse_name(text) == name
    assert repr(sorted(parse_name(text).arguments.items())) == repr(sorted(name.arguments.items()))  # 1 is not true
    assert parse_name(text).text() == text


@given(st.text('ab:./(){}[]=,> "1\\', max_size=24))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    """And what is taken has one form."""
    try:
        name = parse_name(text)
    except UserError:
        return
    assert parse_name(name.text()).text() == name.text()


def test_a_name_is_written_one_way() -> None:
    """Blanks and the order of arguments make no difference."""
    loose = parse_name('  a:B( y = [1,2] ,x="q > (r=1)")>c:W()  > d:V( s=0.5 )')
    assert loose == GameName("a:B", {"x": "q > (r=1)", "y": [1, 2]}, (Wrapper("c:W"), Wrapper("d:V", {"s": 0.5})))
    assert loose.text() == 'a:B(x="q > (r=1)", y=[1, 2]) > c:W > d:V(s=0.5)'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Env(3)", r"arguments must be key=value, as in Name\(size=3\); got 'Env\(3\)'"),
        ("a:Env(3", "arguments must be key=value"),
        ("Env(3)()", "arguments must be key=value"),
        ("Env(size=3", "with commas between them; got ''"),
        ("Env(size=3 b=4)", "with commas between them; got ' b=4"),
        ("Env(size=3,)", r"with commas between them; got ',\)'"),
        ("Env(size=three)", r"a value must be as in JSON.* got 'three\)'"),
        ("Env(size=True)", "a value must be as in JSON"),
        ("Env(size=NaN)", "a value must be as in JSON"),
        (f"Env(size={'[' * 100_000})", "a value must be as in JSON"),
        (f"Env(size={'9' * 5_000})", "a value must be as in JSON"),
        ("Env(size=3, size=4)", "'size' is given twice"),
        ("Env(size=3)x", r"' > module:Wrapper' is all that may follow; got 'x'"),
        ("Env > Wrapper", r"a wrapper must be module:Wrapper or file.py:Wrapper; got 'Wrapper'"),
        ("Env(a=1) >", "is all that may follow; got '>'"),
        ("Env > :W", "a wrapper must be module:Wrapper"),
        ("Env(\x1b[31m=3)", "arguments must be key=value"),
    ],
)
def test_what_is_no_name_is_refused_with_a_sentence(text: str, message: str) -> None:
    """The rule, what was seen, the way out; nothing that a terminal would obey, and not too long."""
    with pytest.raises(UserError, match=message) as refused:
        parse_name(text)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 700


def test_settings_extend_a_name() -> None:
    """An argument takes the place of the name's, a wrapper comes around those it has."""
    name = 'a:B(size=3, x="q") > c:W'
    assert extended(name, {}) == parse_name(name).text()
    assert extended("a", {}, [{"name": "d.e.V"}]) == parse_name("a > d.e.V").text() == "a > d.e:V"
    changed = extended(name, {"size": 4, "map": ["SF"]}, [{"name": "d.py:V", "factor": 0.5}])
    assert changed == 'a:B(map=["SF"], size=4, x="q") > c:W > d.py:V(factor=0.5)'


@pytest.mark.parametrize("value", [object(), float("nan"), {1: 2}, (1, 2), 2**5000])
def test_what_no_name_can_carry_is_refused(value: object) -> None:
    """Before it is written."""
    for call in (lambda: extended("a", {"x": value}), lambda: extended("a", {}, [{"name": "c:W", "x": value}])):
        with pytest.raises(UserError, match="an argument must be called as in Python"):
            call()


@pytest.mark.parametrize(
    ("arguments", "wrappers", "message"),
    [
        ([1], [], r"game_arguments must be a table of key = value; got '\[1\]'"),
        ({"a b": 1}, [], "an argument must be called as in Python.* got 'a b = 1'"),
        ({}, "c:W", "wrappers must be a list of tables"),
        ({}, ["c:W"], r"each of \[\[wrappers\]\] must say its name"),
        ({}, [{"x": 1}], "must say its name, module:Wrapper"),
        ({}, [{"name": "W"}], "must say its name, module:Wrapper"),
        ({}, [{"name": "w.py"}], "must say its name, module:Wrapper"),
    ],
)
def test_settings_of_another_form_are_refused(arguments: object, wrappers: object, message: str) -> None:
    """Saying what they are to be."""
    with pytest.raises(UserError, match=message):
        extended("a", arguments, wrappers)


@pytest.mark.parametrize(("base", "code"), [("CartPole-v1", False), ("openspiel:go", False), ("mine:Env", True)])
def test_a_scheme_is_no_module(base: str, code: bool) -> None:
    """What a library lists by name is looked up there."""
    assert is_code(base) == code
