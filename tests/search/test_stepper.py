"""The hot loop's short cut to compiled code: what it checks, and what it calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numzero.search import RecurrentOutput, Search, SearchConfig
from numzero.search.steps import _compiled
from tests.search.problems import random_problem


class Reshaping:
    """A table model whose recurrent output is changed on its way."""

    def __init__(self, change: Any) -> None:
        self.problem = random_problem(np.random.default_rng(0), num_states=20, num_actions=3, num_roots=2)
        self.problem.legal[:] = True
        self.model, self.change = self.problem.model, change
        self.num_actions, self.latent_shape = self.model.num_actions, self.model.latent_shape

    def initial(self, observation: Any, /) -> Any:
        return self.model.initial(observation)

    def recurrent(self, latent: Any, action: Any, /) -> RecurrentOutput:
        return self.change(self.model.recurrent(latent, action))  # type: ignore[no-any-return]

    def run(self) -> Any:
        return Search(self, SearchConfig(num_simulations=12), 2).run(self.problem.roots, self.problem.legal)


@pytest.mark.parametrize("name", RecurrentOutput._fields)
def test_an_output_of_a_wrong_shape_is_named(name: str) -> None:
    """Compiled code would read beyond it."""
    with pytest.raises(ValueError, match=rf"recurrent\(\) must return '{name}' of shape"):
        Reshaping(lambda output: output._replace(**{name: getattr(output, name)[:1]})).run()


def test_other_dtypes_and_layouts_give_the_same_tree() -> None:
    """float64 and strided outputs are copied at every simulation, not only at the first."""
    expected = Reshaping(lambda output: output).run()
    doubles = Reshaping(lambda output: RecurrentOutput(*(array.astype(np.float64) for array in output))).run()
    strided = Reshaping(lambda output: RecurrentOutput(*(np.repeat(array, 2, axis=0)[::2] for array in output))).run()
    for other in (doubles, strided):
        assert (other.tree.parent == expected.tree.parent).all()
        np.testing.assert_array_equal(other.q_values, expected.q_values)


def test_buffers_that_are_filled_again_are_read_again() -> None:
    """A model may return one and the same object each time, of float32 (used in place) or not (copied)."""
    expected = Reshaping(lambda output: output).run()
    for dtype in (np.float32, np.float64):
        kept: list[RecurrentOutput] = []

        def refill(output: RecurrentOutput, kept: list[RecurrentOutput] = kept, dtype: Any = dtype) -> RecurrentOutput:
            if not kept:
                kept.append(RecurrentOutput(*(array.astype(dtype) for array in output)))
            for buffer, array in zip(kept[0], output, strict=True):
                buffer[:] = array
            return kept[0]

        again = Reshaping(refill).run()
        assert (again.tree.parent == expected.tree.parent).all()
        np.testing.assert_array_equal(again.q_values, expected.q_values)


def test_what_numba_compiled_is_called_itself() -> None:
    """The entry for exactly these types; a plain function stays what it is."""

    class Kernel:
        def __init__(self) -> None:
            self.overloads: dict[Any, Any] = {}

        def compile(self, types: Any) -> None:
            self.overloads[types] = type("Result", (), {"entry_point": staticmethod(lambda x: 7)})

    assert _compiled(Kernel(), np.zeros(1))(None) == 7
    assert _compiled(len, np.zeros(1)) is len
