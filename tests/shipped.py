"""The agents that ship in models/, for tests that hold for each of them."""

from __future__ import annotations

from pathlib import Path

MODELS = Path(__file__).resolve().parents[1] / "models"
SHIPPED = sorted(path.parent.name for path in MODELS.glob("*/agent.json"))
