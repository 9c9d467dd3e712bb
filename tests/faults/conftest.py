"""Make the table of raw graphs importable (the tests have no packages), and give every test its own temporary folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "attacks"))
