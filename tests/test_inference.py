"""`OnnxModel`: rows, buffers, bindings, and what it refuses."""

from __future__ import annotations

import functools

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.graphs.weights import model_bytes
from numzero.inference import ModelFiles, OnnxModel, shared_model
from tests.reference.agents import BOARD, NUM_ACTIONS, small_files

small = functools.cache(small_files)
DISCOUNT = -0.75


@pytest.fixture(params=["mlp", "conv"])
def model(request: pytest.FixtureRequest) -> OnnxModel:
    return OnnxModel(small(body=request.param, discount=DISCOUNT))


def observations(batch_size: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(batch_size, *BOARD)).astype(np.float32)


def actions(batch_size: int) -> NDArray[np.int32]:
    return np.arange(batch_size, dtype=np.int32) % NUM_ACTIONS


def copied(output: tuple) -> list[NDArray[np.float32]]:
    return [array.copy() for array in output]


def assert_close(got: list, want: list) -> None:
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_outputs_have_the_documented_shapes_and_dtypes(model):
    """As `search.Model` says: float32 throughout, the discount the model's own on every row."""
    root = model.initial(observations(3))
    assert [array.shape for array in root] == [(3, *model.latent_shape), (3, NUM_ACTIONS), (3,)]
    step = model.recurrent(root.latent, actions(3))
    assert [array.shape for array in step] == [(3, *model.latent_shape), (3,), (3,), (3, NUM_ACTIONS), (3,)]
    assert {array.dtype for array in (*root, *step)} == {np.dtype(np.float32)}
    assert step.discount.tolist() == [DISCOUNT] * 3


def test_a_row_does_not_depend_on_its_batch_mates(model):
    """Each row of a batch is what it is alone."""
    observation, action = observations(7), actions(7)
    root = copied(model.initial(observation))
    step = copied(model.recurrent(root[0], action))
    for b in range(7):
        row = slice(b, b + 1)
        assert_close(copied(model.initial(observation[row])), [array[row] for array in root])
        assert_close(copied(model.recurrent(root[0][row], action[row])), [array[row] for array in step])


def test_batch_sizes_can_be_mixed(model):
    """Back and forth between sizes the answers stay what they were."""
    first = {size: copied(model.initial(observations(size))) for size in (4, 1, 9)}
    steps = {size: copied(model.recurrent(first[size][0], actions(size))) for size in (9, 4, 1)}
    for size in (1, 4, 9, 1):
        assert_close(copied(model.initial(observations(size))), first[size])
        assert_close(copied(model.recurrent(first[size][0], actions(size))), steps[size])


def test_buffers_are_reused(model):
    """The next call returns the same arrays, overwritten: nothing is allocated in a search."""
    first, second = model.initial(observations(3, seed=0)), None
    before = first.value.copy()
    second = model.initial(observations(3, seed=1))
    assert all(one is other for one, other in zip(first, second, strict=True))
    assert (first.value != before).any()
    latent, action = first.latent.copy(), actions(3)
    step = model.recurrent(latent, action)
    assert all(one is other for one, other in zip(step, model.recurrent(latent, action), strict=True))


def test_arrays_that_are_bound_are_read_anew_each_time(model):
    """The search fills the same arrays before every call: what counts is what they hold then."""
    latent, action = model.initial(observations(3)).latent.copy(), actions(3)
    model.recurrent(latent, action)
    latent *= 0.5
    action[:] = (action + 1) % NUM_ACTIONS
    again = copied(model.recurrent(latent, action))
    fresh = OnnxModel(small(body="mlp" if len(model.latent_shape) == 1 else "conv", discount=DISCOUNT))
    assert_close(again, copied(fresh.recurrent(latent.copy(), action.copy())))


@pytest.mark.parametrize("other", ["latent", "action"])
def test_other_arrays_of_the_same_size_are_bound_anew(model, other):
    """Passing another array is never answered from the one bound before."""
    latent, action = model.initial(observations(3)).latent.copy(), actions(3)
    first = copied(model.recurrent(latent, action))
    latent2 = latent[::-1].copy() if other == "latent" else latent
    action2 = (action + 1) % NUM_ACTIONS if other == "action" else action
    second = copied(model.recurrent(latent2, action2))
    assert any(not np.allclose(one, another) for one, another in zip(first, second, strict=True))
    assert_close(copied(model.recurrent(latent, action)), first)


def test_arrays_of_other_layout_and_dtype_are_converted(model):
    """A view with steps or an int64 action gives what contiguous float32 and int32 give, each time it is passed."""
    latent, action = model.initial(observations(6)).latent.copy(), actions(6)
    for shift in range(2):
        expected = copied(model.recurrent(latent[::2].copy(), action[::2].copy()))
        assert_close(copied(model.recurrent(latent[::2], action[::2].astype(np.int64))), expected)
        latent *= 0.5 + shift


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.int64, np.float64])
def test_observations_of_any_number_type_are_accepted(model, dtype):
    """Boards are uint8; the model sees the same numbers as float32."""
    observation = (observations(4) > 0).astype(dtype)
    expected = copied(model.initial(observation.astype(np.float32)))
    assert_close(copied(model.initial(observation)), expected)


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_bytes_that_are_no_model_are_refused_by_their_file(size):
    """Nothing, something, the beginning and all but the end of a model."""
    files = small()
    for name in ("initial", "recurrent"):
        content = getattr(files, name)[:size]
        with pytest.raises(UserError, match=rf"{name}\.onnx is not a model that onnxruntime can load"):
            OnnxModel(files._replace(**{name: content}))


def test_graphs_that_changed_places_are_refused():
    """The message says what each must map to what."""
    files = small()
    with pytest.raises(UserError, match=r"initial\.onnx must map \['observation'\] to .*; it maps \['previous_latent'"):
        OnnxModel(ModelFiles(files.recurrent, files.initial))
    with pytest.raises(UserError, match=r"recurrent\.onnx must map \['previous_latent', 'action'\] to"):
        OnnxModel(ModelFiles(files.initial, files.initial))


def test_a_recurrent_graph_without_a_discount_is_refused():
    """Guessing one would turn every value's sign in a game of two."""
    files = small()
    stripped = onnx.load_from_string(files.recurrent)
    del stripped.metadata_props[:]
    with pytest.raises(UserError, match=r"must give its discount in its metadata; it has none\. Export it again"):
        OnnxModel(files._replace(recurrent=model_bytes(stripped)))


def test_observations_of_another_shape_are_refused(model):
    """Never stretched to fit."""
    with pytest.raises(ValueError, match="could not broadcast"):
        model.initial(np.zeros((3, 4, 4), np.float32))


def test_roles_of_one_process_share_a_model():
    """The same bytes give the same object while nothing newer was asked for; other bytes another."""
    files, newer = small_files(0), small_files(0, version=2)
    model = shared_model(files)
    assert shared_model(ModelFiles(*files)) is model
    assert shared_model(newer).version == 2
    assert shared_model(files).version == 1
