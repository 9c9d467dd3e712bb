"""A copy that was brought in line is the release without the withdrawn rows: nothing more, nothing less."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from manifests.derive import derive_release, find_withdrawn
from manifests.errors import ReleaseError
from manifests.quality_signals import quality_signals_schema, write_quality_signals
from manifests.reader import Release
from manifests.removals import Tombstone, format_removals, read_removals
from manifests.verify import verify_release


def all_rows(folder: Path) -> dict[str, dict]:
    return {
        row["row_id"]: row
        for shard in Release.open(folder).manifest.shards
        for row in pq.read_table(folder / shard.path, partitioning=None).to_pylist()
    }


def tombstones(row_ids, version: str = "2.2") -> list[Tombstone]:
    """Of some rows, and of rows that no release has, before and after them."""
    others = [f"{n:064x}" for n in (0, 1)] + ["f" * 64]
    return [Tombstone(row_id, "ab" * 32, version) for row_id in sorted({*row_ids, *others})]


def derived(folder: Path, row_ids, target: Path) -> str:
    target.mkdir()
    release = Release.open(folder)
    stream = io.BytesIO(format_removals(tombstones(row_ids)))
    return derive_release(release, find_withdrawn(release, read_removals(stream, "x")), target)


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@settings(max_examples=6, phases=[Phase.generate], deadline=None)
@given(seed=st.integers(0, 2**32))
def test_exactly_the_named_rows_are_gone_and_it_verifies(pristine, tmp_path_factory, seed):
    draw = random.Random(seed)
    before = all_rows(pristine)
    gone = set(draw.sample(sorted(before), draw.choice((1, 2, 5, 20, 60, len(before) - 1))))
    target = tmp_path_factory.mktemp("derived") / "copy"
    digest = derived(pristine, gone, target)
    assert all_rows(target) == {key: row for key, row in before.items() if key not in gone}
    report = verify_release(target)
    assert report.faults == ()
    assert report.digest == digest
    old, new = Release.open(pristine).manifest, Release.open(target).manifest
    assert new.totals.kept == old.totals.kept - len(gone)
    assert new.totals.dropped["withdrawn"] == len(gone)
    assert sum(new.contents.licenses.values()) == len(before) - len(gone)
    kinds = [span["kind"] for key, row in before.items() if key not in gone for span in row["redactions"]]
    assert sum(new.contents.redactions.values()) == len(kinds)
    # Nothing in any file tells of the withdrawn text.
    data = b"".join(files(target).values())
    for key in gone:
        assert before[key]["content_sha256"].encode() not in data
    # Shards without such a row are the same files.
    touched = {
        row["shard"] for row in pq.read_table(pristine / "ids.parquet").to_pylist() if row["row_id"] in gone
    }
    kept = {shard.path: shard for shard in new.shards}
    for shard in old.shards:
        if shard.path not in touched:
            assert kept[shard.path] == shard


def test_in_two_steps_or_in_one_the_bytes_are_the_same(pristine, tmp_path):
    some = sorted(all_rows(pristine))[3:30:4]
    derived(pristine, some, tmp_path / "one")
    derived(pristine, some[:3], tmp_path / "first")
    derived(tmp_path / "first", some, tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert files(tmp_path / "first") != files(tmp_path / "two")
    manifest = Release.open(tmp_path / "two").manifest
    assert manifest.inputs["derived_from"] == {"version": "2.1", "digest": Release.open(pristine).digest}
    removals = read_removals(io.BytesIO((tmp_path / "two/removals.jsonl").read_bytes()), "x")
    assert [one.row_id for one in removals] == some


def test_a_row_counts_by_its_id_whatever_its_place(pristine):
    """Merging is not by luck: each row alone is found, at its shard and number."""
    release = Release.open(pristine)
    for row in pq.read_table(pristine / "ids.parquet").to_pylist():
        found = find_withdrawn(release, tombstones([row["row_id"]]))
        assert found.rows == {row["shard"]: [row["row"]]}


def test_stages_and_tokens_follow(factory, tmp_path):
    folder = factory.make_release(tmp_path, rows={"C": 5})
    release = Release.open(folder)
    value = release.manifest.to_json()
    dropped = value["totals"]["dropped"]
    found, kept = value["totals"]["found"], value["totals"]["kept"]
    value["totals"]["stages"] = [{"name": "graph", "entered": found, "left": kept, "dropped": dropped}]
    value["tokenizer"] = {"name": "t", "digest": "cd" * 32}
    for entry in [*value["shards"], *value["languages"].values()]:
        entry["tokens"] = 100
    from manifests.manifest import Manifest

    release.manifest = Manifest._from_json(value)
    some = sorted(all_rows(folder))[:2]
    (tmp_path / "copy").mkdir()
    derive_release(release, find_withdrawn(release, tombstones(some)), tmp_path / "copy")
    made = Release.open(tmp_path / "copy").manifest
    assert [stage.name for stage in made.totals.stages] == ["graph", "withdrawn"]
    assert made.totals.stages[-1].left == 3
    assert made.tokenizer is None


def test_a_release_of_withdrawn_rows_only_is_refused(pristine, tmp_path):
    with pytest.raises(ReleaseError, match="delete the folder"):
        derived(pristine, all_rows(pristine), tmp_path / "copy")


def test_ids_that_are_no_ids_are_refused(release):
    pq.write_table(pa.table({"row_id": ["a"]}), release / "ids.parquet")
    with pytest.raises(ReleaseError, match="columns"):
        find_withdrawn(Release.open(release), tombstones(["a" * 64]))
    (release / "ids.parquet").write_bytes(b"nothing")
    with pytest.raises(ReleaseError, match="cannot be read"):
        find_withdrawn(Release.open(release), tombstones(["a" * 64]))


def test_quality_signals_lose_the_rows_that_go(factory, tmp_path):
    """Breach: a copy's signals tell of a withdrawn row, or lack one that is left, or depend on the steps."""
    folder = tmp_path / "2.1"
    folder.mkdir()
    facts = factory.write_shards(folder, {"C": factory.make_rows("C", 30), "Go": factory.make_rows("Go", 4)})
    rows = sorted(
        (row["row_id"], row["language"], row["num_lines"])
        for shard in facts
        for row in pq.read_table(folder / shard.path, partitioning=None).to_pylist()
    )
    schema = quality_signals_schema([pa.field("num_lines", pa.int64())])
    table = pa.table([list(column) for column in zip(*rows, strict=True)], schema=schema)
    write_quality_signals([table], folder / "quality-signals.parquet", schema)
    factory.finish(folder, facts, extra=("quality-signals.parquet",))
    gone = [row[0] for row in rows[3::5]]
    derived(folder, gone, tmp_path / "one")
    derived(folder, gone[:2], tmp_path / "first")
    derived(tmp_path / "first", gone, tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")
    left = pq.read_table(tmp_path / "one" / "quality-signals.parquet")
    assert left.equals(table.filter(pa.array([row[0] not in gone for row in rows])))
    assert verify_release(tmp_path / "one").ok
    for made in (folder, tmp_path / "one"):
        assert "quality-signals.parquet" in Release.open(made).manifest.listed()
    assert b"quality-signals.parquet" in (tmp_path / "one" / "README.md").read_bytes()
    (folder / "quality-signals.parquet").write_bytes(b"x")
    with pytest.raises(ReleaseError, match=r"quality-signals\.parquet cannot be read"):
        derived(folder, gone, tmp_path / "three")
