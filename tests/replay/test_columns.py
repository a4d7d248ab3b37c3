"""The table of columns: everything that holds games derives from it."""

from __future__ import annotations

import numpy as np

from numzero.games import TicTacToe
from numzero.replay import COLUMNS, Trajectory, Window, decode_trajectory, encode_trajectory, layout
from numzero.training.roles.recorder import Recorder
from tests.replay.games import make_trajectory


def test_the_order_of_bytes_is_that_of_stores_made_before():
    """The format of stored games is this order."""
    assert list(COLUMNS) == [
        "model_version",
        "action",
        "reward",
        "discount",
        "policy_target",
        "root_value",
        "outcome",
        "vector",
        "candidates",
        "likelihood",
        "prior",
        "observation",
        "legal",
        "to_play",
        "exploratory",
    ]


def test_every_holder_of_games_has_the_columns_of_the_table():
    """Recorder, window and codec name none of their own."""
    window, recorder = Window(8, (3,), np.float32, 2), Recorder(TicTacToe(2).spec, 2, "x", 0)
    fields = {field.name: field for field in layout(3, 2, (3,), np.dtype(np.float32))}
    assert fields["outcome"].shape == (3, 0)
    assert layout(3, 2, (3,), np.dtype(np.float32), has_outcomes=True)[6].shape == (3, 1)
    assert set(fields) == set(COLUMNS) == set(Trajectory.__struct_fields__) - {"game_id", "ended", "lead_in"}
    for name, column in COLUMNS.items():
        held = getattr(window.columns, name)
        assert held.shape == (8, *fields[name].shape[1:]), name
        assert held.dtype == fields[name].dtype, name
        assert len(fields[name].shape) == len(getattr(recorder._columns, name).shape) - 1 or name == "observation"
        assert fields[name].shape[0] == (3 if column.at == "step" else 4)


def test_a_game_written_before_is_read_as_it_was():
    """Bytes that the code before the table wrote."""
    game = make_trajectory("old", 2, seed=5)
    assert encode_trajectory(decode_trajectory(OLD)) == OLD
    assert encode_trajectory(game) == OLD


OLD = bytes.fromhex(
    "6e756d7a65726f0153521815a37103081daddb1888a8b6411700000096a36f6c64aa7465726d696e617465640202a2753191"
    "020000000000e733da7d450000005cbdd130e100000001000000000000005ee748bfcead3f3f000080bf0000803f42e9c83e"
    "97c6203f826dfc3e39762a3f614b4dbf9884a9bf00000000a149fa0d47620001010000000000010100"
)
