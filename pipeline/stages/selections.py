"""The user's files, shuffled into buckets: rows that are none are counted, and what is left is named by a digest.

The digest of a selection is taken over its distinct rows in the order of their ids, for each three-digit prefix of an id
alone and then over all: it depends neither on files, addresses and formats nor on the number of buckets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import Origins
from pipeline.engine.keys import digest
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.errors import ConfigError
from pipeline.sources.selection import MAX_URL_BYTES, Selection, open_selection, read_item, texts
from pipeline.tables import DATASET_CONTENTS, LIST_ROWS, METADATA, NAMED_REVISIONS

MAX_COUNT = 10_000_000_000
"""Stars or forks above this are absurd: more than there are people."""


def _is_url(column: str) -> str:
    """Whether a text is a URL of a length that one can have, without blanks and control characters."""
    form = "[A-Za-z][A-Za-z0-9+.-]*:[^\\x00-\\x20\\x7f-\\x{9f}]+"
    return f"(octet_length(encode({column})) <= {MAX_URL_BYTES} and regexp_full_match({column}, '{form}'))"


_URL = _is_url("o")
_REVISION = "(?:swh:1:rev:)?([0-9a-f]{40})"
_CONTENT = "(?:swh:1:cnt:)?([0-9a-f]{40})(?:;.*)?"
_SHOWN_LINES, _SHOWN_CHARACTERS = 3, 200  # of malformed lines in a progress note, of each of them


def _read(task: Task) -> pa.Table:
    """The rows of the task's item as text: `o` and whatever else was read; a text that is no UTF-8 is null, in `bad` true."""
    data = read_item(task.config["of"], task.extra, task.item)
    task.rows_in += data.num_rows
    task.bytes_in += data.nbytes
    columns: dict[str, Any] = {}
    for name in data.column_names:
        column = data[name]
        if name == "default_branch" or not pa.types.is_large_binary(column.type):
            columns[name] = column  # the names of branches are bytes
            continue
        text, bad = texts(column)
        if name == "origin":
            columns |= {"o": text, "bad": bad}
        else:
            columns[name] = pc.if_else(bad, pa.scalar(None, text.type), text)
    return pa.table(columns)


def list_rows(task: Task) -> Mapping[str, pa.Table]:
    """Lines of the list: URLs under their origin's id; malformed ones, escaped and cut, under an id of their own."""
    data = _read(task)
    if "line" not in data.column_names:
        data = data.append_column("line", pa.array(range(2, data.num_rows + 2), pa.int64()))
    rows = task.sql(
        f"""
        with t as (select o, line, bad, not bad and {_URL} as good from data where o is not null and o <> '')
        select case when good then sha1(o) else sha1(concat('malformed ', bad, o)) end as origin_id, line,
            case when good then o else o[:{_SHOWN_CHARACTERS}] end as origin,
            case when not good then 'malformed_url' end as reason
        from t
        """,
        data=data,
    )
    malformed = task.sql("select line, origin from t where reason is not null order by line", t=rows)
    task.count("list.malformed", malformed.num_rows)
    task.count("list.usable", rows.num_rows - malformed.num_rows)
    task.facts["malformed"] = [[r["line"], r["origin"]] for r in malformed.slice(0, _SHOWN_LINES).to_pylist()]
    return {"rows": task.sql("select distinct origin_id, origin, reason from t", t=rows)}


def named_revisions(task: Task) -> Mapping[str, pa.Table]:
    """Origins with the revision that the user's file names; rows without either are counted and left out."""
    data = _read(task)
    rows = task.sql(
        f"""
        select sha1(o) as origin_id, o as origin, regexp_extract(r, '^{_REVISION}$', 1) as revision
        from (select o, bad, lower(revision) as r from data)
        where not bad and {_URL} and regexp_full_match(r, '{_REVISION}')
        """,
        data=data,
    )
    task.count("revisions.malformed", data.num_rows - rows.num_rows)
    return {"rows": task.sql("select distinct * from t", t=rows)}


def metadata(task: Task) -> Mapping[str, pa.Table]:
    """What the user's files say of origins; what cannot be is null and counted, under the column's name."""
    data = _read(task)

    def number(name: str) -> str:
        """Whole, of a column of text or of numbers of any kind (a missing value makes them floats in many tools)."""
        if name not in data.column_names:
            return "null::bigint"
        if not pa.types.is_large_string(data.schema.field(name).type):
            whole = f"try_cast({name} as double) = floor(try_cast({name} as double))"
            return f"case when {whole} and {name} between 0 and {MAX_COUNT} then {name}::bigint end"
        digits = f"case when regexp_full_match({name}, '[0-9]{{1,18}}(\\.0*)?') then split_part({name}, '.', 1)::bigint end"
        return f"case when {digits} <= {MAX_COUNT} then {digits} end"

    if "default_branch" in data.column_names:
        data = data.set_column(
            data.column_names.index("default_branch"), "default_branch", _reference(data["default_branch"])
        )
    branch = "default_branch" if "default_branch" in data.column_names else "null::blob"
    parent = f"case when {_is_url('fork_of')} then fork_of end"
    rows = task.sql(
        f"""
        select sha1(o) as origin_id, {number("stars")} as stars, {number("forks")} as forks, {branch} as default_branch,
            {parent if "fork_of" in data.column_names else "null::varchar"} as fork_of
        from data where not bad and {_URL}
        """,
        data=data,
    )
    task.count("metadata.malformed", data.num_rows - rows.num_rows)
    for name in ("stars", "forks", "fork_of"):
        if name in data.column_names:
            given = pc.sum(_given(task, data, name)).as_py() or 0
            task.count(f"metadata.{name}", given - (rows.num_rows - rows[name].null_count))
    return {"rows": task.sql("select distinct * from t", t=rows)}


def _reference(names: pa.ChunkedArray) -> pa.ChunkedArray:
    """Names of branches as full names of references; an empty one is null."""
    names = (
        names
        if pa.types.is_large_binary(names.type)
        else names.cast(pa.large_string()).cast(pa.large_binary())
    )
    full = pc.or_(pc.starts_with(names, pattern=b"refs/"), pc.equal(names, b"HEAD"))
    prefix, nothing = pa.scalar(b"refs/heads/", names.type), pa.scalar(b"", names.type)
    named = pc.if_else(full, names, pc.binary_join_element_wise(prefix, names, nothing))
    return pc.if_else(pc.greater(pc.binary_length(names), 0), named, pa.scalar(None, names.type))


def _given(task: Task, data: pa.Table, name: str) -> pa.ChunkedArray:
    """Whether a row that has an origin has a value: neither null nor NaN nor an empty text."""
    test = f"{name}::varchar <> '' and {name}::varchar <> 'nan'"
    return task.sql(f"select coalesce({test}, false) as given from data where not bad and {_URL}", data=data)[
        "given"
    ]


def dataset(task: Task) -> Mapping[str, pa.Table]:
    """Contents and origins, with revisions, that a published dataset names; what is no id is counted."""
    data = _read(task)
    named = {"o", "revision", "content"} & set(data.column_names)
    contents, origins = DATASET_CONTENTS.empty_table(), NAMED_REVISIONS.empty_table()
    if "content" in named:
        pattern = f"regexp_full_match(c, '{_CONTENT}')"
        found = task.sql(
            f"""
            select regexp_extract(c, '^{_CONTENT}$', 1) as sha1_git
            from (select lower(content) as c from data) where {pattern}
            """,
            data=data,
        )
        task.count("dataset.malformed_content", data.num_rows - data["content"].null_count - found.num_rows)
        contents = task.sql("select distinct sha1_git from t", t=found)
    if "o" in named:
        revision = "lower(revision)" if "revision" in named else "null::varchar"
        found = task.sql(
            f"""
            select sha1(o) as origin_id, o as origin,
                case when regexp_full_match(r, '{_REVISION}') then regexp_extract(r, '^{_REVISION}$', 1) end as revision
            from (select o, bad, {revision} as r from data) where not bad and {_URL}
            """,
            data=data,
        )
        task.count("dataset.malformed_origin", data.num_rows - found.num_rows)
        origins = task.sql("select distinct * from t", t=found)
    return {"origins": origins, "contents": contents}


def one_metadata(task: Task) -> Mapping[str, pa.Table]:
    """One row per origin: of several the most stars and forks, and the smallest branch and parent."""
    rows = task.read("rows")
    kept = task.sql(
        """
        select origin_id, max(stars) as stars, max(forks) as forks, min(default_branch) as default_branch,
            min(fork_of) as fork_of from t group by origin_id
        """,
        t=rows,
    )
    task.count("metadata.repeated", rows.num_rows - kept.num_rows)
    return {"rows": kept}


def one_content(task: Task) -> Mapping[str, pa.Table]:
    """Each content once."""
    return {"rows": task.sql("select distinct * from t", t=task.read("rows"))}


def fingerprint(task: Task) -> Mapping[str, pa.Table]:
    """SHA-256 over the distinct rows of every three-digit prefix of the bucket's ids."""
    rows = task.read("rows")
    first = rows.column_names[0]
    shown = ", ".join(
        f"coalesce(hex({name}), '-')"
        if pa.types.is_binary(rows[name].type)
        else f"coalesce(to_json({name})::varchar, '-')"
        for name in rows.column_names
    )
    found = task.sql(
        f"""
        select {first}[:3] as prefix, sha256(string_agg(line, chr(10) order by line)) as sha256
        from (select distinct {first}, concat_ws(' ', {shown}) as line from t) group by prefix order by prefix
        """,
        t=rows,
    )
    task.facts["prefixes"] = [[row["prefix"], row["sha256"]] for row in found.to_pylist()]
    return {}


@dataclass(frozen=True)
class Chosen:
    """A selection and its shuffled rows."""

    selection: Selection
    rows: Done
    digest: str  # of its distinct rows; empty in a plan that has not read them

    def has(self, output: str) -> bool:
        """Whether the files hold what this output is made of: `rows`, or of a dataset `origins` or `contents`."""
        return output == "rows" or output.removesuffix("s") in self.selection.holds

    def ref(self, output: str) -> Ref:
        """A handle on the shuffled rows."""
        return self.rows.ref(output)


def read_selections(runner: Runner, origins: Origins) -> dict[str, Chosen]:
    """Shuffle the files of every selection that is configured: key of the configuration -> rows.

    Raises ConfigError for a file that is not there or holds nothing of use.
    """
    opened = {
        name: open_selection(
            name, getattr(origins, name), runner.store, anonymous=origins.anonymous, copy=not runner.dry
        )
        for name in ("list", "revisions", "metadata", "dataset")
    }
    return {name: _shuffle(runner, selection) for name, selection in opened.items() if selection is not None}


_SHUFFLES: dict[str, tuple[Any, dict[str, Output]]] = {
    "list": (list_rows, {"rows": Output(schema=LIST_ROWS, order=tuple(LIST_ROWS.names), route="origin_id")}),
    "revisions": (
        named_revisions,
        {"rows": Output(schema=NAMED_REVISIONS, order=tuple(NAMED_REVISIONS.names), route="origin_id")},
    ),
    "metadata": (metadata, {"rows": Output(schema=METADATA, order=tuple(METADATA.names), route="origin_id")}),
    "dataset": (
        dataset,
        {
            "origins": Output(schema=NAMED_REVISIONS, order=tuple(NAMED_REVISIONS.names), route="origin_id"),
            "contents": Output(schema=DATASET_CONTENTS, order=("sha1_git",), route="sha1_git"),
        },
    ),
}


def _shuffle(runner: Runner, selection: Selection) -> Chosen:
    """The rows of the user's files, routed by what they are joined by."""
    name = selection.name
    run, outputs = _SHUFFLES[name]
    done = runner.run(
        Stage(
            name=f"shuffle.{name}",
            run=run,
            outputs=outputs,
            config={"of": name, "digest": selection.digest},
            extra=selection.extra,
            units=selection.units,
        )
    )
    planned = runner.dry and done.planned
    if not planned:
        _tell(runner, selection, done)
    digests = {}
    for output in outputs:
        found = runner.run(
            Stage(
                name=f"digest.{name}.{output}",
                run=fingerprint,
                inputs={"rows": done.ref(output)},
                outputs={},
            )
        )
        digests[output] = [pair for facts in found.facts for pair in facts["prefixes"]]
        planned = planned or (runner.dry and found.planned)
    return Chosen(selection, done, "" if planned else digest(digests))


def _tell(runner: Runner, selection: Selection, done: Done) -> None:
    """Say how many rows are none, with the first few lines; refuse a list that has nothing else."""
    wrong = {name.partition(".")[2]: n for name, n in done.counts.items() if name != "list.usable"}
    if wrong:
        told = ", ".join(f"{amount:,} {name}" for name, amount in sorted(wrong.items()))
        shown = [f"line {line}: {text!r}" for unit in done.facts for line, text in unit.get("malformed", ())]
        where = f"{'origins.' + selection.name:<26} {selection.address}: {told}"
        runner.progress.note("; ".join([where, *shown[:_SHOWN_LINES]]))
    if selection.name == "list" and not done.counts["list.usable"]:
        raise ConfigError(
            f"origins.list: {selection.address} has no usable line ({done.counts['list.malformed']:,} malformed);"
            " give one URL a line, such as https://example.org/owner/repository"
        )
