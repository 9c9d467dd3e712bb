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

A file is named by the SHA-256 of its bytes as they lie on the disk. It is hashed again whenever it is read to its end; bytes
that have changed in between are an error.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa

from training.corpus.sources import INDEX_COLUMNS, TEXT_COLUMNS
from training.errors import TrainingConfigError, TrainingDataError

if TYPE_CHECKING:
    from zstandard import ZstdDecompressionObj

UNKNOWN = "unknown"
"""The language of a row that names none."""

MAX_LINE_BYTES = 1 << 26
"""64 MiB: a longer line is left out; it is never held in memory."""

BATCH_ROWS, BATCH_BYTES = 1024, 1 << 25
"""A batch of texts is closed when it has so many rows or bytes."""

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

_KEPT = ["content_sha256", "language", "origin", "length_bytes", "path", "repo_name", "row_id"]
_FLAGS = ("is_vendor", "is_generated")
_STRINGS = {"content", "content_sha256", "content_id", "swhid", "row_id", *WORDS}
_RELEASE_ONLY = ("directory_id", "revision_id", "snapshot_id")


class _Hashed(io.RawIOBase):
    """The bytes of a file, hashed as they are read."""

    def __init__(self, file: io.FileIO) -> None:
        self.file, self.sha = file, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self.file.readinto(buffer)
        self.sha.update(memoryview(buffer)[:count])
        return count


class _Zstandard(io.RawIOBase):
    """The decompressed bytes of one or several frames; unlike the library's reader, an end inside a frame is an error.

    Input is taken in small pieces: the most that a hostile one can become is 128 MiB (a block of 128 KiB from 4 bytes).
    """

    PIECE = 1 << 12

    def __init__(self, source: BinaryIO) -> None:
        self.source, self.pending = source, memoryview(b"")
        self.frame: ZstdDecompressionObj | None = None
        self.left = b""  # after the end of a frame: the beginning of the next one

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        import zstandard

        while not self.pending:
            piece = self.left or self.source.read(self.PIECE)
            self.left = b""
            if not piece:
                if self.frame is not None:
                    raise EOFError("the file ends inside a compressed frame")
                return 0
            if self.frame is None:
                self.frame = zstandard.ZstdDecompressor().decompressobj()
            self.pending = memoryview(self.frame.decompress(piece))
            if self.frame.eof:
                self.left, self.frame = self.frame.unused_data, None
        count = min(len(buffer), len(self.pending))
        buffer[:count] = self.pending[:count]
        self.pending = self.pending[count:]
        return count


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, _Hashed]]:
    """The decompressed bytes of a file, and what counts its bytes on disk."""
    with path.open("rb", buffering=0) as file:
        magic = file.read(4)
        file.seek(0)
        raw = _Hashed(file)
        source = io.BufferedReader(raw, 1 << 20)
        if magic[:2] == b"\x1f\x8b":
            yield io.BufferedReader(gzip.GzipFile(fileobj=source), 1 << 20), raw
        elif magic == b"\x28\xb5\x2f\xfd":
            yield io.BufferedReader(_Zstandard(source), 1 << 20), raw
        else:
            yield source, raw
        while source.read(1 << 20):  # so that the digest is that of the whole file
            pass


def _lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Each line without its end; None for one that is too long."""
    while line := stream.readline(MAX_LINE_BYTES + 1):
        if line.endswith(b"\n"):
            yield line[:-1]
        elif len(line) <= MAX_LINE_BYTES:
            yield line  # the last one
        else:
            while (part := stream.readline(1 << 20)) and not part.endswith(b"\n"):
                pass
            yield None


def _problem_of(record: dict[str, Any]) -> str | None:
    """What is wrong with a JSON object, or None."""
    text = record.get("text")
    if not isinstance(text, str):
        return "no_text"
    if not text:
        return "empty_text"
    if isinstance(record.get("id"), int) and not isinstance(record["id"], bool):
        record["id"] = str(record["id"])
    for key in WORDS:
        value = record.get(key)
        if value is None:
            continue
        if not isinstance(value, str) or len(value) > MAX_WORD:
            return f"bad_{key}"
        if key == "language" and (not value.isprintable() or not value.strip() or len(value) > 100):
            return "bad_language"
    try:
        for key in ("text", *WORDS):
            (record.get(key) or "").encode()
    except UnicodeEncodeError:
        return "not_unicode"
    return None


def _parse(line: bytes | None, *, first: bool) -> tuple[str | None, dict[str, Any]]:
    """(problem, object) of a line."""
    if line is None:
        return "too_long", {}
    try:
        text = line.decode("utf-8-sig" if first else "utf-8")
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
    return _problem_of(record), record


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
    if column in WORDS:
        return record.get(column)
    if column == "content":
        return record["text"]
    if column in ("content_sha256", "row_id"):
        given = record.get("id") if column == "row_id" else None
        return given or hashlib.sha256(record["text"].encode()).hexdigest()
    if column in ("swhid", "content_id", "length_bytes"):
        body = record["text"].encode()
        if column == "length_bytes":
            return len(body)
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
        self.name, self.path, self.digest = name, Path(path), ""
        if not self.path.is_file():
            raise TrainingConfigError(f"sources: {name}: {path} is not a file; give a file of JSON lines")
        columns: dict[str, list[Any]] = {column: [] for column in (*_KEPT, "problem")}
        numbers: set[str] = set()
        keys: Counter[str] = Counter()
        for _, problem, record in self._records():
            for column in _KEPT:
                columns[column].append(None if problem else _value(record, column))
            columns["problem"].append(problem)
            if len(numbers) + len(keys) < 10_000:  # a file may have other keys in each line
                keys.update(record.keys())
                numbers.update(
                    k for k, v in record.items() if isinstance(v, int | float) and not isinstance(v, bool)
                )
        self.numbers = tuple(sorted({*numbers, "length_bytes"}))
        found = pa.table(
            {c: pa.array(v, _type(c) if c != "problem" else pa.string()) for c, v in columns.items()}
        )
        self.known = tuple(sorted(set(found["language"].drop_null().to_pylist())))
        if not self.known:
            raise TrainingDataError(self._nothing(columns["problem"], keys))
        wanted = set(languages) if languages is not None else set(self.known)
        self.languages = tuple(sorted(wanted & set(self.known)))
        self.missing = tuple(sorted(wanted - set(self.known)))
        problem_of = [
            problem or (None if language in wanted else "other_language")
            for problem, language in zip(columns["problem"], columns["language"], strict=True)
        ]
        self.problems: dict[str, tuple[int, int]] = {}
        for number, problem in enumerate(problem_of, start=1):
            if problem:
                count, first = self.problems.get(problem, (0, number))
                self.problems[problem] = count + 1, first
        self._index = found.set_column(
            found.schema.get_field_index("problem"), "problem", pa.array(problem_of, pa.string())
        )

    def _nothing(self, problems: Sequence[str | None], keys: Counter[str]) -> str:
        if not problems:
            return f"{self.path}: is empty; give a file of JSON objects, one a line, each with a `text`"
        each = ", ".join(
            f"{count} {problem}" for problem, count in sorted(Counter(map(str, problems)).items())
        )
        has = ", ".join(repr(key)[:40] for key, _ in keys.most_common(8))
        seen = f"; keys found: {has}" if has else ""
        return f"{self.path}: no line can be used ({each}); each must be a JSON object with a `text`{seen}"

    def _records(self) -> Iterator[tuple[int, str | None, dict[str, Any]]]:
        """(line number from 0, problem, object) of each line."""
        import zstandard

        number = -1
        try:
            with _opened(self.path) as (stream, raw):
                for number, line in enumerate(_lines(stream)):
                    yield (number, *_parse(line, first=number == 0))
            digest = raw.sha.hexdigest()
        except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
            raise TrainingDataError(
                f"{self.path}: damaged after line {number + 1}: {error}; fetch or compress it again"
            ) from error
        except OSError as error:
            raise TrainingDataError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        if self.digest not in ("", digest):
            raise TrainingDataError(
                f"{self.path}: has changed since it was first read (SHA-256 {digest}, was {self.digest})"
            )
        self.digest = digest

    def about(self) -> dict[str, Any]:
        """For the lineage; never the path."""
        return {
            "kind": "jsonl",
            "name": self.name,
            "file": self.path.name,
            "digest": self.digest,
            "lines": self._index.num_rows,
            "problems": {problem: count for problem, (count, _) in sorted(self.problems.items())},
            "languages": list(self.languages),
        }

    def index(self, columns: Sequence[str] = INDEX_COLUMNS) -> pa.Table:
        """All lines without their text, and the `problem` of each."""
        further = [column for column in columns if column not in _KEPT]
        found = self._index
        if further:
            values: dict[str, list[Any]] = {column: [] for column in further}
            for _, problem, record in self._records():
                for column in further:
                    values[column].append(None if problem else _value(record, column))
            for column in further:
                found = found.append_column(column, pa.array(values[column], _type(column)))
        return found.select([*columns, "problem"])

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

        for number, _, record in self._records():
            if number < len(chosen) and chosen[number]:
                rows.append(number)
                records.append(record)
                size += len(record["text"])
                if len(rows) >= BATCH_ROWS or size >= BATCH_BYTES:
                    yield batch()
                    rows, records, size = [], [], 0
        if rows:
            yield batch()
