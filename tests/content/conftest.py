"""Hypothesis settings of this folder: kernels compile on first use, so single examples have no time limit."""

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))  # ambiguous_texts.py: the tests have no packages
settings.register_profile("content", deadline=None, max_examples=150)
settings.load_profile("content")
