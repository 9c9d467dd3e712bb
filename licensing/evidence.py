"""What files say about licenses: the detection cascade, over Arrow batches.

    detect_batch   license-like files and package manifests, whole: tags, declared license, known texts,
                   ScanCode, riders, what remains
    known_batch    the same without ScanCode, for the files where it has nothing to add

Source files speak for themselves in their first lines: `headers`. Both are pure functions of (detection class
of the name, bytes), row by row aligned with their input, in the schema `DETECTIONS`. A file's expression is
the AND of its detections: what stands in one file applies together, unless its own text says OR. Content
never makes them fail: what is binary, broken or unknown has the expression null.

The cascade for a text: SPDX tags; the texts that are known word for word (`known`); ScanCode, unless all is
explained or what remains holds no word that terms or names of licenses are made of; then, in license files,
riders (`riders`) and what nobody explained (`residue`). So nothing can be added to a license without
changing the result.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from licensing import declared, dep5, residue, reuse, riders, tags
from licensing.detection import DETECTIONS, Detection
from licensing.expressions import REMARK, UNREAD, conjunction
from licensing.known import Known, KnownTexts
from licensing.known.plain import names_license, speaks_of_terms
from licensing.known.words import read_words
from licensing.names import detection_class
from licensing.scancode import MAX_TEXT, ScanCode
from licensing.text import MAX_BYTES, LicenseText, read_text

__all__ = [
    "DETECTIONS",
    "Detection",
    "detect_batch",
    "known_batch",
    "versions",
]

_KEYWORD = re.compile(
    r"licen[cs]|copyright|spdx|copying|public\s+domain|warrant|permission|redistribut|\(c\)|©", re.IGNORECASE
)
"""What a document on more than licenses must say for ScanCode to find a license in it (measured on source
headers: it missed none of 37)."""

_WORTH_BLANKING = 0.5
"""Share of a text that must be known for ScanCode to be shown only the rest."""

_LONG = 20_000
"""Characters of a text from which on that is worth it: a shorter one may be one license, cut in pieces."""

_NOT_A_BREAK = re.compile(r"[^\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")


def versions(scancode: ScanCode | None) -> list[str]:
    """Names and versions of the detectors, for the key of an annotation store and for a manifest."""
    own = [tags.DETECTOR, declared.DETECTOR, dep5.DETECTOR, reuse.DETECTOR, riders.DETECTOR, residue.DETECTOR]
    if scancode is None:
        return own
    known = _known(scancode)
    return [*own, scancode.version] if known is None else [*own, known.version, scancode.version]


def detect_batch(names: pa.Array, bodies: pa.Array, *, scancode: ScanCode | None) -> pa.Table:
    """Detections of license-like files and package manifests; a table in the schema DETECTIONS.

    `names`: base names or their `names.detection_class`, any binary or string type. `bodies`: binary or
    large_binary, null where the bytes are missing. Other names give no detections. With `scancode` None only
    tags, declared licenses and the plainest riders are found. At most 64 KiB of a file are read; a license
    file with more to it gets the id `expressions.UNREAD`.
    """
    known = _known(scancode) if scancode is not None else None
    classes = detection_class(_array(names)).to_pylist()
    return _table(
        [] if body is None else _detect(name, body.as_py(), scancode, known)
        for name, body in zip(classes, _present(_array(bodies)), strict=True)
    )


def known_batch(names: pa.Array, bodies: pa.Array, *, scancode: ScanCode) -> tuple[pa.Table, pa.BooleanArray]:
    """What `detect_batch` says where it says it without asking ScanCode, and which rows these are.

    `scancode` is not loaded. The other rows have no detections.
    """
    known = _known(scancode)
    classes = detection_class(_array(names)).to_pylist()
    rows = [
        [] if body is None else _detect_known(name, body.as_py(), known)
        for name, body in zip(classes, _present(_array(bodies)), strict=True)
    ]
    return _table(row or [] for row in rows), pa.array([row is not None for row in rows], pa.bool_())


def _known(scancode: ScanCode) -> KnownTexts | None:
    """The table, if it was made from the installed ScanCode; another one's answers would not be its own."""
    known = KnownTexts.load()
    return known if scancode.version == f"scancode {known.scancode}" else None


def _detect(name: bytes, body: bytes, scancode: ScanCode | None, known: KnownTexts | None) -> list[Detection]:
    decided = _detect_known(name, body, known) if scancode is not None else None
    if decided is not None:
        return decided
    if name not in (b"LICENSE", b"README"):
        return declared.find(name, body)
    read = read_text(body)
    if read is None:
        return []
    if name == b"LICENSE" and dep5.is_dep5(read.text):
        return _finished(name, _of_paths(read.text, scancode), read)
    found = tags.find(read.text)
    if scancode is None:
        if name == b"LICENSE":
            found += riders.find(read.text, [Detection("", "", "", 100.0, 0, len(read.text))])
        return _finished(name, found, read)
    if name == b"README":
        return _finished(name, found + scancode.detect(read.text), read)
    blocks = known.find(read.text[:MAX_TEXT]).blocks if known is not None else []
    recognised, explained = _examine(read.text, blocks, scancode)
    words = read_words(read.text[:MAX_TEXT])
    left = residue.unexplained(words, [*explained, *((tag.start, tag.end) for tag in found)])
    if recognised or found:
        found = found + recognised + riders.find(read.text, recognised) + residue.find(read.text, words, left)
    else:
        found = riders.find(read.text)
    return _finished(name, found, read)


def _of_paths(text: str, scancode: ScanCode | None) -> list[Detection]:
    """What a DEP-5 file says of the paths that it names, not of where it lies, and the riders that hold for all of them."""
    recognised = scancode.examine(text)[0] if scancode else []
    everything = [Detection("", "", "", 100.0, 0, len(text))]
    return dep5.find(text, recognised) + riders.find(text, recognised or everything)


def _examine(
    text: str, blocks: Sequence[Detection], scancode: ScanCode
) -> tuple[list[Detection], list[tuple[int, int]]]:
    """What ScanCode says of a text of which whole licenses are known already, with these.

    It is shown the text with these blanked out, if they are a good part of it: files with tens of licenses
    take seconds otherwise.
    """
    size = min(len(text), MAX_TEXT)
    if size < _LONG or sum(block.end - block.start for block in blocks) < _WORTH_BLANKING * size:
        return scancode.examine(text)
    rest, position = [], 0
    for block in blocks:
        rest += [text[position : block.start], _NOT_A_BREAK.sub(" ", text[block.start : block.end])]
        position = block.end
    recognised, explained = scancode.examine("".join([*rest, text[position:]]))
    return [*recognised, *blocks], [*explained, *((block.start, block.end) for block in blocks)]


def _detect_known(name: bytes, body: bytes, known: KnownTexts | None) -> list[Detection] | None:
    """The answer of the cascade where ScanCode has nothing to add; None where it must be asked."""
    if name not in (b"LICENSE", b"README"):
        return declared.find(name, body)
    read = read_text(body)
    if read is None or not read.text.strip():
        return []
    if known is None or dep5.is_dep5(read.text):
        return None
    text = known.find(read.text[:MAX_TEXT])
    tagged = tags.find(read.text)
    left = residue.unexplained(text.words, _spans(text, tagged))
    names = [text.words.words[i] for i in left.tolist()]
    if name == b"README":
        if names_license(names) or any(_KEYWORD.search(read.text, *span) for span in text.remainder):
            return None
    elif not text.detections or speaks_of_terms(names):
        return None
    found = tagged + text.detections
    if name == b"LICENSE":
        found += residue.find(read.text, text.words, left)
    return _finished(name, found, read)


def _spans(text: Known, tagged: Sequence[Detection]) -> list[tuple[int, int]]:
    """What of a text is explained by what is known, and by tags."""
    chosen: NDArray[np.int64] = np.flatnonzero(text.explained)
    spans = zip(text.words.starts[chosen].tolist(), text.words.ends[chosen].tolist(), strict=True)
    return [*spans, *((tag.start, tag.end) for tag in tagged)]


def _finished(name: bytes, found: list[Detection], read: LicenseText) -> list[Detection]:
    """With the mark of a file that was not read to its end, in bytes, by position."""
    if name == b"LICENSE" and not read.complete:
        length = len(read.text)
        found = [*found, Detection(UNREAD, "bound 1", f"after {MAX_BYTES} bytes", 100.0, length, length)]
    return sorted(_in_bytes(found, read), key=_position)


def _in_bytes(found: Iterable[Detection], read: LicenseText) -> Iterable[Detection]:
    for d in found:
        yield dataclasses.replace(d, start=read.byte(d.start), end=read.byte(d.end))


def _position(detection: Detection) -> tuple[int, int, str, str, str]:
    return detection.start, detection.end, detection.expression, detection.detector, detection.rule


def _table(rows: Iterable[list[Detection]]) -> pa.Table:
    expressions, detections = [], []
    for found in rows:
        expressions.append(conjunction(d.expression for d in found if d.expression != REMARK))
        detections.append([dataclasses.asdict(d) for d in found])
    return pa.table({"expression": expressions, "detections": detections}, schema=DETECTIONS)


def _present(bodies: pa.Array) -> Iterable[pa.Scalar | None]:
    return (body if body.is_valid else None for body in bodies)


def _array(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
