"""What the kernels need from the machine: compilation, unaligned loads, 128-bit products, byte masks.

Every kernel of the package is compiled by `kernel`: cached on disk once per machine and CPU model (beside the
source, or in the user's cache folder where the installation is read-only), without the GIL. The vector code
is portable LLVM IR, not intrinsics of one instruction set, and all arithmetic is on integers: AVX-512, AVX2
and plain machines give the same bits.

The cache notices a change of the file that a kernel is written in, not of a file that it calls into. So
kernels call kernels of their own file only; what they share is this file (a test compares cached with fresh
compilation).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

if sys.byteorder != "little":  # pragma: no cover - stored sketches and token loads are little-endian
    raise ImportError("dedup reads tokens as little-endian words: big-endian machines are not supported")

U64 = np.uint64
U32 = np.uint32
Bytes = npt.NDArray[np.uint8]
U64s = npt.NDArray[np.uint64]
U32s = npt.NDArray[np.uint32]
I64s = npt.NDArray[np.int64]
I32s = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

# Odd 64-bit constants with about half of their bits set; the first four are the default secrets of wyhash 4
# (public domain), BASE is 2^64 / golden ratio. K0 and K1 each hold a byte of no token (0x2D, 0x2E),
# so no token of at most 16 bytes makes a factor of its product zero.
K0, K1 = U64(0x2D358DCCAA6C78A5), U64(0x8BB84B93962EACC9)
K2, K3 = U64(0x4B33A62ED433D4A3), U64(0x4D5A2DA51DE1AA47)
BASE = U64(0x9E3779B97F4A7C15)
ALL_BITS = U64(0xFFFFFFFFFFFFFFFF)

_KERNELS: list[Any] = []

Item = TypeVar("Item", bound=np.generic)
Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile `function` with numba on its first call: cached on disk, GIL released, one thread.

    Where no cache folder can be written at all, the kernel still works, compiled anew in every process
    (seconds); a RuntimeWarning says so once per kernel.
    """
    try:
        compiled: Any = njit(cache=True, nogil=True)(function)
    except RuntimeError as error:
        warnings.warn(
            f"{function.__module__} is compiled anew in every process: {error}; "
            "set NUMBA_CACHE_DIR to a folder that can be written",
            RuntimeWarning,
            stacklevel=2,
        )
        compiled = njit(nogil=True)(function)
    _KERNELS.append(compiled)
    return cast(Function, compiled)


def are_cached(modules: Collection[str]) -> bool:
    """Whether numba's cache has an entry for each kernel of these modules.

    A look at file names, which starts no compiler (that takes half a second): an entry can still be of an older
    source, or for another CPU model.
    """
    return all(
        kernel.stats.cache_path is not None
        and any(
            Path(kernel.stats.cache_path).glob(f"*.{kernel.__name__}-{kernel.__code__.co_firstlineno}.*.nbi")
        )
        for kernel in _KERNELS
        if kernel.__module__ in modules
    )


def inlined(function: Function) -> Function:
    """Compile `function` into each kernel that calls it."""
    return cast(Function, njit(inline="always")(function))


def read_only(array: npt.NDArray[Item]) -> npt.NDArray[Item]:
    """View an array as kernels take their inputs: contiguous, aligned, not writeable; a copy only if it is
    not.

    numba compiles a kernel anew for each such property: without this, once for arrays that come from Arrow
    and once for those that come from numpy.
    """
    view = np.require(array, requirements=["C", "A"]).view()
    view.flags.writeable = False
    return view


def machine_code(function: Callable[..., Any]) -> Any:
    """Make a numba intrinsic: `function` types the call and returns what writes its LLVM IR."""
    return intrinsic(function)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any, element: Any) -> Any:  # noqa: PLR0917 - called by position
    start = context.make_array(array_type)(context, builder, array).data
    at = builder.gep(builder.bitcast(start, ir.IntType(8).as_pointer()), [index])
    return builder.bitcast(at, element.as_pointer())


def _bytes64(context: Any, builder: Any, signature: Any, args: Any) -> tuple[Any, Callable[[int], Any]]:
    """The 64 bytes at an index of a byte array as one vector, and what makes a vector of one value."""
    vector = ir.VectorType(ir.IntType(8), 64)
    pointer = _pointer(context, builder, signature.args[0], args[0], args[1], vector)
    return builder.load(pointer, align=1), lambda value: ir.Constant(vector, [value] * 64)


@machine_code
def load64(typing_context: Any, data: Any, at: Any) -> Any:
    """Load the 8 bytes data[at : at + 8] as one little-endian word; the caller keeps it inside the buffer."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1], ir.IntType(64))
        return builder.load(pointer, align=1)

    return types.uint64(data, types.int64), generate


@machine_code
def word_mask64(typing_context: Any, data: Any, at: Any) -> Any:
    """Bit j is set iff data[at + j] is a word byte: [A-Za-z0-9_] or >= 0x80. One compare over 64 bytes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        c, every = _bytes64(context, builder, signature, args)
        letter = builder.icmp_unsigned("<", builder.sub(builder.or_(c, every(0x20)), every(97)), every(26))
        digit = builder.icmp_unsigned("<", builder.sub(c, every(48)), every(10))
        underscore = builder.icmp_unsigned("==", c, every(95))
        high = builder.icmp_unsigned(">=", c, every(0x80))
        mask = builder.or_(builder.or_(letter, digit), builder.or_(underscore, high))
        return builder.bitcast(mask, ir.IntType(64))

    return types.uint64(data, types.int64), generate


@machine_code
def visible_mask64(typing_context: Any, data: Any, at: Any) -> Any:
    """Bit j is set iff data[at + j] is a visible ASCII character, 0x21 to 0x7E."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        c, every = _bytes64(context, builder, signature, args)
        visible = builder.icmp_unsigned("<", builder.sub(c, every(0x21)), every(0x5E))
        return builder.bitcast(visible, ir.IntType(64))

    return types.uint64(data, types.int64), generate


@machine_code
def fold(typing_context: Any, a: Any, b: Any) -> Any:
    """The 128-bit product of two words, its halves xored: the mixing step of wyhash."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide, word = ir.IntType(128), ir.IntType(64)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), word)
        return builder.xor(builder.trunc(product, word), high)

    return types.uint64(types.uint64, types.uint64), generate


@machine_code
def trailing_zeros(typing_context: Any, word: Any) -> Any:
    """The number of the lowest set bit of a word; 64 for zero."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@machine_code
def ones(typing_context: Any, word: Any) -> Any:
    """How many bits of a word are set."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), generate
