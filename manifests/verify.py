"""Verification of a release directory: the exact file set, every byte, every row, every figure.

What is checked, each fault naming its file:

1. the folder: exactly the files of the manifest, `manifest.json`, `SHA256SUMS`, and possibly the signature;
   no symbolic links, devices or further files (empty folders are ignored);
2. `manifest.json`: canonical, of a known version, safe paths, figures that add up;
3. `SHA256SUMS`: exactly what follows from the manifest;
4. size and SHA-256 of every file;
5. every shard: page checksums, schema, figures, rows (`manifests.rows`), equal to its rows of `ids.parquet`;
6. `ids.parquet`: sorted and unique by row_id, unique by content_sha256, and the Merkle root;
7. the card's `configs` and `dataset_info` against the manifest.

A shard whose checksum is wrong is not opened. Without a signature all this shows inner consistency, not who
made it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests import names
from manifests.canonical import MAX_BYTES
from manifests.card import metadata, read_front_matter
from manifests.checksums import parse_sums, sha256_file
from manifests.errors import ChecksumError, ManifestError, ReleaseError, ShardError
from manifests.facts import FileFacts, ShardFacts
from manifests.manifest import Manifest
from manifests.merkle import ids_leaf_hashes, root_of
from manifests.release_writer import sums_of
from manifests.rows import check_shard
from manifests.shards import read_ids


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that is wrong."""

    path: str
    """Path in the release; bytes that are not UTF-8 are shown as \\xNN."""
    code: str
    """`missing`, `extra`, `not_a_file`, `size`, `sha256`, `sums`, `manifest`, `parquet`, `schema`, `rows`,
    `content`, `redaction`, `ids`, `merkle`, `card`, `unreadable`."""
    message: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcome of a verification."""

    faults: tuple[Fault, ...]
    """Sorted by path; empty means that the release is what its manifest says."""
    figures: dict[str, int]
    """`files`, `bytes`, `shards`, `languages`, `rows`, `text_bytes`, as the manifest has them."""
    digest: str | None
    """SHA-256 of `manifest.json`; None if there is no such file."""
    version: str | None
    signed: bool
    """Whether a signature file is there. It is not checked here."""

    @property
    def ok(self) -> bool:
        """Whether there is no fault."""
        return not self.faults


@dataclass
class _Work:
    """State shared by the threads of one verification."""

    root: Path
    progress: Callable[[int, int], None] | None
    total: int = 0
    done: int = 0
    faults: list[Fault] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, path: str, code: str, message: str) -> None:
        with self.lock:
            self.faults.append(Fault(path, code, message))

    def advance(self, count: int) -> None:
        if self.progress is not None:
            with self.lock:
                self.done += count
                self.progress(self.done, self.total)

    def matches(self, path: str, sha256: str, size: int | None = None) -> bool:
        """Check size (where known) and SHA-256 of a file."""
        file = self.root / path
        try:
            if size is not None and (found := file.stat().st_size) != size:
                self.fault(path, "size", f"{found:,} bytes, the manifest says {size:,}")
                return False
            digest, _ = sha256_file(file, self.advance)
        except OSError as error:
            self.fault(path, "unreadable", f"cannot be read: {error.strerror}")
            return False
        if digest != sha256:
            self.fault(path, "sha256", f"SHA-256 is {digest}, recorded is {sha256}")
            return False
        return True


def verify_release(
    directory: str | Path, *, progress: Callable[[int, int], None] | None = None, threads: int | None = None
) -> Report:
    """Verify a release directory completely; never raises for what is in it, but `ReleaseError` if it is no
    folder.

    `progress(done, total)` is called with bytes (of all files once, and of the shards once more for their
    rows). `threads` (default: one per core, at most 8) bounds the work in parallel; each holds about one row
    group in memory.
    """
    root = Path(directory)
    if not root.is_dir():
        raise ReleaseError(f"{root}: no such folder; give the folder of a release, such as releases/2.1")
    work = _Work(root, progress)
    present = _walk(work)
    data = _read(work, names.MANIFEST) if names.MANIFEST in present else None
    if data is None:
        if names.MANIFEST not in present:
            work.fault(names.MANIFEST, "missing", "a release has a manifest")
        return _report(work, None, None, present)
    try:
        manifest = Manifest.parse(data)
    except ManifestError as error:
        work.fault(names.MANIFEST, "manifest", f"{error.where}: {error.message}")
        _check_by_sums(work, present)
        return _report(work, None, data, present)
    listed = manifest.listed()
    _check_set(work, present, set(listed))
    _check_sums(work, present, manifest, data)
    there = {path: facts for path, facts in listed.items() if path in present}
    shards = [facts for facts in there.values() if isinstance(facts, ShardFacts)]
    work.total = sum(facts.bytes for facts in there.values()) + sum(shard.bytes for shard in shards)
    others = [facts for facts in there.values() if isinstance(facts, FileFacts)]
    intact = {facts.path for facts in others if work.matches(facts.path, facts.sha256, facts.bytes)}
    ids = _check_ids(work, manifest) if names.IDS_FILE in intact else None
    if names.CARD in intact:
        _check_card(work, manifest)
    elif names.CARD not in listed:
        work.fault(names.CARD, "card", "the release has no dataset card")
    workers = threads or min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        for outcome in [pool.submit(_check_shard, work, shard, ids) for shard in shards]:
            outcome.result()
    return _report(work, manifest, data, present)


def _report(work: _Work, manifest: Manifest | None, data: bytes | None, present: set[str]) -> Report:
    figures: dict[str, int] = {}
    if manifest is not None:
        listed = manifest.listed()
        figures = {
            "files": len(listed) + 2,
            "bytes": sum(facts.bytes for facts in listed.values()),
            "shards": len(manifest.shards),
            "languages": len(manifest.languages),
            "rows": manifest.totals.kept,
            "text_bytes": sum(shard.text_bytes for shard in manifest.shards),
        }
    return Report(
        faults=tuple(sorted(work.faults)),
        figures=figures,
        digest=None if data is None else hashlib.sha256(data).hexdigest(),
        version=None if manifest is None else manifest.version,
        signed=names.SIGNATURE in present,
    )


def _shown(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _walk(work: _Work) -> set[str]:
    """Return the plain files below the root; everything else that is not a folder is a fault."""
    present: set[str] = set()

    def unreadable(error: OSError) -> None:
        path = os.path.relpath(error.filename, work.root)
        work.fault(_shown(path), "unreadable", f"the folder cannot be read: {error.strerror}")

    for folder, folders, files in os.walk(work.root, onerror=unreadable, followlinks=False):
        for name in folders + files:
            path = os.path.relpath(os.path.join(folder, name), work.root).replace(os.sep, "/")  # noqa: PTH118
            mode = os.lstat(os.path.join(folder, name)).st_mode  # noqa: PTH118  (names may not be UTF-8)
            if stat.S_ISREG(mode):
                present.add(path)
            elif not stat.S_ISDIR(mode):
                kind = "a symbolic link" if stat.S_ISLNK(mode) else "neither a file nor a folder"
                work.fault(_shown(path), "not_a_file", f"is {kind}; a release holds plain files only")
    return present


def _read(work: _Work, path: str) -> bytes | None:
    try:
        with (work.root / path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        work.fault(path, "unreadable", f"cannot be read: {error.strerror}")
        return None
    if len(data) > MAX_BYTES:
        work.fault(path, "size", f"larger than the limit of {MAX_BYTES:,} bytes")
        return None
    return data


def _check_set(work: _Work, present: set[str], listed: set[str]) -> None:
    refused = {fault.path for fault in work.faults}
    for path in sorted(listed - present - refused):
        work.fault(path, "missing", "listed in the manifest, but not there")
    for path in sorted(present - listed - names.UNLISTED):
        work.fault(_shown(path), "extra", "there, but not listed in the manifest")


def _check_sums(work: _Work, present: set[str], manifest: Manifest, data: bytes) -> None:
    if names.CHECKSUMS not in present:
        if not any(fault.path == names.CHECKSUMS for fault in work.faults):
            work.fault(names.CHECKSUMS, "missing", "a release has this file; was it fully written?")
        return
    found = _read(work, names.CHECKSUMS)
    expected = sums_of(manifest, data)
    if found is None or found == expected:
        return
    try:
        differing = dict(parse_sums(found).items() ^ parse_sums(expected).items())
    except ChecksumError as error:
        work.fault(names.CHECKSUMS, "sums", str(error))
        return
    if names.MANIFEST in differing:
        work.fault(
            names.MANIFEST, "sums", f"differs from its line in {names.CHECKSUMS}: one of the two was altered"
        )
    shown = ", ".join(ascii(path) for path in sorted(differing)[:5]) or "order or form of the lines"
    work.fault(names.CHECKSUMS, "sums", f"does not follow from the manifest: {shown}")


def _check_by_sums(work: _Work, present: set[str]) -> None:
    """Without a usable manifest: at least what SHA256SUMS says of the files that are there."""
    data = _read(work, names.CHECKSUMS) if names.CHECKSUMS in present else None
    if data is None:
        return
    try:
        sums = parse_sums(data)
    except ChecksumError as error:
        work.fault(names.CHECKSUMS, "sums", str(error))
        return
    for path, digest in sums.items():
        if path in present:
            work.matches(path, digest)
        else:
            work.fault(_shown(path), "missing", f"listed in {names.CHECKSUMS}, but not there")


def _check_card(work: _Work, manifest: Manifest) -> None:
    data = _read(work, names.CARD)
    if data is None:
        return
    try:
        block = read_front_matter(data)
    except ReleaseError as error:
        work.fault(names.CARD, "card", str(error))
        return
    expected = metadata(pretty_name="", languages=manifest.languages)
    for key in ("configs", "dataset_info", "size_categories"):
        found, wanted = block.get(key), expected[key]
        if found == wanted:
            continue
        what = f"`{key}` does not follow from the manifest"
        if isinstance(found, list) and len(found) == len(wanted):
            first = next(
                number for number, pair in enumerate(zip(found, wanted, strict=True)) if pair[0] != pair[1]
            )
            entry = wanted[first]
            what += f", first for {entry['config_name'] if isinstance(entry, dict) else entry!a}"
        work.fault(names.CARD, "card", what)


def _check_ids(work: _Work, manifest: Manifest) -> dict[str, pa.Table] | None:
    """Check ids.parquet by itself; return shard -> its rows in order of `row`, or None if it cannot be
    used."""
    try:
        ids = read_ids(work.root / names.IDS_FILE)
        ids.validate(full=True)
    except ShardError as error:
        work.fault(names.IDS_FILE, "schema", str(error))
        return None
    except (pa.ArrowException, OSError) as error:
        work.fault(names.IDS_FILE, "parquet", f"cannot be read: {error}")
        return None
    row_id = ids.column("row_id")
    if ids.num_rows > 1 and not pc.all(pc.less(row_id.slice(0, ids.num_rows - 1), row_id.slice(1))).as_py():
        work.fault(names.IDS_FILE, "ids", "not sorted by row_id, or a row_id twice")
    if pc.count_distinct(ids.column("content_sha256")).as_py() != ids.num_rows:
        work.fault(names.IDS_FILE, "ids", "a content_sha256 twice")
    root = root_of(ids_leaf_hashes(ids)).hex()
    if root != manifest.merkle_root:
        work.fault(
            names.IDS_FILE, "merkle", f"Merkle root is {root}, the manifest says {manifest.merkle_root}"
        )
    ordered = ids.take(pc.sort_indices(ids, sort_keys=[("shard", "ascending"), ("row", "ascending")]))
    runs = pc.run_end_encode(ordered.column("shard").combine_chunks()) if ids.num_rows else None
    groups: dict[str, pa.Table] = {}
    start = 0
    for run in runs.chunks if isinstance(runs, pa.ChunkedArray) else [runs] if runs is not None else []:
        for shard, end in zip(run.values.to_pylist(), run.run_ends.to_pylist(), strict=True):
            groups[shard] = ordered.slice(start, end - start)
            start = end
    for shard in sorted(groups.keys() - {facts.path for facts in manifest.shards}):
        work.fault(
            names.IDS_FILE, "ids", f"names a shard that the manifest does not have: {ascii(shard)[:200]}"
        )
    for facts in manifest.shards:
        group = groups.get(facts.path)
        rows = None if group is None else group.column("row").to_numpy()
        if rows is None or not np.array_equal(rows, np.arange(facts.rows)):
            work.fault(names.IDS_FILE, "ids", f"does not hold rows 0 to {facts.rows - 1:,} of {facts.path}")
            groups.pop(facts.path, None)
    return groups


def _check_shard(work: _Work, shard: ShardFacts, ids: dict[str, pa.Table] | None) -> None:
    if not work.matches(shard.path, shard.sha256, shard.bytes):
        return
    rows = None if ids is None else ids.get(shard.path)
    for code, message in check_shard(work.root / shard.path, shard, rows):
        work.fault(shard.path, code, message)
    work.advance(shard.bytes)
