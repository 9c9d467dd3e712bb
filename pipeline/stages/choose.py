"""Choose: the user's files, shuffled into buckets, and which origins of the export take part.

An origin takes part when every selection that is given names it: list and prefixes and forges and dataset. What the list or
the dataset names and the export does not have stays, with the reason `not_in_export`; a line of the list that is no URL
stays with `malformed_url`. Both are origins that were asked for: they are found, and not resolved. `limit` then takes the
first so many of those that the export has, by sha1 of the URL; the others are counted all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import Origins
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.stages.selections import Chosen, one_content, one_metadata
from pipeline.tables import DATASET_CONTENTS, LIST_ROWS, METADATA, NAMED_REVISIONS, SELECTED

_HOST = "^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#\\\\]*@)?([A-Za-z0-9.-]+)(?::[0-9]*)?(?:[/?#]|$)"


def selected(task: Task) -> Mapping[str, pa.Table]:
    """The origins of the bucket that every selection names, and those that are asked for in vain."""
    tables = {
        "o": task.read("origin"),
        "listed": _or_empty(task, "list", LIST_ROWS),
        "named": _or_empty(task, "revisions", NAMED_REVISIONS),
        "published": _or_empty(task, "dataset", NAMED_REVISIONS),
    }
    has = [name for name, key in (("listed", "list"), ("published", "dataset")) if task.refs[key]]
    asked = "select id as origin_id, url as origin from o"
    if has:
        rest = "".join(f" and origin_id in (select origin_id from {name})" for name in has)
        good = " and reason is null" if has[0] == "listed" else ""
        asked = f"select distinct origin_id, origin from {has[0]} where true{good}{rest}"
    rows = task.sql(
        f"""
        with asked as ({asked}),
        -- A file may name two revisions of one origin: the smaller one counts, whatever the order of the rows.
        by_user as (select origin_id, min(revision) as revision from named group by origin_id),
        by_dataset as (select origin_id, min(revision) as revision from published group by origin_id)
        select a.origin_id, a.origin, case when o.id is not null then coalesce(u.revision, d.revision) end as revision,
            case when o.id is null then 'not_in_export' end as reason
        from asked a left join o on o.id = a.origin_id
            left join by_user u on u.origin_id = a.origin_id left join by_dataset d on d.origin_id = a.origin_id
        where {_begins(task.config["prefixes"])} and {_on(task.config["forges"])}
        union all
        select distinct origin_id, origin, null, reason from listed where reason is not null
        """,
        **tables,
    )
    task.facts["selected"] = rows["reason"].null_count
    for reason in ("not_in_export", "malformed_url"):
        task.count(reason, pc.sum(pc.equal(rows["reason"], reason)).as_py() or 0)
    return {"rows": rows}


def _or_empty(task: Task, name: str, schema: pa.Schema) -> pa.Table:
    return task.read(name) if task.refs[name] else schema.empty_table()


def _begins(prefixes: list[str]) -> str:
    if not prefixes:
        return "true"
    return "(" + " or ".join(f"starts_with(a.origin, {_quoted(prefix)})" for prefix in prefixes) + ")"


def _on(forges: list[str]) -> str:
    """The host of a URL is one of these, whatever its scheme, user, port and case."""
    if not forges:
        return "true"
    return f"lower(regexp_extract(a.origin, {_quoted(_HOST)}, 1)) in ({', '.join(map(_quoted, forges))})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def cutoff(task: Task) -> Mapping[str, pa.Table]:
    """The id of the last origin of the sample: ids over all buckets are in order, so one bucket is enough to find it."""
    rows = task.read_bucket("selected", task.extra["bucket"])
    ids = task.sql(
        f"select origin_id from t where reason is null order by origin_id limit 1 offset {task.extra['place']}",
        t=rows,
    )
    task.facts["up_to"] = ids["origin_id"][0].as_py()
    return {}


@dataclass(frozen=True)
class Choice:
    """The finished stages of the choice; the refs are empty where nothing of the kind is configured."""

    selected: Done
    up_to: str = ""  # the largest origin id that `limit` leaves; empty: no limit
    metadata: list[Ref] = field(default_factory=list)
    contents: list[Ref] = field(default_factory=list)


def choose(runner: Runner, origin: Done, origins: Origins, chosen: Mapping[str, Chosen]) -> Choice:
    """Run the stages of the choice over the bucketed table `origin`."""

    def rows(name: str, output: str = "rows") -> list[Ref]:
        return [chosen[name].ref(output)] if name in chosen and chosen[name].has(output) else []

    def once(name: str, run: object, table: list[Ref], schema: pa.Schema) -> list[Ref]:
        output = Output(schema=schema, order=tuple(schema.names)[:1])
        stage = Stage(name=name, run=run, inputs={"rows": table}, outputs={"rows": output})  # type: ignore[arg-type]
        return [runner.run(stage).ref("rows")] if table else []

    named = {"list": rows("list"), "revisions": rows("revisions"), "dataset": rows("dataset", "origins")}
    done = runner.run(
        Stage(
            name="origins.selected",
            run=selected,
            inputs={"origin": origin.ref("rows"), **named},
            outputs={"rows": Output(schema=SELECTED, order=("origin_id",))},
            config={"prefixes": list(origins.prefixes), "forges": list(origins.forges)},
        )
    )
    return Choice(
        done,
        _up_to(runner, done, origins.limit),
        metadata=once("metadata", one_metadata, rows("metadata"), METADATA),
        contents=once("dataset.contents", one_content, rows("dataset", "contents"), DATASET_CONTENTS),
    )


def _up_to(runner: Runner, done: Done, limit: int | None) -> str:
    """The cutoff of the sample: buckets are in the order of ids, so counts tell the bucket in which the sample ends."""
    if limit is None or done.planned:
        return ""
    before = 0
    for bucket, facts in enumerate(done.facts):
        if before + facts["selected"] >= limit:
            cut = runner.run(
                Stage(
                    name="origins.sample",
                    run=cutoff,
                    inputs={"selected": done.ref("rows")},
                    outputs={},
                    units="one",
                    config={"limit": limit},
                    extra={"bucket": bucket, "place": limit - before - 1},
                )
            )
            return "" if cut.planned else str(cut.facts[0]["up_to"])
        before += facts["selected"]
    return ""
