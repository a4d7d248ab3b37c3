"""Means under a softmax of `LANES` rows side by side, written as LLVM vectors: a lane is a row.

Knows addresses and lanes; knows nothing of networks. A row alone is 21 numbers or so, whose sums end in single numbers
and a remainder: that takes four times as long. Each row gets the same bits as alone. Where Numba is off, the obvious
loop is what runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from numzero.compiled import search_kernel
from numzero.search.plain.tiles import load, splat
from numzero.search.vectors import (
    EXP_1,
    EXP_2,
    EXP_3,
    EXP_4,
    EXP_5,
    EXP_HIGHEST,
    EXP_LOWEST,
    HALF,
    LANES,
    LN_2_HIGH,
    LN_2_LOW,
    LOG2_E,
    ONE,
    ZERO,
    exp,
    largest_of,
    total_of,
)

__all__ = ["emit_expectations", "expectation", "expectations"]

Float32Array = NDArray[np.float32]

NUM_PARTS = 8
"""Sums that `total_of` adds up side by side."""

_FLOAT, _INT64, _INT32 = ir.FloatType(), ir.IntType(64), ir.IntType(32)
_VECTOR, _INTEGERS = ir.VectorType(_FLOAT, LANES), ir.VectorType(_INT32, LANES)


@search_kernel
def expectation(logits: Float32Array, bins: Float32Array) -> np.float32:
    """The mean of `bins` under softmax(logits); overwrites the logits."""
    largest = largest_of(logits)
    for i in range(bins.shape[0]):
        logits[i] = exp(logits[i] - largest)
    total = total_of(logits)
    for i in range(bins.shape[0]):
        logits[i] *= bins[i]
    return np.float32(total_of(logits) / total)


def expectations(columns: Float32Array, bins: Float32Array, mean: Float32Array) -> None:
    """Fill `mean` `[LANES]` with the `expectation` of each column of `columns` `[>= bins, LANES]`."""
    for lane in range(LANES):
        mean[lane] = expectation(columns[: len(bins), lane].copy(), bins)


@overload(expectations, strict=False)
def _compiled_expectations(columns, bins, mean):  # type: ignore[no-untyped-def]  # pragma: no cover  (inside the compiler)
    def implementation(columns, bins, mean):  # type: ignore[no-untyped-def]
        _side_by_side(columns, bins, mean)  # type: ignore[call-arg]

    return implementation


@intrinsic
def _side_by_side(typing_context, columns, bins, mean):  # type: ignore[no-untyped-def]  # pragma: no cover  (as above)
    signature = types.void(columns, bins, mean)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        arrays = [
            context.make_array(kind)(context, builder, value=value)
            for kind, value in zip(signature.args, arguments, strict=True)
        ]
        columns, bins, mean = (builder.ptrtoint(array.data, _INT64) for array in arrays)
        count = builder.extract_value(arrays[1].shape, 0)
        emit_expectations(builder, columns, bins, mean, count)
        return context.get_dummy_value()

    return signature, generate


def emit_expectations(
    builder: ir.IRBuilder, columns: ir.Value, bins: ir.Value, mean: ir.Value, count: ir.Value
) -> None:
    """Write all of `expectations`, of arrays at these addresses and `count` bins."""

    def column(i: ir.Value) -> ir.Value:
        return load(builder, builder.add(columns, builder.mul(i, _INT64(4 * LANES))), _VECTOR)

    def largest_with(i: ir.Value, so_far: list[ir.Value]) -> list[ir.Value]:
        x = column(i)
        return [builder.select(builder.fcmp_ordered(">", x, so_far[0]), x, so_far[0])]

    (largest,) = _loop(builder, (_INT64(0), count, 1), [splat(builder, _FLOAT(float("-inf")))], largest_with)

    def added(i: ir.Value, total: ir.Value, weighted: ir.Value) -> tuple[ir.Value, ir.Value]:
        share = _exp(builder, builder.fsub(column(i), largest))
        number = load(builder, builder.add(bins, builder.mul(i, _INT64(4))), _FLOAT)
        product = builder.fmul(share, splat(builder, number))
        return builder.fadd(total, share), builder.fadd(weighted, product)

    def parts_with(i: ir.Value, so_far: list[ir.Value]) -> list[ir.Value]:
        pairs = zip(so_far[:NUM_PARTS], so_far[NUM_PARTS:], strict=True)
        new = [added(builder.add(i, _INT64(part)), *pair) for part, pair in enumerate(pairs)]
        return [total for total, _ in new] + [weighted for _, weighted in new]

    def first_with(i: ir.Value, so_far: list[ir.Value]) -> list[ir.Value]:
        return list(added(i, *so_far))

    whole = builder.sub(count, builder.urem(count, _INT64(NUM_PARTS)))
    zeros = [splat(builder, _FLOAT(0.0))] * (2 * NUM_PARTS)
    parts = _loop(builder, (_INT64(0), whole, NUM_PARTS), zeros, parts_with)
    parts[0], parts[NUM_PARTS] = _loop(builder, (whole, count, 1), [parts[0], parts[NUM_PARTS]], first_with)
    total, weighted = (_total(builder, parts[at : at + NUM_PARTS]) for at in (0, NUM_PARTS))
    builder.store(builder.fdiv(weighted, total), builder.inttoptr(mean, _VECTOR.as_pointer())).align = 4


def _total(builder: ir.IRBuilder, parts: list[ir.Value]) -> ir.Value:
    """Of the parts, in the order of `total_of`."""
    a, b, c, d = (builder.fadd(parts[at], parts[at + 4]) for at in range(4))
    return builder.fadd(builder.fadd(a, b), builder.fadd(c, d))


def _exp(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """What `exp` of a number is, in each lane; its lines one by one."""

    def constant(value: np.float32) -> ir.Value:
        return splat(builder, _FLOAT(float(value)))

    def product(a: ir.Value, value: np.float32) -> ir.Value:
        return builder.fmul(a, constant(value))

    low, high = constant(EXP_LOWEST), constant(EXP_HIGHEST)
    clipped = builder.select(builder.fcmp_ordered(">", x, low), x, low)
    clipped = builder.select(builder.fcmp_ordered("<", clipped, high), clipped, high)
    kind = ir.FunctionType(_VECTOR, (_VECTOR,))
    floor = cgutils.get_or_insert_function(builder.module, kind, f"llvm.floor.v{LANES}f32")  # type: ignore[no-untyped-call]
    n = builder.call(floor, [builder.fadd(product(clipped, LOG2_E), constant(HALF))])
    r = builder.fsub(builder.fsub(clipped, product(n, LN_2_HIGH)), product(n, LN_2_LOW))
    series = constant(EXP_5)
    for coefficient in (EXP_4, EXP_3, EXP_2, EXP_1, HALF):
        series = builder.fadd(builder.fmul(series, r), constant(coefficient))
    series = builder.fadd(builder.fadd(builder.fmul(builder.fmul(series, r), r), r), constant(ONE))
    exponent = builder.add(builder.fptosi(n, _INTEGERS), ir.Constant(_INTEGERS, [127] * LANES))
    power = builder.bitcast(builder.shl(exponent, ir.Constant(_INTEGERS, [23] * LANES)), _VECTOR)
    outside = builder.select(builder.fcmp_ordered("<", x, low), constant(ZERO), x)
    return builder.select(builder.fcmp_ordered(">=", x, low), builder.fmul(series, power), outside)


def _loop(
    builder: ir.IRBuilder,
    bounds: tuple[ir.Value, ir.Value, int],
    begin: Sequence[ir.Value],
    body: Callable[[ir.Value, list[ir.Value]], list[ir.Value]],
) -> list[ir.Value]:
    """The values that are left when `body` has been gone through for each i from one bound to before the next.

    bounds: these two, and by how much i grows. begin: the values at first. body: those after an i, of those before.
    """
    first, last, step = bounds
    before = builder.block
    head, inside, after = (builder.append_basic_block(name) for name in ("head", "inside", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    i, values = builder.phi(_INT64), [builder.phi(value.type) for value in begin]
    builder.cbranch(builder.icmp_signed("<", i, last), inside, after)
    builder.position_at_end(inside)
    new = body(i, values)
    following = builder.add(i, _INT64(step))
    for phi, start, later in zip([i, *values], [first, *begin], [following, *new], strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(later, inside)
    builder.branch(head)
    builder.position_at_end(after)
    return values
