"""What the tests of this folder import from each other."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # ambiguous_texts.py: the tests have no packages
