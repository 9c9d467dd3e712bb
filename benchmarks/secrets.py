"""Secrets and personal data: our scan at every sensitivity beside its peers, on the same texts, in one run.

    python benchmarks/secrets.py [DIR] [--megabytes N] [--peer-megabytes N] [--rounds N] [--only NAME ...]

`--help` tells what is measured; benchmarks/secrets_bench.py is the program.

This file has the name of a module of the standard library. Where another benchmark (or numpy in it) imports that
one, Python finds this file first, beside the script that runs: it then stands back for the module.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent

if __name__ == "secrets":
    kept = sys.path[:]
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != FOLDER]
    del sys.modules["secrets"]
    importlib.import_module(
        "secrets"
    )  # the import system hands out what is in sys.modules when this file ends
    sys.path[:] = kept
elif __name__ == "__main__":
    sys.path[:1] = [str(FOLDER.parent)]
    importlib.import_module("secrets")  # the standard module, before this folder is on the path
    sys.path.append(str(FOLDER))
    importlib.import_module("secrets_bench").main()
