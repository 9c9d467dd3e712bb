"""A release without its texts: the same rows and shards, each with what finds and checks its bytes elsewhere.

    view.json               canonical JSON: of which release it is, and every file with its SHA-256, size and rows
    README.md  SHA256SUMS   for people; for `sha256sum -c`
    source/manifest.json    the release's own manifest: its SHA-256 is the release's digest
    source/config.yaml      the release's configuration: by what rules its texts were redacted
    data/...                the release's shards without `content`; of `redactions` the kinds

The source's manifest has a Merkle root over the (row id, content_sha256) of every shard. So whoever trusts a
release's digest can check that these are its rows, all of them, and that a text is the right one. The other
columns are bound by view.json alone, until their texts are there again: then a whole shard has the bytes of
the release's. Where a redaction lies is left out on purpose: with the original one fetch away, it would be a
list of secrets.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests import canonical, fields, names
from manifests.checksums import format_sums, sha256_file
from manifests.errors import ManifestError, ManifestsError, ReleaseError
from manifests.manifest import Manifest
from manifests.merkle import ids_leaf_hashes, root_of
from manifests.reader import Release, read_bounded
from manifests.schema import DATA, IDS
from manifests.shards import SHARD_WRITER_OPTIONS, sync

FORMAT = "stackmill-ids-view"
VERSION = 1
VIEW = "view.json"
SOURCE_MANIFEST = "source/manifest.json"
SOURCE_CONFIG = "source/config.yaml"

MAX_LENGTH = 1 << 30
"""Bytes of the largest original that is fetched: a hundred times the default limit of a release."""

IDS_ROWS = pa.schema(
    [
        pa.field("redaction_kinds", pa.list_(pa.string()), nullable=False)
        if field.name == "redactions"
        else field
        for field in DATA
        if field.name != "content"
    ]
)
"""A row of a release without its text. `redaction_kinds`: distinct, sorted."""

_KEPT = [name for name in IDS_ROWS.names if name != "redaction_kinds"]
_OPTIONS: dict[str, Any] = {
    **SHARD_WRITER_OPTIONS,
    "use_dictionary": [
        *(path for path in SHARD_WRITER_OPTIONS["use_dictionary"] if not path.startswith("redactions.")),
        "redaction_kinds.list.element",
    ],
}

LEFT_OUT = pa.schema(
    [
        ("row_id", pa.string()),
        ("swhid", pa.string()),
        (
            "reason",
            pa.string(),
        ),  # missing | corrupt | too_large | failed | undecodable | text_differs | withdrawn
        ("detail", pa.string()),
    ]
)
"""A row whose text could not be had again."""

TEXTS = pa.schema(
    [
        ("content", pa.string()),  # null: there is a reason
        ("redactions", DATA.field("redactions").type),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
"""What a source of texts says of the rows that it is asked for, in their order."""


@dataclass(frozen=True)
class ViewShard:
    """What `view.json` says of a shard."""

    path: str
    language: str
    sha256: str
    bytes: int
    rows: int


def write_view(release: Release, staging: Path) -> str:
    """Write the view of a release into the empty folder `staging`; returns the SHA-256 of its `view.json`.

    Raises `ReleaseError` for a shard that is missing or altered; `OSError` as the file system does. The bytes depend on the
    release alone. Memory: one row group without texts.
    """
    shards = []
    for shard in release.shards():
        target = staging / shard.path
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_shard(release.check_shard(shard), target, f"{release.directory}: {shard.path}")
        digest, size = sha256_file(target)
        shards.append(
            ViewShard(path=shard.path, language=shard.language, sha256=digest, bytes=size, rows=shard.rows)
        )
    manifest = read_bounded(release.directory / names.MANIFEST, canonical.MAX_BYTES)
    if hashlib.sha256(manifest).hexdigest() != release.digest:
        raise ReleaseError(f"{release.directory}: {names.MANIFEST} has changed meanwhile")
    config = read_bounded(release.directory / names.CONFIG_FILE, canonical.MAX_BYTES)
    texts = {SOURCE_MANIFEST: manifest, SOURCE_CONFIG: config, names.CARD: _card(release)}
    for path, data in texts.items():
        (staging / path).parent.mkdir(exist_ok=True)
        _write(staging / path, data)
    view = canonical.dumps(
        {
            "format": FORMAT,
            "schema_version": VERSION,
            "source": {
                "name": release.manifest.name,
                "version": release.manifest.version,
                "digest": release.digest,
            },
            "shards": [vars(shard) for shard in shards],
            "files": [
                {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
                for path, data in sorted(texts.items())
            ],
        }
    )
    _write(staging / VIEW, view)
    digest = hashlib.sha256(view).hexdigest()
    sums = {
        VIEW: digest,
        **{shard.path: shard.sha256 for shard in shards},
        **{path: hashlib.sha256(data).hexdigest() for path, data in texts.items()},
    }
    _write(staging / names.CHECKSUMS, format_sums(sums))
    return digest


def _write(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    sync(file)


def _write_shard(source: Path, target: Path, where: str) -> None:
    try:
        with (
            pq.ParquetFile(source, page_checksum_verification=True) as parquet,
            pq.ParquetWriter(target, IDS_ROWS, **_OPTIONS) as writer,
        ):
            if not parquet.schema_arrow.equals(DATA):
                raise ReleaseError(f"{where} does not have the columns of a shard")
            for number in range(parquet.num_row_groups):
                group = parquet.read_row_group(number, columns=[*_KEPT, "redactions"])
                kinds = kinds_of(group.column("redactions"))
                arrays = [
                    kinds if name == "redaction_kinds" else group.column(name) for name in IDS_ROWS.names
                ]
                table = pa.Table.from_arrays(arrays, schema=IDS_ROWS).combine_chunks()
                writer.write_table(table, row_group_size=max(1, table.num_rows))
    except pa.ArrowException as error:
        raise ReleaseError(f"{where} cannot be read as Parquet: {error}") from error
    sync(target)


def kinds_of(redactions: pa.ChunkedArray) -> pa.Array:
    """The kinds of each row's redactions, distinct and sorted."""
    rows = [sorted({span["kind"] for span in spans}) for spans in redactions.to_pylist()]
    return pa.array(rows, pa.list_(pa.string()))


class IdsView:
    """A view, opened for reading: `view.json` and the source's manifest are read, and checked against each other."""

    def __init__(
        self,
        directory: Path,
        source: Manifest,
        source_digest: str,
        shards: tuple[ViewShard, ...],
        files: Mapping[str, tuple[str, int]],
    ) -> None:
        self.directory, self.source, self.source_digest = directory, source, source_digest
        self.shards, self._files = shards, files

    @classmethod
    def open(cls, directory: str | Path) -> IdsView:
        """Raises `ReleaseError` for what is no view, or not one of the release that it names."""
        folder = Path(directory)
        if not (folder / VIEW).is_file():
            raise ReleaseError(
                f"{folder} is not an ids-only view: it has no {VIEW}; `pipeline view ids` makes one"
            )
        try:
            digest, shards, files = _parse(read_bounded(folder / VIEW, canonical.MAX_BYTES))
            listed = _plain(folder, SOURCE_MANIFEST)
            manifest = read_bounded(listed, canonical.MAX_BYTES)
            if hashlib.sha256(manifest).hexdigest() != digest:
                raise ReleaseError(f"{folder}: {SOURCE_MANIFEST} is not that of the release {digest[:16]}...")
            source = Manifest.parse(manifest)
        except ManifestsError as error:
            raise ReleaseError(f"{folder}: {error}") from error
        wanted = [(shard.path, shard.language, shard.rows) for shard in source.shards]
        if wanted != [(shard.path, shard.language, shard.rows) for shard in shards]:
            raise ReleaseError(f"{folder}: the shards are not those of the release {digest[:16]}...")
        return cls(folder, source, digest, shards, files)

    def config(self) -> bytes:
        """The configuration of the release, checked against the release's manifest."""
        data = read_bounded(_plain(self.directory, SOURCE_CONFIG), canonical.MAX_BYTES)
        listed = self.source.listed().get(names.CONFIG_FILE)
        if listed is None or hashlib.sha256(data).hexdigest() != listed.sha256:
            raise ReleaseError(f"{self.directory}: {SOURCE_CONFIG} is not that of the release")
        return data

    def rows(self, shard: ViewShard) -> pa.Table:
        """The rows of a shard, schema `IDS_ROWS`: of the checksum that `view.json` has, and of the release's Merkle root.

        Raises `ReleaseError` naming the shard.
        """
        where = f"{self.directory}: {shard.path}"
        file = _plain(self.directory, shard.path)
        if sha256_file(file) != (shard.sha256, shard.bytes):
            raise ReleaseError(f"{where} is not the file that {VIEW} describes; fetch it again")
        try:
            with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
                if not parquet.schema_arrow.equals(IDS_ROWS):
                    raise ReleaseError(f"{where} does not have the columns of an ids-only view")
                table = parquet.read()
                table.validate(full=True)
        except (pa.ArrowException, OSError) as error:
            raise ReleaseError(f"{where} cannot be read as Parquet: {error}") from error
        _check_keys(table, where)
        if table.num_rows != shard.rows:
            raise ReleaseError(f"{where} has {table.num_rows:,} rows, {VIEW} says {shard.rows:,}")
        ids = pa.Table.from_arrays(
            [
                table.column("row_id"),
                table.column("content_sha256"),
                pa.repeat(pa.scalar(shard.path, pa.string()), table.num_rows),
                pa.array(range(table.num_rows), pa.int64()),
            ],
            schema=IDS,
        )
        root = next(one.merkle_root for one in self.source.shards if one.path == shard.path)
        if root_of(ids_leaf_hashes(ids)).hex() != root:
            raise ReleaseError(f"{where}: the rows are not those of the release {self.source_digest[:16]}...")
        return table

    def check(self) -> Iterator[str]:
        """Yield what is wrong with the view: its set of files, their bytes, and that its rows are the release's."""
        listed = {VIEW, names.CHECKSUMS, *self._files, *(shard.path for shard in self.shards)}
        present = set()
        for folder, _, files in os.walk(self.directory):
            for name in files:
                path = (Path(folder) / name).relative_to(self.directory).as_posix()
                present.add(path)
                if path not in listed:
                    yield f"{ascii(path)[:200]} is not part of the view"
        for path in sorted(listed - present):
            yield f"{path} is missing"
        sums = {path: digest for path, (digest, _) in self._files.items()}
        for path, facts in sorted(self._files.items()):
            if path in present:
                try:
                    if sha256_file(_plain(self.directory, path)) != facts:
                        yield f"{path} is not the file that {VIEW} describes"
                except ReleaseError as error:
                    yield str(error)
        for shard in self.shards:
            sums[shard.path] = shard.sha256
            if shard.path in present:
                try:
                    self.rows(shard)
                except ReleaseError as error:
                    yield str(error)
        if names.CHECKSUMS in present:
            sums[VIEW] = sha256_file(self.directory / VIEW)[0]
            if read_bounded(self.directory / names.CHECKSUMS, canonical.MAX_BYTES) != format_sums(sums):
                yield f"{names.CHECKSUMS} is not that of {VIEW}"


def _check_keys(table: pa.Table, where: str) -> None:
    """What is asked for must be the name of an object, and of a length that a file has."""
    for name, digits in (("blob_id", 40), ("sha256", 64)):
        good = pc.match_substring_regex(table.column(name), f"^[0-9a-f]{{{digits}}}$")
        if not pc.all(good, min_count=0).as_py():
            raise ReleaseError(f"{where}: {name} is malformed")
    lengths = table.column("length_bytes")
    fits = pc.and_(pc.greater_equal(lengths, 0), pc.less_equal(lengths, MAX_LENGTH))
    if not pc.all(fits, min_count=0).as_py():
        raise ReleaseError(f"{where}: a length is not one of 0 to {MAX_LENGTH:,} bytes")


def assemble(rows: pa.Table, texts: pa.Table) -> tuple[pa.Table, pa.Table]:
    """(rows of a release, what is left out) from rows of a view and what a source of texts says of them.

    `rows` has schema `IDS_ROWS`, `texts` schema `TEXTS`, in the same order. A text is taken only if its SHA-256 is the row's
    `content_sha256` and its redactions have the kinds of the row; else the row is left out as `text_differs`.
    """
    reasons, details, taken = [], [], []
    kinds = kinds_of(texts.column("redactions")).to_pylist()
    told = zip(
        texts.column("content"),
        texts.column("reason").to_pylist(),
        texts.column("detail").to_pylist(),
        rows.column("content_sha256").to_pylist(),
        rows.column("redaction_kinds").to_pylist(),
        kinds,
        strict=True,
    )
    for content, given, said, wanted, wanted_kinds, found_kinds in told:
        reason, detail = given, said
        if reason is None and (
            not content.is_valid
            or hashlib.sha256(memoryview(content.as_buffer())).hexdigest() != wanted
            or found_kinds != wanted_kinds
        ):
            reason, detail = "text_differs", "decoded and redacted by these rules it is not the released text"
        taken.append(reason is None)
        reasons.append(reason)
        details.append(detail)
    mask = pa.array(taken, pa.bool_())
    columns = {
        **{name: rows.column(name) for name in _KEPT},
        "content": texts.column("content"),
        "redactions": texts.column("redactions"),
    }
    whole = pa.Table.from_arrays(
        [columns[name].cast(DATA.field(name).type) for name in DATA.names], names=DATA.names
    )
    left = pa.Table.from_arrays(
        [
            rows.column("row_id"),
            rows.column("swhid"),
            pa.array(reasons, pa.string()),
            pa.array(details, pa.string()),
        ],
        schema=LEFT_OUT,
    )
    return whole.filter(mask).cast(DATA), left.filter(pc.invert(mask))


def _plain(folder: Path, path: str) -> Path:
    file = folder / path
    if file.is_symlink() or not file.is_file():
        raise ReleaseError(f"{folder}: {path} is missing or is not a plain file")
    return file


def _parse(data: bytes) -> tuple[str, tuple[ViewShard, ...], dict[str, tuple[str, int]]]:
    """(digest of the source, shards, path -> (SHA-256, bytes) of the other files)."""
    top = fields.record("$", canonical.load(data), ("format", "schema_version", "source", "shards", "files"))
    if (top["format"], top["schema_version"]) != (FORMAT, VERSION):
        raise ManifestError(
            "$.schema_version", f"not {FORMAT} of version {VERSION}; use a newer version of the software"
        )
    source = fields.record("$.source", top["source"], ("name", "version", "digest"))
    digest = fields.text("$.source.digest", source["digest"], fields.HEX_DIGEST)
    shards = tuple(
        ViewShard(
            path=fields.safe(f"{where}.path", entry["path"], names.check_path),
            language=fields.safe(f"{where}.language", entry["language"], names.check_language),
            sha256=fields.text(f"{where}.sha256", entry["sha256"], fields.HEX_DIGEST),
            bytes=fields.count(f"{where}.bytes", entry["bytes"]),
            rows=fields.count(f"{where}.rows", entry["rows"], minimum=1),
        )
        for where, entry in _records(
            "$.shards", top["shards"], ("path", "language", "sha256", "bytes", "rows")
        )
    )
    files = {
        fields.safe(f"{where}.path", entry["path"], names.check_path): (
            fields.text(f"{where}.sha256", entry["sha256"], fields.HEX_DIGEST),
            fields.count(f"{where}.bytes", entry["bytes"]),
        )
        for where, entry in _records("$.files", top["files"], ("path", "sha256", "bytes"))
    }
    if set(files) != {SOURCE_MANIFEST, SOURCE_CONFIG, names.CARD}:
        raise ManifestError("$.files", "not the files of an ids-only view")
    return digest, shards, files


def _records(where: str, value: Any, keys: tuple[str, ...]) -> Iterable[tuple[str, dict[str, Any]]]:
    return ((place, fields.record(place, entry, keys)) for place, entry in fields.objects(where, value))


def _card(release: Release) -> bytes:
    manifest = release.manifest
    return f"""# {manifest.name} {manifest.version}, ids only

The {manifest.totals.kept:,} rows of the release {manifest.name} {manifest.version} without their texts: where each file is
in the Software Heritage archive (`swhid`, and `blob_id`, its key in the object store), its hashes and the hash of the released
text, its place, license with evidence, and signals. It is made from the release with the digest

    {release.digest}

`source/manifest.json` is that release's manifest; its Merkle roots bind these rows to it. `pipeline view check DIR` checks
all of this. `pipeline hydrate DIR --content s3://softwareheritage/content --out DIR2` fetches the texts, decodes and redacts
them as the release did, and hands out only what has the hash of its row; the rest is listed with reasons.

A SWHID leads to the unredacted original. Every file keeps its own license; the terms of the archive apply to what is fetched.
""".encode()
