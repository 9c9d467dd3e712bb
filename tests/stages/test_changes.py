"""The stages that compare two releases say what a dictionary of their rows says, however the rows lie in shards."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import random
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from manifests.changes import COMPARED, ELECTED_COLUMNS
from manifests.facts import FileFacts, ShardFacts
from manifests.names import shard_path
from manifests.reader import Release
from manifests.removals import Tombstone, format_removals
from manifests.schema import DATA
from manifests.shards import write_shard
from pipeline.engine.executor import InProcess
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Runner, open_workdir
from pipeline.engine.store import Store
from pipeline.errors import IntegrityError
from pipeline.parent import ParentRelease
from pipeline.stages.changes import compare_wave

_SPEC = importlib.util.spec_from_file_location(
    "release_factory", Path(__file__).parents[1] / "manifests" / "release_factory.py"
)
factory = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(factory)

LANGUAGES = ("Python", "C")
POOL = [factory.make_row(LANGUAGES[n % 2], n, factory.source_text(random.Random(n), n, 2)) for n in range(24)]

Rows = dict[str, dict[str, Any]]


def shards_of(rows: Rows, folder: Path, draw: random.Random) -> list[ShardFacts]:
    """The rows as shards of random prefixes, in random order."""
    groups = defaultdict(list)
    for row in rows.values():
        groups[shard_path(row["language"], draw.choice(("0", "10", "11")))].append(row)
    found = []
    for path, group in groups.items():
        draw.shuffle(group)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        found.append(write_shard(pa.Table.from_pylist(group, schema=DATA), folder / path, path=path))
    return found


def mutated(row: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """The row as a later release may have it: the same, or with some columns that differ."""
    new = dict(row)
    if draw.random() < 0.3:
        new |= {"content": row["content"] + "x = 1\n", "content_sha256": f"{draw.getrandbits(256):064x}"}
    if draw.random() < 0.3:
        new |= draw.choice(
            [
                {"origin": "https://example.org/other"},
                {"path": "elsewhere.py"},
                {"path_raw": b"\xff"},
                {"license_expression": "ISC"},
                {"detected_licenses": ["ISC", "MIT"]},
                {"license_evidence": [{**row["license_evidence"][0], "score": 50.0}]},
            ]
        )
    if draw.random() < 0.3:
        new |= draw.choice(
            [
                {"num_occurrences": 99},
                {"visit_date": None},
                {"redactions": [{"kind": "email", "start": 0, "end": 1, "rule": "r"}]},
                {"alpha_fraction": float("nan")},
                {"branch_name": None},
            ]
        )
    return new


def same(one: Any, other: Any) -> bool:
    return one == other or (one != one and other != other)  # NaN is the same as NaN here


def naive(old: Rows, new: Rows, dead: set[str]) -> dict[str, tuple[str, list[str]]]:
    found = {}
    for key in {*old, *new}:
        if key not in old:
            found[key] = ("restored" if key in dead else "added", [])
        elif key not in new:
            found[key] = ("removed", [])
        else:
            columns = [name for name in COMPARED if not same(old[key][name], new[key][name])]
            if "content_sha256" in columns:
                found[key] = ("re_redacted", columns)
            elif set(columns) & set(ELECTED_COLUMNS):
                found[key] = ("re_elected", columns)
            elif columns:
                found[key] = ("changed", columns)
    return found


def parent_release(folder: Path, shards: list[ShardFacts], dead: list[Tombstone] | None) -> ParentRelease:
    if dead is not None:
        (folder / "removals.jsonl").write_bytes(format_removals(dead))
    extra = [] if dead is None else ["removals.jsonl"]
    factory.finish(folder, shards, extra=extra)
    return ParentRelease(Store(str(folder)), Release.open(folder).manifest, b"", b"")


def compared(parent: ParentRelease, new: list[ShardFacts], folder: Path, buckets: int) -> tuple[Any, Runner]:
    """`folder` holds the new shards; it is the work directory too."""
    store, count = open_workdir(str(folder), buckets, default_buckets=1)
    runner = Runner(store, InProcess(), count, Progress(quiet=True))
    return compare_wave(runner, parent, [(shard, shard.path) for shard in new]), runner


@settings(max_examples=12, deadline=None, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_two_releases_differ_as_two_dictionaries_do(tmp_path_factory, seed):
    draw = random.Random(seed)
    folder = tmp_path_factory.mktemp("pair")
    old = {row["row_id"]: row for row in draw.sample(POOL, draw.randint(1, 20))}
    new = {row["row_id"]: mutated(row, draw) for row in draw.sample(POOL, draw.randint(1, 20))}
    dead = [
        Tombstone(row["row_id"], "ab" * 32, "2.0") for row in draw.sample(POOL, 8) if row["row_id"] not in old
    ]
    (folder / "old").mkdir()
    parent = parent_release(
        folder / "old", shards_of(old, folder / "old", draw), draw.choice((dead, dead, None))
    )
    dead = dead if parent.removals is not None else []
    shards = shards_of(new, folder / "new", draw)
    done, runner = compared(parent, shards, folder / "new", draw.choice((1, 4)))
    rows = runner.table(done.ref("changes")).to_pylist()
    removed = runner.table(done.ref("removed")).to_pylist()
    found = {row["row_id"]: (row["change"], row["columns"]) for row in rows}
    found |= {row["row_id"]: ("removed", []) for row in removed}
    assert len(found) == len(rows) + len(removed), "a row is told twice"
    assert found == naive(old, new, {one.row_id for one in dead})
    for row in rows:
        before, now = old.get(row["row_id"]), new[row["row_id"]]
        assert row["old_content_sha256"] == (before and before["content_sha256"])
        assert row["new_content_sha256"] == now["content_sha256"]
        assert row["withdrawn_in"] == ("2.0" if row["change"] == "restored" else None)
    assert {row["row_id"]: row["sha1_git"] for row in removed} == {
        key: row["content_id"] for key, row in old.items() if key not in new
    }
    still = {row["row_id"] for row in runner.table(done.ref("tombstones")).to_pylist()}
    assert still == {one.row_id for one in dead} - set(new)
    shutil.rmtree(folder)


def test_shards_that_are_the_same_file_are_not_read(tmp_path):
    """The work grows with what changed: equal shards are not opened, so they may as well be unreadable."""
    draw, rows = random.Random(1), {row["row_id"]: row for row in POOL}
    (tmp_path / "old").mkdir()
    parent = parent_release(tmp_path / "old", shards_of(rows, tmp_path / "old", draw), None)
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    gone = parent.manifest.shards[0]
    for shard in parent.manifest.shards[1:]:
        (tmp_path / "old" / shard.path).unlink()
        (tmp_path / "new" / shard.path).unlink()
    done, runner = compared(parent, list(parent.manifest.shards[1:]), tmp_path / "new", 2)
    assert runner.table(done.ref("changes")).num_rows == 0
    assert runner.table(done.ref("removed")).num_rows == gone.rows


def test_a_shard_of_the_parent_that_was_altered_is_refused(tmp_path):
    draw, rows = random.Random(1), {row["row_id"]: row for row in POOL[:6]}
    (tmp_path / "old").mkdir()
    parent = parent_release(tmp_path / "old", shards_of(rows, tmp_path / "old", draw), None)
    first = tmp_path / "old" / parent.manifest.shards[0].path
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    shards = shards_of({POOL[9]["row_id"]: POOL[9]}, tmp_path / "new", draw)
    with pytest.raises(IntegrityError, match="not the file that its manifest describes"):
        compared(parent, shards, tmp_path / "new", 1)
    first.unlink()
    with pytest.raises(IntegrityError, match="missing"):
        compared(parent, shards, tmp_path / "new", 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"row_id": "../../etc"}, "row_id is malformed"),
        ({"row_id": "0"}, "row_id is malformed"),
        ({"content_id": "x" * 40}, "content_id is malformed"),
        ({"row_id": POOL[1]["row_id"]}, "a row_id twice"),
    ],
)
def test_rows_of_a_parent_that_cannot_be_are_refused(tmp_path, change, words):
    """Its manifest may fit: anyone can write one."""
    row = {**POOL[0], "content_sha256": "ab" * 32, **change}
    folder = tmp_path / "old"
    (folder / "data/Python").mkdir(parents=True)
    table = pa.Table.from_pylist([row, {**POOL[1], "language": "Python"}], schema=DATA)
    table = table.set_column(
        table.column_names.index("language"), DATA.field("language"), pa.array(["Python"] * 2)
    ).cast(DATA)
    shard = write_shard(table, folder / "data/Python/train-all.parquet")
    other = write_shard(factory.make_rows("Go", 1), _made(folder / "data/Go") / "train-all.parquet")
    manifest = dataclasses.replace(_manifest_of(tmp_path / "sound"), shards=(shard, other))
    parent = ParentRelease(Store(str(folder)), manifest, b"", b"")
    new = shards_of({POOL[9]["row_id"]: POOL[9]}, tmp_path / "new", random.Random(1))
    with pytest.raises(IntegrityError, match=words):
        compared(parent, new, tmp_path / "new", 1)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _manifest_of(folder: Path):
    return Release.open(factory.make_release(folder, rows={"C": 1})).manifest


@pytest.mark.parametrize("data", [b"{}\n", b"x" * 5000, b'{"row_id"'])
def test_tombstones_of_a_parent_that_cannot_be_are_refused(tmp_path, data):
    draw, rows = random.Random(1), {row["row_id"]: row for row in POOL[:6]}
    (tmp_path / "old").mkdir()
    parent = parent_release(tmp_path / "old", shards_of(rows, tmp_path / "old", draw), [])
    (tmp_path / "old/removals.jsonl").write_bytes(data)
    facts = FileFacts(path="removals.jsonl", sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    manifest = dataclasses.replace(parent.manifest, files=(facts,))
    shards = shards_of({POOL[9]["row_id"]: POOL[9]}, tmp_path / "new", draw)
    with pytest.raises(IntegrityError, match=r"removals.jsonl, line 1"):
        compared(ParentRelease(parent.place, manifest, b"", b""), shards, tmp_path / "new", 1)
