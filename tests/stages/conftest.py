"""Make the raw graphs of the attacks importable, and the stages that give rows: the tests have no packages."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in ("attacks", "stages"):
    if (path := str(Path(__file__).parents[1] / folder)) not in sys.path:
        sys.path.insert(0, path)
