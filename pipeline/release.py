"""The whole release, readable top to bottom.

    archive ─▶ graph tables ─▶ origins, roots ─▶ files of every root          resolve, walk      wave W0
            ─▶ license-like files ─▶ evidence ─▶ what may be used             fetch, licenses    wave W1
            ─▶ bodies ─▶ text, language, quality ─▶ findings, released text   fetch, judge       wave W2
            ─▶ one occurrence per content, one content per text               elect              wave W3
            ─▶ near-duplicates, verified; repeated text                       near, signals      wave W4
            ─▶ as much of each language as was asked for              caps
            ─▶ ledger ─▶ rows ─▶ shards ─▶ release directory                  ledger, emit
            ─▶ every written row scanned again                                recheck
            ─▶ what lies in what, if asked for                                signals
    parent ─▶ rows that differ, and why ─▶ changes, removals, changelog       changes

Every step is a stage with a key (pipeline.engine); what is done is not done again. Before a release is put in its place
the ledger's totals are held against an independent count of the archive (pipeline.audit), and what is written is scanned
for secrets once more (pipeline.stages.recheck): gates, exit code 3.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from licensing.decisions import Decisions
from licensing.optout import Registry
from licensing.policy import Policy
from manifests.facts import Tokenizer
from manifests.names import check_version
from manifests.shards import ShardForm
from pipeline.books import conservation_gate, totals_of
from pipeline.config import ReleaseConfig
from pipeline.engine.executor import Executor, InProcess
from pipeline.engine.lock import exclusive
from pipeline.engine.progress import MemoryWatch, Progress, run_record
from pipeline.engine.runner import Done, Runner, open_workdir
from pipeline.engine.stage import Ref, as_path
from pipeline.engine.store import Store
from pipeline.errors import ConfigError
from pipeline.estimate import RUNS_LOOKED_AT, estimate, records, safe_quantities
from pipeline.parent import (
    ParentRelease,
    check_version_after,
    check_version_before,
    open_parent,
)
from pipeline.publish import (
    LIBRARIES,
    Parts,
    address_of,
    check_output,
    known_digest,
    place_of,
    publish_folder,
    record_key,
    release_facts,
)
from pipeline.publish_s3 import publish_objects
from pipeline.review_card import load_review
from pipeline.shown_text import strictest
from pipeline.sources.graph import GraphExport
from pipeline.sources.opening import open_archive
from pipeline.stages.caps import cap_wave
from pipeline.stages.census import Counted, take_census
from pipeline.stages.changes import changes_wave
from pipeline.stages.choose import choose
from pipeline.stages.earliest import find_earliest
from pipeline.stages.elect import elect_wave
from pipeline.stages.emit import Rebuild, emit_wave
from pipeline.stages.fetch import fetch, times_asked
from pipeline.stages.figures import figures_wave
from pipeline.stages.files import list_files
from pipeline.stages.graph import convert, reasons_of, warn_of_mixed_tables
from pipeline.stages.identity import identify
from pipeline.stages.index import make_index
from pipeline.stages.judge import judge_wave
from pipeline.stages.ledger import ledger_wave, outcome_wave
from pipeline.stages.license_review import review_wave
from pipeline.stages.licenses import license_wave
from pipeline.stages.listed import list_contents
from pipeline.stages.near import near_wave
from pipeline.stages.notices import notices_wave
from pipeline.stages.origins import settle
from pipeline.stages.quality_signals import quality_signals_wave
from pipeline.stages.recheck import recheck_wave, secrets_gate
from pipeline.stages.resolve import resolve
from pipeline.stages.scopes import scope_of, scopes_wave, settings_config
from pipeline.stages.secret_model import ask_model
from pipeline.stages.secrets import TextForm, secrets_wave
from pipeline.stages.secrets_spared import spared_wave
from pipeline.stages.selections import read_selections
from pipeline.stages.signals import Signals, signals_wave
from pipeline.stages.signals_repeated import Repeated, drop_repeated, repeated_wave
from pipeline.stages.sketches import sketch_settings
from pipeline.stages.text_code import code_wave
from pipeline.stages.text_contamination import open_benchmarks
from pipeline.stages.texts import text_wave
from pipeline.stages.tokens import count_tokens, describe, token_stores, tokens_by_shard
from pipeline.stages.walk import walk
from pipeline.workplace import local_folders, new_buckets

UNFINISHED = (
    "unfinished.json"  # in the work directory, from a run's first stage until its release is in place
)


@dataclass(frozen=True)
class Outcome:
    """What a run did: the release's folder (or s3:// address) and digest, its totals, and how much was already there."""

    directory: Path | str
    digest: str
    totals: Mapping[str, Any]
    state: str  # made | unchanged (nothing was to be done) | identical (made again, same bytes as what was there)
    units_run: int
    units_skipped: int
    seconds: float
    peak_pss_bytes: int = 0
    driver_peak_pss_bytes: int = 0
    shards_reused: int = 0  # files that an earlier run had written, for this release or another one
    shards_written: int = 0


@dataclass
class _Flow:
    """The finished stages that the release directory and the look-ups need."""

    origins: Done
    ledger: Done
    shards: Done
    figures: Done
    identity: Done
    roots: Done
    near: Done | None
    census: Counted | None  # None: only planned
    files: Mapping[
        str, Mapping[str, Any]
    ]  # what the manifest says of the user's files: selections, benchmarks
    folders: dict[str, str] = field(default_factory=dict)
    tokenizer: Tokenizer | None = None
    tokens: Mapping[str, int] | None = None  # path of a shard -> tokens; None: not counted
    candidates: int | None = None  # pairs of the search for near-duplicates; None: there was none
    signals: Signals | None = None
    quality_signals: Done | None = None
    notices: tuple[Done, Done] | None = None
    spared: Done | None = None  # the file of it; None: nothing may be spared
    rechecked: Done | None = None  # None: not asked for
    scope: str = ""  # of the base: pipeline.stages.scopes


def run_flow(
    runner: Runner,
    export: GraphExport,
    content: Store,
    settings: ReleaseConfig,
    *,
    asked: int = 0,
    rebuild: Rebuild | None = None,
) -> _Flow:
    """All waves over one archive. Each line is a stage, or a few. `asked`: see pipeline.stages.fetch."""
    files, licenses, near = settings.files, settings.licenses, settings.near_duplicates
    source = {"content": content.address, "anonymous": content.anonymous, **_fetch_limits(settings)}

    chosen = read_selections(runner, settings.origins)
    graph = convert(runner, export)
    choice = choose(runner, graph["origin"], settings.origins, chosen)
    resolved = resolve(runner, graph, choice, as_of=settings.origins.as_of)
    origins, networks, roots = settle(runner, resolved, choice, registry=settings.optout.registry)
    if warning := warn_of_mixed_tables(reasons_of(origins.facts)):
        runner.progress.note(f"{'warning':<26} {warning}")
    entries, directories, oversized = walk(
        runner, graph, roots, max_depth=files.max_depth, max_entries=files.max_entries
    )
    listed = list_contents(runner, graph, entries, choice.contents)
    limits = {
        **files.model_dump(mode="json", exclude={"max_depth"}),
        "max_license_bytes": licenses.max_bytes,
    }
    w0 = list_files(runner, listed, roots, directories, oversized, limits)
    earliest = find_earliest(runner, w0, origins)

    license_bodies = fetch(runner, "licenses", w0.ref("licenses"), source, asked=asked)
    w1, evidence = license_wave(
        runner,
        w0,
        roots,
        license_bodies,
        scancode=licenses.scancode,
        processes=licenses.processes,
        policy=licenses.policy,
        decisions=licenses.decisions,
        selected=settings.select.licenses,
        header_grants=licenses.header_grants,
    )

    bodies = fetch(runner, "bodies", w1.ref("survivors"), source, asked=asked)
    rules = {
        **settings.quality.model_dump(mode="json", exclude={"signals"}),
        "languages": list(files.languages),
        "headers": licenses.headers_read,
        "selected": list(settings.select.licenses),
    }
    benchmarks = open_benchmarks(settings.contamination)
    if benchmarks:
        runner.progress.note(benchmarks.note())
    read = text_wave(runner, w1, bodies, rules, benchmarks, processes=licenses.processes)
    read = code_wave(runner, read, rules)
    w2 = judge_wave(runner, read, rules, licenses.policy, licenses.decisions)
    queue, unknown = review_wave(
        runner,
        files=w0,
        roots=roots,
        evidence=evidence,
        licenses=w1,
        judged=w2,
        policy=licenses.policy,
        decisions=licenses.decisions,
    )
    _tell_unused(runner, licenses.decisions, evidence, w2)
    policy = settings.secrets.policy()
    text_form = TextForm(
        policy=policy,
        notebooks=settings.quality.notebooks,
        scopes=scopes_wave(runner, w2, policy),
        model=ask_model(settings.secrets.model and settings.secrets.model.given()),
    )
    secrets_wave(runner, w2, text_form, sketch_settings(near.model_dump()) if near.enabled else None)

    elected, texts, ranks = elect_wave(
        runner,
        w2,
        text_form=text_form,
        max_findings=settings.secrets.max_findings,
        benchmarks=benchmarks,
    )
    duplicates = near.model_dump(mode="json")
    w4, pairs = (
        near_wave(runner, texts.ref("winners"), ranks, duplicates, text_form=text_form)
        if near.enabled
        else (None, [])
    )

    tokenizer = describe(settings.tokens.tokenizer, settings.tokens.name)
    token_keys = token_stores(tokenizer, text_form)
    outcome = outcome_wave(runner, elected, texts, w4)
    repeated = (
        repeated_wave(runner, outcome.kept, duplicates["repeated"], text_form=text_form)
        if near.repeated is not None
        else None
    )
    kept, left = _taken(runner, settings, outcome.kept, repeated, text_form)
    drops = [one.ref("dropped") for one in (w1, w2, elected)]
    ledger = ledger_wave(runner, w0, roots, kept, [*drops, *outcome.dropped, *left])
    emitted = emit_wave(
        runner,
        kept,
        roots,
        w1.ref("attributions"),
        text_form=text_form,
        shard_bytes=settings.emit.shard_bytes,
        form=ShardForm(**settings.emit.model_dump(exclude={"shard_bytes"})),
        rebuild=rebuild,
    )
    shards = emitted.done
    spared = spared_wave(runner, kept, text_form)
    rechecked = None
    if settings.secrets.recheck and rebuild is None:
        rechecked = recheck_wave(runner, emitted, text_form, None if spared is None else spared[0])
    figures = figures_wave(
        runner,
        kept,
        texts,
        w4,
        files=w0,
        roots=roots,
        origins=origins,
        unknown=unknown,
        text_form=text_form,
    )
    signals = signals_wave(runner, kept, repeated, duplicates, text_form=text_form)
    quality_signals = (
        quality_signals_wave(runner, kept, rules) if settings.quality.signals == "public" else None
    )
    notices = notices_wave(
        runner, wanted=w0.ref("licenses"), fetched=license_bodies, kept=kept, roots=roots, licenses=w1
    )
    tokens = tokens_by_shard(runner, kept, shards, token_keys, text_form.inputs) if token_keys else None
    index = make_index(
        runner,
        ledger=ledger,
        origins=origins,
        roots=roots,
        elected=elected,
        edges=pairs,
        replaced=outcome.replaced,
        stand_ins=outcome.stand_ins,
    )
    identity = identify(runner, origins)
    counted = take_census(runner, export, settings.origins, settings.files, chosen)
    folders = {
        name: done.stage.folder
        for name, done in {
            "origins": origins, "roots": roots, "ledger": ledger, "kept": kept, "shards": shards, "attributions": w1,
            "networks": networks, "earliest": earliest, "index": index.done, "contents": index.contents,
            "license_evidence": evidence, "license_review": queue, "license_unknown": unknown,
            **({"scopes": text_form.scopes} if text_form.scopes is not None else {}),
        }.items()
    }  # fmt: skip
    named = {
        "selections": {name: one.digest for name, one in chosen.items()},
        "benchmarks": benchmarks.described if benchmarks else {},
        "secrets": {
            **settings.secrets.digests,
            **({} if text_form.model is None else {"model": text_form.model.digest}),
        },
    }
    return _Flow(
        origins=origins,
        ledger=ledger,
        shards=shards,
        figures=figures,
        identity=identity,
        roots=roots,
        near=w4,
        census=counted,
        files={name: digests for name, digests in named.items() if digests},
        folders=folders,
        tokenizer=tokenizer,
        tokens=tokens,
        candidates=_candidates(runner, pairs) if near.enabled else None,
        signals=signals,
        quality_signals=quality_signals,
        notices=notices,
        spared=None if spared is None else spared[1],
        rechecked=rechecked,
        scope=scope_of(text_form.base),
    )


def _candidates(runner: Runner, compared: list[Ref]) -> int:
    """How many pairs wave W4 could compare: it compares all of them, or decides in rounds and compares fewer."""
    if (sides := runner.counts.get("near.sides")) is not None:
        return sides["candidates"]
    return sum(runner.rows(ref) for ref in compared)


def _taken(
    runner: Runner,
    settings: ReleaseConfig,
    kept: Done,
    repeated: Repeated | None,
    text_form: TextForm,
) -> tuple[Done, list[Ref]]:
    """What is taken of the kept contents, and the places of what is not."""
    tokens = settings.tokens
    token_keys = token_stores(describe(tokens.tokenizer, tokens.name), text_form)
    left = []
    asked = settings.near_duplicates.repeated
    if repeated is not None and asked is not None and asked.drop_above is not None:
        kept = drop_repeated(runner, kept, repeated, asked.drop_above)
        left.append(kept.ref("dropped"))
    if tokens.tokenizer is not None:
        count_tokens(runner, kept, tokens.tokenizer, token_keys, text_form.inputs)
    caps = settings.select.model_dump(mode="json", include={"max_bytes", "max_tokens"})
    if any(caps.values()):
        kept = cap_wave(runner, kept, caps, token_keys, text_form.inputs)
        left.append(kept.ref("dropped"))
    return kept, left


def _tell_unused(runner: Runner, decisions: str | None, *stages: Done) -> None:
    """Note the reviewer's decisions that speak of nothing in this archive: a digest may be mistyped, or a file gone."""
    if decisions is None or any(stage.planned for stage in stages):
        return
    known = Decisions.load(as_path(decisions)).by_sha256
    used = {sha256 for stage in stages for facts in stage.facts for sha256 in facts["decided"]}
    if unused := sorted(set(known) - used):
        shown = ", ".join(unused[:3]) + (", ..." if len(unused) > 3 else "")
        runner.progress.note(
            f"{'license decisions':<26} {len(known) - len(unused):,} of {len(known):,} apply; no license-like file and no"
            f" candidate has the bytes of {shown}"
        )


def _fetch_limits(settings: ReleaseConfig) -> dict[str, Any]:
    engine = settings.engine
    return {
        "rate": engine.fetch_rate,
        "in_flight": engine.fetch_concurrency,
        "failures": engine.fetch_failures,
        "incomplete": engine.fetch_incomplete,
    }


def make_release(
    settings: ReleaseConfig,
    *,
    version: str,
    out: Path | str,
    workdir: str,
    executor: Executor,
    progress: Progress,
    ask_again: bool = False,
    parent: str | None = None,
) -> Outcome:
    """Make `out/version`, a folder or a prefix on S3, from the configured archive; see the module's words.

    `parent` is the folder or s3:// address of the release that this one is compared with. Raises the errors of pipeline.errors.
    """
    started = time.perf_counter()
    try:
        check_version(version)
    except ValueError as error:
        raise ConfigError(f"--version {version!r}: {error}") from error
    # These are read again where they are used; a wrong one is to be told now, not after an hour.
    before = open_parent_of(settings, parent, version=version, out=out)
    Registry.load(as_path(settings.optout.registry))
    Decisions.load(as_path(settings.licenses.decisions))
    load_review(settings.card.review, name=settings.name)
    describe(settings.tokens.tokenizer, settings.tokens.name)
    ask_model(settings.secrets.model and settings.secrets.model.given())
    open_benchmarks(settings.contamination)
    left_checks = check_output(out)
    executor.prepare(local_folders(settings, workdir, parent), LIBRARIES)
    store, buckets = open_workdir(
        workdir, settings.engine.buckets, default_buckets=lambda: new_buckets(settings, workdir)
    )
    with exclusive(store, progress.note) as held, MemoryWatch() as memory:
        export, content = open_archive(settings, store, progress)
        runner = Runner(store, executor, buckets, progress, settings.engine.task_memory)
        place = place_of(out, version)
        runner.before_stage = lambda: _begun(runner, place)
        runner.before_commit = held.recheck
        amounts = safe_quantities(export, store)
        flow = run_flow(runner, export, content, settings, asked=times_asked(store, again=ask_again))
        totals = totals_of(flow.ledger)
        inputs = {**flow.identity.facts[0], **flow.files}
        facts = release_facts(
            settings,
            version,
            inputs=inputs,
            shards=flow.shards,
            ledger=flow.ledger,
            parent=None if before is None else before.reference,
        )
        if flow.tokenizer is not None:
            facts["tokenizer"] = flow.tokenizer.to_json()
        known = known_digest(store, place, facts)
        if known is None:
            assert flow.census is not None
            conservation_gate(flow.ledger, flow.census, totals)
            if flow.rechecked is not None:
                secrets_gate(flow.rechecked)
            parts = Parts(
                runner=runner,
                shards=flow.shards,
                origins=flow.origins,
                facts=facts,
                totals=totals,
                figures=flow.figures,
                tokenizer=flow.tokenizer,
                tokens=flow.tokens,
                candidates=flow.candidates,
                signals=flow.signals,
                quality_signals=flow.quality_signals,
                notices=flow.notices,
                spared=flow.spared,
                rechecked=flow.rechecked,
            )
            if before is not None:
                parts = _compared(parts, flow, before, settings.optout.registry)
            known, state = (
                publish_folder(parts, place)
                if place.root is not None
                else publish_objects(parts, Store(str(out)), version, workdir=held)
            )
            record = {
                **facts,
                "digest": known,
                "folders": flow.folders,
                "scope": flow.scope,
                "release": address_of(place),
                "uses": sorted(runner.used),
                "secrets": settings_config(
                    strictest(settings.secrets.policy())
                ),  # for what is shown of other files
                "license_policy": runner.keep(settings.licenses.policy),
                "license_decisions": runner.keep(settings.licenses.decisions),
            }
            store.put(record_key(place), json.dumps(record).encode())
            store.delete(UNFINISHED)
        else:
            state = "unchanged"
        for key in left_checks:
            Store(str(out)).delete(key)
        outcome = Outcome(
            directory=Path(out) / version if place.root is not None else address_of(place),
            digest=known,
            totals=totals.to_json(),
            state=state,
            units_run=runner.ran_units,
            units_skipped=runner.skipped_units,
            seconds=round(time.perf_counter() - started, 3),
            **_shard_counts(flow.shards, progress),
        )
    outcome = Outcome(
        **{
            **vars(outcome),
            "peak_pss_bytes": memory.peak_bytes,
            "driver_peak_pss_bytes": memory.driver_peak_bytes,
        }
    )
    # What --dry-run would have said of the stages that did run, beside what they took.
    todo = [(name, units) for name, units, done in runner.plan if not done]
    expected = amounts and estimate(
        todo, amounts, records(store, RUNS_LOOKED_AT), remote=content.root is None
    )
    run = f"runs/{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid.uuid4().hex[:6]}"
    store.put(f"{run}/units.jsonl.gz", progress.units())
    store.put(
        f"{run}/run.json",
        run_record(
            progress,
            memory,
            version=version,
            digest=known,
            state=state,
            seconds=outcome.seconds,
            at_once=executor.at_once,
            in_process=isinstance(executor, InProcess),
            quantities=amounts,
            estimate=expected,
        ),
    )
    return outcome


def open_parent_of(
    settings: ReleaseConfig, parent: str | None, *, version: str, out: Path | str
) -> ParentRelease | None:
    """The parent, refused now where it cannot be the parent of this version whatever the rows will be."""
    policy = Policy.load(as_path(settings.licenses.policy)).digest
    if parent is None:
        return None
    opened = open_parent(parent, name=settings.name, version=version, place=place_of(out, version))
    check_version_before(version, opened, policy)
    return opened


def _compared(parts: Parts, flow: _Flow, parent: ParentRelease, registry: str | None) -> Parts:
    """The parts with what differs from the parent. A version that is too small a step for that is refused."""
    version = parts.facts["version"]
    step = changes_wave(
        parts.runner,
        parent,
        parts.described(),
        version=version,
        roots=flow.roots,
        ledger=flow.ledger,
        near=flow.near,
        registry=registry,
    )
    check_version_after(version, parent, parts.facts, step.counts)
    return replace(parts, step=step)


def _shard_counts(shards: Done, progress: Progress) -> dict[str, int]:
    """How many files of shards this run wrote; all others were there."""
    ran = any(s["stage"] == shards.stage.name and s.get("skipped") is not True for s in progress.stages)
    written = shards.counts["shards.written"] if ran else 0
    amount = sum(len(unit["shards"]) for unit in shards.facts)
    return {"shards_reused": amount - written, "shards_written": written}


def _begun(runner: Runner, place: Store) -> None:
    """Write down what a run that may be interrupted has used so far: `pipeline clean` keeps that."""
    record = {"release": address_of(place), "uses": sorted(runner.used)}
    runner.store.put(UNFINISHED, json.dumps(record).encode())
