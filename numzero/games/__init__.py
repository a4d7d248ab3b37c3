"""Games: the contract, its check, board games as rules on arrays, anyone's own, and any gymnasium environment.

Knows nothing of search, networks or training. Importing it never imports gymnasium.
"""

from __future__ import annotations

from numzero.games.base import (
    STAY,
    ActionSpec,
    Box,
    Discrete,
    Factored,
    Game,
    GameSpec,
    KnowsBestPlay,
    ObservationPart,
    Placeable,
    PlaysRandomly,
    RatesPlay,
    Solved,
    SolvedPositions,
    StepResult,
    Symmetries,
)
from numzero.games.boards.pig import Pig
from numzero.games.boards.tictactoe import TicTacToe
from numzero.games.boards.twenty48 import Twenty48
from numzero.games.check import GameContractError, check_game
from numzero.games.checking.environment import check_environment
from numzero.games.checking.findings import EnvironmentReport, Finding, PlayFigures
from numzero.games.registry import (
    game_spec,
    is_own,
    is_placeable,
    is_solved,
    make_game,
    rehearsal_game,
    reward_threshold,
    symmetries_of,
)
from numzero.games.trust import Trust, trusted_address, trusted_code, trusted_name, word_for

__all__ = [
    "STAY",
    "ActionSpec",
    "Box",
    "Discrete",
    "EnvironmentReport",
    "Factored",
    "Finding",
    "Game",
    "GameContractError",
    "GameSpec",
    "KnowsBestPlay",
    "ObservationPart",
    "Pig",
    "Placeable",
    "PlayFigures",
    "PlaysRandomly",
    "RatesPlay",
    "Solved",
    "SolvedPositions",
    "StepResult",
    "Symmetries",
    "TicTacToe",
    "Trust",
    "Twenty48",
    "check_environment",
    "check_game",
    "game_spec",
    "is_own",
    "is_placeable",
    "is_solved",
    "make_game",
    "rehearsal_game",
    "reward_threshold",
    "symmetries_of",
    "trusted_address",
    "trusted_code",
    "trusted_name",
    "word_for",
]
