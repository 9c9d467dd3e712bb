"""Writing an archive in Software Heritage's layout: gzip objects as they come, the graph tables at the end.

    <archive>/content/<sha1>                                         one gzip object per content
    <archive>/graph/<export>/parquet/<table>/<table>-00000.parquet   the tables of `pipeline.tables.GRAPH`
    <archive>/graph/<export>/orc/<table>/<table>-00000.orc           the same in the form of public exports, if asked for
    <archive>/graph/<export>/archive.json                            the marker: counts, digests, build inputs

An object is written under a temporary name and renamed, and an existing one is left alone. The whole
`graph/<export>` folder, marker and all, is made in a scratch folder and renamed last: an interrupted build
leaves no export, or the previous one, and the next build finds the objects that are already there. An object
that no export names any more stays: the content folder may be shared with exports that we did not write.
One build at a time per archive, held by a lock on `<archive>/.lock`; what a killed build left is swept up.

Same calls, in any order and from any number of threads, same table bytes: rows are sorted by their full key
and de-duplicated. Bodies never accumulate; what does is a row of metadata per object.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import os
import shutil
import stat
import threading
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, SourceError
from pipeline.sources import swhid
from pipeline.sources.archive_summary import MARKER, ArchiveSummary, marker_text, table_path
from pipeline.sources.orc_writer import write_orc
from pipeline.tables import GRAPH

MAX_CONTENT_BYTES = 100_000_000
"""Larger files are recorded in `skipped_content` and not stored: Software Heritage's own limit."""

_GZIP_LEVEL = 1  # a local archive is read once or twice; level 6 is 3x slower for 10 % fewer bytes
_GZIP_WBITS = 31  # zlib's sign for "gzip header and trailer"; it writes mtime 0 and no name
_CHUNK_BYTES = 1 << 20
_ROWS_PER_BATCH = 1 << 15
_LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59Z, the last that a visit date can hold

_KEYS: dict[str, tuple[str, ...]] = {
    "origin": ("id", "url"),
    "origin_visit": ("origin", "visit"),
    "origin_visit_status": ("origin", "visit", "status", "snapshot"),
    "snapshot": ("id",),
    "snapshot_branch": ("snapshot_id", "name"),
    "release": ("id",),
    "revision": ("id",),
    "revision_history": ("id", "parent_rank"),
    "revision_extra_headers": ("id", "key", "value"),
    "directory": ("id",),
    "directory_entry": ("directory_id", "name", "type", "target", "perms"),
    "content": ("sha1_git", "sha256", "sha1", "blake2s256"),
    "skipped_content": ("sha1_git", "sha256", "reason"),
}
"""Table -> the columns that it is sorted by and unique in."""


class _Rows:
    """The rows of one table: a list that is packed into Arrow batches as it grows."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._rows: list[tuple[Any, ...]] = []
        self._batches: list[pa.RecordBatch] = []

    def extend(self, rows: Iterable[tuple[Any, ...]]) -> None:
        self._rows.extend(rows)
        if len(self._rows) >= _ROWS_PER_BATCH:
            self._pack()

    def _pack(self) -> None:
        columns = zip(*self._rows, strict=True)
        arrays = [pa.array(column, type=f.type) for column, f in zip(columns, self._schema, strict=True)]
        self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._rows = []

    def table(self, keys: tuple[str, ...]) -> pa.Table:
        """All rows, sorted by `keys`, the first of each key."""
        if self._rows:
            self._pack()
        table = pa.Table.from_batches(self._batches, schema=self._schema)
        if table.num_rows == 0:
            return table
        # Nulls sort last and equal each other, which is what de-duplication needs.
        table = table.take(pc.sort_indices(table, sort_keys=[(key, "ascending") for key in keys]))
        same = None
        for key in keys:
            column = table[key].combine_chunks()
            before, after = column[:-1], column[1:]
            equal = pc.or_(
                pc.fill_null(pc.equal(before, after), False), pc.and_(pc.is_null(before), pc.is_null(after))
            )
            same = equal if same is None else pc.and_(same, equal)
        first = pa.concat_arrays([pa.array([True]), pc.invert(same)])
        return table.filter(first)


class ArchiveWriter:
    """Collects origins with all that they hold, and publishes them as one export of an archive.

    `add_*` methods may be called from several threads; `finish` once, at the end. To be used as a context
    manager: when the block fails, nothing is left but finished objects.
    """

    def __init__(
        self,
        archive: Path,
        export: str = "local",
        *,
        max_content_bytes: int = MAX_CONTENT_BYTES,
        forms: Sequence[str] = ("parquet",),
    ) -> None:
        check_export_name(export)
        self.forms = tuple(forms)
        self.archive = archive
        self.export = export
        self.max_content_bytes = max_content_bytes
        self.left_out: Counter[str] = Counter()
        self.files = 0
        self._rows = {name: _Rows(schema) for name, schema in GRAPH.items()}
        self._seen: set[tuple[str, str]] = set()
        self._content_bytes = 0
        self._lock = threading.Lock()
        self._serial = itertools.count()
        self._scratch = archive / ".scratch"
        try:
            (archive / "content").mkdir(parents=True, exist_ok=True)
            (archive / "graph").mkdir(exist_ok=True)
            self._lock_file = _lock(archive)
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch.mkdir()
            with os.scandir(archive / "content") as entries:
                # An object is never empty; a machine that lost power can leave one that is.
                self._objects = {entry.name for entry in entries if entry.stat().st_size > 0}
        except OSError as error:
            raise SourceError(_cannot_write(archive, error)) from error

    # ---------------------------------------------------------------------------------------------- objects

    def add_content(self, body: bytes) -> swhid.ContentHashes:
        """Store one content, unless it is there or too large; returns its hashes."""
        hashes = swhid.hash_content(body)
        if hashes.length > self.max_content_bytes:
            self._skip(hashes)
        elif self._claim("content", hashes.sha1_git):
            self._store(hashes.sha1, body)
            with self._lock:
                self._rows["content"].extend([(*hashes, "visible")])
                self._content_bytes += hashes.length
        return hashes

    def add_file(self, path: bytes, size: int) -> swhid.ContentHashes:
        """Store the content of a regular file of `size` bytes without following a symbolic link.

        OSError when it cannot be read, is not a regular file, or changes its size under our hands.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as stream:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise OSError(f"not a regular file: {os.fsdecode(path)!r}")
            if size <= self.max_content_bytes:
                body = stream.read(size + 1)
                while 0 < len(body) < size:  # an unbuffered read may return less than was asked for
                    more = stream.read(size + 1 - len(body))
                    if not more:
                        break
                    body += more
                if len(body) != size:
                    raise OSError(f"changed while it was read: {os.fsdecode(path)!r}")
                return self.add_content(body)
            return self.add_large(iter(lambda: stream.read(_CHUNK_BYTES), b""), size)

    def add_large(self, chunks: Iterable[bytes], size: int) -> swhid.ContentHashes:
        """Record a content that is too large to be stored; it is hashed and forgotten chunk by chunk."""
        hasher = swhid.ContentHasher(size)
        for chunk in chunks:
            hasher.update(chunk)
        try:
            hashes = hasher.result()
        except ValueError as error:
            raise OSError(f"changed while it was read: {error}") from error
        self._skip(hashes)
        return hashes

    def _skip(self, hashes: swhid.ContentHashes) -> None:
        reason = f"larger than {self.max_content_bytes} bytes"
        with self._lock:
            self._rows["skipped_content"].extend([(*hashes, "absent", reason)])

    def _claim(self, kind: str, object_id: str) -> bool:
        """True for the first caller with this object."""
        with self._lock:
            if (kind, object_id) in self._seen:
                return False
            self._seen.add((kind, object_id))
            return True

    def knows(self, kind: str, object_id: str) -> bool:
        """Whether a content, directory, revision, release, snapshot or origin was added before."""
        return (kind, object_id) in self._seen

    def _store(self, sha1: str, body: bytes) -> None:
        if sha1 in self._objects:
            return
        target = self.archive / "content" / sha1
        temporary = self._scratch / f"object-{next(self._serial)}"
        try:
            temporary.write_bytes(zlib.compress(body, _GZIP_LEVEL, _GZIP_WBITS))
            temporary.replace(target)
        except OSError as error:
            raise SourceError(_cannot_write(target, error)) from error

    # ------------------------------------------------------------------------------------------------ graph

    def add_directory(
        self, entries: Iterable[swhid.Entry], *, directory_id: str = "", raw_manifest: bytes | None = None
    ) -> str:
        """Add a directory; its id is computed unless given (with the raw manifest if that is unusual)."""
        entries = list(entries)
        directory_id = directory_id or swhid.directory_id(entries)
        if self._claim("directory", directory_id):
            rows = [(directory_id, e.name, e.type, e.target, e.perms) for e in entries]
            with self._lock:
                self._rows["directory"].extend([(directory_id, raw_manifest)])
                self._rows["directory_entry"].extend(rows)
        return directory_id

    def add_revision(self, revision: swhid.Revision, revision_id: str = "") -> str:
        """Add a revision; returns its id."""
        r, rid = revision, revision_id or revision.id
        if self._claim("revision", rid):
            author = (_person(r.author), *_date_columns(r.date))
            committer = (_person(r.committer), *_date_columns(r.committer_date))
            row = (rid, r.message, *author, *committer, r.directory, r.type, r.raw_manifest)
            with self._lock:
                self._rows["revision"].extend([row])
                self._rows["revision_history"].extend((rid, p, rank) for rank, p in enumerate(r.parents))
                self._rows["revision_extra_headers"].extend((rid, k, v) for k, v in r.extra_headers)
        return rid

    def add_release(self, release: swhid.Release, release_id: str = "") -> str:
        """Add a release; returns its id."""
        r, rid = release, release_id or release.id
        if self._claim("release", rid):
            author = (_person(r.author), *_date_columns(r.date))
            row = (rid, r.name, r.message, r.target, r.target_type, *author, r.raw_manifest)
            with self._lock:
                self._rows["release"].extend([row])
        return rid

    def add_snapshot(self, branches: Mapping[bytes, swhid.Branch | None]) -> str:
        """Add a snapshot; returns its id. Dangling branches are in the id but have no row, as in exports."""
        snapshot_id = swhid.snapshot_id(dict(branches))
        if self._claim("snapshot", snapshot_id):
            rows = []
            for name, branch in branches.items():
                if branch is not None:
                    target = branch.target.hex() if isinstance(branch.target, bytes) else branch.target
                    rows.append((snapshot_id, name, target, branch.target_type))
            with self._lock:
                self._rows["snapshot"].extend([(snapshot_id,)])
                self._rows["snapshot_branch"].extend(rows)
        return snapshot_id

    def check_origin(self, url: str) -> None:
        """ConfigError if an origin with this URL was added before; for a source to ask before it works."""
        if self.knows("origin", url):
            raise ConfigError(f"two inputs have the origin URL {url!r}; give one of them another (URL=PATH)")

    def add_origin(self, url: str, snapshot_id: str, *, seconds: int, visit_type: str) -> None:
        """Add an origin with one full visit at `seconds` since the epoch. ConfigError if it came before."""
        self.check_origin(url)
        self._claim("origin", url)
        date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=min(max(seconds, 0), _LAST_SECOND))
        naive = date.replace(tzinfo=None)
        with self._lock:
            self._rows["origin"].extend([(swhid.origin_id(url), url)])
            self._rows["origin_visit"].extend([(url, 1, naive, visit_type)])
            self._rows["origin_visit_status"].extend([(url, 1, naive, "full", snapshot_id, visit_type)])

    # --------------------------------------------------------------------------------------------- publish

    def finish(self, inputs_digest: str = "") -> ArchiveSummary:
        """Write the tables and the marker, and publish them in one rename."""
        target = self.archive / "graph" / self.export
        temporary, old = self._scratch / "new", self._scratch / "old"
        try:
            tables: dict[str, dict[str, dict[str, int | str]]] = {form: {} for form in self.forms}
            for name in GRAPH:
                rows = self._rows[name].table(_KEYS[name])
                for form in self.forms:
                    tables[form][name] = _write_table(temporary, name, form, rows)
            summary = ArchiveSummary(
                archive=str(self.archive),
                export=self.export,
                origins=int(tables[self.forms[0]]["origin"]["rows"]),
                files=self.files,
                contents=int(tables[self.forms[0]]["content"]["rows"]),
                content_bytes=self._content_bytes,
                left_out=dict(sorted(self.left_out.items())),
                tables=tables.get("parquet", {}),
                orc_tables=tables.get("orc", {}),
                inputs_digest=inputs_digest,
            )
            (temporary / MARKER).write_text(marker_text(summary), encoding="utf-8")
            os.sync()  # one flush for all objects and tables, before the rename that declares them complete
            if target.exists():
                target.rename(old)
            temporary.rename(target)
        except OSError as error:
            raise SourceError(_cannot_write(target, error)) from error
        return summary

    def __enter__(self) -> ArchiveWriter:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)
        os.close(self._lock_file)


def _write_table(folder: Path, name: str, form: str, table: pa.Table) -> dict[str, int | str]:
    path = table_path(folder, name, form)
    path.parent.mkdir(parents=True)
    if form == "orc":
        write_orc(table, path, name)
    else:
        pq.write_table(table, path, compression="zstd", row_group_size=1 << 18, write_page_checksum=True)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"rows": table.num_rows, "bytes": path.stat().st_size, "sha256": digest}


def check_export_name(export: str) -> None:
    """ConfigError unless `export` is one plain folder name."""
    if not export or export.startswith(".") or not all(c.isalnum() or c in "-_." for c in export):
        raise ConfigError(f"--export {export!r}: use letters, digits, '-', '_' and '.', not first a dot")


def _lock(archive: Path) -> int:
    descriptor = os.open(archive / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise SourceError(f"{archive}: another process is building this archive; wait for it") from error
        raise
    return descriptor


def _person(fullname: bytes | None) -> bytes | None:
    """People are pseudonymised as in public exports: the SHA-256 of the full name."""
    return None if fullname is None else hashlib.sha256(fullname).digest()


def _date_columns(date: swhid.Timestamp | None) -> tuple[dict[str, int] | None, int | None, bytes | None]:
    if date is None or not -(1 << 63) <= date.seconds < 1 << 63:
        return None, None, None
    return {"seconds": date.seconds, "microseconds": 0}, date.offset_minutes, date.offset


def _cannot_write(path: Path, error: OSError) -> str:
    return f"cannot write the archive at {path}: {error.strerror or error}"
