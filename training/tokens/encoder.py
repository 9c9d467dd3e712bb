"""Encoding gigabytes: a fast BPE engine, trusted only as far as it gives the ids of the Hugging Face tokenizer.

The Hugging Face tokenizer is what a tokenizer MEANS; it encodes about 3 MB/s per core. gigatoken encodes some fifty
times that, for the pre-tokenisers that it knows. It is used where it is installed, takes the tokenizer, and gives
the same ids for

* `hostile_texts`, once per process and tokenizer: control tokens as letters, characters of all Unicode planes, runs
  of blanks, line ends of all kinds, digits, lone marks;
* a sample of every run's own documents, as they are written (`training.tokens.assemble`).

Otherwise the Hugging Face tokenizer is used, and a line says why. Since both give the same ids, which one ran is in
no key and no digest.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from training.tokens import cuts
from training.tokens.control import CONTROL_TOKENS, FAMILIES
from training.tokens.tokenizer import CodeTokenizer

REMEMBERED_BYTES = 2**30
"""gigatoken remembers the words that it has seen, without a limit: it begins anew after so much text."""


@dataclass(frozen=True)
class Pieces:
    """Texts, one after the other in one buffer: piece i is `buffer[bounds[i]:bounds[i + 1]]`.

    Attributes:
        buffer: UTF-8 (uint8), perhaps memory of Arrow.
        bounds: offsets in bytes (int64), ascending, each at a character's border; one more than there are pieces.
    """

    buffer: np.ndarray
    bounds: np.ndarray

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def text(self, index: int) -> str:
        """Piece `index`."""
        return bytes(self.buffer[self.bounds[index] : self.bounds[index + 1]]).decode()


def pieces_of(texts: pa.Array) -> Pieces:
    """The strings of an Arrow array without nulls; nothing is copied but the offsets."""
    kind: type[np.int32] | type[np.int64]
    if pa.types.is_string(texts.type):
        kind = np.int32
    elif pa.types.is_large_string(texts.type):
        kind = np.int64
    else:
        raise TypeError(f"strings wanted, not {texts.type}")
    if texts.null_count:
        raise TypeError("strings wanted, not nulls")
    _, offsets, data = texts.buffers()
    if not len(texts) or data is None:
        return Pieces(np.zeros(0, np.uint8), np.zeros(len(texts) + 1, np.int64))
    bounds = np.frombuffer(offsets, dtype=kind)[texts.offset : texts.offset + len(texts) + 1]
    return Pieces(np.frombuffer(data, dtype=np.uint8), bounds.astype(np.int64))


class Encoder(Protocol):
    """Text to ids, without control tokens."""

    @property
    def name(self) -> str:
        """Of the engine, for the user."""

    def encode(self, pieces: Pieces) -> tuple[np.ndarray, np.ndarray]:
        """(ids of all pieces, one after the other, uint32; number of ids of each piece, int64)."""


class Reference:
    """The Hugging Face tokenizer."""

    name = "tokenizers"

    def __init__(self, tokenizer: CodeTokenizer) -> None:
        self.tokenizer = tokenizer

    def encode(self, pieces: Pieces) -> tuple[np.ndarray, np.ndarray]:
        """See Encoder."""
        found = self.tokenizer.encode([pieces.text(i) for i in range(len(pieces))])
        lengths = np.array([len(ids) for ids in found], dtype=np.int64)
        ids = np.concatenate(found) if found else np.zeros(0, np.int64)
        return ids.astype(np.uint32), lengths


class Gigatoken:
    """gigatoken on one core: Arrow's memory in, one array of ids out, no Python object per document.

    Raises:
        ImportError: not installed, or without awkward.
        ValueError: it cannot express the tokenizer.
    """

    name = "gigatoken"

    def __init__(self, tokenizer: CodeTokenizer) -> None:
        import awkward
        import gigatoken

        self._awkward, self._class = awkward, gigatoken.Tokenizer
        self.tokenizer = tokenizer
        why: list[str] = []
        for self._form in cuts.forms(tokenizer.plain):
            try:
                self._start()
            except RuntimeError as error:  # what its loader raises, with a place in its own source
                why.append(str(error).partition("\n")[0])
            else:
                return
        raise ValueError(why[0])

    def _start(self) -> None:
        self._engine, self._seen = self._class.from_json(self._form.plain), 0

    def encode(self, pieces: Pieces) -> tuple[np.ndarray, np.ndarray]:
        """See Encoder."""
        if not len(pieces):
            return np.zeros(0, np.uint32), np.zeros(0, np.int64)
        if self._seen > REMEMBERED_BYTES:
            self._start()
        self._seen += int(pieces.bounds[-1] - pieces.bounds[0])
        if not self._form.steps:
            ids, lengths = self._encode(pieces.buffer, pieces.bounds)
        else:
            ids, lengths = self._encode_cut(pieces)
        self.tokenizer.refuse_control(ids)
        return ids, lengths

    def _encode_cut(self, pieces: Pieces) -> tuple[np.ndarray, np.ndarray]:
        """With the steps that the engine does not know done before."""
        bounds, firsts = cuts.cut(pieces.buffer, pieces.bounds, self._form.steps)
        if self._form.line_end is None:
            ids, lengths = self._encode(pieces.buffer, bounds)
            return ids, np.diff(np.concatenate(([0], np.cumsum(lengths)))[firsts])
        text = cuts.written_in_letters(pieces.buffer, bounds)
        ids, lengths = self._encode(text, 2 * (pieces.bounds - pieces.bounds[0]) + firsts)
        return ids[ids != self._form.line_end], lengths - np.diff(firsts)

    def _encode(self, buffer: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ak, first, last = self._awkward, bounds[0], bounds[-1]
        characters = ak.contents.NumpyArray(buffer[first:last], parameters={"__array__": "char"})
        texts = ak.contents.ListOffsetArray(
            ak.index.Index64(bounds - first), characters, parameters={"__array__": "string"}
        )
        found: Any = self._engine.encode_batch(ak.Array(texts), parallel=False)
        return ak.to_numpy(ak.flatten(found)), ak.to_numpy(ak.num(found)).astype(np.int64)


def difference(fast: Encoder, tokenizer: CodeTokenizer, pieces: Pieces) -> int | None:
    """Number of the first piece that `fast` encodes otherwise than the Hugging Face tokenizer; None: all are equal."""
    ids, lengths = fast.encode(pieces)
    wanted, wanted_lengths = Reference(tokenizer).encode(pieces)
    if len(lengths) != len(wanted_lengths):
        return 0
    other = np.flatnonzero(lengths != wanted_lengths)
    same = int(other[0]) if len(other) else len(lengths)
    stops = np.cumsum(wanted_lengths[:same])
    until = int(stops[-1]) if same else 0
    wrong = np.flatnonzero(ids[:until] != wanted[:until])
    if len(wrong):
        return int(np.searchsorted(stops, wrong[0], side="right"))
    return same if len(other) else None


@functools.cache
def hostile_texts() -> pa.Array:
    """Texts that engines are most likely to see differently; the same in every process."""
    names = sorted(
        {
            name
            for family in FAMILIES
            for name in (family.prefix, family.middle, family.suffix, family.repo_name, family.file_sep)
            if name
        }
        | set(CONTROL_TOKENS)
        | {"<|im_start|>", "<｜end▁of▁sentence｜>", "</s>", "[INST]", "<|end_of_text|>"}
    )
    blanks = [
        " ",
        "\t",
        "\n",
        "\r\n",
        "\r",
        "\u00a0",
        "\u2028",
        "\u3000",
        "\v",
        "\f",
        "\x1c",
        "\x85",
        "\u180e",
    ]
    signs = ["'", '"', "/", "//", "(", ");", "_", "-", "=>", "\u2026", "\u00b2", "\u0664", "\u216b", "\u00bd"]
    words = [
        "s",
        "S",
        "ll",
        "don't",
        "IT'S",
        "x\u0301y",
        "\u00e9",
        "\u4e2d\u6587",
        "\u0939\u093f",
        "\ufb01",
        "\u017f",
    ]
    texts = ["", *names, *blanks, *signs, *words, "\u0301", "\u200d", "\U0001f469\u200d\U0001f4bb", "\x00"]
    texts += [name * 3 + f"\n# {name} {name[1:]}" for name in names]
    texts += [
        left + middle + right for middle in blanks for left in [*signs, "a"] for right in [*words, "1", ""]
    ]
    texts += ["'" + word + sign + word for word in words for sign in signs]
    texts += [
        blank * count + tail
        for blank in blanks
        for count in (2, 3, 17, 300)
        for tail in ("", "x", "1", ";\n")
    ]
    texts += [
        "0123456789" * 40,
        "1" * 1000,
        "a" * 3000,
        "aB" * 2000,
        "_" * 999,
        "\u0301" * 70,
        "\u4e2d" * 500,
    ]
    texts += [
        "\r\n".join(["    if x:", "\treturn  1", "", "  ", "end"] * 30),
        "\n\r\n\r\r\n" * 20,
        "; \n" * 99,
    ]
    # Every character up to U+07FF, and each 251st above, between letters, digits, blanks and signs.
    for around in ("a{}b", "1{}2", " {}  x", ".{};\n", "'{}\u0301{}"):
        for block in range(0, 0x110000, 0x800):
            points = range(block, block + 0x800, 1 if block < 0x800 else 251)
            texts.append("".join(around.replace("{}", chr(p)) for p in points if not 0xD800 <= p < 0xE000))
    return pa.array(texts, pa.large_string())


def choose(tokenizer: CodeTokenizer, report: Callable[[str], None]) -> Encoder:
    """The encoder for one tokenizer: gigatoken where it can be trusted, else the Hugging Face tokenizer."""
    if tokenizer.digest not in _why_not:
        _why_not[tokenizer.digest] = _examine(tokenizer)
    why_not = _why_not[tokenizer.digest]
    if why_not is not None:
        report(f"tokenising with the slow encoder: {why_not}")
    chosen = Gigatoken(tokenizer) if why_not is None else Reference(tokenizer)
    _last[:] = [chosen]
    return chosen


def made(data: bytes, end_of_text: str, fast: bool) -> tuple[CodeTokenizer, Encoder]:
    """A tokenizer and its encoder from their description: those last chosen in this process, if they are the same."""
    for chosen in _last:
        if chosen.tokenizer.data is data and isinstance(chosen, Gigatoken) == fast:
            return chosen.tokenizer, chosen
    tokenizer = CodeTokenizer(data, end_of_text=end_of_text)
    return tokenizer, Gigatoken(tokenizer) if fast else Reference(tokenizer)


_last: list[Gigatoken | Reference] = []
_why_not: dict[str, str | None] = {}
"""What this process has found out, by the tokenizer's digest."""


def _examine(tokenizer: CodeTokenizer) -> str | None:
    """Why gigatoken cannot be trusted with this tokenizer, or None."""
    try:
        fast = Gigatoken(tokenizer)
    except ImportError as error:
        return f"{error}; pip install 'stackmill[train]'"
    except ValueError as error:
        return f"gigatoken does not take this tokenizer ({error})"
    pieces = pieces_of(hostile_texts())
    wrong = difference(fast, tokenizer, pieces)
    if wrong is None:
        return None
    return f"gigatoken differs from the tokenizer on the built-in text {pieces.text(wrong)[:60]!r}"
