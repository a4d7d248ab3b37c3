"""Hand-written LLVM by itself: compiled without Numba, and called at addresses of arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import llvmlite.binding as llvm
from llvmlite import ir

__all__ = ["call_emitted"]


def call_emitted(emit: Callable[..., None], arguments: Sequence[int]) -> None:
    """Call the function that `emit` writes, given a builder and as many whole numbers as there are arguments."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module, count = ir.Module(), len(arguments)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * count), "emitted")
    builder = ir.IRBuilder(function.append_basic_block())
    emit(builder, *function.args)
    builder.ret_void()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), machine)
    engine.finalize_object()
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * count)(engine.get_function_address("emitted"))(*arguments)
