"""Steps of pre-tokenisers that fast engines do not know, done here as cuts between characters.

Tokenizers of code models cut text in several steps, each inside the pieces of the one before: StarCoder's (Digits, then
GPT-2's expression), DeepSeek-Coder's (line ends, letters, punctuation, CJK, digits). An engine that takes only the last
of them, or none, gives the same ids if it is handed the pieces of the earlier ones.

A step is done here if it isolates runs of one kind of character:

    C   C+   \\s?C+   C+$      C is \\p{..}, \\s or [..]; Digits is C or C+

Which characters are of a kind is asked of `tokenizers` itself, for every character that Unicode has.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from tokenizers import Regex, pre_tokenizers

from training.tokens.tokenizer import byte_alphabet

CODE_POINTS = 0x110000
_FORM = re.compile(
    r"(?P<before>\\s\?)?(?P<kind>\\p\{[LMNPSZ]\w*\}|\\s|\[(?!\^)(?:[^\[\]\\]|\\.)+\])(?P<many>\+)?(?P<end>\$)?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Step:
    """One step: runs of a kind of character become pieces of their own.

    Attributes:
        kind: which characters (bool per code point).
        before: which character may be the first of the run without being of the kind (bool per code point), or None.
        many: a run is as long as it can be; else each character is a piece.
        end: only runs at the end of a piece.
    """

    kind: np.ndarray
    before: np.ndarray | None
    many: bool
    end: bool


@dataclass(frozen=True)
class Form:
    """What an engine may be given instead of a tokenizer, and instead of texts.

    Attributes:
        plain: a `tokenizer.json`.
        steps: by which texts are cut first.
        line_end: not None: texts are cut as the tokenizer does it and written `in_letters`; id of their line ends.
    """

    plain: str
    steps: tuple[Step, ...] = ()
    line_end: int | None = None


def forms(plain: str) -> Iterator[Form]:
    """The tokenizer itself, and then with one step after the other taken from it, as far as that can be done."""
    tree = json.loads(plain)
    before = tree.get("pre_tokenizer") or {}
    parts = before.get("pretokenizers", [before])
    yield Form(plain)
    steps: tuple[Step, ...] = ()
    while len(parts) > 1:
        step = step_of(parts[0])
        if step is None:
            return
        steps, parts = (*steps, step), parts[1:]
        rest = {"type": "Sequence", "pretokenizers": parts} if len(parts) > 1 else parts[0]
        if rest["type"] == "ByteLevel" and not rest.get("use_regex", True):
            letters, line_end = in_letters(tree)
            yield Form(json.dumps(letters), steps, line_end)
        else:
            yield Form(json.dumps({**tree, "pre_tokenizer": rest}), steps)


def step_of(step: dict[str, Any]) -> Step | None:
    """A step of a `tokenizer.json`, or None if it is not of the form above."""
    if step.get("type") == "Digits":
        return Step(_digits(), None, not step.get("individual_digits"), False)
    if step.get("type") != "Split" or step.get("behavior") != "Isolated" or step.get("invert"):
        return None
    found = _FORM.fullmatch((step.get("pattern") or {}).get("Regex") or "")
    if found is None or (found["end"] and not found["many"]):
        return None
    before = _members(r"\s") if found["before"] else None
    return Step(_members(found["kind"]), before, bool(found["many"]), bool(found["end"]))


def cut(buffer: np.ndarray, bounds: np.ndarray, steps: Sequence[Step]) -> tuple[np.ndarray, np.ndarray]:
    """Cut pieces by all steps in turn: (bounds of the new pieces, number of the first new piece of each old one).

    Args:
        buffer: UTF-8 (uint8).
        bounds: of the pieces (int64), one more than there are pieces; the second array has as many.
        steps: of `step_of`.
    """
    first, last = int(bounds[0]), int(bounds[-1])
    begins = np.zeros(last - first + 1, dtype=bool)
    begins[bounds - first] = True
    text = buffer[first:last]
    for step in steps:
        before = step.kind if step.before is None else step.before
        _step(text, begins, step.kind, before, step.before is not None, step.many, step.end)
    new = np.flatnonzero(begins) + first
    return new, np.searchsorted(new, bounds)


@numba.njit(nogil=True, cache=True)
def _step(  # noqa: PLR0917
    text: np.ndarray,
    begins: np.ndarray,
    kind: np.ndarray,
    before: np.ndarray,
    prefixed: bool,
    many: bool,
    end: bool,
) -> None:
    """Mark where pieces begin (bool per byte, and one for the end): before and behind each run."""
    size = len(text)
    at = 0
    while at < size:
        start = at
        point, at = _character(text, at)
        if prefixed and before[point] and at < size and not begins[at]:
            following, behind = _character(text, at)
            if kind[following]:
                point, at = following, behind
        if not kind[point]:
            continue
        while many and at < size and not begins[at]:
            point, behind = _character(text, at)
            if not kind[point]:
                break
            at = behind
        if not end or at == size or begins[at]:
            begins[start] = True
            begins[at] = True


@numba.njit(nogil=True, cache=True)
def _character(text: np.ndarray, at: int) -> tuple[np.int64, int]:
    """Code point at a byte, and where the next one begins."""
    one = np.int64(text[at])
    if one < 0x80:
        return one, at + 1
    if one < 0xE0:
        return (one & 0x1F) << 6 | (text[at + 1] & 0x3F), at + 2
    if one < 0xF0:
        return (one & 0x0F) << 12 | (np.int64(text[at + 1]) & 0x3F) << 6 | (text[at + 2] & 0x3F), at + 3
    high = (one & 0x07) << 18 | (np.int64(text[at + 1]) & 0x3F) << 12
    return high | (np.int64(text[at + 2]) & 0x3F) << 6 | (text[at + 3] & 0x3F), at + 4


@functools.cache
def _members(kind: str) -> np.ndarray:
    """Which characters an expression for one character matches (bool per code point)."""
    points, text = _characters()
    others = pre_tokenizers.Split(Regex(kind), "removed").pre_tokenize_str(text)
    result = np.zeros(CODE_POINTS, dtype=bool)
    result[points] = True
    for _, (first, stop) in others:
        result[points[first:stop]] = False
    return result


@functools.cache
def _digits() -> np.ndarray:
    """Which characters the step Digits isolates (bool per code point)."""
    points, text = _characters()
    result = np.zeros(
        CODE_POINTS, dtype=bool
    )  # its pieces are runs of others and of digits in turn, others first
    for _, (first, stop) in pre_tokenizers.Digits(individual_digits=False).pre_tokenize_str(text)[1::2]:
        result[points[first:stop]] = True
    return result


def _characters() -> tuple[np.ndarray, str]:
    """All code points that may be of some kind (int64), and the text of them: the other planes are empty or private."""
    points = np.r_[:0xD800, 0xE000:0x40000, 0xE0000:0xE1000]
    return points, points.astype("<u4").tobytes().decode("utf-32-le")


_LETTERS = "".join(chr(point) for point in (*range(0x400, 0x482), *range(0x48A, 0x508)))
"""A letter for each byte: Cyrillic ones, of two bytes each."""
_PAIRS = np.frombuffer(_LETTERS.encode(), np.uint8).reshape(256, 2)


def in_letters(tree: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """A tokenizer of texts that are `written_in_letters`, and the id that it gives their line ends.

    For an engine that always splits by an expression: GPT-2's (and all others) takes a run of letters whole, and parts
    it from line ends. The two bytes of a letter are merged first, to the token of the byte that it stands for; then all
    is as in the tokenizer. Bytes by themselves get ids above all others.
    """
    model, alphabet = tree["model"], byte_alphabet()
    spelt = {own: "".join(alphabet[byte] for byte in _PAIRS[number]) for number, own in enumerate(alphabet)}

    def spell(token: str) -> str:
        return "".join(spelt[letter] for letter in token)

    merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    above = 1 + max(model["vocab"].values())
    vocab = {spell(token): index for token, index in model["vocab"].items() if spelt.keys() >= set(token)}
    vocab |= {letter: above + byte for byte, letter in enumerate(alphabet)}
    model = {
        **model,
        "vocab": vocab,
        "merges": [*map(list, spelt.values()), *(list(map(spell, p)) for p in merges)],
    }
    split = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {**tree, "pre_tokenizer": split, "model": model}, above + ord("\n")


def written_in_letters(buffer: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Pieces of a text (uint8), each as a line end and a letter for each of its bytes."""
    result: np.ndarray = _written(buffer, bounds, _PAIRS)
    return result


@numba.njit(nogil=True, cache=True)
def _written(buffer: np.ndarray, bounds: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    pieces = len(bounds) - 1
    result = np.empty(2 * (bounds[-1] - bounds[0]) + pieces, np.uint8)
    used = 0
    for i in range(pieces):
        result[used] = 10
        used += 1
        for k in range(bounds[i], bounds[i + 1]):
            result[used], result[used + 1] = pairs[buffer[k], 0], pairs[buffer[k], 1]
            used += 2
    return result
