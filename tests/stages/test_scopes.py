"""Stores by scope: a release sees one row of each content, its own; settings travel to tasks as they are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pii.rules import KINDS, load_rules
from pii.settings import Allow, Override, Policy, Settings
from pipeline.engine.store import Store
from pipeline.stages.scopes import (
    ScopedStore,
    levels_of,
    policy_config,
    policy_from,
    replacement_of,
    scope_of,
    settings_config,
    settings_from,
)

SCHEMA = pa.schema([("sha256", pa.string()), ("scope", pa.string()), ("value", pa.int64())])
LEVELS = st.sampled_from(["off", "low", "medium", "high"])
WORDS = st.text("abc", min_size=1, max_size=3)
ENTRIES = st.builds(
    Allow,
    reason=WORDS,
    kinds=st.sampled_from([("key",), ("email", "key")]),
    values=st.sampled_from([(), ("0" * 64,)]),
    paths=st.sampled_from([(), ("docs/**",)]),
    languages=st.sampled_from([(), ("C",)]),
)
RULE = """
rules:
  - {id: acme-token, kind: key, tier: low, source: "Acme", pattern: 'zq_[a-z0-9]{12}', keywords: [zq_]}
"""
SETTINGS = st.builds(
    Settings,
    sensitivity=st.sampled_from(["low", "medium", "high"]),
    kinds=st.dictionaries(st.sampled_from(KINDS), LEVELS, max_size=3).map(lambda d: tuple(d.items())),
    rules=st.sampled_from([(), load_rules(RULE, "acme")]),
    allow=st.lists(ENTRIES, max_size=2).map(tuple),
    obey_pragmas=st.booleans(),
    replacement=st.sampled_from(["placeholder", "fake"]),
)


def name(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def table(rows: dict[int, int]) -> pa.Table:
    return pa.table({"sha256": [name(n) for n in rows], "value": list(rows.values())}).cast(
        pa.schema([("sha256", pa.string()), ("value", pa.int64())])
    )


def seen(store: ScopedStore, wanted: pa.Table | None = None) -> dict[str, int]:
    rows = store.read(wanted=wanted)
    assert rows.column_names == ["sha256", "value"]
    found = dict(zip(rows["sha256"].to_pylist(), rows["value"].to_pylist(), strict=True))
    assert len(found) == rows.num_rows
    return found


def view(folder: Path, base: str, scopes: dict[int, str] | None) -> ScopedStore:
    known = (
        None
        if scopes is None
        else pa.table([[name(n) for n in scopes], list(scopes.values())], names=["sha256", "scope"]).cast(
            pa.schema([("sha256", pa.string()), ("scope", pa.string())])
        )
    )
    return ScopedStore(Store(str(folder)), "released", "0" * 16, 0, ("sha256", "scope"), SCHEMA, base, known)


@pytest.mark.parametrize("scopes", [None, {}, {1: "b", 3: "c"}], ids=["no table", "empty", "two"])
def test_each_release_sees_its_own_rows(tmp_path, scopes):
    mine, other = view(tmp_path, "a", scopes), view(tmp_path, "z", None)
    rows = {n: n for n in range(5)}
    other.append(table({n: 100 + n for n in rows}))
    assert seen(mine) == {} and mine.missing(table(rows)).num_rows == 5
    mine.append(table({0: 0, 1: 1}))
    assert mine.missing(table(rows))["sha256"].to_pylist() == [name(n) for n in (2, 3, 4)]
    mine.append(table({2: 2, 3: 3, 4: 4}))
    assert seen(mine) == {name(n): n for n in rows}
    assert seen(mine, table({1: 0, 4: 0})) == {name(1): 1, name(4): 4}
    assert seen(other) == {name(n): 100 + n for n in rows}
    pieces = [row for piece in mine.pieces(["value"]) for row in piece["value"].to_pylist()]
    assert sorted(pieces) == list(rows)


def test_a_content_that_moves_to_another_scope_is_missing_again(tmp_path):
    before, after = view(tmp_path, "a", {1: "b"}), view(tmp_path, "a", {1: "c"})
    before.append(table({0: 0, 1: 1}))
    assert after.missing(table({0: 0, 1: 0}))["sha256"].to_pylist() == [name(1)]
    assert after.scopes_of(["value"], table({0: 0, 1: 0})).num_rows == 2


@given(SETTINGS)
def test_settings_travel_as_json(settings):
    again = settings_from(json.loads(json.dumps(settings_config(settings))))
    assert again == settings and again.digest() == settings.digest()
    assert scope_of(again) == scope_of(settings)
    assert replacement_of(scope_of(settings)) == settings.replacement


@given(SETTINGS, LEVELS, st.lists(ENTRIES, max_size=2).map(tuple))
def test_a_policy_travels_as_json(settings, level, allow):
    policy = Policy(base=settings, languages=(("C", Override(kinds=(("email", level),))),), allow=allow)
    assert policy_from(json.loads(json.dumps(policy_config(policy)))) == policy


@given(SETTINGS, SETTINGS)
def test_scopes_name_what_differs(one, other):
    """Equal names mean equal levels, exceptions and stand-ins; the first part alone means equal levels."""
    same_levels = all(one.level_of(kind) == other.level_of(kind) for kind in KINDS)
    assert (levels_of(scope_of(one)) == levels_of(scope_of(other))) == same_levels
    what = [(a.reason, a.kinds, a.values) for a in one.allow], one.replacement
    same = what == ([(a.reason, a.kinds, a.values) for a in other.allow], other.replacement)
    assert (scope_of(one) == scope_of(other)) == (same and same_levels)
