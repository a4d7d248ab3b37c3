"""Text from elsewhere, made fit to be shown.

Knows characters; knows nothing of what a text says. Every layer may import it.
"""

from __future__ import annotations

import unicodedata

__all__ = ["plain", "plain_lines"]

_SPACES = "Zs"
"""The category of spaces of other widths: harmless, though `str.isprintable` does not count them in."""


def plain(text: str) -> str:
    r"""`text` on one line that no terminal obeys: characters that steer or cannot be seen become escapes like "\x1b".

    Those are controls (line ends too), marks of direction, invisible joiners and halves of surrogates.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def plain_lines(text: str) -> str:
    """As `plain`, but lines and tabs stay."""
    return "\n".join("\t".join(map(plain, line.split("\t"))) for line in text.split("\n"))


def _shown(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == _SPACES:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
