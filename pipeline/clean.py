"""Removing from a work directory what no release references, and from an output what killed runs left.

A release's record, `releases/<version>-<id>.json`, lists all stage folders and annotation stores that it used, and
`unfinished.json` those of a run that was interrupted. What they list is kept; so is the directory's own state
(`workdir.json`, `asked.json`, `archive/`, `inputs/`, the records of `runs/`). Everything else goes:

    stages          folders that nothing lists
    annotations     stores that nothing lists
    shards          files of shards that nothing lists
    orphans         files in a kept stage that its sidecars do not name: of killed units, or of another split
    temporary       half-written files on disk, uploads in parts that never ended on S3
    locks           claims on S3 that finished or removed releases left
    records         of releases that are gone, with `forget_missing`
    releases        unfinished ones in the outputs that are given, see below

Nobody reads what is removed here: the lock of the work directory is held meanwhile. In an output, a folder that a killed run
was writing is removed; on S3, what an unfinished release wrote is removed together with its claim, when the claim is of a
dead run and `drop_unfinished` is set (the run that resumes would go on with it).
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manifests.names import MANIFEST
from pipeline.engine.lock import SETTLE_SECONDS, Heir, exclusive, hold, holder
from pipeline.engine.runner import open_workdir, workdir_id
from pipeline.engine.stage import part_name
from pipeline.engine.store import TEMPORARY, Entry, Store
from pipeline.errors import ConfigError, IntegrityError, SourceError
from pipeline.publish import WRITE_CHECK, left_staging, sha256_of
from pipeline.publish_s3 import CLAIM
from pipeline.release import UNFINISHED
from pipeline.sizing import LEAST
from pipeline.stages.shard_files import FOLDER

KINDS = ("stages", "annotations", "shards", "orphans", "temporary", "locks", "records", "releases")
_CHUNK = 1_000  # keys removed at once, what S3 takes in a request
_AT_ONCE = 16  # sidecars read at once
_FOLDER = re.compile(r"((?:stages|annotations)/[^/]+/[^/]+)/(.+)")

Note = Callable[[str], None]


@dataclass
class Cleaned:
    """What was removed (or would be, in a dry run), and what stays in the work directory."""

    workdir: str | None
    dry_run: bool
    removed: dict[str, dict[str, int]] = field(
        default_factory=lambda: {kind: {"objects": 0, "bytes": 0} for kind in KINDS}
    )
    kept: dict[str, int] = field(default_factory=lambda: {"objects": 0, "bytes": 0})
    notes: list[str] = field(default_factory=list)

    def count(self, kind: str, size: int) -> None:
        """One more object of a kind."""
        self.removed[kind]["objects"] += 1
        self.removed[kind]["bytes"] += size


def clean(
    workdir: str | None,
    outs: Sequence[str] = (),
    *,
    drop_unfinished: bool = False,
    forget_missing: bool = False,
    dry_run: bool = False,
    note: Note = lambda _: None,
) -> Cleaned:
    """Remove what is not referenced; see the module's words. `dry_run` counts only, and takes no lock.

    Raises ConfigError when another run uses the work directory, or when it is none.
    """
    done = Cleaned(workdir, dry_run)
    identity = None
    with contextlib.ExitStack() as stack:
        if workdir is not None:
            store = Store(workdir)
            if store.stat("workdir.json") is None:
                raise ConfigError(f"{workdir} is not a work directory: it has no workdir.json")
            open_workdir(workdir, None, default_buckets=LEAST, dry=True)
            if not dry_run:
                stack.enter_context(exclusive(store, note, sweep=False))
            identity = workdir_id(store)
            _clean_workdir(store, done, drop_unfinished=drop_unfinished, forget_missing=forget_missing)
        for out in outs:
            place = Store(out)
            if place.root is not None:
                _clean_folder(place.root, done)
            else:
                _clean_prefix(place, identity, done, drop_unfinished=drop_unfinished, note=note)
    return done


# ------------------------------------------------------------------------------------------------ the work directory


def _clean_workdir(store: Store, done: Cleaned, *, drop_unfinished: bool, forget_missing: bool) -> None:
    doomed: dict[str, list[Entry]] = {kind: [] for kind in KINDS}
    records = _records(store, done, forget_missing=forget_missing)
    doomed["records"] = [entry for entry, record in records if record is None]
    used = {place for _, record in records if record is not None for place in _uses(store, record, done)}
    if (unfinished := _unfinished(store)) is not None:
        if drop_unfinished:
            doomed["orphans"].append(unfinished[0])
        else:
            used |= set(unfinished[1]["uses"])
            done.notes.append(
                f"the work of the interrupted run of {unfinished[1]['release']} is kept (--drop-unfinished removes it)"
            )
    listed = store.list(temporary=True)
    whole = _named_files(store, used, listed)
    for entry in listed:
        if (kind := _kind_of(entry.key, used, whole)) is not None:
            doomed[kind].append(entry)
    gone = {entry.key for entries in doomed.values() for entry in entries}
    for entry in listed:
        if entry.key not in gone and not entry.key.startswith("lock"):
            done.kept["objects"] += 1
            done.kept["bytes"] += entry.size
    # Records first: what they list is not promised any more when it goes.
    for kind in ("records", *(k for k in KINDS if k != "records")):
        _remove(store, kind, doomed[kind], done)
    _abort_uploads(store, done)
    if store.root is not None and not done.dry_run:
        for name in ("stages", "annotations", FOLDER):
            _remove_empty(store.root / name)


def _records(
    store: Store, done: Cleaned, *, forget_missing: bool
) -> list[tuple[Entry, dict[str, Any] | None]]:
    """The records of releases; None for one that is to be forgotten."""
    found: list[tuple[Entry, dict[str, Any] | None]] = []
    for entry in store.list("releases"):
        try:
            record = json.loads(store.read(entry.key))
            digest = str(record["digest"])
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(
                f"{store.uri}/{entry.key} is not readable, so what its release uses is not known; remove it to have"
                " that removed, or restore it"
            ) from error
        address = record.get("release")
        missing = address is not None and not _is_there(address, digest)
        if missing and not forget_missing:
            done.notes.append(f"{address} is gone; what it used is kept (--forget-missing removes it)")
        found.append((entry, None if missing and forget_missing else record))
    return found


def _is_there(address: str, digest: str) -> bool:
    try:
        return sha256_of(Store(address).read(MANIFEST)) == digest
    except FileNotFoundError:
        return False


def _uses(store: Store, record: dict[str, Any], done: Cleaned) -> set[str]:
    if "uses" in record:
        return set(record["uses"])
    done.notes.append(
        "a release of an earlier version does not say all that it used: what `explain` reads of it is kept"
    )
    return set(record["folders"].values())


def _unfinished(store: Store) -> tuple[Entry, dict[str, Any]] | None:
    try:
        data = store.read(UNFINISHED)
        return Entry(UNFINISHED, len(data)), json.loads(data)
    except FileNotFoundError:
        return None
    except ValueError:
        raise IntegrityError(
            f"{store.uri}/{UNFINISHED} is not readable; remove it to have the work of that run removed"
        ) from None


def _named_files(store: Store, used: set[str], listed: Sequence[Entry]) -> set[str]:
    """The files of the kept stages that a sidecar or the folded summary names, and these themselves."""
    sidecars: dict[str, list[str]] = {}
    for entry in listed:
        match = _FOLDER.fullmatch(entry.key)
        if match and match[1] in used and entry.key.endswith(".json") and TEMPORARY not in entry.key:
            sidecars.setdefault(match[1], []).append(entry.key)
    # What units keep below their stage's folder until they end (the answers of an object store) is theirs until then.
    whole = {
        entry.key
        for entry in listed
        if (match := _FOLDER.fullmatch(entry.key)) is not None
        and match[1] in used
        and "/" in match[2]
        and f"{match[1]}/stage.json" not in sidecars.get(match[1], [])
    }
    # A folded summary speaks for its whole folder.
    read = [
        key
        for folder, keys in sidecars.items()
        for key in ([f"{folder}/stage.json"] if f"{folder}/stage.json" in keys else keys)
    ]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for key, data in zip(read, pool.map(store.read, read), strict=True):
            whole |= _named(key, data)
    return whole


def _named(key: str, data: bytes) -> set[str]:
    """A sidecar, or a folded summary, and the files that it names; nothing for a torn one: its unit is run again."""
    folder, _, name = key.rpartition("/")
    try:
        found = json.loads(data)
        units = found["units"] if name == "stage.json" else {found["unit"]: found}
        named = {key}
        for unit, sidecar in units.items():
            for output, part in sidecar["outputs"].items():
                if part["rows"]:  # which of the two forms it has does not matter here
                    named |= {
                        f"{folder}/{part_name(output, unit, routed=routed)}" for routed in (False, True)
                    }
            named |= {f"{folder}/{file}" for file in sidecar["files"]}
    except (ValueError, KeyError, TypeError) as error:
        if name == "stage.json":
            raise IntegrityError(
                f"{key} is not readable ({error}); delete its folder and run the release again"
            ) from error
        return set()
    return named


def _kind_of(key: str, used: set[str], whole: set[str]) -> str | None:
    """As what an object of the work directory is removed; None when it is kept."""
    top = key.partition("/")[0]
    if top == "archive":
        return None
    if TEMPORARY in key:
        return "temporary"
    if top == FOLDER:
        return None if key.rpartition(".")[0] in used else "shards"
    match = _FOLDER.fullmatch(key)
    if match is None:
        return "orphans" if top in ("stages", "annotations") else None
    if match[1] not in used:
        return top
    return "orphans" if top == "stages" and key not in whole else None


def _remove(store: Store, kind: str, entries: Sequence[Entry], done: Cleaned) -> None:
    """Sidecars and summaries before what they describe: a stage that is half removed must not look finished."""
    for entry in entries:
        done.count(kind, entry.size)
    if done.dry_run:
        return
    for described in (False, True):
        keys = [entry.key for entry in entries if entry.key.endswith(".json") != described]
        for start in range(0, len(keys), _CHUNK):
            store.delete(*keys[start : start + _CHUNK])


def _abort_uploads(store: Store, done: Cleaned, below: str = "") -> None:
    try:
        for _ in store.pending_uploads(below, abort=not done.dry_run):
            done.count("temporary", 0)  # how many bytes its parts have is not listed
    except SourceError as error:
        done.notes.append(str(error))


def _remove_empty(folder: Path) -> None:
    """Remove folders without files, from below."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):
                path.rmdir()


# ------------------------------------------------------------------------------------------------------ the outputs


def _clean_folder(out: Path, done: Cleaned) -> None:
    dead, alive = left_staging(out)
    for folder in dead:
        for path in folder.rglob("*"):
            if path.is_file():
                done.count("releases", path.stat().st_size)
        if not done.dry_run:
            shutil.rmtree(folder)
    done.notes += [f"{folder} is being written by another run" for folder in alive]


def _clean_prefix(
    out: Store, identity: str | None, done: Cleaned, *, drop_unfinished: bool, note: Note
) -> None:
    tops: dict[str, list[Entry]] = {}
    for entry in out.list():
        tops.setdefault(entry.key.partition("/")[0], []).append(entry)
    if checks := tops.get(WRITE_CHECK):
        time.sleep(SETTLE_SECONDS)  # a run that starts just now has its own there for a moment
        _remove(out, "temporary", [entry for entry in checks if out.stat(entry.key) is not None], done)
    for name in sorted(name for name in tops if name.endswith(CLAIM)):
        version, claim = name.removesuffix(CLAIM), tops[name]
        place = f"{out.uri.rstrip('/')}/{version}"
        written = tops.get(version, [])
        finished = any(entry.key == f"{version}/{MANIFEST}" for entry in written)
        if not finished and not drop_unfinished:
            done.notes.append(f"{place} is unfinished; what it holds is kept (--drop-unfinished removes it)")
            continue
        try:
            with _claimed(out, name, identity, dry_run=done.dry_run, note=note):
                if not finished:
                    _remove(out, "releases", written, done)
                    _abort_uploads(out, done, f"{version}/")
                for entry in claim:
                    done.count("locks", entry.size)
        except ConfigError as error:  # its run is alive
            done.notes.append(str(error))


@contextlib.contextmanager
def _claimed(out: Store, name: str, identity: str | None, *, dry_run: bool, note: Note) -> Iterator[None]:
    """Hold the claim of a dead run, so that nobody resumes it meanwhile, and remove it at the end."""
    if dry_run:
        yield
        return
    place = f"{out.uri.rstrip('/')}/{name.removesuffix(CLAIM)}"
    before = holder(out, name)
    # No release has this digest: the run that claimed it before starts anew if this is interrupted.
    facts = {**{k: before.facts.get(k) for k in ("workdir", "workdir_id")}, "release": None} if before else {}
    heir = Heir(inherit=lambda found: identity is not None and found.facts.get("workdir_id") == identity)
    with hold(out, name, what=place, note=note, facts=facts, heir=heir) as held:
        yield
        held.remove()
