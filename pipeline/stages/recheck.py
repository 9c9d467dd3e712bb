"""The last look: every row of every shard, as it was written, is scanned again by the settings of its text.

    shards, by which settings each row was redacted, what is spared ─▶ findings that nobody recorded: a gate, exit code 3

A shard that was found clean is not scanned again by the same rules: `<workdir>/shards/<id>.checked` says so, beside the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.secrets_spared import SECRETS_SPARED
from pii.rules import digest_of, rules_digest
from pipeline.engine.keys import digest, make_key
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Stage, Task
from pipeline.errors import GateError
from pipeline.secrets_check import COLUMNS, SHOWN, Span, Unrecorded, in_words, spans_by_row, unrecorded
from pipeline.stages.emit import Emitted
from pipeline.stages.reading import in_batches
from pipeline.stages.scopes import settings_config, settings_from, settings_of_scope
from pipeline.stages.secrets import RELEASED_OF, TextForm
from pipeline.stages.shard_files import FOLDER

_TEXT_BYTES = 8 << 20  # texts that are scanned at once


def recheck(task: Task) -> Mapping[str, pa.Table]:
    """Scan the shards of the bucket that nobody found clean before."""
    found: list[Unrecorded] = []
    spared = task.read_all("spared") if "spared" in task.refs else SECRETS_SPARED.empty_table()
    members = task.read("members", ["shard", "row_id", "scope"])
    for shard in task.read("shards", ["shard", "id", "rows"]).to_pylist():
        key = f"{FOLDER}/{shard['id']}"
        mine = members.filter(pc.equal(members["shard"], shard["shard"]))
        spans = spans_by_row(
            spared.filter(pc.is_in(spared["row_id"], value_set=mine["row_id"].combine_chunks()))
        )
        check = digest([task.config["check"], sorted(spans.items())])
        if _known(task, f"{key}.checked") == check:
            task.count("recheck.shards_known")
            continue
        here = list(_shard(task, f"{key}.parquet", mine, spans))
        task.count("recheck.rows", shard["rows"])
        found += here
        if not here:
            task.store.put(f"{key}.checked", json.dumps({"check": check}).encode())
    task.count("recheck.findings", len(found))
    task.facts["unrecorded"] = [asdict(one) for one in found[:SHOWN]]
    return {}


def _known(task: Task, key: str) -> str | None:
    if task.store.stat(key) is None:
        return None
    try:
        found = json.loads(task.store.read(key))["check"]
    except (ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def _shard(
    task: Task, key: str, members: pa.Table, spans: Mapping[str, Sequence[Span]]
) -> Iterator[Unrecorded]:
    base = settings_from(task.config["settings"])
    scopes = {scope: settings_of_scope(base, told) for scope, told in task.config["scopes"].items()}
    with task.store.parquet(key) as file:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, columns=COLUMNS, use_threads=False)
            task.bytes_in += rows.nbytes
            at = pc.index_in(rows["row_id"], value_set=members["row_id"].combine_chunks())
            rows = rows.append_column("scope", pc.fill_null(members["scope"].take(at), ""))
            sized = rows.append_column("bytes", pc.binary_length(rows["content"]))
            for piece in in_batches(sized, "bytes", _TEXT_BYTES):
                for scope, part in _by_scope(piece):
                    yield from unrecorded(part, scopes[scope] if scope else base, spans)


def _by_scope(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    if len(scopes := pc.unique(rows["scope"])) == 1:
        yield scopes[0].as_py(), rows
        return
    order = np.argsort(np.asarray(rows["scope"].to_pylist()), kind="stable")
    ordered = rows.take(pa.array(order))
    first = 0
    for scope, same in groupby(ordered["scope"].to_pylist()):
        count = len(list(same))
        yield scope, ordered.slice(first, count)
        first += count


def recheck_wave(runner: Runner, emitted: Emitted, text_form: TextForm, spared: Done | None) -> Done:
    """Scan what is written. `spared`: the stage whose table `rows` lists what is spared; None where nothing is."""
    base = text_form.base
    settings = settings_config(base)
    told = {} if text_form.scopes is None else _scopes(text_form.scopes)
    check = make_key(
        "recheck",
        config={
            "settings": settings,
            "scopes": told,
            "rules": rules_digest(),
            "own_rules": digest_of(base.rules) if base.rules else None,
        },
        inputs={},
        modules=["pipeline.secrets_check"],
        libraries=RELEASED_OF.libraries,
    )
    return runner.run(
        Stage(
            name="secrets.recheck",
            run=recheck,
            inputs={
                "ids": emitted.done.ref("ids"),  # not read: the shards must be there
                "shards": emitted.named,
                "members": emitted.members,
                **({} if spared is None else {"spared": spared.ref("rows")}),
            },
            outputs={},
            config={"settings": settings, "scopes": told, "check": check},
            libraries=("pyarrow",),
        )
    )


def _scopes(scopes: Done) -> dict[str, str]:
    """The settings of every scope that there is."""
    found: dict[str, str] = {}
    for facts in scopes.facts:
        found |= facts["scopes"]
    return dict(sorted(found.items()))


def secrets_gate(done: Done) -> None:
    """Raise GateError, which names rows, kinds and rules and never a value, where a written row holds what nobody recorded."""
    if total := done.counts["recheck.findings"]:
        first = [one for facts in done.facts for one in facts["unrecorded"]]
        raise GateError(
            f"secrets: {total:,} findings in written rows are neither redacted nor recorded as spared: {in_words(first, total)};"
            " nothing was released. This is a defect of redaction, please report it; `secrets.recheck: false` releases"
            " nevertheless"
        )
