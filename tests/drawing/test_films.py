"""Films: what is added is what is seen, at the speed that was asked for, and a film is whole or not there."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from numzero.drawing.films import film, require_filmable, text_frame
from numzero.errors import UserError


def shade(level: int, width: int = 60) -> np.ndarray:
    return np.full((40, width, 3), level, np.uint8)


def seen(path: Path) -> list[tuple[int, int]]:
    """Grey level and milliseconds of each frame."""
    with Image.open(path) as image:
        frames = []
        for n in range(image.n_frames):
            image.seek(n)
            frames.append((int(np.asarray(image.convert("L")).mean()), image.info["duration"]))
    return frames


def break_off(out: Path) -> None:
    """A film of an episode that fails in the middle."""
    with film(out, 1.0) as made:
        made.add(shade(1))
        raise ZeroDivisionError


def test_a_gif_shows_every_frame_as_long_as_it_should(tmp_path: Path) -> None:
    """In order; the last one longer."""
    with film(tmp_path / "a.gif", 4.0) as made:
        for level in (0, 100, 200):
            made.add(shade(level))
    assert seen(tmp_path / "a.gif") == [(0, 250), (100, 250), (200, 1000)]


def test_frames_that_come_faster_than_a_gif_can_show_are_left_out(tmp_path: Path) -> None:
    """Of 100 in a second every other; it takes as long, and the end is there."""
    with film(tmp_path / "a.gif", 100.0) as made:
        for level in range(0, 60, 10):
            made.add(shade(level))
    assert seen(tmp_path / "a.gif") == [(0, 20), (20, 20), (40, 20), (50, 1000)]


def test_wide_frames_are_made_smaller_in_a_gif(tmp_path: Path) -> None:
    """As high as wide as before."""
    with film(tmp_path / "a.gif", 1.0) as made:
        made.add(shade(7, width=960))
    with Image.open(tmp_path / "a.gif") as image:
        assert image.size == (480, 20)


def test_a_film_that_fails_is_not_there(tmp_path: Path) -> None:
    """Nor anything else; one of before stays."""
    (tmp_path / "a.gif").write_bytes(b"before")
    with pytest.raises(ZeroDivisionError):
        break_off(tmp_path / "a.gif")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.gif", b"before")]


def test_text_keeps_its_columns() -> None:
    """Letters are of one width, and a second frame is as large as it is told to be."""
    wide, narrow = text_frame("iiii.x"), text_frame("WWWW.x")
    (right_of_wide, *_), (right_of_narrow, *_) = (
        np.flatnonzero(picture.mean(axis=(0, 2)) < 255)[::-1] for picture in (wide, narrow)
    )
    assert right_of_wide == right_of_narrow
    assert text_frame("a\nb\nc\nd", (360, 90)).shape == (90, 360, 3)
    assert text_frame("\x1b[31mred").shape == text_frame("?[31mred").shape


def test_what_cannot_be_filmed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is played: the suffix, the folder, the library."""
    with pytest.raises(UserError, match=r"must end in \.gif or \.mp4; got"):
        require_filmable(tmp_path / "a.avi")
    with pytest.raises(UserError, match="cannot be used"):
        require_filmable(tmp_path / "nowhere" / "a.gif")
    monkeypatch.setitem(sys.modules, "moviepy", None)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UserError, match=r"pip install 'gymnasium\[other\]', or ask for a \.gif"):
        require_filmable(tmp_path / "a.mp4")
    with pytest.raises(UserError, match=r"a GIF needs Pillow, .* 'numzero\[png\]'\."):
        require_filmable(tmp_path / "a.gif")


@pytest.mark.skipif(importlib.util.find_spec("moviepy") is None, reason="moviepy is not installed")
def test_an_mp4_is_whole_or_not_there(tmp_path: Path) -> None:
    """Sides that are odd are cut by one."""
    with film(tmp_path / "a.mp4", 10.0) as made:
        made.add(shade(1, width=61))
    assert (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"
    with pytest.raises(ZeroDivisionError):
        break_off(tmp_path / "b.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
