"""Pillow, which draws PNG, where it is installed.

Knows whether it is there; pictures as SVG need nothing.
"""

from __future__ import annotations

from numzero.errors import UserError

__all__ = ["has_pillow", "require_pillow"]


def has_pillow() -> bool:
    """Whether Pillow is installed."""
    try:
        import PIL.ImageFont  # noqa: F401  (an extra, asked for only here)
    except ModuleNotFoundError:
        return False
    return True


def require_pillow(what: str = "a PNG", way_out: str = ", or ask for an .svg") -> None:
    """Raise UserError unless Pillow is installed."""
    if not has_pillow():
        raise UserError(f"{what} needs Pillow, which is not installed: pip install 'numzero[png]'{way_out}.")
