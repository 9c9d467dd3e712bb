"""Benchmark files as parts to search for: JSON lines, JSON, Parquet, CSV, plain text; hostile ones are refused with their line.

The layout of records is told by their keys (`LAYOUTS`), unless the caller names the fields. A field is a text, or a list of
texts that are one text together; with `[]` behind its name every element is a part of its own (the many solutions of a task),
and a string that holds a JSON list is read as that list.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from pipeline.content.contamination import Part
from pipeline.errors import ConfigError

MAX_FILE_BYTES = 256 << 20
MAX_TEXT_BYTES = 512 << 20  # of an unpacked file
MAX_LINE_BYTES = 64 << 20
MAX_ITEMS = 1_000_000
_LONGEST_ID = 200  # characters: it is shown
_SHOWN = 80  # characters of a wrong value that a message repeats

RECORDS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet", ".csv")
"""Ends of the names of files that hold records; any other file is one text."""


@dataclass(frozen=True)
class Layout:
    """Records with all of these keys are of this layout."""

    name: str
    keys: tuple[str, ...]
    id: tuple[str, ...]
    """The keys that name an item together; empty: its number does."""
    fields: tuple[str, ...]


LAYOUTS = (
    Layout("HumanEval", ("task_id", "prompt", "canonical_solution", "test"), ("task_id",),
           ("prompt", "canonical_solution", "test")),
    Layout("MBPP", ("task_id", "text", "code", "test_list"), ("task_id",), ("text", "code", "test_list")),
    Layout("MBPP sanitized", ("task_id", "prompt", "code", "test_list"), ("task_id",), ("prompt", "code", "test_list")),
    Layout("BigCodeBench", ("task_id", "complete_prompt", "canonical_solution", "test"), ("task_id",),
           ("complete_prompt", "canonical_solution", "test")),
    Layout("APPS", ("problem_id", "question", "solutions"), ("problem_id",), ("question", "solutions[]")),
    Layout("LiveCodeBench", ("question_id", "question_content"), ("question_id",), ("question_content",)),
    Layout("MultiPL-E", ("name", "language", "prompt", "tests"), ("language", "name"), ("prompt", "tests")),
    Layout("DS-1000", ("prompt", "reference_code"), (), ("prompt", "reference_code")),
    Layout("GSM8K", ("question", "answer"), (), ("question", "answer")),
)  # fmt: skip
"""Benchmarks as they are published; the first whose keys a record has counts."""


def parts_of(
    benchmark: str,
    data: bytes,
    where: str,
    *,
    fields: tuple[str, ...] = (),
    id_key: str | None = None,
    item: str = "text",
) -> Iterator[tuple[Part, str]]:
    """The parts of one file; `where` is its name. `fields` and `id_key`: instead of the layout's. `item`: of a plain text.

    Raises ConfigError naming the file, the line and the key.
    """
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(
            f"{where}: has {len(data):,} bytes, a benchmark file may have {MAX_FILE_BYTES:,}: split it"
        )
    if not where.endswith(RECORDS):
        text = data.decode("utf-8", "replace")
        yield Part(benchmark, _id(item, where), "text"), text
        return
    seen: dict[str, str] = {}
    wanted = fields
    found: set[str] = set()
    layout = None
    for place, record in _records(data, where):
        if len(seen) == MAX_ITEMS:
            raise ConfigError(f"{where}: has more than {MAX_ITEMS:,} records; split it")
        if layout is None:
            layout = _layout(record, place, fields, id_key)
            wanted = layout.fields
        identity = _identity(record, layout, place, len(seen))
        if identity in seen:
            raise ConfigError(
                f"{place}: the id {identity!r} came before, at {seen[identity]}; every item has an id of its own:"
                " give another key as `id`, or remove one of the two"
            )
        seen[identity] = place
        empty = True
        for name in wanted:
            for field, text in _texts(record, name, place):
                found.add(name)
                empty = False
                yield Part(benchmark, identity, field), text
        if empty:  # told as one that cannot be searched for
            yield Part(benchmark, identity, wanted[0].removesuffix("[]")), ""
    if not seen:
        raise ConfigError(f"{where}: holds no record; is it the right file?")
    absent = [name for name in fields if name not in found]
    if absent:
        raise ConfigError(
            f"{where}: no record has a text as {absent[0]!r}; write other `fields`, or leave them out"
        )


def _layout(record: Mapping[str, Any], place: str, fields: tuple[str, ...], id_key: str | None) -> Layout:
    known = next((one for one in LAYOUTS if all(key in record for key in one.keys)), None)
    keys = ", ".join(repr(key)[:_SHOWN] for key in list(record)[:20])
    if known is None and not fields:
        names = ", ".join(layout.name for layout in LAYOUTS)
        raise ConfigError(
            f"{place}: no known layout has these keys: {keys}; known are {names}; of another benchmark name the"
            " keys that hold its texts, as in `fields: [prompt, solution]`"
        )
    if id_key is not None and id_key not in record:
        raise ConfigError(f"{place}: has no key {id_key!r} (`id`); it has: {keys}")
    default = known.id if known is not None else ("task_id",) if "task_id" in record else ()
    return Layout(
        name=known.name if known else "",
        keys=(),
        id=(id_key,) if id_key is not None else default,
        fields=fields or (known.fields if known is not None else ()),
    )


def _identity(record: Mapping[str, Any], layout: Layout, place: str, number: int) -> str:
    if not layout.id:
        return f"#{number + 1}"
    values = []
    for key in layout.id:
        value = record.get(key)
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ConfigError(f"{place}: {key!r} must be a text or a whole number, not {_shown(value)}")
        values.append(str(value))
    return _id("/".join(values), f"{place}: {layout.id[0]!r}")


def _id(value: str, where: str) -> str:
    if not value or len(value) > _LONGEST_ID or not value.isprintable():
        raise ConfigError(
            f"{where}: an id must have 1 to {_LONGEST_ID} printable characters, not {value[:_SHOWN]!r}"
        )
    return value


def _texts(record: Mapping[str, Any], name: str, place: str) -> Iterator[tuple[str, str]]:
    key = name.removesuffix("[]")
    value = record.get(key)
    if name.endswith("[]") and isinstance(value, str) and value.lstrip().startswith("["):
        value = _json(value, f"{place}: {key!r}")
    if value is None:
        return
    if isinstance(value, str):
        yield key, value
        return
    if not isinstance(value, list) or any(not isinstance(one, str) for one in value):
        raise ConfigError(f"{place}: {key!r} must be a text or a list of texts, not {_shown(value)}")
    if not name.endswith("[]"):
        yield key, "\n".join(value)
        return
    for number, text in enumerate(value):
        yield f"{key}[{number}]", text


def _shown(value: Any) -> str:
    if isinstance(value, list):
        kinds = sorted({type(one).__name__ for one in value})
        return f"a list of {' and '.join(kinds)}" if kinds else "an empty list"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= _SHOWN else text[:_SHOWN] + '...'}"


# ------------------------------------------------------------------------------------------------------------- records


def _records(data: bytes, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where a record is (file and line or row), and the record."""
    if where.endswith(".parquet"):
        yield from _rows(_parquet(data, where), where)
        return
    if where.endswith(".gz"):
        data = _unpacked(data, where)
    data = data.removeprefix(b"\xef\xbb\xbf")
    if where.endswith(".csv"):
        yield from _rows([_csv(data, where)], where)
    elif where.removesuffix(".gz").endswith(".json"):
        found = _json(_decoded(data, where), where)
        if not isinstance(found, list):
            raise ConfigError(f"{where}: must be a JSON list of records; name JSON lines .jsonl")
        for number, record in enumerate(found, 1):
            yield _record(record, f"{where}: record {number}")
    else:
        for number, line in enumerate(_lines(data), 1):
            place = f"{where}:{number}"
            if len(line) > MAX_LINE_BYTES:
                raise ConfigError(
                    f"{place}: a line of {len(line):,} bytes, it may have {MAX_LINE_BYTES:,}; is it JSON lines?"
                )
            if line.strip():
                yield _record(_json(_decoded(line, place), place), place)


def _lines(data: bytes) -> Iterator[bytes]:
    """Lines one after the other: a list of all of them would hold the file twice."""
    stream = io.BytesIO(data)
    while line := stream.readline():
        yield line


def _record(value: Any, place: str) -> tuple[str, Mapping[str, Any]]:
    if not isinstance(value, dict):
        raise ConfigError(f"{place}: must be an object with keys, not {_shown(value)}")
    return place, value


def _decoded(data: bytes, place: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{place}: is not UTF-8: byte {error.start + 1} ({error.reason})") from None


def _json(text: str, place: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{place}: not valid JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ConfigError(f"{place}: not valid JSON: too many brackets in one another") from None
    except ValueError as error:
        raise ConfigError(f"{place}: not valid JSON: {error}") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:_SHOWN]!r} is given twice")
    return found


def _unpacked(data: bytes, where: str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            found = stream.read(MAX_TEXT_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"{where}: cannot be unpacked: {error}; fetch it again") from None
    if len(found) > MAX_TEXT_BYTES:
        raise ConfigError(f"{where}: unpacks to more than {MAX_TEXT_BYTES:,} bytes; split it")
    return found


def _parquet(data: bytes, where: str) -> Iterator[pa.Table]:
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            size = sum(file.metadata.row_group(n).total_byte_size for n in range(file.num_row_groups))
            if size > MAX_TEXT_BYTES:
                raise ConfigError(f"{where}: unpacks to more than {MAX_TEXT_BYTES:,} bytes; split it")
            for group in range(file.num_row_groups):
                yield file.read_row_group(group, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{where}: not a readable Parquet file: {error}") from None


def _csv(data: bytes, where: str) -> pa.Table:
    head = data[: 1 << 20].split(b"\n", 1)[0].decode("utf-8", "replace").rstrip("\r")
    names = next(csv.reader([head]), [])
    if len(set(names)) != len(names):
        raise ConfigError(f"{where}:1: a column is named twice")
    try:
        return arrow_csv.read_csv(
            pa.BufferReader(data),
            read_options=arrow_csv.ReadOptions(use_threads=False),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except pa.ArrowException as error:
        raise ConfigError(f"{where}: not a readable CSV file: {error}") from None


def _rows(tables: Iterable[pa.Table], where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    number = 0
    for table in tables:
        if len(set(table.column_names)) != len(table.column_names):
            raise ConfigError(f"{where}: a column is named twice")
        for batch in table.to_batches(max_chunksize=1_000):
            for record in batch.to_pylist():
                number += 1
                yield f"{where}: row {number}", record
