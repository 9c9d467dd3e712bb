"""Fill in the middle: cut a document into prefix, middle and suffix, and say in which order they are shown.

Done per document, at CHARACTER level (a cut may fall inside what would have been one token, as a cursor
does), before packing, from a hash of (seed, epoch, content id): the sample does not depend on what was read
before it, on the number of processes or on a resume. Orders (Bavarian et al. 2022, arXiv 2207.14255; markers
as in StarCoder):

    PSM   <fim_prefix> prefix <fim_suffix> suffix <fim_middle> middle
    SPM   <fim_prefix> <fim_suffix> suffix <fim_middle> prefix middle
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a document is cut: `text[:start]`, `text[start:end]`, `text[end:]`; offsets in characters."""

    order: Literal["psm", "spm"]
    start: int
    end: int


def draw(content_id: str, length: int, *, seed: int, epoch: int, rate: float, spm_rate: float) -> Cut | None:
    """The cut of one document of `length` characters in one epoch; None leaves it in plain order.

    A pure function of its arguments. The two cut points are uniform over the `length + 1` gaps (the bias of
    the modulo is below 2**-40 for any file that fits into memory).
    """
    digest = hashlib.sha256(f"fim|{seed}|{epoch}|{content_id}".encode()).digest()
    chosen, order, first, second = (int.from_bytes(digest[i : i + 8], "big") for i in range(0, 32, 8))
    if chosen >= rate * 2**64:
        return None
    low, high = sorted((first % (length + 1), second % (length + 1)))
    return Cut("spm" if order < spm_rate * 2**64 else "psm", low, high)


def pieces(text: str, cut: Cut) -> tuple[str, str, str]:
    """(prefix, middle, suffix); their concatenation is `text`."""
    return text[: cut.start], text[cut.start : cut.end], text[cut.end :]
