"""An archive of the Python distributions installed in an environment, and of its standard library.

The embedded default input: real code in many languages that every machine which runs Stackmill already has.
Each distribution is one origin (its repository, else its package URL) with one snapshot, one revision and a
tree laid out as its source distribution would be: package files at their import path, PKG-INFO and the
license files of its metadata folder at the root. The standard library is one more origin: `Lib/`, and LICENSE
at the root.

Left out, and counted by reason: what an installer or compiler made on this machine (byte code, shared
libraries, scripts, the installer's own records), what RECORD lists outside the environment's package folder,
links and special files, and what the bounds of the sample do not hold. Nothing here imports or runs any of
it, and no distribution is trusted to name only files of its own.
"""

from __future__ import annotations

import os
import re
import stat
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow as pa

from licensing.names import license_like
from pipeline.engine.keys import digest, source_digest
from pipeline.errors import ConfigError
from pipeline.sources.archive_summary import ArchiveSummary, read_summary
from pipeline.sources.archive_writer import ArchiveWriter
from pipeline.sources.installed_metadata import Installed, installed_distributions
from pipeline.sources.origin_url import make_unique
from pipeline.sources.sampling import Bounds, Candidate, choose
from pipeline.sources.swhid import Branch, Revision, Timestamp
from pipeline.sources.synthetic import AUTHOR
from pipeline.sources.trees import add_tree, without_conflicts
from pipeline.tables import PERMS_EXECUTABLE, PERMS_FILE

Progress = Callable[[str], None]

STDLIB_ORIGIN = "https://github.com/python/cpython"

_THREADS = 2 * (os.cpu_count() or 1)  # reading, hashing, compressing and writing release the lock
_COMPILED = re.compile(rb"(?i)\.(?:py[co]|so(?:\.[0-9.]+)?|pyd|dll|dylib|exe|lib|a|o|obj)\Z")
_BYTECODE = re.compile(rb"(?:\A|/)__pycache__/|\.py[co]\Z")
_STDLIB_SKIPPED = re.compile(
    # Other people's packages, compiled modules, and files that the build wrote for this one machine.
    rb"(?:site-packages|dist-packages|lib-dynload|config-[^/]*)/|_sysconfigdata[^/]*\.py\Z|EXTERNALLY-MANAGED\Z"
)


@dataclass(frozen=True)
class _Origin:
    """One origin to be: `files` is tree path -> (path on disk, size in bytes, git mode)."""

    name: str
    version: str
    url: str
    files: dict[bytes, tuple[bytes, int, int]]


def build_installed(
    archive: Path,
    bounds: Bounds | None = None,
    *,
    export: str = "local",
    site_packages: Sequence[str] | None = None,
    stdlib: Path | None = None,
    seconds: int = 0,
    forms: Sequence[str] = ("parquet",),
    progress: Progress = lambda _: None,
) -> ArchiveSummary:
    """Build the archive, or return its summary with `reused=True` when nothing that it depends on changed.

    `site_packages` and `stdlib` default to the running interpreter's; `seconds` since the epoch is the date
    of the visits and revisions. ConfigError for bad bounds or an empty environment, SourceError for disk
    trouble.
    """
    bounds = bounds or Bounds()
    stdlib = _stdlib_folder() if stdlib is None else stdlib
    damaged: Counter[str] = Counter()
    distributions = installed_distributions(site_packages, damaged)
    wanted = inputs_digest(distributions, stdlib, bounds, seconds=seconds)
    present = read_summary(archive, export)
    if present is not None and present.inputs_digest == wanted and set(present.forms) == set(forms):
        progress(f"nothing changed: the archive of {present.files:,} files is used again")
        return replace(present, reused=True)
    with ArchiveWriter(archive, export, forms=forms) as writer:
        writer.left_out += damaged
        add_installed(writer, bounds, distributions, stdlib, seconds=seconds, progress=progress)
        return writer.finish(wanted)


def add_installed(
    writer: ArchiveWriter,
    bounds: Bounds | None = None,
    distributions: Sequence[Installed] | None = None,
    stdlib: Path | None = None,
    *,
    seconds: int = 0,
    progress: Progress = lambda _: None,
) -> None:
    """Add the sample to an archive that may hold other origins too; see `build_installed`."""
    if distributions is None:
        distributions = installed_distributions(left_out=writer.left_out)
    stdlib = _stdlib_folder() if stdlib is None else stdlib
    listed = [origin for d in distributions if (origin := _list_distribution(d, writer.left_out)) is not None]
    listed.append(_list_stdlib(stdlib, writer.left_out))
    urls = make_unique([(origin.name, origin.url) for origin in listed])
    origins = [replace(origin, url=url) for origin, url in zip(listed, urls, strict=True)]
    candidates = [Candidate(o.url, path, size) for o in origins for path, (_, size, _) in o.files.items()]
    if not candidates:
        raise ConfigError("no installed distribution with files was found in this environment")
    chosen, left_out = choose(candidates, bounds or Bounds())
    writer.left_out += left_out
    progress(f"{len(origins):,} origins, {len(candidates):,} files, {len(chosen):,} chosen")
    wanted: dict[str, list[bytes]] = {origin.url: [] for origin in origins}
    for index in chosen:
        wanted[candidates[index].origin].append(candidates[index].path)
    done = 0
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="archive") as pool:
        for origin in origins:
            if wanted[origin.url]:
                _add_origin(writer, origin, wanted[origin.url], pool, seconds)
                done += len(wanted[origin.url])
                progress(f"{done:,} of {len(chosen):,} files: {origin.name}")


def inputs_digest(
    distributions: Sequence[Installed],
    stdlib: Path,
    bounds: Bounds,
    *,
    seconds: int = 0,
) -> str:
    """Digest of all that the archive depends on: distributions by their RECORD, the standard library by its
    listing, the bounds, and this code. RECORD holds the hash of every file, so the files need not be read."""
    described = [[d.name, d.version, d.url, d.record_digest, d.editable] for d in distributions]
    library = sorted(
        (os.fsdecode(path), size) for path, (_, size, _) in _list_stdlib(stdlib, Counter()).files.items()
    )
    return digest(
        {
            "distributions": described,
            "stdlib": [[path.encode("utf-8", "surrogateescape").hex(), size] for path, size in library],
            "bounds": asdict(bounds),
            "seconds": seconds,
            "source": source_digest(__name__),
        }
    )


# -------------------------------------------------------------------------------------------------- listing


def _list_distribution(distribution: Installed, left_out: Counter[str]) -> _Origin | None:
    """The files of one distribution in their places, or None when its sources are not installed with it."""
    if distribution.editable:
        left_out["editable_distribution"] += 1
        return None
    inside = _InsideCheck(distribution.folder)
    placed: dict[bytes, tuple[bytes, int, int]] = {}
    # The metadata folder first: where a package file would take the same place, its license is what matters.
    order = sorted(distribution.recorded, key=lambda path: (not _in_metadata_folder(path), path))
    for path in order:
        place, reason = _place(path)
        reason = reason or _add_listed(placed, place, distribution.folder + b"/" + path, inside)
        if reason:
            left_out[reason] += 1
    fitting, conflicting = without_conflicts(placed)
    left_out["conflicting_path"] += len(conflicting)
    files = {path: placed[path] for path in fitting}
    return _Origin(distribution.name, distribution.version, distribution.url, files)


def _in_metadata_folder(path: bytes) -> bool:
    return path.partition(b"/")[0].endswith((b".dist-info", b".egg-info"))


def _place(path: bytes) -> tuple[bytes, str]:
    """(where in the tree a file that RECORD lists belongs, or else why it has no place there)."""
    parts = path.split(b"/")
    if path.startswith(b"/") or b"\\" in path or b"\x00" in path or {b"", b".", b".."} & set(parts):
        return b"", "outside_packages"
    if _BYTECODE.search(path):
        return b"", "bytecode"
    if _COMPILED.search(path):
        return b"", "compiled"
    if not _in_metadata_folder(path):
        return path, ""
    rest = parts[1:]
    if rest in ([b"METADATA"], [b"PKG-INFO"]):
        return b"PKG-INFO", ""
    if len(rest) > 1 and rest[0] in (b"licenses", b"license_files"):
        return b"/".join(rest[1:]), ""
    if len(rest) == 1 and license_like(pa.array(rest, pa.binary()))[0].as_py():
        return rest[0], ""
    return b"", "installer_record"


class _InsideCheck:
    """Whether a file's folder, links resolved, is inside the package folder; remembered per folder."""

    def __init__(self, root: bytes) -> None:
        self._prefix = root.rstrip(b"/") + b"/"
        self._known: dict[bytes, bool] = {}

    def __call__(self, path: bytes) -> bool:
        folder = path.rpartition(b"/")[0]
        if folder not in self._known:
            self._known[folder] = (os.path.realpath(folder) + b"/").startswith(self._prefix)
        return self._known[folder]


def _add_listed(
    placed: dict[bytes, tuple[bytes, int, int]],
    place: bytes,
    path: bytes,
    inside: Callable[[bytes], bool] = lambda _: True,
) -> str:
    """Put one file on disk into its place; the reason when it cannot be, else an empty string."""
    try:
        info = os.lstat(path)
    except OSError:
        return "missing_file"
    if not stat.S_ISREG(info.st_mode):
        return "not_a_regular_file"
    if not inside(path):
        return "outside_packages"
    if place in placed:
        return "conflicting_path"
    mode = PERMS_EXECUTABLE if info.st_mode & stat.S_IXUSR else PERMS_FILE
    placed[place] = (path, info.st_size, mode)
    return ""


def _stdlib_folder() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _list_stdlib(folder: Path, left_out: Counter[str]) -> _Origin:
    """The standard library in the places of its sources: `Lib/...`, and LICENSE at the root if installed."""
    placed: dict[bytes, tuple[bytes, int, int]] = {}
    root = os.fsencode(folder)
    for parent, folders, names in os.walk(root):
        folders.sort()
        base = os.path.relpath(parent, root)
        for name in sorted(names):
            path = name if base == b"." else base + b"/" + name
            if _STDLIB_SKIPPED.match(path):
                continue
            if _BYTECODE.search(path) or _COMPILED.search(path):
                left_out["bytecode" if _BYTECODE.search(path) else "compiled"] += 1
                continue
            place = b"LICENSE" if path == b"LICENSE.txt" else b"Lib/" + path
            reason = _add_listed(placed, place, parent + b"/" + name)
            if reason:
                left_out[reason] += 1
        if base == b".":
            folders[:] = [name for name in folders if not _STDLIB_SKIPPED.match(name + b"/")]
    # The folder is named after its version (lib/python3.11), also when it is another interpreter's.
    version = re.sub(r"\Apython", "", folder.name)
    return _Origin("cpython", version, STDLIB_ORIGIN, placed)


# ------------------------------------------------------------------------------------------------- building


def _add_origin(
    writer: ArchiveWriter, origin: _Origin, paths: Iterable[bytes], pool: ThreadPoolExecutor, seconds: int
) -> None:
    def store(path: bytes) -> tuple[bytes, tuple[int, str]] | None:
        source, size, mode = origin.files[path]
        try:
            return path, (mode, writer.add_file(source, size).sha1_git)
        except OSError:  # removed or changed since it was listed; SourceError (our own disk) is none of these
            return None

    stored = list(pool.map(store, paths))
    files = dict(item for item in stored if item is not None)
    writer.left_out["unreadable_file"] += len(stored) - len(files)
    if not files:
        return
    writer.files += len(files)
    date = Timestamp(seconds=seconds)
    message = f"{origin.name} {origin.version}\n".encode()
    revision = writer.add_revision(
        Revision(
            directory=add_tree(writer, files),
            author=AUTHOR,
            date=date,
            committer=AUTHOR,
            committer_date=date,
            message=message,
            type="tar",
        )
    )
    branch = b"releases/" + origin.version.encode()
    snapshot = writer.add_snapshot({b"HEAD": Branch(branch, "alias"), branch: Branch(revision, "revision")})
    writer.add_origin(origin.url, snapshot, seconds=seconds, visit_type="pypi")
