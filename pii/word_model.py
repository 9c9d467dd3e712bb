"""How much a string reads like words and names, and how much like characters drawn at random; in bits.

The score of a value is log2(P(value | names) / P(value | drawn at random from its alphabet)), from a character trigram
model of the names and words in the installed Python packages (`scripts/word_table.py`).  Whatever the model, a
string drawn at random scores T bits and more with a chance of at most 2^-T (Markov's inequality on the likelihood
ratio), so a threshold bounds how many secrets are mistaken for names.  Scores are integers: eighths of a bit.
"""

from __future__ import annotations

import hashlib
import zlib
from functools import cache
from pathlib import Path

import numba
import numpy as np
import numpy.typing as npt

TABLE = Path(__file__).parent / "data" / "word_bits.bin"
#: SHA-256 of the uncompressed table: findings depend on it, and keys of results on this file.
TABLE_SHA256 = "66f08a5182b28844bd23310dce3d6f2fd699396e3ef06731cbf5ba74d5c30fde"

CLASSES = 64
#: Class of what is in front of a value.
BOUNDARY = 63
_OTHER = 62
_DIGIT = 52

#: Class of each byte: letters one by one, digits together, the punctuation of names one by one, the rest together.
CLASS: npt.NDArray[np.uint8] = np.full(256, _OTHER, np.uint8)
for _i in range(26):
    CLASS[97 + _i], CLASS[65 + _i] = _i, 26 + _i
CLASS[48:58] = _DIGIT
for _i, _c in enumerate(b"_-./+=: "):
    CLASS[_c] = 53 + _i

_BIT = 8  # units per bit


@cache
def table() -> npt.NDArray[np.uint8]:
    """uint8[CLASSES ** 3]: eighths of a bit of the third class behind the first two.

    Raises:
        ValueError: the file is not the one that `TABLE_SHA256` names.
    """
    held = zlib.decompress(TABLE.read_bytes())
    if hashlib.sha256(held).hexdigest() != TABLE_SHA256:
        raise ValueError(f"{TABLE.name} is damaged: install the package again")
    out = np.frombuffer(held, np.uint8)
    return out


@numba.njit(nogil=True, cache=True)
def score_span(
    data: npt.NDArray[np.uint8],
    start: int,
    end: int,
    costs: npt.NDArray[np.uint8],
    classes: npt.NDArray[np.uint8],
) -> tuple[int, int]:
    """(score, score of the stretch that reads least like words) of data[start:end], in eighths of a bit."""
    lower = upper = digit = beyond_hex = mark = other = beyond_32 = False
    for i in range(start, end):
        c = data[i]
        if 97 <= c <= 122:
            lower = True
            beyond_hex |= c > 102
        elif 65 <= c <= 90:
            upper = True
            beyond_hex |= c > 70
        elif 48 <= c <= 57:
            digit = True
            beyond_32 |= c < 50 or c > 55
        elif c in (95, 45, 43, 47, 61):  # _-+/=
            mark = True
        else:
            other = True
    # 8 * log2 of the size of the smallest alphabet that holds the value
    if other:
        drawn = 52  # 94 printable
    elif mark or (lower and upper):
        drawn = 48 if digit or mark else 46  # 64, 62 and 52 letters
    elif not beyond_hex and digit:
        drawn = 32 if lower or upper else 27  # 16, 10
    elif digit:
        drawn = 40 if upper and not beyond_32 else 41  # 32, 36
    else:
        drawn = 38  # 26 letters
    score = stretch = worst = 0
    a = b = 63
    for i in range(start, end):
        c = classes[data[i]]
        cost = costs[(a * 64 + b) * 64 + c]
        if c == 52:
            cost += 27  # which digit
        elif c == 62:
            cost += 40  # which of the 32 others
        score += drawn - cost
        stretch = min(stretch, 0) + drawn - cost
        worst = min(worst, stretch)
        a, b = b, c
    return score, worst


def score(value: bytes) -> tuple[float, float]:
    """Bits by which `value` reads like words rather than random, and those of its least wordlike stretch (<= 0)."""
    bits, worst = score_span(np.frombuffer(value, np.uint8), 0, len(value), table(), CLASS)
    return bits / _BIT, worst / _BIT
