"""A `TableModel` as the two ONNX graphs of an agent, so that what is built around networks can be tested by tables."""

from __future__ import annotations

import numpy as np

from numzero.graphs.formulas import FLOAT, INT32, INT64, Graph, Value
from numzero.inference import ModelFiles
from tests.reference.search import TableModel


def table_files(model: TableModel) -> ModelFiles:
    """`initial` and `recurrent`; observations and latents `[B, 1]` are states. All discounts must be the same."""
    (discount,) = np.unique(model.discount)
    return ModelFiles(_initial(model), _recurrent(model, float(discount)))


def _initial(model: TableModel) -> bytes:
    graph = Graph()
    state = graph.input("observation", FLOAT, ["batch", 1])
    outputs = {"latent": (graph.op("Identity", state), ["batch", 1]), **_prediction(model, state)}
    return graph.finish("initial", outputs, {}).SerializeToString()


def _recurrent(model: TableModel, discount: float) -> bytes:
    graph = Graph()
    state = graph.input("previous_latent", FLOAT, ["batch", 1]).cast(INT64).reshaped([-1])
    action = graph.input("action", INT32, ["batch"]).cast(INT64)
    edge = state * model.num_actions + action
    latent = graph.constant(model.next_state.reshape(-1, 1).astype(np.float32)).at(edge)
    reward = graph.constant(model.reward.ravel()).at(edge)
    outputs = {"latent": (latent, ["batch", 1]), **_prediction(model, latent), "reward": (reward, ["batch"])}
    return graph.finish("recurrent", outputs, {"discount": repr(discount)}).SerializeToString()


def _prediction(model: TableModel, state: Value) -> dict[str, tuple[Value, list[int | str]]]:
    """Policy and value of states `[B, 1]`."""
    number = state.cast(INT64).reshaped([-1])
    logits, value = (state.graph.constant(table).at(number) for table in (model.logits, model.value))
    return {"policy_logits": (logits, ["batch", model.num_actions]), "value": (value, ["batch"])}
