"""A local file of JSON lines as a source: one JSON object a line, plain or compressed with gzip or Zstandard.

    {"text": "x = 1\\n", "language": "Python", "origin": "https://example.org/a/b", "path": "x.py"}

| key | meaning | if it is not there |
|---|---|---|
| text | what is trained on | the line is left out |
| language | as in a release's `language` column | `unknown` |
| id | name of the row | SHA-256 of the text |
| origin | URL of the repository | the row has no owner: see `training.corpus.networks` |
| path | of the file in the repository | - |
| repo_name | `owner/name` | - |
| license_expression, is_vendor, is_generated, numbers | what filters ask for | see `training.corpus.filters` |

Row n is line n (0-based) of the file, whatever is on it, so a row's number leads back to its line. A line that cannot be used
has a `problem`, is counted under `jsonl.<problem>`, and is reported with the number of the first such line (1-based):

    blank, too_long, not_utf8, not_json, not_an_object, no_text, empty_text, not_unicode (a lone surrogate),
    bad_KEY (of another type, or an unprintable language), other_language

A file is named by the SHA-256 of its bytes as they lie on the disk. Opening it reads it once and keeps where each line begins
and 64 bits of its SHA-256, beside the index. After that only what is asked for is read again, line by line, and a line that is
not what it was is an error. A compressed file is read up to these lines, from where this process last stopped if they come
after that.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.corpus.lines import Lines
from training.corpus.sources import INDEX_COLUMNS, TEXT_COLUMNS
from training.errors import TrainingConfigError, TrainingDataError

UNKNOWN = "unknown"
"""The language of a row that names none."""

BATCH_ROWS, BATCH_BYTES = 1024, 1 << 25
"""A batch of texts is closed when it has so many rows or bytes."""

MAX_DEPTH = 64
"""Lists and objects in one another; what is deeper counts as broken. Python's own limit is higher, but depends on who calls."""

INDEX_ROWS = 1 << 14
"""So many lines of the index are Python objects before they become Arrow."""

HOW_LINES_FAIL = (
    "blank",
    "too_long",
    "not_utf8",
    "not_json",
    "not_an_object",
    "no_text",
    "empty_text",
    "not_unicode",
    "bad_KEY",
    "other_language",
)
"""All problems; `KEY` stands for one of `WORDS`."""

WORDS = ("language", "id", "origin", "path", "repo_name", "license_expression")
MAX_WORD = 4096
"""Characters of a language (100), id, origin, path, name or license expression."""

_KEPT = ("content_sha256", "language", "origin", "length_bytes", "path", "repo_name", "id")
"""Columns of the index. `row_id` is `id`, or `content_sha256` where there is none."""
_FLAGS = ("is_vendor", "is_generated")
_STRINGS = {"content", "content_sha256", "content_id", "swhid", "row_id", "problem", *WORDS}
_RELEASE_ONLY = ("directory_id", "revision_id", "snapshot_id")


def _deep(value: Any) -> bool:
    """Whether lists and objects lie in one another more than `MAX_DEPTH` times."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _problem_of(record: dict[str, Any]) -> str | None:
    """What is wrong with a JSON object, or None."""
    text = record.get("text")
    if not isinstance(text, str):
        return "no_text"
    if not text:
        return "empty_text"
    words = [text]
    for key in WORDS:
        value = record.get(key)
        if value is None or (key == "id" and type(value) is int):
            continue
        if not isinstance(value, str) or len(value) > MAX_WORD:
            return f"bad_{key}"
        if key == "language" and (not value.isprintable() or not value.strip() or len(value) > 100):
            return "bad_language"
        words.append(value)
    try:
        for value in words:
            if not value.isascii():
                value.encode()
    except UnicodeEncodeError:
        return "not_unicode"
    return None


def _decoded(line: bytes, *, first: bool) -> str:
    return line.decode("utf-8-sig" if first else "utf-8")


def _parse(line: bytes | None, *, first: bool) -> tuple[str | None, dict[str, Any]]:
    """(problem, object) of a line."""
    if line is None:
        return "too_long", {}
    try:
        text = _decoded(line, first=first)
    except UnicodeDecodeError:
        return "not_utf8", {}
    if not text.strip():
        return "blank", {}
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return "not_json", {}
    if not isinstance(record, dict):
        return "not_an_object", {}
    return "not_json" if _deep(record) else _problem_of(record), record


def _type(column: str) -> pa.DataType:
    if column in _STRINGS or column in _RELEASE_ONLY:
        return pa.string()
    if column in _FLAGS:
        return pa.bool_()
    return pa.int64() if column == "length_bytes" else pa.float64()


def _value(record: dict[str, Any], column: str) -> Any:
    """What a row has in a column; None where it has nothing of the column's type."""
    if column == "language":
        return record.get("language") or UNKNOWN
    if column == "id":
        return None if record.get("id") in (None, "") else str(record["id"])
    if column in WORDS:
        return record.get(column)
    if column == "content":
        return record["text"]
    if column == "row_id":
        return _value(record, "id") or _value(record, "content_sha256")
    if column == "content_sha256":
        return hashlib.sha256(record["text"].encode()).hexdigest()
    if column == "length_bytes":
        return len(record["text"].encode())
    if column in ("swhid", "content_id"):
        body = record["text"].encode()
        git = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
        return f"swh:1:cnt:{git}" if column == "swhid" else git
    value = record.get(column)
    if column in _FLAGS:
        return value if isinstance(value, bool) else None
    if column in _RELEASE_ONLY or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


class JsonlSource:
    """The lines of a file of JSON objects.

    Attributes:
        name: as in the configuration.
        path: of the file.
        digest: SHA-256 (hex) of the file.
        known: all languages in it, sorted.
        languages: those that are read, sorted.
        missing: languages that were asked for and that it does not have.
        numbers: keys that hold a number in some line, sorted.
        problems: problem -> (lines, 1-based number of the first).

    Raises:
        TrainingConfigError: no such file.
        TrainingDataError: a damaged file, or one without a line that can be used.
    """

    def __init__(self, name: str, path: str, languages: Sequence[str] | None) -> None:
        self.name, self.path = name, Path(path)
        if not self.path.is_file():
            raise TrainingConfigError(f"sources: {name}: {path} is not a file; give a file of JSON lines")
        self._lines = Lines(self.path)
        numbers: set[str] = set()
        keys: Counter[str] = Counter()
        found = _table(self._first(numbers, keys), [*_KEPT, "problem"])
        self.numbers = tuple(sorted({*numbers, "length_bytes"} - _STRINGS - {*_FLAGS, *_RELEASE_ONLY}))
        self.known = tuple(sorted(pc.unique(found["language"]).drop_null().to_pylist()))
        if not self.known:
            raise TrainingDataError(self._nothing(found["problem"], keys))
        wanted = set(languages) if languages is not None else set(self.known)
        self.languages = tuple(sorted(wanted & set(self.known)))
        self.missing = tuple(sorted(wanted - set(self.known)))
        self._usable = found["problem"].is_null().to_numpy()
        other = pc.invert(pc.is_in(found["language"], value_set=pa.array(self.languages, pa.string())))
        problem = pc.if_else(pc.and_(found["problem"].is_null(), other), "other_language", found["problem"])
        self._index = found.set_column(len(_KEPT), "problem", problem)
        self.problems: dict[str, tuple[int, int]] = {}
        for each in pc.unique(problem).drop_null().to_pylist():
            lines = np.flatnonzero(pc.fill_null(pc.equal(problem, each), False).to_numpy())
            self.problems[each] = len(lines), int(lines[0]) + 1

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the file."""
        return self._lines.digest

    def _first(self, numbers: set[str], keys: Counter[str]) -> Iterator[tuple[Any, ...]]:
        """The values of `_KEPT`, and the problem, of each line; gathers keys that hold numbers, and all keys."""
        for number, line in enumerate(self._lines.first()):
            problem, record = _parse(line, first=number == 0)
            if len(numbers) + len(keys) < 10_000:  # a file may have other keys in each line
                keys.update(record.keys())
                numbers.update([key for key, value in record.items() if type(value) in (int, float)])
            yield (*(None if problem else _value(record, column) for column in _KEPT), problem)

    def _nothing(self, problems: pa.ChunkedArray, keys: Counter[str]) -> str:
        counted = {each["values"]: each["counts"] for each in pc.value_counts(problems).to_pylist()}
        if not counted:
            return f"{self.path}: is empty; give a file of JSON objects, one a line, each with a `text`"
        each = ", ".join(f"{count} {problem}" for problem, count in sorted(counted.items()))
        has = ", ".join(repr(key)[:40] for key, _ in keys.most_common(8))
        seen = f"; keys found: {has}" if has else ""
        return f"{self.path}: no line can be used ({each}); each must be a JSON object with a `text`{seen}"

    def __getstate__(self) -> dict[str, Any]:
        """What `texts` needs, for processes that only read texts: the index of many lines is large."""
        return {key: value for key, value in vars(self).items() if key != "_index"}

    def about(self) -> dict[str, Any]:
        """For the lineage; never the path."""
        return {
            "kind": "jsonl",
            "name": self.name,
            "file": self.path.name,
            "digest": self.digest,
            "lines": len(self._usable),
            "problems": {problem: count for problem, (count, _) in sorted(self.problems.items())},
            "languages": list(self.languages),
        }

    def index(self, columns: Sequence[str] = INDEX_COLUMNS) -> pa.Table:
        """All lines without their text, and the `problem` of each."""
        found = self._index
        if "row_id" in columns:
            row_id = pc.coalesce(found["id"], found["content_sha256"])
            found = found.append_column("row_id", row_id)
        further = [column for column in columns if column not in found.column_names]
        for column in (column for column in further if column in _RELEASE_ONLY):
            found = found.append_column(column, pa.nulls(found.num_rows, _type(column)))
        if unread := [column for column in further if column not in _RELEASE_ONLY]:
            rows = np.flatnonzero(self._usable)
            values = _table(
                (tuple(_value(record, c) for c in unread) for _, record in self._records(rows)), unread
            )
            place = np.zeros(found.num_rows, np.int64)
            place[rows] = np.arange(len(rows))
            values = values.take(pa.array(place, mask=~self._usable))
            for column in unread:
                found = found.append_column(column, values[column])
        return found.select([*columns, "problem"])

    def _records(self, rows: np.ndarray) -> Iterator[tuple[int, dict[str, Any]]]:
        """(line number from 0, object) of these lines, which can be used."""
        for number, line in self._lines.again(rows):
            yield number, json.loads(_decoded(line, first=number == 0))

    def texts(
        self, chosen: np.ndarray, columns: Sequence[str] = TEXT_COLUMNS
    ) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """(line numbers from 0, columns) of the chosen lines."""
        schema = pa.schema([(column, _type(column)) for column in columns])
        rows: list[int] = []
        records: list[dict[str, Any]] = []
        size = 0

        def batch() -> tuple[np.ndarray, pa.RecordBatch]:
            values = [pa.array([_value(r, c) for r in records], schema.field(c).type) for c in columns]
            return np.array(rows, dtype=np.int64), pa.RecordBatch.from_arrays(values, schema=schema)

        for number, record in self._records(np.flatnonzero(chosen)):
            rows.append(number)
            records.append(record)
            size += len(record["text"])
            if len(rows) >= BATCH_ROWS or size >= BATCH_BYTES:
                yield batch()
                rows, records, size = [], [], 0
        if rows:
            yield batch()


def _table(rows: Iterator[tuple[Any, ...]], columns: Sequence[str]) -> pa.Table:
    """A table of rows of Python objects, of which no more than `INDEX_ROWS` are there at once."""
    schema = pa.schema([(column, _type(column)) for column in columns])
    batches = []
    while some := list(itertools.islice(rows, INDEX_ROWS)):
        values = [pa.array(v, kind) for v, kind in zip(zip(*some, strict=True), schema.types, strict=True)]
        batches.append(pa.RecordBatch.from_arrays(values, schema=schema))
    return pa.Table.from_batches(batches, schema)
