"""Graph exports for tests: every trap of the tables in a few rows, written in either form."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyorc

from pipeline.sources.orc_process import CONVERTERS
from pipeline.sources.orc_writer import _TYPES, _values, write_orc
from pipeline.tables import GRAPH

FORMS = ("parquet", "orc")
URL = "https://example.org/a"
YEAR_1, YEAR_9999 = -62_135_596_800, 253_402_300_799
ODD_NAMES = (b"\xff\xfe", b"nul\0nul", b"a/b", b"", "é".encode(), b"x" * 4000)


def oid(name: object) -> str:
    return hashlib.sha1(repr(name).encode(), usedforsecurity=False).hexdigest()


def date(seconds: int | None, microseconds: int = 0) -> dict[str, int] | None:
    return None if seconds is None else {"seconds": seconds, "microseconds": microseconds}


def traps() -> dict[str, list[dict[str, Any]]]:
    """Rows of every table that the flow reads."""
    status = {"origin": URL, "type": "git"}
    revision = {"message": b"\xff", "date_offset": -480, "date_raw_offset_bytes": b"-0800", "type": "git"}
    entry = {"directory_id": oid("root"), "type": "file", "perms": 0o100644}
    content = {"sha256": "5" * 64, "blake2s256": "6" * 64, "length": 3, "status": "visible"}
    rows: dict[str, list[dict[str, Any]]] = {
        "origin": [{"id": oid(URL), "url": URL}] * 2,
        "origin_visit_status": [
            {**status, "visit": 1, "date": datetime(2020, 1, 1), "status": "created", "snapshot": None},
            {**status, "visit": 1, "date": datetime(2020, 1, 1, 0, 0, 1), "status": "full", "snapshot": oid("s")},
            {**status, "visit": 2, "date": datetime(9999, 12, 31, 23, 59, 59, 999999), "status": "failed", "snapshot": None},
            {**status, "visit": 3, "date": datetime(1, 1, 1), "status": "partial", "snapshot": oid("s").upper()},
            {**status, "visit": 4, "date": None, "status": "full", "snapshot": "short"},
        ],
        "snapshot_branch": [
            {"snapshot_id": oid("s"), "name": b"HEAD", "target": b"refs/heads/main".hex(), "target_type": "alias"},
            {"snapshot_id": oid("s"), "name": b"refs/heads/main", "target": oid("tag"), "target_type": "release"},
            {"snapshot_id": oid("s"), "name": b"\xff\0/", "target": oid("c"), "target_type": "content"},
            {"snapshot_id": oid("s"), "name": b"upper", "target": oid("c").upper(), "target_type": "content"},
            {"snapshot_id": "short", "name": b"n", "target": oid("c"), "target_type": "content"},
            {"snapshot_id": oid("s"), "name": None, "target": oid("c"), "target_type": "content"},
        ],
        "release": [{"id": oid("tag"), "target": oid("r0"), "target_type": "revision", "date": date(None)}],
        "revision": [
            {**revision, "id": oid(f"r{n}"), "directory": oid("root"), "date": date(*when), "committer_date": date(0)}
            for n, when in enumerate(
                [(YEAR_1,), (YEAR_9999, 999_999), (-1,), (-2, 999_999), (0,), (None,), (1 << 60, 1), (-(1 << 62),)]
            )
        ] + [{**revision, "id": oid("r8"), "directory": "none", "date": None, "committer_date": None}],
        "directory": [{"id": oid("root")}, {"id": oid("root").upper()}, {"id": oid("sub")}],
        "directory_entry": [
            *({**entry, "name": name, "target": oid(name)} for name in ODD_NAMES),
            {**entry, "name": b"link", "target": oid("l"), "perms": 0o120000},
            {**entry, "name": b"module", "type": "rev", "target": oid("m"), "perms": 0o160000},
            {**entry, "name": b"dir", "type": "dir", "target": oid("sub"), "perms": 0o40000},
            *[{**entry, "name": b"twice", "target": oid("t"), "perms": 0o100755}] * 3,
            {**entry, "name": b"bad", "target": oid("t").upper()},
            {**entry, "name": b"none", "target": None, "type": None, "perms": None},
            {**entry, "directory_id": "A" * 40, "name": b"x", "target": oid("t")},
            {**entry, "directory_id": oid("d")[:39], "name": b"x", "target": oid("t")},
        ],
        "content": [
            {**content, "sha1": oid(("sha1", n)), "sha1_git": oid(n)} for n in range(3)
        ] + [
            {**content, "sha1": "../secret", "sha1_git": oid("p")},
            {**content, "sha1": oid("h"), "sha1_git": oid("h"), "status": None, "blake2s256": None},
            {**content, "sha1": oid("n"), "sha1_git": oid("n"), "length": -1},
        ],
        "skipped_content": [
            {"sha1": None, "sha1_git": oid("big"), "sha256": None, "blake2s256": None, "length": 1 << 40, "reason": "large"},
            {"sha1": None, "sha1_git": None, "sha256": None, "blake2s256": None, "length": None, "reason": None},
        ],
    }  # fmt: skip
    return rows


def tables(rows: Mapping[str, list[dict[str, Any]]] | None = None) -> dict[str, pa.Table]:
    return {
        name: pa.Table.from_pylist(list(some), schema=GRAPH[name])
        for name, some in (traps() if rows is None else rows).items()
    }


def write(
    archive: Path,
    form: str,
    given: Mapping[str, pa.Table],
    *,
    export: str = "e",
    parts: int = 1,
    labels: Mapping[str, str] | None = None,
) -> Path:
    """Write tables as one export of an archive, in `parts` files each; columns are as given."""
    for name, table in given.items():
        folder = archive / "graph" / export / form / name
        folder.mkdir(parents=True, exist_ok=True)
        step = -(-max(1, table.num_rows) // parts)
        for number in range(parts):
            piece, path = table.slice(number * step, step), folder / f"{name}-{number:05d}.{form}"
            if form == "parquet":
                extra = {k.encode(): v.encode() for k, v in (labels or {}).items()}
                pq.write_table(piece.replace_schema_metadata(extra or None), path)
            elif labels or table.schema != GRAPH[name]:
                write_any_orc(piece, path, labels or {})
            else:
                write_orc(piece, path, name)
    (archive / "content").mkdir(exist_ok=True)
    return archive


def write_any_orc(table: pa.Table, path: Path, labels: Mapping[str, str], **options: Any) -> None:
    """An ORC file of any columns and labels."""
    columns = ",".join(f"{field.name}:{_TYPES[field.type]}" for field in table.schema)
    with (
        path.open("wb") as stream,
        pyorc.Writer(
            stream,
            f"struct<{columns}>",
            compression=pyorc.CompressionKind.ZSTD,
            converters=CONVERTERS,
            **options,
        ) as writer,
    ):
        writer.set_user_metadata(**{k: v.encode() for k, v in labels.items()})
        writer.writerows(zip(*(_values(c.combine_chunks()) for c in table.columns), strict=True))
