"""Verification of a release: the exact file set, every byte, every row, every figure, and who signed it.

What is checked, each fault naming its file:

1. the files: exactly those of the manifest, `manifest.json`, `SHA256SUMS`, and possibly the signature;
   no symbolic links, devices or further files (empty folders are ignored);
2. `manifest.json`: canonical, of a known version, safe paths, figures that add up; its signature, digest, version and
   parent, as far as the reader says what is expected (`manifests.trust`);
3. `SHA256SUMS`: exactly what follows from the manifest;
4. size and SHA-256 of every file;
5. `ids.parquet`: sorted and unique by row_id, unique by content_sha256, and the Merkle root (`manifests.ids`);
6. every shard: page checksums, schema, figures, row groups, rows, its Merkle root (`manifests.rows`), equal to its
   rows of `ids.parquet`;
7. licenses and redactions of all rows, against the manifest's figures;
8. the card's `configs` and `dataset_info` against the manifest.

With a sample the bytes and rows of some shards only are read; of the others file, size, and the Merkle root by
`ids.parquet` are checked, and 7 is left out. A shard whose checksum is wrong is not opened. Without a signature all
this shows inner consistency, not who made it. Tokens are not counted again: that would need the tokenizer.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from manifests import names
from manifests.canonical import MAX_BYTES
from manifests.card import metadata, read_front_matter
from manifests.checksums import parse_sums, sha256_stream
from manifests.errors import ChecksumError, ManifestError, ReleaseError
from manifests.facts import FileFacts, ShardFacts
from manifests.faults import Fault, Report, SignatureState
from manifests.ids import check_ids
from manifests.manifest import Manifest
from manifests.merkle import ids_leaf_hashes, root_of
from manifests.places import Listing, Place, place_of
from manifests.release_writer import sums_of
from manifests.rows import Counts, check_shard
from manifests.sample import Sample
from manifests.signing import MAX_ENVELOPE_BYTES
from manifests.trust import Expected, check_expected, check_signature

__all__ = ["Expected", "Fault", "Report", "Sample", "verify_release"]

MAX_THREADS = 8
"""By default no more files are checked at a time."""


@dataclass
class _Work:
    """State shared by the threads of one verification."""

    place: Place
    progress: Callable[[int, int], None] | None
    listing: Listing = field(default_factory=Listing)
    total: int = 0
    done: int = 0
    faults: list[Fault] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    counted: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, path: str, code: str, message: str) -> None:
        with self.lock:
            self.faults.append(Fault(path, code, message))

    def advance(self, count: int) -> None:
        if self.progress is not None:
            with self.lock:
                self.done += count
                self.progress(self.done, self.total)

    def size_matches(self, facts: ShardFacts | FileFacts) -> bool:
        found = self.listing.files[facts.path]
        if found != facts.bytes:
            self.fault(facts.path, "size", f"{found:,} bytes, the manifest says {facts.bytes:,}")
        return found == facts.bytes

    def opened(self, path: str, check: Callable[[BinaryIO], bool]) -> bool:
        """Whether a file can be read, and is as `check` wants it."""
        try:
            with self.place.open(path, whole=True) as file:
                return check(file)
        except OSError as error:
            self.fault(_shown(path), "unreadable", f"cannot be read: {error.strerror or error}")
            return False

    def matches(self, file: BinaryIO, path: str, sha256: str) -> bool:
        """Check the SHA-256 of an open file."""
        digest, _ = sha256_stream(file, self.advance)
        if digest != sha256:
            self.fault(_shown(path), "sha256", f"SHA-256 is {digest}, recorded is {sha256}")
        return digest == sha256


def verify_release(
    release: str | Path | Place,
    *,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
    sample: Sample | None = None,
    expected: Expected | None = None,
) -> Report:
    """Verify a release in a folder, or in another place; never raises for what is in it, but `ReleaseError` if it is
    no folder, and what the place raises where it cannot be reached.

    `progress(done, total)` is called with bytes (of all files once, and of the shards once more for their
    rows). `threads` (default: one per core, at most 8) bounds the work in parallel; each holds about one row
    group in memory. `sample` bounds the shards that are opened.
    """
    work = _Work(place_of(release) if isinstance(release, (str, Path)) else release, progress)
    expected = Expected() if expected is None else expected
    _list(work)
    present = set(work.listing.files)
    data = _read(work, names.MANIFEST) if names.MANIFEST in present else None
    if data is None:
        if names.MANIFEST not in present:
            work.fault(names.MANIFEST, "missing", "a release has a manifest")
        return _report(work, None, None)
    envelope = _read(work, names.SIGNATURE, MAX_ENVELOPE_BYTES) if names.SIGNATURE in present else None
    state, key_ids, faults = check_signature(data, envelope, expected)
    if names.SIGNATURE in present and envelope is None:
        state, faults = "refused", []  # a fault already
    work.faults += faults
    try:
        manifest = Manifest.parse(data)
    except ManifestError as error:
        work.fault(names.MANIFEST, "manifest", f"{error.where}: {error.message}")
        _check_by_sums(work, present)
        return _report(work, None, data, state, key_ids)
    work.faults += check_expected(manifest, data, expected)
    listed = manifest.listed()
    _check_set(work, present, set(listed))
    _check_sums(work, present, manifest, data)
    there = [facts for path, facts in listed.items() if path in present and work.size_matches(facts)]
    shards = [facts for facts in there if isinstance(facts, ShardFacts)]
    others = [facts for facts in there if isinstance(facts, FileFacts)]
    drawn = shards if sample is None else sample.of(shards)
    work.total = sum(facts.bytes for facts in others) + 2 * sum(shard.bytes for shard in drawn)
    ids: dict[str, pa.Table] | None = None
    for facts in others:
        if facts.path == names.IDS_FILE:
            ids = _check_ids(work, manifest, facts)
        else:
            work.opened(facts.path, lambda file, facts=facts: work.matches(file, facts.path, facts.sha256))  # type: ignore[misc]
    if names.CARD in listed and not any(fault.path == names.CARD for fault in work.faults):
        _check_card(work, manifest)
    elif names.CARD not in listed:
        work.fault(names.CARD, "card", "the release has no dataset card")
    workers = threads or min(MAX_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        jobs = [pool.submit(_check_shard, work, shard, ids) for shard in drawn]
        if sample is not None and ids is not None:
            opened = {shard.path for shard in drawn}
            rest = [shard for shard in manifest.shards if shard.path not in opened]
            jobs += [pool.submit(_check_root, work, shard, ids) for shard in rest]
        try:
            for job in jobs:
                job.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    if work.counted == len(manifest.shards):
        _check_contents(work, manifest)
    seed = None if sample is None else sample.seed
    return _report(work, manifest, data, state, key_ids, opened=len(drawn), seed=seed)


def _report(
    work: _Work,
    manifest: Manifest | None,
    data: bytes | None,
    state: SignatureState | None = None,
    key_ids: tuple[str, ...] = (),
    *,
    opened: int = 0,
    seed: str | None = None,
) -> Report:
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
    if state is None:
        state = "not checked" if names.SIGNATURE in work.listing.files else "UNSIGNED"
    return Report(
        faults=tuple(sorted(set(work.faults))),
        figures=figures,
        digest=None if data is None else hashlib.sha256(data).hexdigest(),
        version=None if manifest is None else manifest.version,
        name=None if manifest is None else manifest.name,
        signature=state,
        key_ids=key_ids,
        sigstore=names.SIGSTORE_BUNDLE in work.listing.files,
        shards_opened=opened,
        seed=seed,
        ignored=tuple(_shown(path) for path in work.listing.ignored),
    )


def _shown(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _list(work: _Work) -> None:
    """List the files; what is no plain file is a fault."""
    work.listing = work.place.listing()
    for path, why in work.listing.unreadable.items():
        work.fault(_shown(path), "unreadable", f"the folder cannot be read: {why}")
    for path, what in work.listing.refused.items():
        work.fault(_shown(path), "not_a_file", f"is {what}; a release holds plain files only")


def _read(work: _Work, path: str, max_bytes: int = MAX_BYTES) -> bytes | None:
    try:
        with work.place.open(path, whole=True) as file:
            pieces, left = [], max_bytes + 1
            while left and (piece := file.read(min(left, 1 << 20))):
                pieces.append(piece)
                left -= len(piece)
    except OSError as error:
        work.fault(path, "unreadable", f"cannot be read: {error.strerror or error}")
        return None
    if not left:
        work.fault(path, "size", f"larger than the limit of {max_bytes:,} bytes")
        return None
    return b"".join(pieces)


def _check_set(work: _Work, present: set[str], listed: set[str]) -> None:
    refused = {*work.listing.refused, *work.listing.unreadable}
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
            work.opened(path, lambda file, path=path, digest=digest: work.matches(file, path, digest))  # type: ignore[misc]
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


def _check_ids(work: _Work, manifest: Manifest, facts: FileFacts) -> dict[str, pa.Table] | None:
    """Check ids.parquet by itself; return shard -> its rows in order of `row`, or None if it cannot be used."""
    groups: dict[str, pa.Table] = {}

    def check(file: BinaryIO) -> bool:
        if not work.matches(file, facts.path, facts.sha256):
            return False
        file.seek(0)
        findings = list(check_ids(file, manifest, groups))
        for code, message in findings:
            work.fault(facts.path, code, message)
        return not {code for code, _ in findings} & {"schema", "parquet"}

    return groups if work.opened(facts.path, check) else None


def _check_shard(work: _Work, shard: ShardFacts, ids: dict[str, pa.Table] | None) -> None:
    def check(file: BinaryIO) -> bool:
        if not work.matches(file, shard.path, shard.sha256):
            return False
        file.seek(0)
        rows = None if ids is None else ids.get(shard.path)
        counts = Counts()
        findings = list(check_shard(file, shard, rows, counts))
        for code, message in findings:
            work.fault(shard.path, code, message)
        with work.lock:
            work.counts.licenses.update(counts.licenses)
            work.counts.redactions.update(counts.redactions)
            work.counted += not {code for code, _ in findings} & {"schema", "parquet", "rows"}
        work.advance(shard.bytes)
        return True

    work.opened(shard.path, check)


def _check_root(work: _Work, shard: ShardFacts, ids: dict[str, pa.Table]) -> None:
    """Of a shard that is not opened: its Merkle root, by its rows of ids.parquet."""
    group = ids.get(shard.path)
    root = None if group is None else root_of(ids_leaf_hashes(group)).hex()
    if root is not None and root != shard.merkle_root:
        work.fault(
            shard.path,
            "merkle",
            f"Merkle root of its rows of {names.IDS_FILE} is {root}, the manifest says {shard.merkle_root}",
        )


def _check_contents(work: _Work, manifest: Manifest) -> None:
    """What the rows hold, counted over all of them."""
    for name, found, said in (
        ("licenses", work.counts.licenses, manifest.contents.licenses),
        ("redactions", work.counts.redactions, manifest.contents.redactions),
    ):
        differing = sorted(key for key in {*found, *said} if found[key] != said.get(key, 0))
        if differing:
            key = differing[0]
            work.fault(
                names.MANIFEST,
                "figures",
                f"{name}: {found[key]:,} of {key!a:.100} in the rows, the manifest says {said.get(key, 0):,}"
                + (f"; and {len(differing) - 1:,} more" if len(differing) > 1 else ""),
            )
