"""The process that decodes stripes of ORC files: requests on standard input, Arrow streams on standard output.

An ORC file has no checksums, and the native readers trust what it says: of 2,500 files with one flipped bit, 3 ended the
process that read them (pyarrow 26). So they run here, where that ends no worker; see orc.py for the other side.

A request is a line of JSON: uri, anonymous, key, size, stripe, columns (name -> plain | date | time), opening (stripes of
one opening share what was fetched). The answer is a line of JSON, `{"requests": n}` followed by an Arrow stream of the
columns, or `{"error": [class of pipeline.errors, message]}`.
"""

from __future__ import annotations

import json
import os
import sys
import zoneinfo
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyorc
from pyarrow import orc

from pipeline.engine.store import Store
from pipeline.errors import StackmillError
from pipeline.sources.block_file import BlockFile
from pipeline.tables import DATE

_ROWS = 65_536  # of dates that are Python objects at once
_BATCH_ROWS = 131_072  # of one message on the pipe
_MOST = (1 << 63) - 1


class Instants:
    """ORC timestamps as pairs of seconds since the epoch and nanoseconds: years 1 and 9999 are no datetimes in any zone."""

    @staticmethod
    def from_orc(seconds: int, nanoseconds: int, _zone: object) -> tuple[int, int]:
        """See pyorc.converters."""
        return seconds, nanoseconds

    @staticmethod
    def to_orc(pair: tuple[int, int], _zone: object) -> tuple[int, int]:
        """See pyorc.converters."""
        return pair


CONVERTERS: dict[pyorc.TypeKind, Any] = {pyorc.TypeKind.TIMESTAMP: Instants}


class Opened:
    """One ORC file, open in the readers that its columns need."""

    def __init__(self, store: Store, key: str, size: int) -> None:
        self.file = BlockFile(store, key, size)

    def stripe(self, number: int, columns: Mapping[str, str]) -> pa.Table:
        """The columns of one stripe: plain ones as the file has them, dates as `pipeline.tables.DATE`, times in microseconds."""
        plain = [name for name, kind in columns.items() if kind == "plain"]
        dated = [name for name, kind in columns.items() if kind != "plain"]
        found: dict[str, pa.Array | pa.ChunkedArray] = {}
        if plain:
            reader = orc.ORCFile(pa.PythonFile(self.file, mode="r"))
            for name in plain:  # one by one: what is decoded at once is held two or three times over
                found[name] = reader.read_stripe(number, columns=[name]).column(0)
        if dated:
            found |= self._dates(number, dated, columns)
        return pa.table({name: found[name] for name in columns})

    def _dates(self, number: int, names: list[str], kinds: Mapping[str, str]) -> dict[str, pa.ChunkedArray]:
        def reader(zone: str) -> pyorc.Stripe[Any]:
            self.file.seek(0)
            return pyorc.Reader(
                self.file, column_names=names, converters=CONVERTERS, timezone=zoneinfo.ZoneInfo(zone)
            ).read_stripe(number)

        stripe = reader("UTC")
        zone = stripe.writer_timezone
        if zone not in ("", "UTC", "GMT"):  # a stored time is that of the clock on the writer's wall
            stripe = reader(zone)
        order = [names.index(name) for name in names]
        chunks: dict[str, list[pa.Array]] = {name: [] for name in names}
        while rows := stripe.read(_ROWS):
            for name, place in zip(names, order, strict=True):
                chunks[name].append(_instants([row[place] for row in rows], kinds[name]))
        return {
            name: pa.chunked_array(chunks[name], type=DATE if kinds[name] == "date" else pa.timestamp("us"))
            for name in names
        }


def _instants(pairs: Sequence[tuple[int, int] | None], kind: str) -> pa.Array:
    missing = np.fromiter((pair is None for pair in pairs), bool, len(pairs))
    seconds = np.fromiter((0 if pair is None else pair[0] for pair in pairs), np.int64, len(pairs))
    micro = np.fromiter((0 if pair is None else pair[1] // 1000 for pair in pairs), np.int64, len(pairs))
    micro = np.clip(micro, 0, 999_999)
    if kind == "date":
        return pa.StructArray.from_arrays(
            [pa.array(seconds), pa.array(micro.astype(np.uint32))], fields=list(DATE), mask=pa.array(missing)
        )
    bounded = np.clip(
        seconds, -_MOST // 1_000_000, _MOST // 1_000_000 - 1
    )  # beyond every calendar either way
    return pa.array(bounded * 1_000_000 + micro, mask=missing).cast(pa.timestamp("us"))


def _answer(request: Mapping[str, Any], opened: dict[int, Opened], out: BinaryIO) -> None:
    name = request["opening"]
    if name not in opened:
        opened.clear()
        opened[name] = Opened(Store(request["uri"], request["anonymous"]), request["key"], request["size"])
    file = opened[name].file
    before = file.requests
    try:
        table = opened[name].stripe(request["stripe"], request["columns"])
    except Exception as error:  # noqa: BLE001 (a native reader raises what it likes; it becomes an answer)
        opened.clear()
        cause = file.failure or error
        known = isinstance(cause, StackmillError)
        said = (str(cause).splitlines() or [type(cause).__name__])[0]
        kind = type(cause).__name__ if known else "SourceError"
        out.write(
            json.dumps({"error": [kind, said if known else f"it is damaged ({said})"]}).encode() + b"\n"
        )
    else:
        out.write(json.dumps({"requests": file.requests - before}).encode() + b"\n")
        with pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table, max_chunksize=_BATCH_ROWS)
    out.flush()


def main() -> None:
    """Answer requests until standard input ends."""
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # what a library prints must not get between the answers
        opened: dict[int, Opened] = {}
        for line in sys.stdin.buffer:
            _answer(json.loads(line), opened, out)


if __name__ == "__main__":
    main()
