"""Bare random-looking strings: tokens that no name and no prefix gives away, straight from bytes in numba.

One pass finds the maximal runs of `[A-Za-z0-9+/_-]` (and `=` behind them) of `RUN_MIN` to `RUN_MAX` bytes.  It looks at
the byte where the shortest run from here would end, and jumps when that is outside the class.  A run counts if it holds
a digit and letters, its Shannon entropy is that of random characters, and the model of names (`pii.word_model`) finds it
random.  What is left (a few per MB of code) is looked at in its surroundings by `bare_findings`.

Entropy is in eighths of a bit per byte, from integers only: the same everywhere.
"""

from __future__ import annotations

import re

import numba
import numpy as np
import numpy.typing as npt

from pii.boundaries import line_before
from pii.explained import explanation
from pii.matcher import Finding
from pii.negatives_code import is_location
from pii.negatives_words import is_random
from pii.secret_names import name_before
from pii.word_model import CLASS, table

#: Bytes of a run.
RUN_MIN, RUN_MAX = 16, 512

#: Rule of the findings.
RULE = "bare-high-entropy"

_CLASS = np.zeros(
    256, np.uint8
)  # bit 0: in a run, bit 1: hex, bit 2: letter, bit 3: digit, bit 4: upper case
for _c in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-":
    _CLASS[_c] |= 1
for _c in b"0123456789abcdefABCDEF":
    _CLASS[_c] |= 2
for _c in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz":
    _CLASS[_c] |= 4
for _c in b"0123456789":
    _CLASS[_c] |= 8
for _c in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ":
    _CLASS[_c] |= 16

#: 256 * c * log2(c), rounded, for c up to RUN_MAX: integers, so that no machine rounds otherwise.
_CLOG = np.zeros(RUN_MAX + 1, np.int64)
_CLOG[1:] = np.rint(256 * np.arange(1, RUN_MAX + 1) * np.log2(np.arange(1, RUN_MAX + 1))).astype(np.int64)

# Shannon entropy (bits per byte, times 256) that a run must have: hex, and any other.  Of random hex of 16 characters
# 1 in 100 has less than 2.8 bits, of random base62 less than 3.2.
_HEX_BITS, _BITS = 256 * 28 // 10, 256 * 32 // 10

# Score of the model of names (eighths of a bit per run) from which a run is random.
_RANDOM = -8 * 8


@numba.njit(nogil=True, cache=True)
def random_runs(  # noqa: PLR0917  (numba takes arguments by place)
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    marks: npt.NDArray[np.uint8],
    clog: npt.NDArray[np.int64],
    costs: npt.NDArray[np.uint8],
    classes: npt.NDArray[np.uint8],
    out: npt.NDArray[np.int64],
) -> int:
    """Random-looking runs of the texts data[offsets[i]:offsets[i + 1]].

    Writes (start, end, text) into the rows of `out`, positions in `data`; returns how many there are, which may be more
    than `out` has rows.
    """
    n = 0
    counts = np.zeros(256, np.int64)
    for text in range(offsets.shape[0] - 1):
        i, stop = offsets[text], offsets[text + 1]
        while i + RUN_MIN <= stop:
            j = i + RUN_MIN - 1
            m = marks[data[j]]
            if m & 1 == 0:
                i = j + 1
                continue
            hexadecimal, kinds = m & 2, m
            start = j
            while start > i:
                m = marks[data[start - 1]]
                if m & 1 == 0:
                    break
                hexadecimal &= m
                kinds |= m
                start -= 1
            end = j + 1
            while end < stop:
                m = marks[data[end]]
                if m & 1 == 0:
                    break
                hexadecimal &= m
                kinds |= m
                end += 1
            i = end
            length = end - start
            if length < RUN_MIN or length > RUN_MAX:
                continue
            if kinds & 12 != 12:
                continue  # digits and letters: 16 random base62 characters lack one in 6 of 100 cases, 32 in 0.4
            # The model first: names are nearly all that gets here.
            score = 0
            a = b = 63
            drawn = 32 if hexadecimal else 41 if kinds & 16 == 0 else 48
            for k in range(start, end):
                c = classes[data[k]]
                score += drawn - costs[(a * 64 + b) * 64 + c]
                if c == 52:
                    score -= 27
                a, b = b, c
            if score > _RANDOM:
                continue
            total = 0
            for k in range(start, end):
                counts[data[k]] += 1
            for k in range(start, end):
                c = data[k]
                total += clog[counts[c]]
                counts[c] = 0
            # entropy * length = length * log2(length) - sum of c * log2(c)
            if clog[length] - total < (_HEX_BITS if hexadecimal else _BITS) * length:
                continue
            if n < out.shape[0]:
                out[n, 0], out[n, 1], out[n, 2] = start, end, text
            n += 1
    return n


def runs(data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rows (start, end, text) of the random-looking runs of many texts; see `random_runs`."""
    arguments = (data, offsets, _CLASS, _CLOG, table(), CLASS)
    out = np.empty((256, 3), np.int64)
    n = random_runs(*arguments, out)
    if n > len(out):
        out = np.empty((n, 3), np.int64)
        random_runs(*arguments, out)
    return out[:n]


# A bare string must be whole between quotes and have upper case, lower case and digits; measured on 280 MB of packages,
# such strings without any explanation are rare, while hex and lower-case runs are digests and ids by the thousand: those
# count only where a word for secrets stands on the line.
_BARE_MIN, _BESIDE_WORD_MIN = 20, 20
# Bits of a run that nothing names: of names of 20 letters and more 1 in 1,000 is below.
_BARE_BITS = -16.0
_UPPER, _LOWER = re.compile(rb"[A-Z]"), re.compile(rb"[a-z]")
_HEX = re.compile(rb"(?:0x)?[0-9a-fA-F]+\Z")

# Runs of one length this near to each other are a table of constants.
_NEAR, _TABLE = 600, 2


def bare_findings(body: bytes) -> list[Finding]:
    """Strings in a text that are random and that nothing explains: `(start, end, "key", RULE)`, byte offsets, sorted."""
    out: list[Finding] = []
    rows = runs(np.frombuffer(body, np.uint8), np.array([0, len(body)], np.int64)).tolist()
    for i, (begin, stop, _) in enumerate(rows):
        start, end = begin, stop
        if body[start - 1 : start] == b"\\" and start > 0 and body[start : start + 1] in b"ntr":
            start += 1  # the letter of an escape
        while end - stop < 2 and body[end : end + 1] == b"=":
            end += 1
        if _is_bare_secret(body, start, end) and not _in_table(rows, i):
            out.append((start, end, "key", RULE))
    return out


def _is_bare_secret(body: bytes, start: int, end: int) -> bool:
    value, quote = body[start:end], body[start - 1 : start] if start else b""
    whole = quote in (b'"', b"'", b"`") and body[end : end + 1] in (quote, b"\\")
    hexadecimal = bool(_HEX.match(value))
    before = line_before(body, start, 200)
    name = name_before(before)
    if name.digest:
        return False
    if name.kind and not name.about:
        # hex beside a word for secrets: `pii.negatives_digests` wants no word for digests there
        if end - start < _BESIDE_WORD_MIN or not (whole or _stands_alone(body, start, end)):
            return False
    elif (
        end - start < _BARE_MIN
        or not whole
        or hexadecimal
        or not is_random(value, _BARE_BITS)
        or not (_UPPER.search(value) and _LOWER.search(value))
    ):
        return False
    return explanation(body, start, end, hexadecimal=hexadecimal) is None and not is_location(value)


def _stands_alone(body: bytes, start: int, end: int) -> bool:
    """Whether white space or the borders of the text enclose a run."""
    return (start == 0 or body[start - 1 : start].isspace()) and (
        end == len(body) or body[end : end + 1].isspace()
    )


def _in_table(rows: list[list[int]], i: int) -> bool:
    """Whether other runs of the same length stand near by: a table of constants or digests."""
    start, end, _ = rows[i]
    alike = 0
    for j in (i - 2, i - 1, i + 1, i + 2):
        if 0 <= j < len(rows) and abs(rows[j][0] - start) < _NEAR:
            alike += abs((rows[j][1] - rows[j][0]) - (end - start)) <= 1
    return alike >= _TABLE
