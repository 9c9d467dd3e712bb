"""What was detected in a content is never asked for again: a cache in front of `evidence.detect_batch`.

An answer is a function of the bytes, of the detection class of the name and of the detectors, so the key is a
digest of these three; the caller says what names the detectors (their source and versions). The adapter gets an open SQLite
connection and makes one table in it. (A release needs none: its annotation store is the same thing.)
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator

import pyarrow as pa

from licensing.detection import DETECTIONS
from licensing.evidence import detect_batch
from licensing.names import detection_class
from licensing.scancode import ScanCode

_TABLE = "create table if not exists detections (key blob primary key, answer text not null) without rowid"
_KEYS = 500
"""Keys of one query; SQLite's own limit is far above."""


class DetectionCache:
    """A cache in `connection`; `detectors` names the detectors with all that can change their answers."""

    def __init__(self, connection: sqlite3.Connection, detectors: str, scancode: ScanCode | None) -> None:
        self._connection = connection
        self._scancode = scancode
        self._detectors = hashlib.sha256(detectors.encode()).digest()
        connection.execute(_TABLE)

    def detect_batch(self, names: pa.Array, bodies: pa.Array) -> pa.Table:
        """As `evidence.detect_batch`; each content is detected once, whatever its number of places."""
        classes = detection_class(names).to_pylist()
        keys = [
            self._key(name, body.as_buffer()) if name and body.is_valid else b""
            for name, body in zip(classes, bodies, strict=True)
        ]
        answers = {key: json.loads(answer) for key, answer in self._known(sorted({*keys} - {b""}))}
        answers[b""] = {"expression": None, "detections": []}
        first = {key: row for row, key in reversed(list(enumerate(keys))) if key not in answers}
        if first:
            rows = pa.array(sorted(first.values()))
            found = detect_batch(names.take(rows), bodies.take(rows), scancode=self._scancode).to_pylist()
            fresh = {keys[row]: answer for row, answer in zip(rows.to_pylist(), found, strict=True)}
            with self._connection:
                self._connection.executemany(
                    "insert or ignore into detections values (?, ?)",
                    [(key, json.dumps(answer, separators=(",", ":"))) for key, answer in fresh.items()],
                )
            answers |= fresh
        # Each distinct answer is turned into Arrow once, and repeated by its number.
        number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        distinct = pa.Table.from_pylist([answers[key] for key in number], schema=DETECTIONS)
        return distinct.take(pa.array([number[key] for key in keys], pa.int64()))

    def _key(self, name: bytes, body: pa.Buffer) -> bytes:
        return hashlib.sha256(self._detectors + hashlib.sha256(body).digest() + name).digest()

    def _known(self, keys: list[bytes]) -> Iterator[tuple[bytes, str]]:
        for start in range(0, len(keys), _KEYS):
            some = keys[start : start + _KEYS]
            marks = ",".join("?" * len(some))
            yield from self._connection.execute(
                f"select key, answer from detections where key in ({marks})", some
            )
