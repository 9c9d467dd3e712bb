"""What a release would do, without doing it: `pipeline release --dry-run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manifests.names import check_version
from pipeline.config import ReleaseConfig
from pipeline.engine.executor import InProcess
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Runner, open_workdir
from pipeline.engine.store import Store
from pipeline.estimate import RUNS_LOOKED_AT, estimate, quantities, records
from pipeline.parent import ParentRelease, differing
from pipeline.publish import address_of, known_facts
from pipeline.release import open_parent_of, run_flow
from pipeline.sources.graph import open_export
from pipeline.sources.opening import open_archive
from pipeline.stages.fetch import times_asked
from pipeline.workplace import new_buckets


def plan_release(
    settings: ReleaseConfig, *, version: str, out: Path | str, workdir: str, parent: str | None = None
) -> dict[str, Any]:
    """What `make_release` would do: stages, units, what is done already. Touches nothing.

    Stages whose inputs do not exist yet are listed with as many units as are known now: the depth of the trees and the
    number of shards show only when the stages before them have run.
    """
    check_version(version)
    before = open_parent_of(settings, parent, version=version, out=out)
    store, buckets = open_workdir(
        workdir,
        settings.engine.buckets,
        default_buckets=lambda: new_buckets(settings, workdir),
        dry=True,
    )
    plan: dict[str, Any] = {
        "version": version,
        "release": f"{str(out).rstrip('/')}/{version}",
        "workdir": workdir,
        "buckets": buckets,
        "parent": None if before is None else _plan_of(before, settings, version),
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
        export, content = open_export(base, None, settings.archive.export, form=settings.archive.format), base
    else:
        export, content = open_archive(settings, store, Progress(quiet=True))
    runner = Runner(store, InProcess(), buckets, Progress(quiet=True), dry=True)
    run_flow(runner, export, content, settings, asked=times_asked(store))
    stages = [{"stage": name, "units": units, "done": done} for name, units, done in runner.plan]
    amounts = quantities(export, store)
    todo = [(name, units) for name, units, done in runner.plan if not done]
    cost = estimate(todo, amounts, records(store, RUNS_LOOKED_AT), remote=content.root is None)
    left = sum(not stage["done"] for stage in stages)
    return {
        **plan,
        "archive": content.uri,
        "objects": {"rows": amounts["contents"], "estimated_bytes": amounts["bytes"]},
        "estimate": cost,
        "stages": stages,
        "note": f"{left} of {len(stages)} stages to run" if left else "nothing to run: every stage is done",
    }


def _plan_of(parent: ParentRelease, settings: ReleaseConfig, version: str) -> dict[str, Any]:
    """The parent, and what is known already of the step from it; rows are compared when the shards are there."""
    facts = known_facts(settings, version)
    return {
        "release": address_of(parent.place),
        **parent.reference.to_json(),
        "rows": parent.manifest.totals.kept,
        "shards": len(parent.manifest.shards),
        # What the input is shows only when the flow has read it.
        "differs": sorted(differing(parent, {**facts, "inputs": dict(parent.manifest.inputs)})),
    }
