"""What this package raises: one family, all of it `ValueError`."""

from __future__ import annotations


class DedupError(ValueError):
    """An input that cannot be de-duplicated as asked; the message says which and what to do instead."""


class DocumentTooLargeError(DedupError):
    """A document above `MAX_DOCUMENT_BYTES`."""


class ThresholdError(DedupError):
    """A similarity threshold that is not a number in (0, 1]."""


class TextChangedError(DedupError):
    """A text that was read a second time is not the one that was read first."""
