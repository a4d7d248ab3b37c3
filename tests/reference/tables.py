"""A `TableModel` as the two ONNX graphs of an agent, so that what is built around networks can be tested by tables."""

from __future__ import annotations

import numpy as np

from numzero.graphs.formulas import FLOAT, INT32, INT64, Graph, Value
from numzero.inference import ModelFiles
from tests.reference.search import ChanceTableModel, TableModel


def table_files(model: TableModel) -> ModelFiles:
    """`initial` and `recurrent`; observations and latents `[B, 1]` are states. All discounts must be the same."""
    (discount,) = np.unique(model.discount)
    return ModelFiles(_initial(model), _recurrent(model, float(discount)))


def _initial(model: TableModel | ChanceTableModel) -> bytes:
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


def chance_files(model: ChanceTableModel, *, tells_discount: bool = True) -> ModelFiles:
    """`initial`, `recurrent` and `afterstate`; unless the files tell the discounts of edges, all must be the same."""
    return ModelFiles(_initial(model), _chance(model, tells_discount), _afterstate(model))


def _afterstate(model: ChanceTableModel) -> bytes:
    graph = Graph()
    state = graph.input("previous_latent", FLOAT, ["batch", 1]).cast(INT64).reshaped([-1])
    state = graph.op("Min", state, len(model.value) - 1)  # latents of rows that are no positions
    edge = state * model.num_actions + graph.input("action", INT32, ["batch"]).cast(INT64)
    after = graph.constant(model.after.ravel().astype(np.int64)).at(edge)
    logits, value = (graph.constant(table).at(after) for table in (model.outcome_logits, model.after_value))
    outputs = {
        "latent": (after.cast(FLOAT).reshaped([-1, 1]), ["batch", 1]),
        "outcome_logits": (logits, ["batch", model.num_outcomes]),
        "value": (value, ["batch"]),
    }
    return graph.finish("afterstate", outputs, {}).SerializeToString()


def _chance(model: ChanceTableModel, tells_discount: bool) -> bytes:
    graph = Graph()
    after = graph.input("previous_latent", FLOAT, ["batch", 1]).cast(INT64).reshaped([-1])
    edge = after * model.num_outcomes + graph.input("outcome", INT32, ["batch"]).cast(INT64)
    latent = graph.constant(model.next_state.reshape(-1, 1).astype(np.float32)).at(edge)
    outputs = {"latent": (latent, ["batch", 1]), **_prediction(model, latent)}
    for name in ("reward", "discount") if tells_discount else ("reward",):
        outputs[name] = graph.constant(getattr(model, name).ravel()).at(edge), ["batch"]
    about = {"discount": repr(float(model.discount.ravel()[0]))}
    return graph.finish("recurrent", outputs, about).SerializeToString()


def _prediction(model: TableModel | ChanceTableModel, state: Value) -> dict[str, tuple[Value, list[int | str]]]:
    """Policy and value of states `[B, 1]`."""
    number = state.cast(INT64).reshaped([-1])
    logits, value = (state.graph.constant(table).at(number) for table in (model.logits, model.value))
    return {"policy_logits": (logits, ["batch", model.num_actions]), "value": (value, ["batch"])}
