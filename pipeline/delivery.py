"""`pipeline publish`: a finished release on this machine goes to the Hugging Face Hub or to S3, whole or not at all.

    verify the local release ─▶ compare with what is there ─▶ upload what differs ─▶ check the copy ─▶ make it visible

What becomes visible last is what readers go by: on S3 `manifest.json` (delivery_s3.py), on the Hub one commit and then the
tag of the version (delivery_hub.py). A killed run leaves nothing that a reader takes for a release, and the same command
goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manifests.checksums import sha256_file
from manifests.manifest import Manifest
from manifests.names import MANIFEST, SIGNATURE, SIGSTORE_BUNDLE, UNLISTED
from manifests.verify import verify_release
from pipeline.engine.store_errors import disk_errors
from pipeline.errors import ConfigError, IntegrityError

JSON_VERSION = 1
"""Version of the keys of `pipeline publish --json`."""

SIGNATURES = frozenset({SIGNATURE, SIGSTORE_BUNDLE})
"""Files that may come later, and that a copy of the same release on this machine may lack."""

_HUB = re.compile(r"hf://datasets/([\w.-]{1,96}/[\w.-]{1,96})(?:@([\w./-]{1,128}))?", re.ASCII)


@dataclass(frozen=True, order=True)
class LocalFile:
    """One file of the release, as it must arrive."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class LocalRelease:
    """A verified release in a folder."""

    folder: Path
    manifest: Manifest
    digest: str
    files: tuple[LocalFile, ...]
    """Every file, sorted by path: what the manifest lists, the manifest, SHA256SUMS, and signatures where there are some."""

    @property
    def by_path(self) -> dict[str, LocalFile]:
        """Path -> file."""
        return {file.path: file for file in self.files}


@dataclass(frozen=True)
class Target:
    """Where a release goes."""

    address: str
    repository: str | None = None
    """`owner/name` on the Hub; None on S3."""
    revision: str = "main"


@dataclass
class Delivery:
    """What is to be done, or was done. The numbers of files and bytes are those of this run."""

    target: str
    version: str
    digest: str
    state: str = "planned"  # planned | published (now) | unchanged (it was there)
    upload: Sequence[LocalFile] = ()
    copy: Mapping[LocalFile, str] = field(default_factory=dict)
    """File -> where the same bytes are in the bucket already."""
    keep: Sequence[LocalFile] = ()
    delete: Sequence[str] = ()
    commit: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The result for machines."""
        return {
            "json_version": JSON_VERSION,
            "target": self.target,
            "version": self.version,
            "digest": self.digest,
            "state": self.state,
            "upload": _amount(self.upload),
            "copy": _amount(self.copy),
            "keep": _amount(self.keep),
            "delete": len(self.delete),
            "commit": self.commit,
        }


def _amount(files: Sequence[LocalFile] | Mapping[LocalFile, str]) -> dict[str, int]:
    return {"files": len(files), "bytes": sum(file.bytes for file in files)}


@dataclass
class Watch:
    """How a run reports on the way: lines, and bytes that are done of a total."""

    note: Callable[[str], None]
    total: Callable[[str, int], None]
    """What is going on, and how many bytes it has to move."""
    advance: Callable[[int], None]


def target_of(address: str) -> Target:
    """Read the address of `--to`. Raises ConfigError."""
    if address.startswith("s3://"):
        return Target(address.rstrip("/"))
    found = _HUB.fullmatch(address)
    if found is None:
        raise ConfigError(
            f"--to {address}: write hf://datasets/OWNER/NAME, hf://datasets/OWNER/NAME@BRANCH or s3://BUCKET/PREFIX"
        )
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(found[1])
    except HFValidationError as error:
        raise ConfigError(f"--to {address}: {error}") from error
    return Target(address, found[1], found[2] or "main")


def open_release(address: str, watch: Watch) -> LocalRelease:
    """Verify a release on this machine completely, and list its files. Raises ConfigError or IntegrityError."""
    if "://" in address:
        raise ConfigError(f"{address}: only a release in a folder can be published; fetch it first")
    folder = Path(address)
    done = 0

    def moved(so_far: int, total: int) -> None:
        nonlocal done
        if done == 0:
            watch.total("verify", total)
        watch.advance(so_far - done)
        done = so_far

    report = verify_release(folder, progress=moved)
    if not report.ok:
        first = report.faults[0]
        raise IntegrityError(
            f"{address}: {len(report.faults)} faults, first {first.path}: {first.message}; nothing was published,"
            " `pipeline verify` lists them all"
        )
    with disk_errors(address):
        data = (folder / MANIFEST).read_bytes()
        manifest = Manifest.parse(data)
        listed = [LocalFile(path, facts.sha256, facts.bytes) for path, facts in manifest.listed().items()]
        for name in sorted(UNLISTED):
            if (folder / name).is_file():
                listed.append(LocalFile(name, *sha256_file(folder / name)))
    return LocalRelease(folder, manifest, hashlib.sha256(data).hexdigest(), tuple(sorted(listed)))


def publish(
    address: str, to: str, *, watch: Watch, dry_run: bool = False, create: bool = False, threads: int = 4
) -> Delivery:
    """Publish the release in the folder `address`. Raises the errors of pipeline.errors; see the module's words."""
    target = target_of(to)
    if target.repository is not None:
        from pipeline.delivery_hub import publish_to_hub
        from pipeline.hub import Hub

        hub = Hub(
            target.repository, must_write=not dry_run
        )  # a missing token is told before an hour of hashing
        release = open_release(address, watch)
        return publish_to_hub(
            release, target, hub, watch=watch, dry_run=dry_run, create=create, threads=threads
        )
    from pipeline.delivery_s3 import publish_to_s3

    release = open_release(address, watch)
    return publish_to_s3(release, target, watch=watch, dry_run=dry_run, threads=threads)


def other_release(target: str, version: str, there: str, ours: str) -> ConfigError:
    """The refusal to overwrite."""
    return ConfigError(
        f"{target}: version {version} is there and is another release (manifest {there[:16]}, this one is {ours[:16]});"
        " releases are never overwritten: give this one another version"
    )
