"""What files say about licenses: the detection cascade, over Arrow batches.

    detect_batch   license-like files and package manifests, whole: tags, declared license, ScanCode, riders
    header_batch   any source file, its first bytes: tags

Both are pure functions of (detection class of the name, bytes), row by row aligned with their input, in the
schema `DETECTIONS`. A file's expression is the AND of its detections: what stands in one file applies
together, unless its own text says OR. Content never makes them fail: what is binary, broken or unknown has
the expression null.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from licensing import declared, riders, tags
from licensing.detection import DETECTIONS, Detection
from licensing.expressions import UNREAD, conjunction
from licensing.names import detection_class
from licensing.scancode import ScanCode
from licensing.text import MAX_BYTES, LicenseText, read_text

__all__ = ["DETECTIONS", "HEADER_BYTES", "Detection", "detect_batch", "header_batch", "versions"]

HEADER_BYTES = 4_096
"""Bytes at the start of a source file in which a tag speaks for the file."""


def versions(scancode: ScanCode | None) -> list[str]:
    """Names and versions of the detectors, for the key of an annotation store and for a manifest."""
    own = [tags.DETECTOR, declared.DETECTOR, riders.DETECTOR]
    return own if scancode is None else [*own, scancode.version]


def detect_batch(names: pa.Array, bodies: pa.Array, *, scancode: ScanCode | None) -> pa.Table:
    """Detections of license-like files and package manifests; a table in the schema DETECTIONS.

    `names`: base names or their `names.detection_class`, any binary or string type. `bodies`: binary or
    large_binary, null where the bytes are missing. Other names give no detections. With `scancode` None only
    tags, declared licenses and the plainest riders are found. At most 64 KiB of a file are read; a license
    file with more to it gets the id `expressions.UNREAD`.
    """
    classes = detection_class(_array(names)).to_pylist()
    return _table(
        [] if body is None else _detect(name, body.as_py(), scancode)
        for name, body in zip(classes, _present(_array(bodies)), strict=True)
    )


def header_batch(bodies: pa.Array) -> pa.Table:
    """SPDX tags in the first HEADER_BYTES of source files; a table in the schema DETECTIONS.

    Made to pass by files without tags at memory speed.
    """
    heads = pc.binary_slice(_array(bodies).cast(pa.large_binary()), 0, HEADER_BYTES)
    tagged = pc.fill_null(pc.match_substring(heads, tags.MARK), False)
    found: list[list[Detection]] = [[]] * len(heads)
    for row in pc.indices_nonzero(tagged).to_pylist():
        # Latin-1: a character is a byte, so offsets need no translation, and a tag is ASCII.
        found[row] = tags.find(heads[row].as_py().decode("latin-1"))
    return _table(found)


def _detect(name: bytes, body: bytes, scancode: ScanCode | None) -> list[Detection]:
    if name not in (b"LICENSE", b"README"):
        return declared.find(name, body)
    read = read_text(body)
    if read is None:
        return []
    found = tags.find(read.text)
    recognised = scancode.detect(read.text) if scancode else []
    found += recognised
    if name == b"LICENSE":
        everything = Detection("", "", "", 100.0, 0, len(read.text))
        found += riders.find(read.text, recognised if scancode else [everything])
        if not read.complete:
            length = len(read.text)
            found.append(Detection(UNREAD, "bound 1", f"after {MAX_BYTES} bytes", 100.0, length, length))
    return sorted(_in_bytes(found, read), key=_position)


def _in_bytes(found: Iterable[Detection], read: LicenseText) -> Iterable[Detection]:
    for d in found:
        yield dataclasses.replace(d, start=read.byte(d.start), end=read.byte(d.end))


def _position(detection: Detection) -> tuple[int, int, str, str, str]:
    return detection.start, detection.end, detection.expression, detection.detector, detection.rule


def _table(rows: Iterable[list[Detection]]) -> pa.Table:
    expressions, detections = [], []
    for found in rows:
        expressions.append(conjunction(d.expression for d in found))
        detections.append([dataclasses.asdict(d) for d in found])
    return pa.table({"expression": expressions, "detections": detections}, schema=DETECTIONS)


def _present(bodies: pa.Array) -> Iterable[pa.Scalar | None]:
    return (body if body.is_valid else None for body in bodies)


def _array(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
