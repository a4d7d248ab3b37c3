"""From an agent's files back to a network: its weights, and what it knows of numbers in and out.

Knows initializers by the names of parameters; knows nothing of folders or training. What is taken over is tried: the
network must compute what the files do, so that an activation, a norm or a range that is another's does not pass.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from numzero.errors import UserError
from numzero.inference import ModelFiles
from numzero.networks.export import ParityError, check_parity
from numzero.networks.network import MuZeroNetwork
from numzero.networks.traced import TRACED_PREFIX

__all__ = ["take_weights"]

_ONLY_LEARNING = "chance.encoder."
"""Begins the names of parameters that no file holds: nobody but the learner asks them."""


def take_weights(network: MuZeroNetwork, files: ModelFiles, updates: int) -> list[str]:
    """Give a network the weights of an agent's files; the names of parameters that these do not hold, which stay.

    Args:
        network: changed in place, unless an error is raised for shapes.
        files: of an agent.
        updates: behind them; what was learned of numbers counts as seen so often.

    Raises:
        UserError: the files are those of another network.
    """
    found = _initializers(files)
    wanted = network.stored()
    names = [name for name in wanted if not name.startswith(_ONLY_LEARNING)]
    if misfits := [_misfit(name, found.get(name), wanted[name]) for name in names if not _fits(name, found, wanted)]:
        more = f", and {len(misfits) - 1} more" if len(misfits) > 1 else ""
        raise UserError(f"the weights must be of the same network; {misfits[0]}{more}.")
    parameters = dict(network.named_parameters())
    with torch.no_grad():
        for name in parameters.keys() & set(names):
            parameters[name].copy_(torch.from_numpy(found[name]))
    network.inputs.take(_part(found, "inputs."), updates)
    network.scalars.take(_part(found, "scalars."), _reward_unit(files), updates)
    try:
        check_parity(network, files)
    except ParityError as error:
        raise UserError(
            f"the weights must be of the same network; shapes are alike and what is computed is not ({error}) Give "
            "network the settings that it was trained with."
        ) from error
    return sorted(wanted.keys() - set(names))


def _fits(name: str, found: dict[str, NDArray[np.float32]], wanted: dict[str, torch.Tensor]) -> bool:
    return name in found and found[name].shape == tuple(wanted[name].shape)


def _misfit(name: str, found: NDArray[np.float32] | None, wanted: torch.Tensor) -> str:
    there = "is not there" if found is None else f"is {list(found.shape)} there"
    return f"{name} {there} and {list(wanted.shape)} here"


def _initializers(files: ModelFiles) -> dict[str, NDArray[np.float32]]:
    """All constants of the graphs by name, as the network has them."""
    graphs = [onnx.load_from_string(content).graph for content in files if content]
    arrays = {each.name: numpy_helper.to_array(each).copy() for graph in graphs for each in graph.initializer}
    return {name.removeprefix(TRACED_PREFIX): array for name, array in arrays.items()}


def _reward_unit(files: ModelFiles) -> float:
    metadata = {each.key: each.value for each in onnx.load_from_string(files.recurrent).metadata_props}
    return float(metadata.get("reward_unit", "1"))


def _part(arrays: dict[str, NDArray[np.float32]], prefix: str) -> dict[str, NDArray[np.float32]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
