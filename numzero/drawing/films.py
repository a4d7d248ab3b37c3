"""Films of pictures, one after the other: a GIF, which needs Pillow alone, or an MP4, which needs moviepy.

Knows files and frames; knows nothing of what is seen.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from numzero.drawing.charts import INK, PAPER
from numzero.drawing.pillow import require_pillow
from numzero.errors import UserError
from numzero.files import write_file
from numzero.paths import explained
from numzero.text import plain_lines

__all__ = ["Film", "film", "require_filmable", "text_frame"]

GIF_WIDTH = 480
"""Wider frames are made smaller for a GIF, which keeps whole pictures."""
NUM_COLORS = 128
"""Of a GIF's frame."""
TICKS_PER_SECOND = 100
"""A GIF counts time in hundredths of a second..."""
FEWEST_TICKS = 2
"""...and browsers show none for less than two: frames that come faster are left out."""
TEXT_SCALE = 3
MARGIN, LEAST_WIDTH = 8, 120
LAST_SECONDS = 1.0
"""The last frame stays so long."""


class Film(Protocol):
    """Takes frames; the file is whole when it is closed without an error, and not there else."""

    def add(self, frame: NDArray[np.uint8]) -> None:
        """`[H, W, 3]`, of the same size as those before."""


def require_filmable(out: Path) -> None:
    """Refuse, before anything is played, a film that cannot be made.

    Raises:
        UserError: another suffix, or a library is missing.
    """
    suffix = out.suffix.lower()
    if suffix == ".mp4":
        _mp4_writer()
    elif suffix == ".gif":
        require_pillow("a GIF", "")
    else:
        raise UserError(f"a film must end in .gif or .mp4; got {str(out)!r}. Name one.", arguments=("out",))
    with explained(out.parent):
        os.scandir(out.parent).close()


@contextlib.contextmanager
def film(out: Path, fps: float) -> Iterator[Film]:
    """A film that is written to `out`, of `fps` frames a second; see `require_filmable`."""
    maker = _Gif(out, fps) if out.suffix.lower() == ".gif" else _Mp4(out, fps)
    try:
        yield maker
    except BaseException:
        maker.drop()
        raise
    maker.close()


class _Gif:
    """Frames in few colours, kept until the end."""

    def __init__(self, out: Path, fps: float) -> None:
        self._out = out
        self._every = max(1, round(fps * FEWEST_TICKS / TICKS_PER_SECOND))
        self._ticks = max(FEWEST_TICKS, round(TICKS_PER_SECOND * self._every / fps))
        self._frames: list[Any] = []
        self._last: NDArray[np.uint8] | None = None
        self._count = 0

    def add(self, frame: NDArray[np.uint8]) -> None:
        self._last = frame
        if self._count % self._every == 0:
            self._frames.append(_few_colors(frame))
        self._count += 1

    def close(self) -> None:
        if self._last is not None and (self._count - 1) % self._every:
            self._frames.append(_few_colors(self._last))  # the end is seen
        durations = [10 * self._ticks] * (len(self._frames) - 1) + [round(1000 * LAST_SECONDS)]
        content, (first, *rest) = io.BytesIO(), self._frames
        first.save(content, "GIF", save_all=True, append_images=rest, duration=durations, loop=0)
        write_file(self._out, content.getvalue())

    def drop(self) -> None:
        self._frames = []


def _few_colors(frame: NDArray[np.uint8]) -> Any:
    """The frame as Pillow has it, small and with few colours."""
    from PIL import Image

    image = Image.fromarray(frame)
    if image.width > GIF_WIDTH:
        image = image.resize((GIF_WIDTH, round(image.height * GIF_WIDTH / image.width)))
    return image.quantize(NUM_COLORS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


class _Mp4:
    """Frames that are written as they come, to a file beside `out` that takes its name in the end."""

    def __init__(self, out: Path, fps: float) -> None:
        self._out, self._fps = out, fps
        self._part = out.with_name(f".{out.stem}.{os.getpid()}.part.mp4")
        self._writer: Any = None
        self._last: NDArray[np.uint8] | None = None

    def add(self, frame: NDArray[np.uint8]) -> None:
        frame = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]  # the codec wants even sides
        if self._writer is None:
            size = (frame.shape[1], frame.shape[0])
            self._writer = _mp4_writer()(str(self._part), size, self._fps, logfile=None)
        self._writer.write_frame(frame)
        self._last = frame

    def close(self) -> None:
        for _ in range(round(self._fps * LAST_SECONDS)):
            self._writer.write_frame(self._last)
        self._writer.close()
        with explained(self._out):
            os.replace(self._part, self._out)

    def drop(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._part.unlink(missing_ok=True)


def _mp4_writer() -> Any:
    """What writes MP4, as gymnasium's own films are written."""
    try:
        from moviepy.video.io.ffmpeg_writer import FFMPEG_VideoWriter
    except ImportError as error:
        raise UserError(
            "an MP4 needs moviepy, which gymnasium brings as an extra and which is not installed: "
            "pip install 'gymnasium[other]', or ask for a .gif.",
            arguments=("out",),
        ) from error
    return FFMPEG_VideoWriter


def text_frame(text: str, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """`[H, W, 3]` lines of text as a picture, in letters of one width.

    Args:
        text: what is drawn.
        size: width and height; None: as the text needs.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default_imagefont()
    lines = plain_lines(text)
    box = ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox((MARGIN, MARGIN), lines, font=font)
    needed = (max(LEAST_WIDTH, round(box[2]) + MARGIN), round(box[3]) + MARGIN)
    width, height = needed if size is None else (size[0] // TEXT_SCALE, size[1] // TEXT_SCALE)
    image = Image.new("RGB", (width, height), PAPER)
    ImageDraw.Draw(image).multiline_text((MARGIN, MARGIN), lines, fill=INK, font=font)
    large = image.resize((TEXT_SCALE * width, TEXT_SCALE * height), Image.Resampling.NEAREST)
    return np.asarray(large, np.uint8)
