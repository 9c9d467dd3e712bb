"""The whole release, readable top to bottom.

    archive ─▶ graph tables ─▶ origins, roots ─▶ files of every root          resolve, walk      wave W0
            ─▶ license-like files ─▶ evidence ─▶ what may be used             fetch, licenses    wave W1
            ─▶ bodies ─▶ text, language, quality ─▶ findings, released text   fetch, judge       wave W2
            ─▶ one occurrence per content, one content per text               elect              wave W3
            ─▶ near-duplicates, verified                                      near               wave W4
            ─▶ ledger ─▶ rows ─▶ shards ─▶ release directory                  ledger, emit

Every step is a stage with a key (pipeline.engine); what is done is not done again. Before a release is put in its place
the ledger's totals are held against an independent count of the archive (pipeline.audit): a gate, exit code 3.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import dedup
from licensing.optout import Registry
from licensing.policy import Policy
from manifests.card import CardFacts
from manifests.manifest import Digests, Origins, ShardFacts, Totals
from manifests.names import check_version
from manifests.release_writer import finish_release
from pii.rules import rules_digest
from pipeline import config as configuration
from pipeline.config import ReleaseConfig
from pipeline.engine.executor import Executor, InProcess
from pipeline.engine.keys import digest, library_version, source_digest
from pipeline.engine.progress import MemoryWatch, Progress, run_record
from pipeline.engine.runner import Done, Runner, exclusive, open_workdir
from pipeline.engine.stage import as_path
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, GateError, SourceError
from pipeline.sources.from_installed import build_installed
from pipeline.sources.graph import GraphExport, open_export
from pipeline.sources.sampling import Bounds
from pipeline.stages.census import take_census
from pipeline.stages.elect import elect_wave
from pipeline.stages.emit import emit_wave
from pipeline.stages.fetch import fetch
from pipeline.stages.files import list_files
from pipeline.stages.graph import convert
from pipeline.stages.identity import identify
from pipeline.stages.judge import judge_wave
from pipeline.stages.ledger import ledger_wave
from pipeline.stages.licenses import license_wave
from pipeline.stages.near import near_wave
from pipeline.stages.resolve import resolve
from pipeline.stages.secrets import secrets_wave
from pipeline.stages.walk import walk

DEFAULT_BUCKETS = 8  # of a new work directory: units of a laptop's release last around a second each
LIBRARIES = (
    "charset-normalizer", "detect-secrets", "duckdb", "google-re2", "hyperscan", "license-expression", "numba", "numpy",
    "phonenumberslite", "pyarrow", "scancode-toolkit-mini",
)  # fmt: skip
"""Third-party libraries whose versions can change a released byte."""


@dataclass(frozen=True)
class Outcome:
    """What a run did: the release's folder and digest, its totals, and how much was already there."""

    directory: Path
    digest: str
    totals: Mapping[str, Any]
    state: str  # made | unchanged (nothing was to be done) | identical (made again, same bytes as what was there)
    units_run: int
    units_skipped: int
    seconds: float
    peak_pss_bytes: int = 0
    driver_peak_pss_bytes: int = 0


@dataclass
class _Flow:
    """The finished stages that the release directory and the look-ups need."""

    origins: Done
    roots: Done
    ledger: Done
    shards: Done
    identity: Done
    census: Done
    folders: dict[str, str] = field(default_factory=dict)


def run_flow(runner: Runner, export: GraphExport, content: Store, settings: ReleaseConfig) -> _Flow:
    """All waves over one archive. Each line is a stage, or a few."""
    files, licenses, near = settings.files, settings.licenses, settings.near_duplicates
    source = {"content": content.uri, "anonymous": content.anonymous}
    in_flight = settings.engine.fetch_concurrency
    sensitivity = settings.secrets.sensitivity

    graph = convert(runner, export)
    origins, roots = resolve(
        runner,
        graph,
        prefixes=settings.origins.prefixes,
        limit=settings.origins.limit,
        registry=settings.optout.registry,
    )
    listed, directories, oversized = walk(
        runner, graph, roots, max_depth=files.max_depth, max_entries=files.max_entries
    )
    limits = {
        **files.model_dump(mode="json", exclude={"max_depth"}),
        "max_license_bytes": licenses.max_bytes,
    }
    w0 = list_files(runner, listed, roots, directories, oversized, limits)

    license_bodies = fetch(runner, "licenses", w0.ref("licenses"), source, in_flight)
    w1 = license_wave(
        runner,
        w0,
        roots,
        license_bodies,
        scancode=licenses.scancode,
        processes=licenses.processes,
        policy=licenses.policy,
    )

    bodies = fetch(runner, "bodies", w1.ref("survivors"), source, in_flight)
    rules = {**settings.quality.model_dump(mode="json"), "languages": list(files.languages)}
    w2 = judge_wave(runner, w1, bodies, rules, licenses.policy)
    secrets_wave(runner, w2, sensitivity)

    elected, texts, ranks = elect_wave(
        runner,
        w2,
        sensitivity=sensitivity,
        max_findings=settings.secrets.max_findings,
    )
    w4 = (
        near_wave(runner, ranks, near.model_dump(mode="json"), sensitivity=sensitivity)
        if near.enabled
        else None
    )

    kept, ledger = ledger_wave(runner, w0, roots, elected, texts, w4, [w1, w2, elected])
    shards = emit_wave(
        runner,
        kept,
        roots,
        w1.ref("attributions"),
        sensitivity=sensitivity,
        shard_bytes=settings.emit.shard_bytes,
    )
    identity = identify(runner, origins)
    counted = take_census(runner, export, settings.origins, settings.files)
    folders = {
        name: done.stage.folder
        for name, done in {
            "origins": origins, "roots": roots, "ledger": ledger, "kept": kept, "shards": shards, "attributions": w1,
        }.items()
    }  # fmt: skip
    return _Flow(origins, roots, ledger, shards, identity, counted, folders)


def make_release(
    settings: ReleaseConfig,
    *,
    version: str,
    out: Path,
    workdir: str,
    executor: Executor,
    progress: Progress,
) -> Outcome:
    """Make `out/version` from the configured archive. Raises the errors of pipeline.errors; see the module's words."""
    started = time.perf_counter()
    try:
        check_version(version)
    except ValueError as error:
        raise ConfigError(f"--version {version!r}: {error}") from error
    _check_output(out)
    store, buckets = open_workdir(workdir, settings.engine.buckets, default_buckets=DEFAULT_BUCKETS)
    with exclusive(store), MemoryWatch() as memory:
        export, content = open_archive(settings, store, progress)
        runner = Runner(store, executor, buckets, progress, settings.engine.task_memory)
        flow = run_flow(runner, export, content, settings)
        totals = _totals(flow.ledger)
        facts = _facts(settings, flow, version)
        final = out / version
        known = _known(store, version, final, facts)
        if known is None:
            _conservation_gate(flow, totals)
            known, state = _publish(runner, flow, facts, totals, final)
            store.put(
                _record_key(final), json.dumps({**facts, "digest": known, "folders": flow.folders}).encode()
            )
        else:
            state = "unchanged"
        outcome = Outcome(
            directory=final,
            digest=known,
            totals=totals.to_json(),
            state=state,
            units_run=runner.ran_units,
            units_skipped=runner.skipped_units,
            seconds=round(time.perf_counter() - started, 3),
        )
    outcome = Outcome(
        **{
            **vars(outcome),
            "peak_pss_bytes": memory.peak_bytes,
            "driver_peak_pss_bytes": memory.driver_peak_bytes,
        }
    )
    run = f"runs/{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid.uuid4().hex[:6]}/run.json"
    store.put(
        run, run_record(progress, memory, version=version, digest=known, state=state, seconds=outcome.seconds)
    )
    return outcome


# ----------------------------------------------------------------------------------------------------- the input


def open_archive(settings: ReleaseConfig, workdir: Store, progress: Progress) -> tuple[GraphExport, Store]:
    """The graph export and the store of content objects; the archive is built first where the configuration says so."""
    archive = settings.archive
    if archive.uri is None and archive.graph is None:
        if archive.build is None:
            raise ConfigError("no archive: give --archive, set archive.uri, or set archive.build: installed")
        if workdir.root is None:
            raise ConfigError(
                "archive.build needs a local --workdir; build the archive first with `pipeline archive`"
            )
        target = workdir.root / "archive"
        bounds = Bounds(
            max_files=archive.max_files,
            max_bytes=archive.max_bytes,
            max_files_per_origin=archive.max_files_per_origin,
        )
        summary = build_installed(target, bounds, progress=lambda _: None)
        verb = "is unchanged" if summary.reused else "was built"
        progress.note(f"{'archive':<26} {verb}: {summary.files:,} files of installed distributions, {target}")
        base = Store(str(target))
        return open_export(base, None, archive.export), base
    base_store = Store(archive.uri, archive.anonymous) if archive.uri else None
    if base_store is not None and base_store.root is not None and not base_store.root.is_dir():
        raise SourceError(
            f"{archive.uri}: no such folder; give --archive a folder or s3:// prefix that holds graph/ and content/"
        )
    graph = Store(archive.graph, archive.anonymous) if archive.graph else None
    if archive.content:
        content = Store(archive.content, archive.anonymous)
    elif base_store is not None:
        content = base_store
    else:
        raise ConfigError("archive.graph is given without archive.uri: set archive.content too")
    return open_export(base_store, graph, archive.export), content


# ----------------------------------------------------------------------------------------------- totals and gates


def _totals(ledger: Done) -> Totals:
    total: Counter[str] = Counter()
    for facts in ledger.facts:
        total.update(facts["totals"])
    found, kept = total.pop("found", 0), total.pop("kept", 0)
    return Totals(found=found, kept=kept, dropped=dict(sorted(total.items())))


def _conservation_gate(flow: _Flow, totals: Totals) -> None:
    """Every occurrence has exactly one decision, and an independent walk finds the same number of them."""
    undecided = [place for facts in flow.ledger.facts for place in facts["undecided"]]
    if undecided:
        raise GateError(
            f"conservation: an occurrence has no decision, or two: {undecided[0]}; this is a defect, please report it"
        )
    added = totals.kept + sum(totals.dropped.values())
    if added != totals.found:
        raise GateError(
            f"conservation: kept + dropped = {added:,}, but {totals.found:,} occurrences were listed"
        )
    counted = flow.census.facts[0]
    if counted["found"] != totals.found:
        raise GateError(
            f"conservation: an independent walk of the archive finds {counted['found']:,} occurrences"
            f" below {counted['resolved']:,} roots, the ledger has {totals.found:,}; nothing was released"
        )
    if totals.kept == 0:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in Counter(totals.dropped).most_common(5))
        raise GateError(
            f"no file was kept of {totals.found:,} found ({reasons or 'the archive is empty'}); nothing was released"
        )


# ------------------------------------------------------------------------------------------------ the release folder


def _facts(settings: ReleaseConfig, flow: _Flow, version: str) -> dict[str, Any]:
    """Everything that the release directory depends on, besides the text of its rows."""
    resolved = configuration.resolved(settings)
    licenses = Policy.load(as_path(settings.licenses.policy))
    detectors = {"duplicates": f"stackmill {dedup.__name__} {source_digest('dedup')[:16]}"}
    if settings.licenses.scancode:
        detectors["scancode"] = library_version("scancode-toolkit-mini")
    return {
        "name": settings.name,
        "version": version,
        "config": resolved,
        "inputs": flow.identity.facts[0],
        "code": source_digest("pipeline.release"),
        "policies": {
            "license": licenses.digest,
            "opt_out": Registry.load(as_path(settings.optout.registry)).digest,
            "secrets": rules_digest(),
        },
        "detectors": detectors,
        "libraries": {name: library_version(name) for name in LIBRARIES},
        "shards_key": flow.shards.stage.key,
        "ledger_key": flow.ledger.stage.key,
    }


def _record_key(final: Path) -> str:
    return f"releases/{final.name}-{digest(str(final.absolute()))[:12]}.json"


def _known(store: Store, version: str, final: Path, facts: Mapping[str, Any]) -> str | None:
    """The digest of the release in place, when it was made by this work directory from exactly these facts."""
    try:
        record = json.loads(store.read(_record_key(final)))
        manifest = (final / "manifest.json").read_bytes()
    except FileNotFoundError:
        return None
    same = {key: record.get(key) for key in facts} == json.loads(json.dumps(facts))
    return record["digest"] if same and _sha256(manifest) == record["digest"] else None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _publish(
    runner: Runner, flow: _Flow, facts: Mapping[str, Any], totals: Totals, final: Path
) -> tuple[str, str]:
    """Assemble the directory beside its final place, compare with what is there, and rename. Returns digest and state."""
    staging = final.with_name(f"{final.name}.tmp-{uuid.uuid4().hex[:12]}")
    with runner.store._errors(str(staging)):
        try:
            staging.mkdir(parents=True)
            shards = []
            for unit in flow.shards.facts:
                for recorded in unit["shards"]:
                    shard = dict(recorded)  # the summary is shared with later runs of this process
                    name = shard.pop("file")
                    target = staging / shard["path"]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _copy(runner.store, f"{flow.shards.stage.folder}/{name}", target)
                    shards.append(ShardFacts(**shard))
            origins: Counter[str] = Counter()
            for unit in flow.origins.facts:
                origins.update(dict(unit["input"]))
            resolved = origins.pop("resolved", 0)
            made = finish_release(
                staging,
                name=facts["name"],
                version=facts["version"],
                shards=shards,
                ids=runner.table(flow.shards.ref("ids")),
                totals=totals,
                origins=Origins(
                    found=resolved + sum(origins.values()),
                    resolved=resolved,
                    unresolved=dict(sorted(origins.items())),
                ),
                inputs=facts["inputs"],
                digests=Digests(
                    configuration=digest(facts["config"]),
                    code=facts["code"],
                    policies=facts["policies"],
                    detectors=facts["detectors"],
                    libraries=facts["libraries"],
                ),
                config_yaml=_config_yaml(facts["config"]),
                text=CardFacts(),
            )
            if final.exists():
                return made, _same_or_refuse(final, made)
            _fsync_tree(staging)
            staging.rename(final)
            return made, "made"
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _same_or_refuse(final: Path, made: str) -> str:
    try:
        there = _sha256((final / "manifest.json").read_bytes())
    except OSError:
        there = "unreadable"
    if there != made:
        raise ConfigError(
            f"{final} exists and is another release (manifest {there[:16]}, this one would be {made[:16]});"
            " releases are never overwritten: give another --version or --out"
        )
    return "identical"


def _copy(store: Store, key: str, target: Path) -> None:
    if store.root is not None:
        shutil.copyfile(store.path(key), target)
    else:
        target.write_bytes(store.read(key))


def _fsync_tree(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check_output(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(f"--out {out}: {error.strerror or error}") from error
    if not os.access(out, os.W_OK):
        raise SourceError(f"--out {out}: no permission to write there")


def _config_yaml(resolved: Mapping[str, Any]) -> bytes:
    head = "# The resolved configuration of this release: everything in it that can change a released byte.\n"
    return (head + yaml.safe_dump(dict(resolved), sort_keys=True, allow_unicode=True)).encode()


# ------------------------------------------------------------------------------------------------------- the plan


def plan_release(settings: ReleaseConfig, *, version: str, out: Path, workdir: str) -> dict[str, Any]:
    """What `make_release` would do: stages, units, what is done already. Touches nothing.

    Stages whose inputs do not exist yet are listed with as many units as are known now: the depth of the trees and the
    number of shards show only when the stages before them have run.
    """
    check_version(version)
    store, buckets = open_workdir(workdir, settings.engine.buckets, default_buckets=DEFAULT_BUCKETS, dry=True)
    plan: dict[str, Any] = {
        "version": version,
        "release": str(out / version),
        "workdir": workdir,
        "buckets": buckets,
        "stages": [],
    }
    local = settings.archive.uri is None and settings.archive.graph is None
    if local and store.root is not None and not (store.root / "archive").is_dir():
        return {
            **plan,
            "archive": f"{store.root / 'archive'} (to be built from the installed distributions)",
            "note": "the archive is built first; its stages can be planned after that",
        }
    if local and store.root is not None:
        base = Store(str(store.root / "archive"))
        export, content = open_export(base, None, settings.archive.export), base
    else:
        export, content = open_archive(settings, store, Progress(quiet=True))
    runner = Runner(store, InProcess(), buckets, Progress(quiet=True), dry=True)
    run_flow(runner, export, content, settings)
    stages = [{"stage": name, "units": units, "done": done} for name, units, done in runner.plan]
    left = sum(not stage["done"] for stage in stages)
    return {
        **plan,
        "archive": content.uri,
        "objects": _objects(export),
        "stages": stages,
        "note": f"{left} of {len(stages)} stages to run" if left else "nothing to run: every stage is done",
    }


def _objects(export: GraphExport) -> dict[str, int]:
    """Contents in the graph (exact, from the footers) and their bytes (estimated from the first rows)."""
    rows = 0
    units = export.units("content")
    for key in {str(unit["key"]) for unit in units}:
        with export.store.parquet(key) as file:
            rows += file.metadata.num_rows
    if not units or rows == 0:
        return {"rows": 0, "estimated_bytes": 0}
    lengths = [
        length for length in export.read("content", units[0])["length"].to_pylist() if length is not None
    ]
    return {"rows": rows, "estimated_bytes": round(rows * sum(lengths) / max(1, len(lengths)))}
