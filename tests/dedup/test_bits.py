"""Sketches, shingle sets and band keys have the same bits on every machine, and those that were written down once.

Stored sketches outlive a version and are compared across machines. So changing these bits is a decision: it must come
with another key of the stores (their key digests the source, which changes with it).
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("bits.py")
GOLDEN = {
    "first": "12e7c0ad7dd9dbbde7d62cbd74c82c34774cc873a6e5ddfbb3457d2da355da80",
    "words sets": "6573a2957f55fd35beb9563bf98690bc424af35c0bee48b5e2f58e25b7bdb36c",
    "words fast": "d0516622b45796129e76db04bd68762f871fcf743de8e80eb631d958e5a2bcc1",
    "words fast keys": "055f984f149f5057ec094f0209237737f23b02944e8211184c8d8462b521c325",
    "words minhash": "0b196b129141e19e7506cbde1d6e4d3499f5b9b24534f0aa37d908907a843250",
    "words minhash keys": "bf9bb1c43dc8fe8ea9434fd7f4c4ad068d7ad320b07e5cecbbd95d37a78694be",
    "operators sets": "a6589d0e2504de03a5496116992022e906f898be4b490e5289b364e115e2ae9e",
    "operators fast": "802415a03e485c9272a8dbc5e807665fdfa80e5d79e211beebde540ac1519480",
    "operators fast keys": "f2bf27f4f79715db23995bd73ab58ca61017c056e9b0b293c3a4d8435ffae497",
    "operators minhash": "2264f97697d43655bb44d5b24969a6922e5e54b9844780b77a3a765587ecab56",
    "operators minhash keys": "fcc157fd66603731a1cd871504c2dddfaac5213697f671b43c76c8364b00c430",
}
X86 = "amd64", "x86_64"
MACHINES = {
    "plain": ({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}, "x"),
    "avx2": ({"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""}, "y"),
    "this one": ({}, None),
}


def test_the_bits_are_those_that_were_written_down():
    """On whatever machine, processor and version of numba this runs: ARM, too."""
    assert runpy.run_path(str(SCRIPT))["digests"]() == GOLDEN


@pytest.mark.parametrize(
    "machine", ["plain", *(pytest.param(one, marks=pytest.mark.slow) for one in ("avx2", "this one"))]
)
def test_a_fresh_compilation_gives_the_same_bits(machine, tmp_path):
    """Without vectors, with AVX2 only, with all there is here; 8 s of compilation each."""
    environment, widest = MACHINES[machine]
    if widest is not None and os.uname().machine.lower() not in X86:
        pytest.skip("the processor's name is of another architecture")
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        env={**os.environ, **environment, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["digests"] == GOLDEN
    assert widest in {None, found["registers"]}  # it was compiled for another machine indeed
