"""Kernels compile where nothing can be cached, and say so."""

from __future__ import annotations

import numba
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
