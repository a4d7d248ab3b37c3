"""The steps of a search as their callers see them: arguments are checked here, once, and errors get their words.

Knows what each kernel takes and what its return code means; knows nothing of how a kernel works, nor in which order a
search takes its steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import typeof
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.search import kernels, rules
from numzero.search.model import InitialOutput, RecurrentOutput
from numzero.search.plain.dense import DenseNetwork
from numzero.search.rules import Rule
from numzero.search.tree import Tree

__all__ = ["NonFiniteOutputError", "Stepper", "check_output", "draw_actions", "expand_and_backup"]
__all__ += ["halving_winner", "improved_policy", "keep_subtree", "mix_root_prior", "reset", "resume", "root_edges"]
__all__ += ["select", "set_root_gumbel"]


class NonFiniteOutputError(UserError):
    """The model produced NaN or infinity; the message names the output and the row. The tree must not be used."""


def reset(tree: Tree, root: InitialOutput, legal: NDArray[np.bool_], rule: Rule) -> None:
    """Start B searches: node 0 becomes the root, visited once, with the network's value and masked prior.

    Args:
        tree: filled.
        root: the model's output for the B root positions.
        legal: `[B, A]` bool; every row needs a legal action.
        rule: its initial bounds are used.

    Raises:
        ValueError: a row without a legal action; arrays of other rows or actions than the tree's.
        NonFiniteOutputError: NaN or infinity in value or policy_logits.
    """
    tree.num_nodes[:] = 0
    resume(tree, root, legal, rule)


def select(
    tree: Tree, rule: Rule, parent: NDArray[np.int32], action: NDArray[np.int32], latent: NDArray[np.float32]
) -> None:
    """Walk each tree from its root to an edge to be followed next.

    Args:
        tree: read; only nodes passed through for the first time are opened.
        rule: how to choose.
        parent: `[B]` int32, filled with the node to expand from.
        action: `[B]` int32, filled with the action to expand.
        latent: `[B, H]` float32, filled with the parents' hidden states.
    """
    kernels._select(tree, rule, parent, action, latent)


def expand_and_backup(
    tree: Tree, parent: NDArray[np.int32], action: NDArray[np.int32], output: RecurrentOutput
) -> None:
    """Add the node behind each selected edge and back its value up to the root.

    An edge whose child exists (the depth limit stopped there) is evaluated again into the same node.

    Raises:
        ValueError: an output has a wrong shape.
        NonFiniteOutputError: NaN or infinity in a scalar or the logits; the trees are spoilt.
    """
    _raise_if_bad(kernels._expand_and_backup(tree, parent, action, check_output(tree, output)), "recurrent")


def check_output(tree: Tree, output: RecurrentOutput) -> RecurrentOutput:
    """The same as contiguous float32 arrays with latents `[B, H]`: views where that is possible, else copies.

    Raises:
        ValueError: an output has a wrong shape; the message names it.
    """
    batch_size, _, num_actions = tree.children_prior.shape
    shapes = (
        (batch_size, tree.latent.shape[2]),
        (batch_size,),
        (batch_size,),
        (batch_size, num_actions),
        (batch_size,),
    )
    arrays = []
    for name, array, shape in zip(output._fields, output, shapes, strict=True):
        flat = np.ascontiguousarray(array, np.float32).reshape(len(array), -1) if name == "latent" else array
        if flat.shape != shape:
            raise ValueError(f"the model's recurrent() must return {name!r} of shape {shape}; got {np.shape(array)}.")
        arrays.append(np.ascontiguousarray(flat, np.float32))
    return RecurrentOutput(*arrays)


def root_edges(tree: Tree, visits: NDArray[np.int32], q: NDArray[np.float32]) -> None:
    """Fill `visits` and `q` `[B, A]` with N and Q of the root's actions: 0 and NaN where never followed."""
    kernels._root_edges(tree, visits, q)


class Stepper:
    """Simulations of one search: with any model step by step, with a plain network all inside compiled code.

    Numba's dispatcher looks at the type of every array of every tuple again at each call: 6.6 us here, against 0.8 us
    for the compiled function itself. So this holds that function for one set of buffers, and calls it with nothing
    else.

    Args:
        tree: the trees.
        rule: how to choose.
        parent: `[B]` int32 buffer.
        action: `[B]` int32 buffer.
        latent: `[B, H]` float32 buffer.
    """

    def __init__(
        self, tree: Tree, rule: Rule, parent: NDArray[np.int32], action: NDArray[np.int32], latent: NDArray[np.float32]
    ) -> None:
        self._buffers = (tree, rule, parent, action, latent)
        self._call: Callable[..., int] | None = None
        self._seen: RecurrentOutput | None = None
        self._checked: RecurrentOutput | None = None
        self._network: DenseNetwork | None = None
        self._simulate: Callable[..., int] | None = None

    def advance(self, output: RecurrentOutput) -> None:
        """Back up what the model said of the selected edges, then select the next; raises as `expand_and_backup`.

        Tree by tree, so that each is touched once per simulation.
        """
        if output is not self._seen or self._checked is None:
            self._checked = check_output(self._buffers[0], output)
            same = all(np.shares_memory(a, b) for a, b in zip(self._checked, output, strict=True))
            self._seen = output if same else None  # a copy would go stale when the model refills its buffers
            self._call = self._call or _compiled(kernels._advance, *self._buffers, self._checked)
        _raise_if_bad(self._call(*self._buffers, self._checked), "recurrent")  # type: ignore[misc]

    def simulate(self, network: DenseNetwork, output: RecurrentOutput, num_simulations: int) -> None:
        """`num_simulations` times select, evaluate, expand and backup, without leaving compiled code.

        Args:
            network: plain; `check_network` has looked at it. With chance its latents have one number more, and where
                actions are vectors so many as K of them have.
            output: work space for the network's outputs, with latents `[B, H]`; the same at every call.
            num_simulations: how many.

        Raises:
            NonFiniteOutputError: NaN or infinity in a scalar or the logits; the trees are spoilt.
        """
        tree, rule, *space = self._buffers
        if network is not self._network or self._simulate is None:
            self._simulate = _compiled(kernels._simulate_dense, tree, rule, network, *space, output, num_simulations)
            self._network = network
        _raise_if_bad(self._simulate(tree, rule, network, *space, output, num_simulations), "recurrent")


def _compiled(kernel: Any, *arguments: object) -> Callable[..., int]:
    """What Numba made of `kernel` for the types of these arguments; the kernel itself where Numba is off."""
    call: Callable[..., int] = kernel
    if hasattr(kernel, "overloads"):
        types = tuple(typeof(argument) for argument in arguments)  # type: ignore[no-untyped-call]
        kernel.compile(types)
        call = kernel.overloads[types].entry_point
    return call


def keep_subtree(tree: Tree, action: NDArray[np.int32], legal: NDArray[np.bool_], number: NDArray[np.int32]) -> None:
    """Make the node behind root action `action[b]` the root of tree b, with all below it; -1 keeps the root.

    Of the new root's children only those of `legal` actions stay. Where the edge was never followed nothing is kept:
    the tree is empty (`num_nodes` 0). `resume` must follow before the next search.

    Args:
        tree: changed in place; nodes are numbered anew, in their old order.
        action: `[B]` int32.
        legal: `[B, A]` bool.
        number: `[N]` int32 work space.
    """
    kernels._keep_subtree(tree, action, legal, number)


def resume(tree: Tree, root: InitialOutput, legal: NDArray[np.bool_], rule: Rule) -> None:
    """Begin B searches on kept subtrees, at the real positions: as `reset`, but children and their statistics stay.

    The root's latent, prior and value become what the model says of the observation; its visits and value are its own
    evaluation and those of its children. Bounds of Q are those of the edges there are. Rules `paper` and
    `parent_siblings`: sequential halving begins with an empty root. Raises as `reset`.
    """
    expected = tree.root_legal.shape
    if not (legal.shape == root.policy_logits.shape == expected and root.value.shape == expected[:1]):
        raise ValueError(
            f"legal and policy_logits must be [B, A] = {list(expected)} and value [B], as the search was made for; got "
            f"{list(legal.shape)}, {list(root.policy_logits.shape)} and {list(root.value.shape)}."
        )
    if not legal.any(axis=1).all():
        rows = np.flatnonzero(~legal.any(axis=1)).tolist()
        raise ValueError(f"every root needs a legal action; rows {rows} have none. Do not search finished games.")
    latent = root.latent.reshape(root.latent.shape[0], -1)
    if latent.shape != (expected[0], tree.latent.shape[2]):
        raise ValueError(
            f"latent must be [B, *H], {tree.latent.shape[2]} numbers in each of {expected[0]} rows, as the search was "
            f"made for; got {list(root.latent.shape)}."
        )
    _raise_if_bad(kernels._resume(tree, rule, latent, root.policy_logits, root.value, legal), "initial")


def mix_root_prior(tree: Tree, noise: NDArray[np.float64], fraction: float) -> None:
    """P(root, a) <- (1 - fraction) * P(root, a) + fraction * noise; `noise` `[B, A]`, 0 where illegal, sums to 1."""
    kernels._mix_root_prior(tree, noise, fraction)


def set_root_gumbel(tree: Tree, logits: NDArray[np.float32], gumbel: NDArray[np.float64]) -> None:
    """Prepare the roots for rule `gumbel`: `root_preference` is `gumbel` `[B, A]` + logits, -inf where illegal."""
    if gumbel.shape != tree.root_preference.shape:
        raise ValueError(f"gumbel must be [B, A] = {list(tree.root_preference.shape)}; got {list(gumbel.shape)}.")
    kernels._set_root_gumbel(tree, logits, gumbel)


def improved_policy(tree: Tree, rule: Rule, policy: NDArray[np.float32], value: NDArray[np.float32]) -> None:
    """Gumbel's policy target, softmax(logits + sigma(completed Q)) over the legal root actions, and its value.

    Danihelka et al. 2022, section 4.

    Args:
        tree: finished searches.
        rule: gives sigma.
        policy: `[B, A]` filled.
        value: `[B]` filled with sum_a policy(a) * completed Q(a).
    """
    rules._improved_policy(tree, rule, policy, value)


def halving_winner(tree: Tree, rule: Rule, action: NDArray[np.int32]) -> None:
    """Gumbel's move, filled into `action` `[B]`: of the most visited, the best by gumbel + logit + sigma."""
    rules._halving_winner(tree, rule, action)


def draw_actions(
    policy: NDArray[np.float32],
    temperature: NDArray[np.float64],
    number: NDArray[np.float64],
    action: NDArray[np.int32],
) -> None:
    """Fill `action` `[B]` with draws from p ** (1 / temperature), as `number` `[B]` in [0, 1) says.

    `policy` `[B, A]`, not all zero in any row; `temperature` `[B]`, 0 for the most probable, the lowest of equals.
    """
    kernels._draw_actions(policy, temperature, number, action)


def draw_legal(legal: NDArray[np.bool_], number: NDArray[np.float64], action: NDArray[np.int32]) -> None:
    """As `draw_actions`, from equal chances of what is `legal` `[B, A]`; 0 in a row where nothing is."""
    kernels._draw_legal(legal, number, action)


def _raise_if_bad(code: int, function: str) -> None:
    if code:
        row, output = divmod(code, len(kernels.OUTPUT_NAMES))
        raise NonFiniteOutputError(
            f"the model's {function}() returned NaN or infinity in {kernels.OUTPUT_NAMES[output]!r}, row {row}. "
            "Check its weights and its input."
        )
