"""Games: the contract, its check, board games as rules on arrays, anyone's own, and any gymnasium environment.

Knows nothing of search, networks or training. Importing it never imports gymnasium.
"""

from __future__ import annotations

from numzero.games.base import (
    STAY,
    Game,
    GameSpec,
    ObservationPart,
    Placeable,
    PlaysRandomly,
    Solved,
    SolvedPositions,
    StepResult,
    Symmetries,
)
from numzero.games.boards.tictactoe import TicTacToe
from numzero.games.check import GameContractError, check_game
from numzero.games.registry import (
    game_spec,
    is_placeable,
    is_solved,
    make_game,
    rehearsal_game,
    reward_threshold,
    symmetries_of,
)
from numzero.games.trust import Trust, trusted_code, trusted_name

__all__ = [
    "STAY",
    "Game",
    "GameContractError",
    "GameSpec",
    "ObservationPart",
    "Placeable",
    "PlaysRandomly",
    "Solved",
    "SolvedPositions",
    "StepResult",
    "Symmetries",
    "TicTacToe",
    "Trust",
    "check_game",
    "game_spec",
    "is_placeable",
    "is_solved",
    "make_game",
    "rehearsal_game",
    "reward_threshold",
    "symmetries_of",
    "trusted_code",
    "trusted_name",
]
