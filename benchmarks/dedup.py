"""De-duplication measured beside its peers and against an exact join.

    python benchmarks/dedup.py [PART ...] [--corpus PLACE ...] [--exclude GLOB] [--json FILE]

Parts: signature, pairs, whole, growth, recall, bands; all of them by default. `--help` tells what each one
measures; benchmarks/dedup_bench.py is the program.

This file has the name of a package. Where another benchmark imports that package, Python finds this file
first, beside the script that runs: it then stands back for the package.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

if __name__ == "__main__":
    sys.path[:1] = [str(ROOT), str(ROOT / "benchmarks")]
    importlib.import_module("dedup_bench").main()
elif __name__ == "dedup":
    sys.path.insert(0, str(ROOT))
    del sys.modules["dedup"]
    importlib.import_module("dedup")  # the import system hands out what is in sys.modules when this file ends
