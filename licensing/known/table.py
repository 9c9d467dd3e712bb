"""The table of known sequences: what is in it, and how it is stored.

An entry is one sequence of words (`words.read_words` of a rule or a license text): hashes of it, its
license expression, what kind of statement it is, and the id of the rule. Entries are sorted by anchor
size, anchor and falling length, so that a file of the table is a function of its entries. The texts are not in
it.

The file is a NumPy archive, made by `scripts/build_license_table.py` and pinned by its digest.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from importlib import metadata, resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from licensing.known import kernel
from licensing.known.words import Words

FORMAT = 1
"""Raised when the words or the layout change: tables of another format are refused."""

FILE = "data/known.bin.xz"


class TableError(ValueError):
    """A table cannot be used: it is of another format, or damaged."""


class Kind(IntEnum):
    """What an entry is, as ScanCode classifies its rules."""

    TEXT = 0
    NOTICE = 1
    TAG = 2
    REFERENCE = 3
    INTRO = 4
    """Announces a license that follows; says nothing alone."""
    SILENT = 5
    """Known not to be a statement on a license, or a mere clue."""
    AMBIGUOUS = 6
    """Several rules with different licenses have these words: only the whole of ScanCode can tell."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One sequence of the table, as it is built."""

    words: Words
    expression: str
    kind: Kind
    relevance: int
    """0..100: how sure the words alone are, by ScanCode."""
    rule: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """The table as it is searched."""

    sizes: NDArray[np.int64]
    firsts: NDArray[np.int64]
    """Where the anchors of sizes[k] begin in `anchors`."""
    anchors: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    """Where the entries of each anchor begin."""
    lengths: NDArray[np.int64]
    hashes: NDArray[np.uint32]
    digests: NDArray[np.uint8]
    kinds: NDArray[np.uint8]
    relevances: NDArray[np.uint8]
    expressions: list[str]
    expression_of: NDArray[np.int64]
    rules: list[str]
    scancode: str
    spdx: str
    digest: str

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """What `kernel.candidates` searches."""
        return self.sizes, self.firsts, self.anchors, self.offsets, self.lengths, self.hashes


def word_hashes(words: list[str], known: dict[str, int]) -> NDArray[np.uint64]:
    """64-bit numbers of words; `known` is a memory of them."""
    numbers = np.empty(len(words), dtype=np.uint64)
    for i, word in enumerate(words):
        number = known.get(word)
        if number is None:
            raw = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            number = known[word] = int.from_bytes(raw, "little")
        numbers[i] = number
    return numbers


def pack(entries: Iterable[Entry], *, scancode: str, spdx: str) -> bytes:
    """The bytes of a table; the same for the same entries in any order. One entry per sequence."""
    known: dict[str, int] = {}
    rows = []
    for entry in entries:
        length = len(entry.words)
        prefix, powers = kernel.prefix_hashes(word_hashes(entry.words.words, known))
        size = kernel.anchor_words(length)
        anchor = int(kernel.span_hash(prefix, powers, 0, size))
        full = int(kernel.span_hash(prefix, powers, 0, length))
        rows.append((-size, anchor, -length, full, entry.words.digest(0, length), entry))
    rows.sort(key=lambda row: row[:5])
    expressions = sorted({row[5].expression for row in rows})
    number = {expression: i for i, expression in enumerate(expressions)}
    head = {
        "format": FORMAT,
        "scancode": scancode,
        "spdx": spdx,
        "expressions": expressions,
        "rules": [row[5].rule for row in rows],
    }
    arrays: dict[str, NDArray[Any]] = {
        "sizes": np.array([-row[0] for row in rows], dtype=np.uint8),
        "anchors": np.array([row[1] for row in rows], dtype=np.uint32),
        "lengths": np.array([-row[2] for row in rows], dtype=np.uint32),
        "hashes": np.array([row[3] for row in rows], dtype=np.uint32),
        "digests": np.frombuffer(b"".join(row[4] for row in rows), dtype=np.uint8),
        "kinds": np.array([row[5].kind for row in rows], dtype=np.uint8),
        "relevances": np.array([row[5].relevance for row in rows], dtype=np.uint8),
        "expression_of": np.array([number[row[5].expression] for row in rows], dtype=np.uint16),
    }
    text = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
    body = b"".join(array.astype(array.dtype.newbyteorder("<")).tobytes() for array in arrays.values())
    raw = len(text).to_bytes(4, "little") + text + body
    return lzma.compress(raw, format=lzma.FORMAT_XZ, preset=9 | lzma.PRESET_EXTREME)


_ARRAYS = (
    ("sizes", "<u1", 1),
    ("anchors", "<u4", 1),
    ("lengths", "<u4", 1),
    ("hashes", "<u4", 1),
    ("digests", "<u1", 12),
    ("kinds", "<u1", 1),
    ("relevances", "<u1", 1),
    ("expression_of", "<u2", 1),
)


def unpack(packed: bytes) -> Table:
    """The table in `packed`. Raises TableError."""
    try:
        raw = io.BytesIO(lzma.decompress(packed))
        head = json.loads(raw.read(int.from_bytes(raw.read(4), "little")))
    except (lzma.LZMAError, EOFError, ValueError) as error:
        raise TableError(f"license table: damaged: {error}") from error
    if head.get("format") != FORMAT:
        raise TableError(
            f"license table: format {head.get('format')}, this code reads {FORMAT}: build it again"
        )
    count = len(head["rules"])
    read = {
        name: np.frombuffer(raw.read(np.dtype(kind).itemsize * width * count), dtype=kind)
        for name, kind, width in _ARRAYS
    }
    if len(read["expression_of"]) != count:
        raise TableError("license table: damaged: too short")
    sizes = read["sizes"].astype(np.int64)
    keys = sizes.astype(np.uint64) << np.uint64(32) | read["anchors"].astype(np.uint64)
    first = (
        np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1]))) if count else np.zeros(0, np.int64)
    )
    anchor_sizes = sizes[first]
    return Table(
        sizes=np.array(kernel.ANCHORS, dtype=np.int64),
        firsts=np.array(
            [int(np.count_nonzero(anchor_sizes > size)) for size in kernel.ANCHORS] + [len(first)],
            dtype=np.int64,
        ),
        anchors=np.ascontiguousarray(read["anchors"][first]).astype(np.uint32),
        offsets=np.concatenate((first, [count])).astype(np.int64),
        lengths=read["lengths"].astype(np.int64),
        hashes=read["hashes"].astype(np.uint32),
        digests=read["digests"].reshape(count, 12),
        kinds=read["kinds"],
        relevances=read["relevances"],
        expressions=head["expressions"],
        expression_of=read["expression_of"].astype(np.int64),
        rules=head["rules"],
        scancode=head["scancode"],
        spdx=head["spdx"],
        digest=hashlib.sha256(packed).hexdigest(),
    )


def shipped() -> bytes:
    """The bytes of the table that ships with the product."""
    return resources.files("licensing.known").joinpath(FILE).read_bytes()


def installed_scancode() -> str | None:
    """Version of the installed ScanCode; None without one."""
    for name in ("scancode-toolkit", "scancode-toolkit-mini"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None
