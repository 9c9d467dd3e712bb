"""Bringing a downloaded release in line with removals: derived beside it, verified, and put in its place at once."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from manifests.derive import derive_release, find_withdrawn
from manifests.errors import ManifestError, ReleaseError, RemovalsError
from manifests.facts import FileFacts
from manifests.manifest import Manifest
from manifests.names import CHECKSUMS, CONFIG_FILE, MANIFEST, REMOVALS_FILE
from manifests.reader import Release
from manifests.removals import read_removals
from manifests.verify import verify_release
from pipeline.card import words_of
from pipeline.engine.store import TEMPORARY, Store, fsync
from pipeline.engine.store_errors import disk_errors
from pipeline.errors import ConfigError, IntegrityError
from pipeline.local_copy import is_remote
from pipeline.parent import checked_file

_REPLACED = (
    ".replaced-by-apply-removals"  # end of the old folder's name, between two renames that cannot be one
)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Applied:
    """What was done."""

    directory: str
    """Where the release is now that has no withdrawn rows."""
    version: str
    digest: str
    rows: int
    """Rows taken out; 0: nothing was to be done, and nothing was touched."""
    shards_rewritten: int
    shards_removed: int
    files_left_out: tuple[str, ...]
    """Files of the release that described it as it was."""


def apply_removals(
    directory: str, removals: str, *, out: str | None = None, progress: Progress | None = None
) -> Applied:
    """Take the rows that `removals` names out of the release in `directory`, or into a copy at `out`.

    `removals` is a `removals.jsonl`, or a newer release of the same dataset (a folder or an s3:// address) that has one.
    Both the release and the result are verified in full. A crash at any point leaves the release as it was, or the
    finished copy in its place. Raises ConfigError for what cannot be used, IntegrityError for a release that is damaged.
    """
    if is_remote(directory) or (out is not None and is_remote(out)):
        raise ConfigError(
            "removals are applied to a copy on this machine; download it, and publish the result"
        )
    folder = _folder(directory)
    target = folder if out is None else Path(out).absolute()
    if out is not None and target.exists():
        raise ConfigError(
            f"--out {out} is there already; name a new folder, or leave it out to replace {directory}"
        )
    if folder in target.parents:
        raise ConfigError(f"--out {out} lies in {directory}; name a folder beside it")
    with disk_errors(str(target.parent)), _alone(folder):
        for left in target.parent.glob(f"{_escaped(target.name)}{TEMPORARY}*"):
            shutil.rmtree(left, ignore_errors=True)  # of a killed run: this one is alone
        shutil.rmtree(folder.with_name(folder.name + _REPLACED), ignore_errors=True)
        _verified(folder, "this copy is damaged, so it cannot be brought in line; fetch it again", progress)
        try:
            release = Release.open(folder)
        except ReleaseError as error:
            raise IntegrityError(str(error)) from error
        with _opened(removals, release.manifest.name) as (stream, shown):
            try:
                withdrawn = find_withdrawn(release, read_removals(stream, shown))
            except RemovalsError as error:
                raise ConfigError(str(error)) from error
        if not withdrawn.tombstones:
            return Applied(str(folder), release.manifest.version, release.digest, 0, 0, 0, ())
        staging = target.with_name(f"{target.name}{TEMPORARY}{uuid.uuid4().hex[:12]}")
        try:
            staging.mkdir(parents=True)
            with _alone(staging):  # or `pipeline clean` takes it for what a killed run left
                made = derive_release(
                    release, withdrawn, staging, text=words_of((release.directory / CONFIG_FILE).read_bytes())
                )
                _verified(
                    staging, "the result does not verify; nothing was changed, please report it", progress
                )
                for path in (staging, *staging.rglob("*")):
                    fsync(path)
                after = Release.open(staging).manifest
                if out is None:
                    _exchange(staging, folder)
                else:
                    staging.rename(target)
                fsync(target.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    paths = {shard.path for shard in after.shards}
    return Applied(
        directory=str(target),
        version=after.version,
        digest=made,
        rows=len(withdrawn.tombstones),
        shards_rewritten=len(paths & set(withdrawn.rows)),
        shards_removed=len(release.manifest.shards) - len(paths),
        files_left_out=tuple(
            sorted(set(release.manifest.listed()) - set(after.listed()) - set(withdrawn.rows))
        ),
    )


def _folder(directory: str) -> Path:
    given = Path(directory)
    folder = given.absolute()
    replaced = folder.with_name(folder.name + _REPLACED)
    if not folder.exists() and replaced.is_dir():
        replaced.rename(folder)  # killed between the two renames: the release as it was
    if given.is_symlink() or not folder.is_dir():
        raise ConfigError(f"{directory}: no such folder; give the folder of a release, such as releases/2.1")
    if not (folder / MANIFEST).is_file():
        raise ConfigError(f"{directory} is not a release: it has no {MANIFEST}")
    return folder


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"{folder}: another process is bringing it in line; wait for it") from None
    else:
        yield
    finally:
        os.close(handle)


def _verified(folder: Path, otherwise: str, progress: Progress | None) -> None:
    report = verify_release(folder, progress=progress)
    if not report.ok:
        first = report.faults[0]
        raise IntegrityError(
            f"{folder}: {len(report.faults)} faults, first {first.path}: {first.message}; {otherwise}"
        )


@contextlib.contextmanager
def _opened(removals: str, name: str) -> Iterator[tuple[BinaryIO, str]]:
    """The tombstones, and how to name the file: a file as it is, that of a release checked against its manifest."""
    if not is_remote(removals) and not Path(removals).is_dir():
        try:
            with Path(removals).open("rb") as stream:
                yield stream, removals
        except FileNotFoundError:
            raise ConfigError(
                f"{removals}: no such file; give a {REMOVALS_FILE}, or a newer release"
            ) from None
        return
    place = Store(removals.rstrip("/"))
    try:
        manifest = Manifest.parse(place.read(MANIFEST))
    except FileNotFoundError:
        raise ConfigError(f"{removals} is not a release: it has no {MANIFEST}") from None
    except ManifestError as error:
        raise IntegrityError(f"{removals}: {error}") from error
    if manifest.name != name:
        raise ConfigError(f"{removals} is a release of {manifest.name!r}, this is one of {name!r}")
    facts = manifest.listed().get(REMOVALS_FILE)
    if not isinstance(facts, FileFacts):
        raise ConfigError(
            f"{removals} has no {REMOVALS_FILE}: it was made without a parent, so it says nothing of earlier releases"
        )
    with (
        tempfile.TemporaryDirectory(prefix="stackmill-") as scratch,
        checked_file(place, facts, Path(scratch, REMOVALS_FILE)).open("rb") as stream,
    ):
        yield stream, f"{removals}/{REMOVALS_FILE}"


def _exchange(staging: Path, folder: Path) -> None:
    """Put `staging` where `folder` is, in one step where the system can; what was there is removed."""
    old = staging
    if not _renamed_both(staging, folder):
        old = folder.with_name(folder.name + _REPLACED)
        folder.rename(old)  # killed here, the next call renames it back
        staging.rename(folder)
    # A folder without its last files is no release any more, should this be cut off.
    for name in (MANIFEST, CHECKSUMS):
        (old / name).unlink(missing_ok=True)
    shutil.rmtree(old, ignore_errors=True)


def _renamed_both(one: Path, other: Path) -> bool:
    """Exchange two folders at once (Linux: renameat2); False where that is not possible."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    done = call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return bool(done == 0)


def _escaped(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)
