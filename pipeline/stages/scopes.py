"""Scopes: by which settings a content is redacted, where these depend on the languages and paths of its places.

    judged.passed ─▶ secrets.scopes (sha256, scope, settings): contents whose settings are not those of the base
    annotations of released texts and of what is derived from them: a row per (content, scope)

A scope is a short name of settings; the one of the base is in every stage's configuration (`stores["scope"]`). In one release
a content has one scope, a function of all its places that passed, so a task sees one row per content (`ScopedStore`) and
no table downstream carries scopes. Another release may see another row: a content that moved, or another configuration.
Where no setting depends on places the table does not exist, and nothing is looked up.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pii.paths import matches
from pii.rules import KINDS, Rule
from pii.settings import Allow, Override, Policy, Replacement, Settings
from pipeline.engine.annotations import AnnotationStore, Annotator, first_per_id
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task

SCOPES = pa.schema(
    [
        ("sha256", pa.string()),
        ("scope", pa.string()),
        ("settings", pa.string()),  # JSON: what `settings_of_scope` makes the settings of
    ]
)
"""Contents with other settings than those of the base."""


# ------------------------------------------------------------------------------------------------- settings as data


def settings_config(settings: Settings) -> dict[str, Any]:
    """Settings as JSON values, for the configuration of a stage; `settings_from` reads them."""
    return {
        "sensitivity": settings.sensitivity,
        "kinds": [list(pair) for pair in settings.kinds],
        "rules": [
            {k: _plain(v) for k, v in asdict(rule).items() if k not in ("found", "not_found")}
            for rule in settings.rules
        ],
        "allow": [asdict(entry) for entry in settings.allow],
        "obey_pragmas": settings.obey_pragmas,
        "replacement": settings.replacement,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("ascii")
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


_BYTES = frozenset(field.name for field in fields(Rule) if "bytes" in str(field.type))


def settings_from(config: Mapping[str, Any]) -> Settings:
    """The settings that `settings_config` wrote."""
    return Settings(
        sensitivity=config["sensitivity"],
        kinds=tuple((kind, level) for kind, level in config["kinds"]),
        rules=tuple(
            Rule(**{k: _back(v, as_bytes=k in _BYTES) for k, v in rule.items()}) for rule in config["rules"]
        ),
        allow=_entries(config["allow"]),
        obey_pragmas=config["obey_pragmas"],
        replacement=config["replacement"],
    )


def _back(value: Any, *, as_bytes: bool) -> Any:
    if isinstance(value, list):
        return tuple(_back(one, as_bytes=as_bytes) for one in value)
    return value.encode("ascii") if as_bytes and isinstance(value, str) else value


def _entries(given: Sequence[Mapping[str, Any]]) -> tuple[Allow, ...]:
    return tuple(Allow(**{k: _back(v, as_bytes=False) for k, v in entry.items()}) for entry in given)


def policy_config(policy: Policy) -> dict[str, Any]:
    """A policy as JSON values; `policy_from` reads them."""
    return {
        "base": settings_config(policy.base),
        "languages": [
            [name, one.sensitivity, [list(pair) for pair in one.kinds]] for name, one in policy.languages
        ],
        "allow": [asdict(entry) for entry in policy.allow],
    }


def policy_from(config: Mapping[str, Any]) -> Policy:
    """The policy that `policy_config` wrote."""
    return Policy(
        base=settings_from(config["base"]),
        languages=tuple(
            (name, Override(sensitivity=level, kinds=tuple((k, v) for k, v in kinds)))
            for name, level, kinds in config["languages"]
        ),
        allow=_entries(config["allow"]),
    )


def scope_of(settings: Settings) -> str:
    """The name of settings among those that share own rules and pragmas: `<levels>-<allow-list>-<replacement>`."""
    levels = [settings.level_of(kind) for kind in KINDS]
    allow = [
        [sorted(entry.rules), sorted(entry.kinds), sorted(entry.values), entry.reason]
        for entry in settings.allow
    ]
    return f"{_short(levels)}-{_short(allow) if allow else 'none'}-{settings.replacement}"


def levels_of(scope: str) -> str:
    """The part of a scope's name that scopes with the same levels share, whatever they allow."""
    return scope.partition("-")[0] + "-"


def replacement_of(scope: str) -> Replacement:
    """What stands in the place of findings at a scope."""
    return "fake" if scope.endswith("-fake") else "placeholder"


def _short(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def settings_of_scope(base: Settings, told: str) -> Settings:
    """The settings that a row of SCOPES tells, with what all scopes share from `base`."""
    found = json.loads(told)
    return replace(
        base,
        sensitivity=found["sensitivity"],
        kinds=tuple((kind, level) for kind, level in found["kinds"]),
        allow=_entries(found["allow"]),
    )


def _told(settings: Settings) -> str:
    config = settings_config(settings)
    return json.dumps({name: config[name] for name in ("sensitivity", "kinds", "allow")}, sort_keys=True)


# ------------------------------------------------------------------------------------------------------- the stage


def find_scopes(task: Task) -> Mapping[str, pa.Table]:
    """The contents of the bucket whose places ask for other settings than those of the base."""
    policy = policy_from(task.config["policy"])
    base = scope_of(policy.settings_for())
    places = task.sql(
        """
        select sha256, list_sort(list(distinct language)) as languages, list_sort(list(distinct path)) as paths
        from t group by sha256 order by sha256
        """,
        t=task.read("passed", ["sha256", "language", "path"]),
    )
    known: dict[
        tuple[object, ...], tuple[str, str]
    ] = {}  # files that are alike in all that is asked have one scope
    rows: list[tuple[str, str, str]] = []
    task.facts["scopes"] = {}
    for place in places.to_pylist():
        languages, paths = place["languages"], place["paths"]
        alike = tuple(languages), *_all_match(policy, paths)
        if alike not in known:
            settings = policy.settings_for(languages, paths)
            known[alike] = scope_of(settings), _told(settings)
        scope, told = known[alike]
        if scope != base:
            rows.append((place["sha256"], scope, told))
            task.facts["scopes"][scope] = told
    task.facts["scopes"] = dict(sorted(task.facts["scopes"].items()))
    digest = 0
    for sha256, scope, _ in rows:  # of the set, whatever the buckets
        digest ^= int(hashlib.sha256(f"{sha256} {scope}".encode()).hexdigest(), 16)
    task.facts["digest"] = f"{digest:064x}"
    return {
        "scopes": pa.table([list(column) for column in zip(*rows, strict=True)] or [[]] * 3, schema=SCOPES)
    }


def _all_match(policy: Policy, paths: Sequence[bytes]) -> Iterator[bool]:
    for entry in policy.allow:
        if entry.paths:
            yield all(any(matches(pattern, path) for pattern in entry.paths) for path in paths)


def scopes_wave(runner: Runner, judged: Done, policy: Policy) -> Done | None:
    """Find the scopes; None where no setting depends on places."""
    if not policy.needs_places:
        return None
    return runner.run(
        Stage(
            name="secrets.scopes",
            run=find_scopes,
            inputs={"passed": judged.ref("passed")},
            outputs={"scopes": Output(schema=SCOPES, order=("sha256",))},
            config={"policy": policy_config(policy)},
            libraries=("duckdb", "pyarrow", "google-re2"),
        )
    )


def digest_of_scopes(scopes: Done | None) -> str | None:
    """What the set of all (content, scope) is called; None where there are none, or they are only planned."""
    if scopes is None or scopes.planned:
        return None
    digest = 0
    for facts in scopes.facts:
        digest ^= int(facts["digest"], 16)
    return f"{digest:064x}" if digest else None


def scopes_input(scopes: Done | None) -> dict[str, Ref]:
    """The input of every stage that reads a store by scope."""
    return {} if scopes is None else {"scopes": scopes.ref("scopes")}


# ------------------------------------------------------------------------------------------------------- the stores


@dataclass(frozen=True)
class ScopedStore(AnnotationStore):
    """An annotation store with a row per (content, scope), as one release sees it: a row per content.

    Tables go in and come out without the column `scope`.
    """

    base: str = ""
    scopes: pa.Table | None = None  # (sha256, scope) of this bucket; None: all have the base's

    def read(self, columns: Sequence[str] | None = None, wanted: pa.Table | None = None) -> pa.Table:
        """As `AnnotationStore.read`, of the scopes of this release."""
        names = [name for name in (columns if columns is not None else self.schema.names) if name != "scope"]
        found = super().read(names, None if wanted is None else self.placed(wanted.select(["sha256"])))
        return _without(found if wanted is not None else self._seen(found))

    def everywhere(self, columns: Sequence[str], wanted: pa.Table) -> pa.Table:
        """Rows by (content, scope), whatever the scopes of this release, with the column `scope`; `wanted` has both ids."""
        return super().read(columns, wanted)

    def scopes_of(self, columns: Sequence[str], wanted: pa.Table) -> pa.Table:
        """All scopes at which some contents have rows, with a few columns."""
        rows = super().read(columns)
        return rows.filter(pc.is_in(rows["sha256"], value_set=_strings(wanted["sha256"])))

    def pieces(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """As `AnnotationStore.pieces`, of the scopes of this release."""
        for piece in super().pieces(columns):
            yield _without(self._seen(piece))

    def missing(self, wanted: pa.Table) -> pa.Table:
        """As `AnnotationStore.missing`, at the scopes of this release."""
        placed = first_per_id(self.placed(wanted), self.ids)
        have = super().read(columns=())
        return _without(placed.filter(pc.invert(self._mask(placed, have))) if have.num_rows else placed)

    def append(self, table: pa.Table) -> None:
        """Commit rows of this release."""
        super().append(self.placed(table))

    def placed(self, table: pa.Table) -> pa.Table:
        """The table with the scope of each content."""
        if self.scopes is None:
            column: pa.Array | pa.ChunkedArray = pa.repeat(pa.scalar(self.base, pa.string()), table.num_rows)
        else:
            at = pc.index_in(table["sha256"], value_set=_strings(self.scopes["sha256"]))
            column = pc.fill_null(self.scopes["scope"].take(at), self.base)
        return _without(table).append_column("scope", column)

    def _seen(self, table: pa.Table) -> pa.Table:
        wanted = pa.table({"scope": table["scope"], "mine": self.placed(table)["scope"]})
        return table.filter(pc.equal(wanted["scope"], wanted["mine"]))

    def _mask(self, table: pa.Table, other: pa.Table) -> pa.Array:
        scopes = pc.unique(other["scope"])
        if len(scopes) != 1:
            return super()._mask(table, other)
        # As nearly always: then the ids alone tell, which is faster than pairs of strings.
        there = pc.is_in(table["sha256"], value_set=_strings(other["sha256"]))
        mask = pc.and_(there, pc.equal(table["scope"], scopes[0]))
        return mask.combine_chunks() if isinstance(mask, pa.ChunkedArray) else mask


def _strings(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks().cast(pa.string())


def _without(table: pa.Table) -> pa.Table:
    return table.drop_columns("scope") if "scope" in table.column_names else table


@dataclass(frozen=True, kw_only=True)
class ScopedAnnotator(Annotator):
    """An annotator whose rows hold for a content at a scope. `schema` and `ids` have `scope` beside `sha256`.

    A stage that opens it has the base's scope in `stores["scope"]`, and `scopes_input` among its inputs.
    """

    def open(self, task: Task, bucket: int | None = None) -> ScopedStore:
        """The store of a task's bucket, or of another, as this release sees it."""
        bucket = task.bucket if bucket is None else bucket
        stores = task.config["stores"]
        scopes = task.read_bucket("scopes", bucket, ["sha256", "scope"]) if "scopes" in task.refs else None
        return ScopedStore(
            task.store,
            self.name,
            stores[self.name],
            bucket,
            self.ids,
            self.schema,
            stores.get("scope", ""),
            scopes,
        )
