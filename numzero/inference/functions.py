"""Graphs of latents and edges, for any number of rows at a time."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero.inference.sessions import bind, run_graph

__all__ = ["Function", "discount_shape"]


class Function:
    """A graph of latents and edges, for any number of rows at a time, in buffers that grow as needed.

    Args:
        session: of the graph.
        name: of its file, for messages.
        latent_shape: of `previous_latent`.
        edge: its other input, int32, or float32 where it is a vector.
        outputs: shapes of a row.
        edge_shape: of a row.
    """

    def __init__(
        self,
        session: Any,
        name: str,
        latent_shape: tuple[int, ...],
        edge: str,
        outputs: dict[str, tuple[int, ...]],
        edge_shape: tuple[int, ...] = (),
    ) -> None:
        self._session, self._name, self._edge, self._edge_shape = session, name, edge, edge_shape
        self._latent_shape, self._shapes = latent_shape, outputs
        self._allocate(0)

    def _allocate(self, num_rows: int) -> None:
        inputs = {"previous_latent": np.zeros((num_rows, *self._latent_shape), np.float32)}
        dtype = np.float32 if self._edge_shape else np.int32
        self._inputs: dict[str, NDArray[Any]] = inputs | {self._edge: np.zeros((num_rows, *self._edge_shape), dtype)}
        self._outputs = {name: np.zeros((num_rows, *shape), np.float32) for name, shape in self._shapes.items()}
        self._calls: dict[int, tuple[Any, dict[str, NDArray[Any]], dict[str, NDArray[Any]]]] = {}

    def __call__(self, latent: NDArray[np.float32], edge: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """The outputs by name, views that the next call overwrites."""
        count = len(edge)
        if count > len(self._inputs[self._edge]):
            self._allocate(count)
        if count not in self._calls:
            inputs = {name: array[:count] for name, array in self._inputs.items()}
            outputs = {name: array[:count] for name, array in self._outputs.items()}
            self._calls[count] = bind(self._session, inputs, outputs), inputs, outputs
        binding, inputs, outputs = self._calls[count]
        inputs["previous_latent"][:], inputs[self._edge][:] = latent, edge
        run_graph(functools.partial(self._session.run_with_iobinding, binding), self._name)
        return outputs


def discount_shape(session: Any) -> dict[str, tuple[int, ...]]:
    """The shape of the discount of an edge, if the recurrent function gives it."""
    return {"discount": ()} if "discount" in [value.name for value in session.get_outputs()] else {}
