"""Kernels compile where nothing can be cached, and say so."""

from __future__ import annotations

import os
import subprocess
import sys

import numba
import numpy as np
import pytest

from dedup import machine


def test_without_any_cache_folder_kernels_still_work(monkeypatch):
    def njit(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'double': no locator available for file 'x.py'")
        return numba.njit(**options)

    monkeypatch.setattr(machine, "njit", njit)
    with pytest.warns(RuntimeWarning, match="NUMBA_CACHE_DIR"):

        @machine.kernel
        def double(x: int) -> int:
            return 2 * x

    assert double(21) == 42


ONE_EACH = """
import importlib, pkgutil
import numpy as np, pyarrow as pa
import dedup
from numba.core.dispatcher import Dispatcher

dedup.compile_kernels()
kernels = {}
for info in pkgutil.iter_modules(dedup.__path__):
    for name, value in vars(importlib.import_module("dedup." + info.name)).items():
        if isinstance(value, Dispatcher) and value.targetoptions.get("nogil"):
            kernels[name] = value
assert len(kernels) > 8
compiled = {name: list(kernel.signatures) for name, kernel in kernels.items()}

texts = pa.array([b"a b c d e f %d" % (i % 9) for i in range(300)] + [None, b""], pa.large_binary())
twice = pa.chunked_array([texts, texts])
for form in (texts, texts.slice(7), texts.cast(pa.large_string()), texts.slice(0, 0), twice):
    dedup.near_duplicates(form, ranks=np.arange(len(form), dtype=np.uint32))
    dedup.near_duplicates(form, shortcut=("0.8", "0.6"))
sketches = dedup.sketch(texts)
for form in (texts, texts.slice(7)):
    dedup.near_duplicates(form, operators=True, method="minhash")
stored = dedup.signatures_from_arrow(dedup.signatures_to_arrow(sketches.signatures))
keys = dedup.band_keys(stored, sketches.counts)
for form in (keys.keys, pa.array(keys.keys).to_numpy()):
    pairs = dedup.bucket_pairs(form, keys.index.astype(np.uint64))
sets = dedup.shingle_sets(texts)
stored = dedup.ShingleSets(pa.array(sets.values).to_numpy(), pa.array(sets.offsets).to_numpy())
low, high = pairs.low.astype(np.int64), pairs.high.astype(np.int64)
counts = dedup.intersections(sets, stored, low, pa.array(high).to_numpy())
dedup.decide(pairs.low, pairs.high, *counts, "0.7")
again = [name for name, kernel in sorted(kernels.items()) if kernel.signatures != compiled[name]]
missed = [name for name, kernel in sorted(kernels.items()) if kernel.stats.cache_misses]
print(again, missed, dedup.kernels_are_cached())
"""


def child(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_is_compiled_again_wherever_the_input_comes_from():
    """The second process finds every kernel in the cache, and no form of input needs another one."""
    child("import dedup; dedup.compile_kernels()")
    assert child(ONE_EACH) == "[] [] True"


def test_an_empty_cache_is_seen(tmp_path):
    asked = "import dedup; print(dedup.kernels_are_cached())"
    assert child(asked, NUMBA_CACHE_DIR=str(tmp_path)) == "False"


def test_read_only_views_share_memory_and_leave_the_original_writeable():
    array = np.arange(5)
    view = machine.read_only(array)
    assert np.shares_memory(array, view)
    assert (array.flags.writeable, view.flags.writeable) == (True, False)
    assert machine.read_only(array[::2]).flags.c_contiguous
