"""The walk against one path after the other, whatever the tree and however the rows are grouped into tasks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from graphs import oid
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from walk_cases import Tree, expected, walked

from pipeline.tables import PERMS_DIRECTORY, PERMS_FILE, PERMS_SYMLINK

NAMES = (b"a", b"b.py", b"src", b"a/b.py", b"src/a", b"", b"..", b"caf\xe9", b"n" * 300)
GROUPINGS = st.fixed_dictionaries(
    {
        "pipeline.stages.walk.THIN_ROWS": st.sampled_from((-1, 3, 20_000)),
        "pipeline.stages.walk.THIN_BYTES": st.sampled_from((0, 1_500, 64 << 20)),
        "pipeline.stages.walk.HOT_ROWS": st.sampled_from((0, 2, 1 << 24)),
        "pipeline.stages.reach.THIN_IDS": st.sampled_from((-1, 2, 20_000)),
        "pipeline.stages.reach.THIN_TOTAL": st.sampled_from((1, 500_000)),
        "pipeline.stages.expand.CHUNK_ROWS": st.sampled_from((1, 3, 1 << 18)),
        "pipeline.stages.expand.CHUNK_BYTES": st.sampled_from((1, 20, 64 << 20)),
        "pipeline.engine.buckets.ROW_GROUP_ROWS": st.sampled_from((2, 131_072)),
        "pipeline.engine.lookup._KEPT_BYTES": st.sampled_from((0, 32 << 20)),
    }
)
"""Every switch between two ways to do the same, one way and the other."""


@st.composite
def trees(draw: Any) -> Tree:
    """Cycles, shared, lost and empty directories, repeated rows, odd names and modes."""
    ids = [oid(number) for number in range(draw(st.integers(1, 8)))]
    leaf, lost = st.sampled_from((oid("x"), oid("y"))), oid("lost")
    entry = st.one_of(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(("file", "weird", None)), leaf,
                  st.sampled_from((PERMS_FILE, PERMS_SYMLINK, 0, None))),
        st.tuples(st.sampled_from(NAMES), st.just("dir"), st.sampled_from((*ids, *ids, lost)),
                  st.sampled_from((PERMS_DIRECTORY, PERMS_SYMLINK))),
        st.tuples(st.sampled_from(NAMES), st.just("rev"), leaf, st.just(0o160000)),
    )  # fmt: skip
    rows = [(one, *row) for one in ids for row in draw(st.lists(entry, max_size=5))]
    known = draw(st.lists(st.sampled_from(ids), unique=True))
    roots = draw(st.lists(st.sampled_from((*ids, lost)), min_size=1, unique=True))
    return Tree(rows, known, roots)


def check(tree: Tree, buckets: int, depth: int, entries: int, grouping: dict[str, int]) -> None:
    right = expected(tree, max_depth=depth, max_entries=entries)
    with tempfile.TemporaryDirectory(prefix="stackmill-test-") as name:
        patches = [mock.patch(where, value) for where, value in grouping.items()]
        for patch in patches:
            patch.start()
        try:
            found = walked(tree, Path(name), buckets=buckets, max_depth=depth, max_entries=entries)
        finally:
            for patch in patches:
                patch.stop()
    within = set(tree.roots) - right.oversized
    assert found.of(within) == right.of(within)
    assert found.oversized <= right.oversized


CASES = (trees(), st.sampled_from((1, 2, 8)), st.sampled_from((1, 2, 4, 7)), st.sampled_from((1, 6, 40, 4_000)), GROUPINGS)


def examples(amount: int) -> settings:
    return settings(max_examples=amount, deadline=None, derandomize=True,
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])  # fmt: skip


@examples(40)
@given(*CASES)
def test_the_walk_is_one_path_after_the_other(tree, buckets, depth, entries, grouping):
    """A row lost, doubled or misplaced by a switch: narrow or wide, hot or not, chunk by chunk, few or many buckets."""
    check(tree, buckets, depth, entries, grouping)


@pytest.mark.slow
@examples(1_000)
@given(*CASES)
def test_the_walk_is_one_path_after_the_other_on_many(tree, buckets, depth, entries, grouping):
    check(tree, buckets, depth, entries, grouping)
