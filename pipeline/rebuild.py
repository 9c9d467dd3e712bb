"""The spot check: some shards of a release made once more from bodies, and compared byte for byte with its manifest.

Everything before the texts is taken from the work directory where it is there, and made from the archive where it is not
(a new work directory makes all of it). The texts of the picked shards are read, decoded and redacted again and written to
files of their own: what is kept of earlier runs is not looked at.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from licensing.decisions import Decisions
from licensing.optout import Registry
from licensing.policy import Policy
from manifests.errors import ManifestError, ManifestsError
from manifests.facts import ShardFacts
from manifests.manifest import Manifest
from manifests.names import CONFIG_FILE, MANIFEST, visible
from pipeline import config as configuration
from pipeline.config import ReleaseConfig
from pipeline.engine.executor import Executor
from pipeline.engine.keys import digest, library_version, source_digest
from pipeline.engine.lock import exclusive
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Runner, open_workdir
from pipeline.engine.stage import as_path
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, IntegrityError
from pipeline.publish import LIBRARIES, address_of, place_of, sha256_of
from pipeline.release import run_flow
from pipeline.sources.opening import open_archive
from pipeline.stages.emit import Rebuild
from pipeline.workplace import local_folders, new_buckets

RANDOM = "random"


@dataclass
class Rebuilt:
    """What came of a spot check: every shard that was made once more, and what differs of it (empty: nothing)."""

    release: str
    digest: str
    shards: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all of them have the bytes that the manifest says."""
        return not any(self.shards.values())


def rebuild_shards(
    settings: ReleaseConfig,
    wanted: str,
    *,
    version: str,
    out: Path | str,
    workdir: str,
    executor: Executor,
    progress: Progress,
) -> Rebuilt:
    """Make shards of `out/version` once more: one path, `random`, or `random:N`.

    Raises ConfigError when there is no such release or shard, or when it was made from other files of the user.
    """
    place = place_of(out, version)
    try:
        data = place.read(MANIFEST)
    except FileNotFoundError:
        raise ConfigError(f"{address_of(place)} is no release: it has no {MANIFEST}") from None
    try:
        manifest = Manifest.parse(data)
    except ManifestError as error:
        raise IntegrityError(f"{address_of(place)}/{MANIFEST}: {error}") from error
    found = Rebuilt(address_of(place), sha256_of(data))
    listed = {shard.path: shard for shard in manifest.shards}
    paths = pick(wanted, sorted(listed), found.digest)
    check_ingredients(settings, manifest, where=found.release)
    found.notes += _differences(manifest)
    store, buckets = open_workdir(
        workdir, settings.engine.buckets, default_buckets=lambda: new_buckets(settings, workdir)
    )
    executor.prepare(local_folders(settings, workdir), LIBRARIES)
    with exclusive(store, progress.note) as held:
        export, content = open_archive(settings, store, progress)
        runner = Runner(store, executor, buckets, progress, settings.engine.task_memory)
        runner.before_commit = held.recheck
        rebuild = Rebuild(tuple(paths), uuid.uuid4().hex)
        flow = run_flow(runner, export, content, settings, rebuild=rebuild)
        made = {facts["path"]: facts for unit in flow.shards.facts for facts in unit["shards"]}
        try:
            for path in paths:
                key = f"{flow.shards.stage.folder}/{made[path]['file']}" if path in made else None
                found.shards[path] = _compare(listed[path], made.get(path), store, key, place)
        finally:
            for folder in sorted(runner.used):
                if folder.startswith(("stages/emit.picked/", "stages/emit.rebuilt/")) or (
                    folder.startswith("stages/emit.texts/")
                ):
                    store.delete_all(folder)
    return found


def pick(wanted: str, paths: Sequence[str], seed: str) -> list[str]:
    """The shards to check: `random` and `random:N` are drawn by the release's digest, so that anyone draws the same."""
    if wanted != RANDOM and not wanted.startswith(f"{RANDOM}:"):
        if wanted not in paths:
            raise ConfigError(
                f"--rebuild-shard {ascii(wanted)[:200]}: the release has no such shard; give a path as in its manifest, such as"
                f" {paths[0]}, or random, or random:N"
            )
        return [wanted]
    amount = wanted.partition(":")[2] or "1"
    if not amount.isdecimal() or not 1 <= int(amount[:9]) <= 1_000_000:
        raise ConfigError(f"--rebuild-shard {ascii(wanted)[:200]}: N of random:N must be a number from 1 up")
    drawn = sorted(paths, key=lambda path: hashlib.sha256(f"{seed} {path}".encode()).digest())
    return sorted(drawn[: int(amount)])


def check_beside(config: Path, settings: ReleaseConfig) -> None:
    """Raise ConfigError when a release's own config.yaml is used without the files that the release was made with.

    They are no part of a release, and config.yaml does not name them. Other files than those are a user's choice.
    """
    beside = config.parent / MANIFEST
    if config.name == CONFIG_FILE and beside.is_file():
        with contextlib.suppress(ManifestsError):  # a broken release is not what this run is about
            check_ingredients(settings, Manifest.parse(beside.read_bytes()), where=str(config), absent=True)


def check_ingredients(
    settings: ReleaseConfig, manifest: Manifest, *, where: str, absent: bool = False
) -> None:
    """Raise ConfigError that names every file or setting that is not the one that the release was made with.

    With `absent` only files that the configuration does not name at all.
    """
    said = manifest.digests
    wrong = []
    if not absent and digest(configuration.resolved(settings)) != said.configuration:
        wrong.append("its own configuration (--config RELEASE/config.yaml, with these keys added)")
    files = {
        "license": (settings.licenses.policy, Policy.load, "licenses.policy"),
        "license_decisions": (settings.licenses.decisions, Decisions.load, "licenses.decisions"),
        "opt_out": (settings.optout.registry, Registry.load, "optout.registry"),
    }
    for name, (file, load, key) in files.items():
        if (file is None or not absent) and said.policies.get(name) not in (None, load(as_path(file)).digest):
            wrong.append(f"{key}: the file with the digest {said.policies[name]} (policies.{name})")
    if settings.licenses.decisions is not None and "license_decisions" not in said.policies:
        wrong.append("licenses.decisions: null, the release was made without decisions")
    if manifest.tokenizer is not None and settings.tokens.tokenizer is None:
        wrong.append(f"tokens.tokenizer: the file with the digest {manifest.tokenizer.digest}")
    if "review" in manifest.inputs and settings.card.review is None:
        wrong.append("card.review: the review that the release's card shows")
    for name in sorted(manifest.inputs.get("selections") or {}):  # type: ignore[union-attr,arg-type]
        if getattr(settings.origins, str(name), None) is None:
            wrong.append(f"origins.{name}: the file that the release was made with")
    paths = {one.name: one.path for one in settings.contamination.benchmarks}
    for name, made_with in sorted(dict(manifest.inputs.get("benchmarks") or {}).items()):
        if paths.get(name) is None:
            wrong.append(
                f"contamination.benchmarks: the `path` of {name}, the file with the digest {made_with['digest']}"
            )
    for name, made_with in sorted(dict(manifest.inputs.get("secrets") or {}).items()):
        named = settings.secrets.digests.get(str(name))
        model = settings.secrets.model
        if name == "model" and model is not None and model.path is not None:
            continue  # its digest is in the keys of what it found
        if named is None or (not absent and named != made_with):
            wrong.append(f"secrets.{name}: what has the digest {made_with}")
    if wrong:
        raise ConfigError(
            f"{where}: the release was made with what this configuration does not name: {'; '.join(wrong)}"
        )


def _differences(manifest: Manifest) -> list[str]:
    """What of the code and the libraries is not as when the release was made: reasons for other bytes, not errors."""
    notes = []
    if manifest.digests.code != source_digest("pipeline.release"):
        notes.append(
            "this code is not the code that the release was made with (digests.code of the manifest)"
        )
    for name, version in sorted(manifest.digests.libraries.items()):
        if library_version(name) != version:
            notes.append(f"{name} is {library_version(name)} here, the release was made with {version}")
    return notes


def _compare(
    said: ShardFacts, made: Mapping[str, Any] | None, store: Store, key: str | None, place: Store
) -> list[str]:
    if made is None or key is None:
        return ["it is not a shard of the release that this archive and configuration give"]
    if (made["sha256"], made["bytes"]) == (said.sha256, said.bytes):
        return []
    words = [
        f"sha256 {made['sha256']} ({made['bytes']:,} bytes), the manifest says {said.sha256} ({said.bytes:,})"
    ]
    with tempfile.TemporaryDirectory(prefix="stackmill-rebuild-") as folder:
        mine, theirs = Path(folder, "mine"), Path(folder, "theirs")
        store.fetch(key, mine)
        try:
            place.fetch(said.path, theirs)
            words.append(first_difference(pq.read_table(theirs), pq.read_table(mine)))
        except FileNotFoundError:
            words.append("the release's own file is missing")
        except (pa.ArrowException, OSError) as error:
            words.append(f"the release's own file cannot be read: {error}")
    return words


def first_difference(theirs: pa.Table, mine: pa.Table) -> str:
    """Where two tables of rows differ first: the row and the column, in words."""
    if theirs.schema != mine.schema:
        return "their columns differ"
    if theirs.num_rows != mine.num_rows:
        return f"the release's file has {theirs.num_rows:,} rows, the rebuilt one {mine.num_rows:,}"
    best: tuple[int, int, str] | None = None
    for place, name in enumerate(theirs.column_names):
        if theirs[name].equals(mine[name]):
            continue
        left, right = theirs[name].to_pylist(), mine[name].to_pylist()
        row = next(n for n, (a, b) in enumerate(zip(left, right, strict=True)) if a != b)
        words = f"row {row}, column {name}: {visible(repr(left[row])[:80])} there, {visible(repr(right[row])[:80])} rebuilt"
        best = min(best or (row, place, words), (row, place, words))
    return (
        best[2]
        if best
        else "all rows are equal: the files differ in how they were written (versions of libraries?)"
    )
