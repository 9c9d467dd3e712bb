"""A release to S3: `<prefix>/<version>/`, its `manifest.json` last, with a conditional put.

What another version under the same prefix holds already, by SHA-256, is copied within the bucket instead of uploaded.
Every object that this run wrote, and every one that an interrupted run left, is read back and hashed before the manifest
goes up: neither an entity tag nor a stored checksum is the SHA-256 that the manifest names.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from manifests.canonical import MAX_BYTES
from manifests.checksums import sha256_file
from manifests.errors import ManifestError
from manifests.manifest import Manifest
from manifests.names import MANIFEST, check_version
from pipeline.delivery import SIGNATURES, Delivery, LocalFile, LocalRelease, Target, Watch, other_release
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, IntegrityError
from pipeline.publish import sha256_of

CLAIM = ".publishing"
"""End of the name of the object beside a release that is on its way: it holds the digest of what is to come."""

_VERSIONS_READ = 50
"""Manifests of other versions that are read, the last by name: to find what need not be uploaded."""


def publish_to_s3(
    release: LocalRelease, target: Target, *, watch: Watch, dry_run: bool, threads: int
) -> Delivery:
    """Publish to `target`; see the module's words."""
    out, version = Store(target.address), release.manifest.version
    place = out.sub(version)
    delivery = Delivery(f"{target.address}/{version}", version, release.digest)
    published = _published(place, delivery)
    present = {entry.key: entry.size for entry in place.list()}
    if unknown := sorted(present.keys() - release.by_path.keys() - (SIGNATURES if published else set())):
        raise ConfigError(
            f"{delivery.target} holds {len(unknown)} objects that are not of this release (first: {ascii(unknown[0])[:200]});"
            " remove them, or give another prefix"
        )
    elsewhere = {} if published else _elsewhere(out, version)
    upload: list[LocalFile] = []
    keep: list[LocalFile] = []
    copy: dict[LocalFile, str] = {}
    for file in release.files:
        same = present.get(file.path) == file.bytes
        if same and not (file.path in SIGNATURES and sha256_of(place.read(file.path)) != file.sha256):
            keep.append(file)
        elif file.sha256 in elsewhere:
            copy[file] = elsewhere[file.sha256]
        else:
            upload.append(file)
    delivery.upload, delivery.keep, delivery.copy = upload, keep, copy
    if dry_run:
        return delivery
    if published and not upload:
        delivery.state = "unchanged"
        return delivery
    claim = f"{version}{CLAIM}"
    _claim(out, claim, release.digest, delivery.target)
    with tempfile.TemporaryDirectory(prefix="stackmill-publish-") as scratch:
        put = _Put(release, out, place, Path(scratch), watch)
        rest = [file for file in release.files if file.path != MANIFEST]
        # What a complete release held before this run was checked when it was published.
        rest = [file for file in rest if not published or file in upload]
        watch.total("publish", sum(file.bytes for file in rest))
        with ThreadPoolExecutor(max(1, threads)) as pool:
            moved = list(pool.map(lambda file: put(file, checked=file in keep, source=copy.get(file)), rest))
    again = [file for file, written in zip(rest, moved, strict=True) if written and file in keep]
    delivery.upload = [*upload, *again]
    delivery.keep = [file for file in keep if file not in again]
    _check_sizes(place, release, delivery.target, without=() if published else (MANIFEST,))
    if not published:
        data = (release.folder / MANIFEST).read_bytes()
        if not place.put_new(MANIFEST, data) and _published(place, delivery) is None:
            raise IntegrityError(f"{delivery.target}: {MANIFEST} was there, and then was not; run again")
        if place.read(MANIFEST, at_most=MAX_BYTES) != data:
            raise IntegrityError(
                f"{delivery.target}: {MANIFEST} did not arrive as it was sent; do not use this copy"
            )
    out.delete(claim)
    delivery.state = "published"
    return delivery


def _published(place: Store, delivery: Delivery) -> str | None:
    """The digest of the release at `place`, None when there is none; refuses another one."""
    try:
        found = sha256_of(place.read(MANIFEST, at_most=MAX_BYTES))
    except FileNotFoundError:
        return None
    if found != delivery.digest:
        raise other_release(delivery.target, delivery.version, found, delivery.digest)
    return found


def _elsewhere(out: Store, version: str) -> dict[str, str]:
    """SHA-256 -> key below `out`, of the shards of other versions."""
    found: dict[str, str] = {}
    for name in [name for name in out.folders() if _is_version(name) and name != version][-_VERSIONS_READ:]:
        try:
            manifest = Manifest.parse(out.read(f"{name}/{MANIFEST}", at_most=MAX_BYTES))
        except (FileNotFoundError, ManifestError):
            continue  # unfinished, or of another version of the software: nothing to take from it
        found |= {shard.sha256: f"{name}/{shard.path}" for shard in manifest.shards}
    return found


def _is_version(name: str) -> bool:
    try:
        return check_version(name) == name
    except ValueError:
        return False


def _claim(out: Store, claim: str, digest: str, target: str) -> None:
    """Tell other publishers what is on its way to this place. Two that bring the same release do not harm each other."""
    if out.put_new(claim, digest.encode()):
        return
    try:
        there = out.read(claim, at_most=1_000).decode("ascii", "replace")
    except FileNotFoundError:
        return  # that one has just ended
    if there != digest:
        raise ConfigError(
            f"{target}: another release of this version is being published (manifest {there[:16]}, this one is"
            f" {digest[:16]}); if that was given up, remove {out.uri}/{claim} and what lies in {target}"
        )


class _Put:
    """Brings one file to its place and reads it back."""

    def __init__(self, release: LocalRelease, out: Store, place: Store, scratch: Path, watch: Watch) -> None:
        self._local = Store(str(release.folder.absolute()))
        self._out, self._place, self._scratch, self._watch = out, place, scratch, watch

    def __call__(self, file: LocalFile, *, checked: bool, source: str | None) -> bool:
        """Returns whether it was written. `checked`: it is there, and stays if its bytes are right."""
        writers: list[Callable[[], None]] = [lambda: self._place.copy_from(self._local, file.path, file.path)]
        if source is not None:
            writers.insert(0, lambda: self._place.copy_from(self._out, source, file.path))
        if not (checked and self._arrived(file)):
            for write in writers:
                write()
                if self._arrived(file):
                    break
            else:
                raise IntegrityError(
                    f"{self._place.uri}: {file.path} does not read back as it was sent; the release was not made visible,"
                    " run again"
                )
            checked = False
        self._watch.advance(file.bytes)
        return not checked

    def _arrived(self, file: LocalFile) -> bool:
        with tempfile.NamedTemporaryFile(dir=self._scratch) as copy:
            try:
                self._place.fetch(file.path, Path(copy.name))
            except FileNotFoundError:
                return False
            return sha256_file(Path(copy.name)) == (file.sha256, file.bytes)


def _check_sizes(place: Store, release: LocalRelease, target: str, *, without: tuple[str, ...]) -> None:
    """The objects there are exactly those of the release."""
    found = {entry.key: entry.size for entry in place.list()}
    wanted = {file.path: file.bytes for file in release.files if file.path not in without}
    wanted |= {path: size for path, size in found.items() if path in SIGNATURES and path not in wanted}
    if found != wanted:
        path = min(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
        raise IntegrityError(
            f"{target}: {ascii(path)[:200]} has {found.get(path)} bytes there, the release says {wanted.get(path)};"
            " does another run write there? Run again"
        )
