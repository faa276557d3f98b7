"""Reads array bytes as machine words in compiled code: one instruction instead of eight indexed, checked reads.

No function checks the array's length: every position must be within bounds.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _pointer(context, builder, signature, arguments, bits):
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(bits).as_pointer())


def _byte_at(_typing, data, at):  # noqa: ARG001
    def generate(context, builder, signature, arguments):
        return builder.zext(builder.load(_pointer(context, builder, signature, arguments, 8)), ir.IntType(64))

    return types.int64(data, types.int64), generate


def _eight_at(_typing, data, at):  # noqa: ARG001
    def generate(context, builder, signature, arguments):
        return builder.load(_pointer(context, builder, signature, arguments, 64), align=1)

    return types.uint64(data, types.int64), generate


def _put_eight(_typing, data, at, word):  # noqa: ARG001
    def generate(context, builder, signature, arguments):
        builder.store(arguments[2], _pointer(context, builder, signature, arguments, 64), align=1)
        return context.get_dummy_value()

    return types.void(data, types.int64, types.uint64), generate


byte_at: Any = intrinsic(_byte_at)
"""byte_at(data, at): return a byte of a uint8 array as int64."""
eight_at: Any = intrinsic(_eight_at)
"""eight_at(data, at): return the eight bytes starting at a position as uint64, the first byte lowest."""
put_eight: Any = intrinsic(_put_eight)
"""put_eight(data, at, word): write the eight bytes of a uint64, the lowest first."""
