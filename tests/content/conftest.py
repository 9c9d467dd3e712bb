"""Hypothesis settings of this folder: kernels compile on first use, so single examples have no time limit."""

from hypothesis import settings

settings.register_profile("content", deadline=None, max_examples=150)
settings.load_profile("content")
