"""The walk against one path after the other, whatever the tree and however the rows are grouped into tasks."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from graphs import oid
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from walk_cases import Tree, expected, runner_at, stored, tables_of, walked

from pipeline.engine.store import Store
from pipeline.stages.walk import walk
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


CASES = (
    trees(),
    st.sampled_from((1, 2, 8)),
    st.sampled_from((1, 2, 4, 7)),
    st.sampled_from((1, 6, 40, 4_000)),
    GROUPINGS,
)


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


def wide(roots: int, shared_files: int) -> Tree:
    """Many roots over one directory."""
    shared = oid("shared")
    rows = [(shared, b"f%d" % n, "file", oid(n), PERMS_FILE) for n in range(shared_files)]
    rows.append((shared, b"deeper", "dir", oid("deeper"), PERMS_DIRECTORY))
    rows += [(oid("deeper"), b"g", "file", oid("g"), PERMS_FILE)]
    tops = [oid(("root", n)) for n in range(roots)]
    rows += [(top, b"vendor", "dir", shared, PERMS_DIRECTORY) for top in tops]
    return Tree(rows, [], tops)


@pytest.mark.parametrize("buckets", [1, 8])
def test_a_hot_directory_is_listed_by_all_buckets(tmp_path, monkeypatch, buckets):
    """One task that lists what a million roots share; or rows that depend on whether a directory is split."""
    monkeypatch.setattr("pipeline.stages.walk.THIN_ROWS", -1)
    monkeypatch.setattr("pipeline.stages.walk.HOT_ROWS", 1_000)
    tree = wide(roots=200, shared_files=50)
    runner = runner_at(tmp_path, buckets)
    graph, roots = stored(runner, tmp_path, *tables_of(tree))
    entries, _, _ = walk(runner, graph, roots, max_depth=8, max_entries=1_000)
    stages = [name for name, _, _ in runner.plan]
    assert "walk.leaves.hot" in stages
    parts = sorted((tmp_path / "work/stages/walk.leaves.hot").rglob("entries-*.segments"))
    assert len(parts) == buckets
    rows = Counter(row["path"] for ref in entries for row in runner.table(ref).to_pylist())
    assert rows == Counter({b"vendor/f%d" % n: 200 for n in range(50)} | {b"vendor/deeper/g": 200})


def test_a_deep_and_narrow_tree_takes_few_stages(tmp_path):
    """A stage per level and bucket for a chain of directories."""
    rows = [(oid(n), b"d", "dir", oid(n + 1), PERMS_DIRECTORY) for n in range(60)]
    rows += [(oid(60), b"end", "file", oid("end"), PERMS_FILE)]
    runner = runner_at(tmp_path, 8)
    graph, roots = stored(runner, tmp_path, *tables_of(Tree(rows, [], [oid(0)])))
    entries, _, _ = walk(runner, graph, roots, max_depth=64, max_entries=1_000)
    assert [row["path"] for ref in entries for row in runner.table(ref).to_pylist()] == [b"d/" * 60 + b"end"]
    assert [name for name, _, _ in runner.plan if name.startswith(("reach", "tree", "walk"))] == [
        "reach.edges", "reach.000", "tree", "walk.000", "walk.leaves"]  # fmt: skip


def branching() -> Tree:
    """Some twenty roots over 460 directories, each with two others and a file."""
    draw = random.Random(5)
    rows = [(oid(n), b"d%d" % m, "dir", oid(draw.randrange(n + 1, n + 60)), PERMS_DIRECTORY)
            for n in range(400) for m in range(2)]  # fmt: skip
    rows += [(oid(n), b"f", "file", oid(("f", n)), PERMS_FILE) for n in range(460)]
    return Tree(rows, [], [oid(n) for n in range(0, 400, 20)])


def test_the_stages_are_the_same_for_any_number_of_buckets(tmp_path, monkeypatch):
    """A switch to one task, or to a split by root, that depends on how many buckets there are."""
    monkeypatch.setattr("pipeline.stages.walk.THIN_ROWS", 100)
    monkeypatch.setattr("pipeline.stages.walk.THIN_BYTES", 30_000)
    monkeypatch.setattr("pipeline.stages.walk.HOT_ROWS", 60)
    monkeypatch.setattr("pipeline.stages.reach.THIN_IDS", 50)
    names = []
    for buckets in (1, 8):
        (tmp_path / str(buckets)).mkdir()
        runner = runner_at(tmp_path / str(buckets), buckets)
        graph, roots = stored(runner, tmp_path / str(buckets), *tables_of(branching()))
        walk(runner, graph, roots, max_depth=9, max_entries=100_000)
        names.append([(name, units == 1) if buckets > 1 else (name, None) for name, units, _ in runner.plan])
    assert [name for name, _ in names[0]] == [name for name, _ in names[1]]
    walked_by = {thin for name, thin in names[1] if name.startswith("walk.0")}
    assert walked_by == {True, False}
    assert any(name.endswith(".hot") for name, _ in names[1])


@pytest.mark.parametrize("thin", [-1, 20_000])
def test_objects_written(tmp_path, monkeypatch, thin):
    """More than 4 objects per bucket and stage: parts, sidecars and folded sidecars, deleted ones too."""
    monkeypatch.setattr("pipeline.stages.walk.THIN_ROWS", thin)
    monkeypatch.setattr("pipeline.stages.reach.THIN_IDS", thin)
    runner = runner_at(tmp_path, 8)
    graph, roots = stored(runner, tmp_path, *tables_of(branching()))
    before = len(runner.plan)
    written = []
    real = Store.writing
    monkeypatch.setattr(Store, "writing", lambda store, key: written.append(key) or real(store, key))
    walk(runner, graph, roots, max_depth=12, max_entries=100_000)
    stages = len(runner.plan) - before
    assert stages > 20 if thin < 0 else stages < 8
    assert len(written) <= 4 * 8 * stages


MEMORY = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import pyarrow as pa
from graphs import oid
from walk_cases import runner_at, stored
from pipeline.stages import walk as stages
from pipeline.tables import ENTRY_SCHEMAS
stages.THIN_ROWS, stages.HOT_ROWS = -1, int(sys.argv[3])
roots, files, folder = int(sys.argv[4]), 500, Path(sys.argv[1])
tops = sorted(oid(n) for n in range(roots))
shared = oid("shared")
schema = ENTRY_SCHEMAS["directory_entry"]
entries = pa.table({"directory_id": tops + [shared] * files, "name": [b"vendor"] * roots + [b"f%d" % n for n in range(files)],
    "type": ["dir"] * roots + ["file"] * files, "target": [shared] * roots + [oid(("f", n)) for n in range(files)],
    "perms": [0] * (roots + files)}, schema)
frontier = pa.table({"root": tops, "path": pa.array([b""] * roots, pa.binary()), "directory": tops})
runner = runner_at(folder, 2)
graph, found = stored(runner, folder, {"directory_entry": entries, "directory": pa.table({"id": tops[:1]})}, frontier)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
listed, _, _ = stages.walk(runner, graph, found, max_depth=4, max_entries=1000)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert sum(runner.table(ref, bucket=b).num_rows for ref in listed for b in (0, 1)) == roots * files
print(after - before)
"""


@pytest.mark.parametrize("hot", [1 << 40, 200_000])
def test_memory_of_a_hot_bucket(tmp_path, hot):
    """All output of a bucket held at once: here 2 million rows, some 300 MB, of one directory, split by root or not."""
    line = [sys.executable, "-c", MEMORY, str(tmp_path), str(Path(__file__).parent), str(hot), "4000"]
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=300)
    assert int(done.stdout) < 200 << 10, "KiB above what the input took"
