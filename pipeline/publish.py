"""From finished shards to the release directory: assembled beside its place, compared, then renamed into it.

On S3, which cannot rename, see publish_s3.py. A release is never overwritten. What is already there with the same manifest
is called identical; anything else of the same version is refused.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from licensing.decisions import Decisions
from licensing.known import KnownTexts
from licensing.optout import Registry
from licensing.policy import Policy
from manifests.changelog import section
from manifests.diff import compare
from manifests.facts import Contents, Digests, Origins, Parent, ShardFacts, Tokenizer, Totals
from manifests.manifest import Manifest
from manifests.names import (
    CHANGES_FILE,
    MANIFEST,
    NOTICES_FILE,
    QUALITY_SIGNALS_FILE,
    REMOVALS_FILE,
    SECRETS_SPARED_FILE,
    SIGNALS_FILE,
)
from manifests.papers import papers
from manifests.release_writer import finish_release
from pii.rules import rules_digest
from pipeline import config as configuration
from pipeline.card import card_facts
from pipeline.config import ReleaseConfig
from pipeline.duplication import duplication
from pipeline.engine.keys import digest, library_version, source_digest
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import as_path
from pipeline.engine.store import TEMPORARY, Store, fsync
from pipeline.engine.store_errors import disk_errors
from pipeline.errors import ConfigError, IntegrityError, SourceError
from pipeline.report import report_makers
from pipeline.review_card import load_review, with_review
from pipeline.stages.changes import Step
from pipeline.stages.notices import noticed
from pipeline.stages.shard_files import Samples
from pipeline.stages.signals import Signals

LIBRARIES = (
    "charset-normalizer", "detect-secrets", "duckdb", "google-re2", "hyperscan", "license-expression", "numba", "numpy",
    "phonenumberslite", "pyarrow", "scancode-toolkit-mini",
)  # fmt: skip
"""Third-party libraries whose versions can change a released byte."""

PAIRS_STAGE = "near.pairs"
"""How the names of the stages begin that count the hot buckets of the search for near-duplicates."""

WRITE_CHECK = ".write-check"  # folder of objects that are there for a moment


def release_facts(
    settings: ReleaseConfig,
    version: str,
    *,
    inputs: Mapping[str, Any],
    shards: Done,
    ledger: Done,
    parent: Parent | None = None,
) -> dict[str, Any]:
    """Everything that the release directory depends on, besides the text of its rows."""
    review = load_review(settings.card.review, name=settings.name)
    return {
        **known_facts(settings, version),
        "inputs": {**inputs, **({"review": review["sha256"]} if review else {})},
        "review": review and review["found"],
        "shards_key": shards.stage.key,
        "ledger_key": ledger.stage.key,
        "parent": None if parent is None else parent.to_json(),
    }


def known_facts(settings: ReleaseConfig, version: str) -> dict[str, Any]:
    """What is known of that before any work."""
    resolved = configuration.resolved(settings)
    licenses = Policy.load(as_path(settings.licenses.policy))
    decisions = Decisions.load(as_path(settings.licenses.decisions)).digest
    registry = Registry.load(as_path(settings.optout.registry))
    detectors = {"duplicates": f"stackmill dedup {source_digest('dedup')[:16]}"}
    if settings.licenses.scancode:
        detectors["scancode"] = library_version("scancode-toolkit-mini")
    if settings.licenses.headers_read != "tags":
        detectors["license_headers"] = KnownTexts.load().version
    return {
        "name": settings.name,
        "version": version,
        "config": resolved,
        "code": source_digest("pipeline.release"),
        "policies": {
            "license": licenses.digest,
            "opt_out": registry.digest,
            "secrets": rules_digest(),
            **({"license_decisions": decisions} if decisions else {}),
        },
        "opt_out_entries": len(registry.origins) + len(registry.owners),
        "detectors": detectors,
        "libraries": {name: library_version(name) for name in LIBRARIES},
    }


def place_of(out: str | Path, version: str) -> Store:
    """Where a release lies: the folder or prefix `out/version`."""
    return Store(f"{str(out).rstrip('/')}/{version}")


def address_of(place: Store) -> str:
    """The one way to write where a release lies: an absolute path, or s3://bucket/prefix."""
    return str(place.root) if place.root is not None else f"s3://{place.bucket}/{place.prefix}"


def record_key(place: Store) -> str:
    """Where a work directory remembers what it put at `place`."""
    address = address_of(place)
    return f"releases/{address.rsplit('/', 1)[-1]}-{digest(address)[:12]}.json"


def known_digest(store: Store, place: Store, facts: Mapping[str, Any]) -> str | None:
    """The digest of the release in place, when it was made by this work directory from exactly these facts."""
    try:
        record = json.loads(store.read(record_key(place)))
        manifest = place.read(MANIFEST)
    except FileNotFoundError:
        return None
    same = {key: record.get(key) for key in facts} == json.loads(json.dumps(facts))
    if not same or sha256_of(manifest) != record["digest"]:
        return None
    _check_sizes(place, manifest)
    return str(record["digest"])


def _check_sizes(place: Store, manifest: bytes) -> None:
    """Raise IntegrityError when a file that the manifest lists is gone or has another size."""
    sizes = {entry.key: entry.size for entry in place.list()}
    for listed in Manifest.parse(manifest).listed().values():
        if sizes.get(listed.path) != listed.bytes:
            what = "folder" if place.root is not None else "objects below it"
            raise IntegrityError(
                f"{address_of(place)} is there, but {listed.path} is missing or has another size than its manifest"
                f" says; run `pipeline verify` on it, and remove the {what} to have it made again"
            )


def sha256_of(data: bytes) -> str:
    """The SHA-256, as hex."""
    return hashlib.sha256(data).hexdigest()


def state_of(place: Store, made: str) -> str | None:
    """`identical` when a release with the digest `made` is in place, None when there is none.

    Raises ConfigError when it is another one: releases are never overwritten.
    """
    try:
        manifest = place.read(MANIFEST)
    except FileNotFoundError:
        if place.root is None or not place.root.exists():
            return None
        manifest = b""  # a folder without a manifest is none of ours
    there = sha256_of(manifest) if manifest else "unreadable"
    if there != made:
        raise ConfigError(
            f"{address_of(place)} exists and is another release (manifest {there[:16]}, this one would be"
            f" {made[:16]}); releases are never overwritten: give another --version or --out"
        )
    _check_sizes(place, manifest)
    return "identical"


@dataclass(frozen=True)
class Parts:
    """What a release directory is made of: its shards, as files of the work directory, and the facts of all else."""

    runner: Runner
    shards: Done
    origins: Done
    facts: Mapping[str, Any]
    totals: Totals
    figures: Done
    tokenizer: Tokenizer | None = None
    tokens: Mapping[str, int] | None = None  # path of a shard -> tokens
    candidates: int | None = None  # pairs of the search for near-duplicates; None: there was none
    signals: Signals | None = None  # None: none were asked for
    quality_signals: Done | None = None
    notices: tuple[Done, Done] | None = None  # of the file, and of its figures
    spared: Done | None = None  # None: nothing may be spared
    rechecked: Done | None = None  # None: not asked for
    step: Step | None = None  # from the parent; None without one

    def described(self) -> list[tuple[ShardFacts, str]]:
        """Every shard and its key in the work directory."""
        found = []
        for unit in self.shards.facts:
            for recorded in unit["shards"]:
                shard = dict(recorded)  # the summary is shared with later runs of this process
                name = shard.pop("file")
                if self.tokens is not None:
                    shard["tokens"] = self.tokens[shard["path"]]
                found.append((ShardFacts(**shard), name))
        return found

    def finish(self, staging: Path, *, shards_elsewhere: bool = False) -> str:
        """Write everything but the shards into `staging`; returns the release's digest."""
        facts = self.facts
        text = with_review(
            card_facts(facts["config"], opt_out_entries=facts["opt_out_entries"]), facts["review"]
        )
        ended: Counter[str] = Counter()
        for unit in self.origins.facts:
            ended.update(dict(unit["input"]))
        resolved = ended.pop("resolved", 0)
        licenses: Counter[str] = Counter()
        redactions: Counter[str] = Counter()
        for unit in self.shards.facts:
            licenses.update(unit["licenses"])
            redactions.update(unit["redactions"])
        return finish_release(
            staging,
            name=facts["name"],
            version=facts["version"],
            shards=[shard for shard, _ in self.described()],
            ids=self.runner.table(self.shards.ref("ids")),
            totals=self.totals,
            origins=Origins(
                found=resolved + sum(ended.values()),
                resolved=resolved,
                unresolved=dict(sorted(ended.items())),
            ),
            contents=Contents(licenses=licenses, redactions=redactions),
            inputs=facts["inputs"],
            digests=Digests(
                configuration=digest(facts["config"]),
                code=facts["code"],
                policies=facts["policies"],
                detectors=facts["detectors"],
                libraries=facts["libraries"],
            ),
            opt_out_head=facts["policies"]["opt_out"],
            config_yaml=_config_yaml(facts),
            text=text,
            tokenizer=self.tokenizer,
            makers={
                **papers(text, None if self.notices is None else noticed(self.notices[1])),
                **report_makers(self._figures(), None if self.step is None else self.step.parent.manifest),
            },
            shards_elsewhere=shards_elsewhere,
            **self._more(staging),
        )

    def _figures(self) -> dict[str, Any]:
        """What was counted on the way."""
        counted = json.loads(self.runner.table(self.figures.ref("figures"))["figures"][0].as_py())
        by_language: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for unit in self.shards.facts:
            for language, licenses in unit["language_licenses"].items():
                by_language[language].update(licenses)
        samples = Samples()
        for unit in self.shards.facts:
            samples.add(unit["samples"])
        counted["secrets"] |= {
            "samples": samples.best(),
            "rechecked": None if self.rechecked is None else sum(shard.rows for shard, _ in self.described()),
        }
        counted["rows"]["language_licenses"] = {name: dict(found) for name, found in by_language.items()}
        most = self.runner.table(self.signals.file.ref("most")) if self.signals is not None else None
        near = self.facts["config"]["near_duplicates"]
        search = None
        if self.candidates is not None:
            found: Counter[str] = Counter({"candidates": self.candidates})
            for name, counts in self.runner.counts.items():
                if name.startswith(PAIRS_STAGE):
                    found.update(counts)
            search = found
        return {**counted, "duplication": duplication(near, counted, search, self.signals, most)}

    def _more(self, staging: Path) -> dict[str, Any]:
        """What not every release has: the files are put into `staging`."""
        told = self._against_parent(staging)
        written = {
            SIGNALS_FILE: self.signals and self.signals.file,
            QUALITY_SIGNALS_FILE: self.quality_signals,
            NOTICES_FILE: self.notices and self.notices[0],
            SECRETS_SPARED_FILE: self.spared,
        }
        for name, done in written.items():
            if done is not None:
                self.runner.store.fetch(f"{done.stage.folder}/{name}", staging / name)
                told = {**told, "extra": (*told.get("extra", ()), name)}
        return told

    def _against_parent(self, staging: Path) -> dict[str, Any]:
        """What the release has because of its parent; its two files are put into `staging`."""
        step = self.step
        if step is None:
            return {}
        for name in (CHANGES_FILE, REMOVALS_FILE):
            self.runner.store.fetch(f"{step.folder}/{name}", staging / name)
        old = step.parent
        configurations = old.config_yaml, _config_yaml(self.facts)
        return {
            "parent": old.reference,
            "extra": (CHANGES_FILE, REMOVALS_FILE),
            "history": old.changelog,
            "section": lambda draft: section(
                compare(old.manifest, draft, counts=step.counts, exact=True, configurations=configurations)
            ),
        }


def publish_folder(parts: Parts, place: Store) -> tuple[str, str]:
    """Assemble the folder beside its place, compare with what is there, and rename. Returns digest and state."""
    assert place.root is not None
    final = place.root
    with disk_errors(str(final)):
        _clear_staging(final)
        staging = final.with_name(f"{final.name}{TEMPORARY}{uuid.uuid4().hex[:12]}")
        try:
            staging.mkdir(parents=True)
            with _alive(staging):
                for shard, key in parts.described():
                    target = staging / shard.path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    parts.runner.store.fetch(key, target)
                made = parts.finish(staging)
                if (state := state_of(place, made)) is not None:
                    return made, state
                for path in (staging, *staging.rglob("*")):
                    fsync(path)
                try:
                    staging.rename(final)
                except OSError as error:
                    # Another run was faster, from another work directory.
                    if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and (state := state_of(place, made)):
                        return made, state
                    raise
                fsync(final.parent)
                return made, "made"
        finally:
            shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def _alive(staging: Path) -> Iterator[None]:
    """Hold a lock of the operating system on the folder: it ends with this process."""
    handle = os.open(staging, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def left_staging(out: Path, pattern: str = "*") -> tuple[list[Path], list[Path]]:
    """Folders of unfinished releases in `out`: those of killed runs, and those that a run is writing now."""
    dead, alive = [], []
    for folder in sorted(out.glob(f"{pattern}{TEMPORARY}*")):
        try:
            with _alive(folder):
                dead.append(folder)
        except BlockingIOError:
            alive.append(folder)
        except OSError:
            continue  # renamed or removed a moment ago
    return dead, alive


def _clear_staging(final: Path) -> None:
    dead, alive = left_staging(final.parent, glob.escape(final.name))
    if alive:
        raise ConfigError(
            f"another run, from another work directory, is writing {final}; wait for it, or give another --version or --out"
        )
    for folder in dead:
        shutil.rmtree(folder, ignore_errors=True)


def check_output(out: str | Path) -> list[str]:
    """Raise SourceError before any work is done when no release could be written to `out`.

    Returns the objects below `out` that killed runs left of this very check: to be deleted when this run has ended, since
    by then they cannot be those of another run that starts now.
    """
    store = Store(str(out))
    if store.root is None:
        left = [entry.key for entry in store.list(WRITE_CHECK)]
        _check_bucket(store)
        return left
    try:
        store.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(f"--out {out}: {error.strerror or error}") from error
    if not os.access(store.root, os.W_OK):
        raise SourceError(f"--out {out}: no permission to write there")
    return []


def _check_bucket(store: Store) -> None:
    """Whether objects can be written, and whether a conditional put is one: two runs are told apart by it."""
    key = f"{WRITE_CHECK}/{uuid.uuid4().hex[:12]}"
    try:
        first, second = store.put_new(key, b"1"), store.put_new(key, b"2")
    finally:
        with contextlib.suppress(SourceError):
            store.delete(key)
    if not first or second:
        raise SourceError(
            f"{store.uri}: this object store does not heed `If-None-Match: *`, so two runs could overwrite each other;"
            " use another one, or a folder, as --out"
        )


def _config_yaml(facts: Mapping[str, Any]) -> bytes:
    """The configuration as another one can use it; what it cannot hold, since that is a place on a machine, is named."""
    files = {
        "licenses.policy": facts["policies"]["license"],
        **(
            {"licenses.decisions": facts["policies"]["license_decisions"]}
            if "license_decisions" in facts["policies"]
            else {}
        ),
        "optout.registry": facts["policies"]["opt_out"],
        **{f"origins.{name}": value for name, value in facts["inputs"].get("selections", {}).items()},
        **{
            f"contamination.benchmarks.{name}": value["digest"]
            for name, value in facts["inputs"].get("benchmarks", {}).items()
        },
        **{f"secrets.{name}": value for name, value in facts["inputs"].get("secrets", {}).items()},
    }
    head = [
        "The resolved configuration of this release: everything in it that can change a released byte.",
        "To make the release again: pipeline release --config config.yaml --archive ARCHIVE, see docs/reproduce.md.",
        "The files that it was made with are not named here; what they were, as digests:",
        *(f"  {name}: {value}" for name, value in sorted(files.items())),
    ]
    text = yaml.safe_dump(dict(facts["config"]), sort_keys=True, allow_unicode=True)
    return ("".join(f"# {line}\n" for line in head) + text).encode()
