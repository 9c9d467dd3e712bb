"""Make the raw graphs and this folder's helpers importable: the tests have no packages."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "attacks")]
