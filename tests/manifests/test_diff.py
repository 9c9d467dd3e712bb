"""Two releases are compared as dictionaries of their rows would be; `changes.parquet` is a function of its rows."""

from __future__ import annotations

import random
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests import changes, sorted_rows
from manifests.changelog import section
from manifests.diff import compare, count_ids, depends_on_the_same, differing_keys
from manifests.errors import ReleaseError
from manifests.facts import ShardFacts
from manifests.manifest import Manifest
from manifests.reader import Release
from manifests.schema import CHANGES, IDS


class FakeManifest:
    """Only what `count_ids` reads."""

    name, version = "some", "1.0"

    def __init__(self, languages):
        self.shards = [
            ShardFacts(path=f"data/{x}/train-all.parquet", language=x, sha256="", bytes=1, rows=1, row_groups=1,
                       text_bytes=0, memory_bytes=0, merkle_root="") for x in languages
        ]  # fmt: skip


def batches(rows: dict[str, tuple[str, str]], draw: random.Random) -> list[pa.RecordBatch]:
    """id -> (text, language) as sorted batches of random lengths, some of them empty."""
    ordered = [
        {"row_id": key, "content_sha256": text, "shard": f"data/{language}/train-all.parquet", "row": 0}
        for key, (text, language) in sorted(rows.items())
    ]
    cut, found = 0, []
    while cut < len(ordered):
        size = draw.choice((0, 1, 2, 5, 40))
        found.append(pa.RecordBatch.from_pylist(ordered[cut : cut + size], schema=IDS))
        cut += size
    return found


ids = st.dictionaries(
    st.integers(0, 60).map("{:032x}".format),
    st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["C", "Python"])),
    max_size=40,
)


@settings(max_examples=120)
@given(old=ids, new=ids, seed=st.integers(0, 999))
def test_merged_ids_tell_what_dictionaries_tell(old, new, seed):
    draw = random.Random(seed)
    wanted: Counter = Counter()
    for key, (text, language) in new.items():
        if key not in old:
            wanted["added", "", language] += 1
        elif old[key][0] != text:
            wanted["re_redacted", "", language] += 1
    wanted.update(("removed", "", language) for key, (_, language) in old.items() if key not in new)
    manifest = FakeManifest(["C", "Python"])
    assert +count_ids((manifest, batches(old, draw)), (manifest, batches(new, draw))) == wanted


def test_ids_that_cannot_be_are_refused():
    manifest = FakeManifest(["C"])
    rows = {f"{n:032x}": ("a", "C") for n in range(4)}
    one = batches(rows, random.Random(1))
    with pytest.raises(ReleaseError, match="not sorted"):
        count_ids((manifest, [*one, *one]), (manifest, []))
    with pytest.raises(ReleaseError, match="does not have"):
        count_ids((manifest, batches({"0" * 32: ("a", "Ada")}, random.Random(1))), (manifest, []))


def test_two_releases_from_their_folders(factory, tmp_path):
    texts = {"Python": [f"x = {n}\n" for n in range(30)], "C": ["int a;\n", "int b;\n"]}
    later = {"Python": [*texts["Python"][:28], "y = 1\n", "y = 2\n", "y = 3\n"], "Go": ["package a\n"]}
    old = Release.open(factory.make_release(tmp_path, texts=texts, version="2.1")).manifest
    new = Release.open(factory.make_release(tmp_path, texts=later, version="2.2")).manifest
    sides = [
        (one, pq.ParquetFile(tmp_path / one.version / "ids.parquet").iter_batches(7)) for one in (old, new)
    ]
    counts = count_ids(*sides)
    # The factory names rows by number and text: an edited text is another original.
    assert +counts == {("removed", "", "Python"): 2, ("removed", "", "C"): 2, ("added", "", "Python"): 3,
                       ("added", "", "Go"): 1}  # fmt: skip
    found = compare(old, new, counts=counts, exact=False).to_json()
    assert found["changes"] == {"added": 4, "removed": 4, "re_redacted": 0}
    assert found["rows"] == [32, 32]
    assert set(found["languages"]) == {"Python", "C", "Go"}
    assert found["languages"]["Go"]["rows"] == [0, 1]
    assert found["is_parent"] is False
    assert found["depends_on"] == {}
    assert depends_on_the_same(old, new)
    same, fresh = found["shards"]["same"], found["shards"]["new"]
    assert same["shards"] + fresh["shards"] == len(new.shards)
    assert fresh["bytes"] == sum(
        shard.bytes for shard in new.shards if (shard.path, shard.sha256) not in
        {(other.path, other.sha256) for other in old.shards}
    )  # fmt: skip


def test_what_differs_in_configuration_and_digests(pristine):
    manifest = Release.open(pristine).manifest
    value = manifest.to_json()
    value["policies"] = {**value["policies"], "opt_out": "aa" * 32}
    value["libraries"] = {"pyarrow": "99", "new": "1"}
    value["opt_out_head"] = "aa" * 32
    other = Manifest._from_json(value)
    configurations = (
        b"name: a\nemit: {shard_bytes: 8, keep: null}\n",
        b"name: a\nemit: {shard_bytes: 9}\nx: [1]\n",
    )
    diff = compare(manifest, other, counts=Counter(), exact=True, configurations=configurations)
    assert set(diff.differing) == {"policies.opt_out", "opt_out_head", "libraries.pyarrow", "libraries.new"}
    assert diff.configuration == {
        "emit.shard_bytes": ("8", "9"),
        "emit.keep": ("null", None),
        "x": (None, "[1]"),
    }
    text = section(diff)
    assert "all " in text and "emit.shard_bytes" in text and "`aaaaaaaaaaaaaaaa`" in text
    assert not depends_on_the_same(manifest, other)


@given(old=st.dictionaries(st.text(max_size=3), st.integers(), max_size=4),
       new=st.dictionaries(st.text(max_size=3), st.integers(), max_size=4))  # fmt: skip
def test_differing_keys_are_those_of_either_side(old, new):
    assert set(differing_keys(old, new)) == {
        key for key in {*old, *new} if (key in old, old.get(key)) != (key in new, new.get(key))
    }


@pytest.mark.parametrize("data", [b"- a\n", b"\xff", b"a: [", b"a: &a [*a]", b"x", b""])
def test_a_configuration_that_is_none_is_not_relied_on(pristine, data):
    manifest = Release.open(pristine).manifest
    assert (
        compare(manifest, manifest, counts=Counter(), exact=True, configurations=(data, data)).configuration
        == {}
    )


# ------------------------------------------------------------------------------------------------- changes.parquet


def change_rows(count: int, seed: int = 0) -> pa.Table:
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        change = draw.choice(changes.KINDS)
        gone = change == "removed"
        rows.append(
            {
                "row_id": f"{number:032x}",
                "change": change,
                "reason": draw.choice(["withdrawn", "gone"]) if gone else None,
                "columns": ["origin"] if change == "re_elected" else [],
                "length_bytes": number,
                "old_language": None if change in ("added", "restored") else "C",
                "new_language": None if gone else "Python",
            }
        )
    return pa.Table.from_pylist(rows, schema=CHANGES)


def test_the_bytes_do_not_depend_on_how_the_rows_came(tmp_path, monkeypatch):
    monkeypatch.setattr(sorted_rows, "GROUP_ROWS", 7)
    table = change_rows(40)
    made = set()
    for cuts in ([40], [0, 3, 0, 14, 23], [1] * 40):
        start, parts = 0, []
        for size in cuts:
            parts.append(table.slice(start, size))
            start += size
        assert changes.write_changes(parts, tmp_path / "changes.parquet") == 40
        made.add((tmp_path / "changes.parquet").read_bytes())
    assert len(made) == 1
    assert pq.read_table(tmp_path / "changes.parquet").equals(table)
    with pq.ParquetFile(tmp_path / "changes.parquet") as file:
        assert file.metadata.num_row_groups == 6


def test_counts_are_those_of_plain_python(tmp_path):
    table = change_rows(500, 3)
    changes.write_changes([table], tmp_path / "changes.parquet")
    wanted = Counter(
        (row["change"], row["reason"] or "", row["new_language"] or row["old_language"])
        for row in table.to_pylist()
    )
    assert changes.count_changes(tmp_path / "changes.parquet") == wanted


def test_no_rows_is_a_file_too(tmp_path):
    assert changes.write_changes([], tmp_path / "changes.parquet") == 0
    assert changes.count_changes(tmp_path / "changes.parquet") == Counter()


def test_what_is_no_changes_parquet_is_refused(tmp_path, pristine):
    table = change_rows(5)
    with pytest.raises(ReleaseError, match="sorted"):
        changes.write_changes([table, table], tmp_path / "changes.parquet")
    with pytest.raises(ReleaseError, match="columns"):
        changes.count_changes(pristine / "ids.parquet")
    (tmp_path / "x.parquet").write_bytes(b"PAR1nothing")
    with pytest.raises(ReleaseError, match="cannot be read"):
        changes.count_changes(tmp_path / "x.parquet")
    odd = table.set_column(1, CHANGES.field("change"), pa.array(["renamed"] * 5))
    changes.write_changes([odd.cast(CHANGES)], tmp_path / "odd.parquet")
    with pytest.raises(ReleaseError, match="unknown change"):
        changes.count_changes(tmp_path / "odd.parquet")
