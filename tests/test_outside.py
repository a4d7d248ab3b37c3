"""Code that settings name: where it is looked for, and what is said where it is not found."""

from __future__ import annotations

import sys

import pytest

from numzero.errors import UserError
from numzero.outside import load


def test_a_name_is_found_in_a_package_in_the_current_folder_and_in_a_file(tmp_path, monkeypatch):
    """A file is run once; the current folder comes after all others, and stays: code imports when it runs, too."""
    (tmp_path / "loose_module_of_a_test.py").write_text("class Mine: pass\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    before = [*sys.path]
    monkeypatch.setattr(sys, "path", [*before])
    assert load("numzero.errors:UserError", "x") is UserError
    assert load("loose_module_of_a_test:Mine", "x").__name__ == "Mine"
    one, other = load("loose_module_of_a_test.py:Mine", "x"), load(f"{tmp_path}/loose_module_of_a_test.py:Mine", "x")
    assert one is other
    assert sys.path == [*before, str(tmp_path)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Mine", "x.y must be module:Name or file.py:Name; got 'Mine'."),
        (":Mine", "x.y must be module:Name or file.py:Name; got ':Mine'."),
        ("nowhere_at_all:Mine", "x.y: there is no module 'nowhere_at_all' to import. Install it, or run from the"),
        ("numzero.nowhere:Mine", "x.y: there is no module 'numzero.nowhere' to import."),
        ("nowhere.py:Mine", "x.y: there is no file "),
        ("numzero.errors:UserErorr", "x.y: numzero.errors has no 'UserErorr'. Did you mean 'UserError'?"),
        ("empty.py:Mine", "x.y: empty.py has no 'Mine'."),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(tmp_path, monkeypatch, name, message):
    """With the setting that names it."""
    (tmp_path / "empty.py").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as found:
        load(name, "x.y")
    assert str(found.value).startswith(message)


def test_a_mistake_inside_keeps_its_traceback(tmp_path, monkeypatch):
    """It is the author's to see; the file is run anew once it is mended."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("import numzero_needs_this\n", encoding="utf-8")
    for name in ("broken:Mine", "broken.py:Mine"):
        with pytest.raises(ModuleNotFoundError, match="numzero_needs_this"):
            load(name, "x")
    (tmp_path / "broken.py").write_text("Mine = 3\n", encoding="utf-8")
    assert load("broken.py:Mine", "x") == 3
