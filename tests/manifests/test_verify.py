"""Attacks on a release: whatever is done to its files, `verify_release` finds it and names the file."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests import canonical
from manifests.card import front_matter, metadata
from manifests.errors import ReleaseError
from manifests.manifest import Manifest
from manifests.merkle import ids_leaf_hashes, root_of
from manifests.reader import Release
from manifests.release_writer import sums_of
from manifests.schema import DATA
from manifests.shards import shard_ids, write_ids, write_shard
from manifests.verify import Report, verify_release

CPP, CSHARP = "data/C++/train-all.parquet", "data/C#/train-all.parquet"


def found(release: Path) -> set[tuple[str, str]]:
    return {(fault.path, fault.code) for fault in verify_release(release).faults}


def names_of(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def remake(release: Path, **changes: Any) -> Manifest:
    """Forge manifest and SHA256SUMS so that they agree with the files as they are now."""
    document = {**canonical.load((release / "manifest.json").read_bytes()), **changes}
    for entry in document["shards"] + document["files"]:
        body = (release / entry["path"]).read_bytes()
        entry["sha256"], entry["bytes"] = hashlib.sha256(body).hexdigest(), len(body)
    for language, facts in document["languages"].items():
        facts["bytes"] = sum(shard["bytes"] for shard in document["shards"] if shard["language"] == language)
    data = canonical.dumps(document)
    (release / "manifest.json").write_bytes(data)
    manifest = Manifest.parse(data)
    (release / "SHA256SUMS").write_bytes(sums_of(manifest, data))
    return manifest


def recard(release: Path) -> None:
    """Forge the card's figures from the manifest."""
    card = (release / "README.md").read_text()
    block = metadata(pretty_name="forged", languages=Release.open(release).manifest.languages)
    (release / "README.md").write_text(front_matter(block) + card.split("---\n", 2)[2])
    remake(release)


def rewrite(release: Path, path: str, edit: Callable[[list[dict[str, Any]]], None]) -> None:
    """Edit the rows of a shard and write it again, everything that describes it left as it was."""
    rows = pq.read_table(release / path, partitioning=None).to_pylist()
    edit(rows)
    write_shard(pa.Table.from_pylist(rows, schema=DATA), release / path, path=path)


def test_a_valid_release_has_no_fault(factory, pristine):
    report = verify_release(pristine)
    assert report == Report(
        faults=(),
        figures={
            "files": 14,
            "bytes": sum(facts.bytes for facts in Release.open(pristine).manifest.listed().values()),
            "shards": 8,
            "languages": 7,
            "rows": sum(factory.ROWS.values()),
            "text_bytes": sum(shard.text_bytes for shard in Release.open(pristine).shards()),
        },
        digest=hashlib.sha256((pristine / "manifest.json").read_bytes()).hexdigest(),
        version="2.1",
        name="stackmill-test",
        shards_opened=8,
    )
    assert report.ok


def test_progress_reaches_the_total_and_threads_do_not_matter(pristine, release):
    seen: list[tuple[int, int]] = []
    verify_release(pristine, threads=3, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] and [done for done, _ in seen] == sorted(done for done, _ in seen)
    (release / CPP).unlink()
    (release / CSHARP).write_bytes(b"")
    assert verify_release(release, threads=1) == verify_release(release, threads=5)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_byte_anywhere(release, data):
    name = data.draw(st.sampled_from(names_of(release)))
    original = (release / name).read_bytes()
    position = data.draw(st.integers(0, len(original) - 1))
    body = bytearray(original)
    body[position] ^= data.draw(st.integers(1, 255))
    (release / name).write_bytes(body)
    try:
        assert name in {path for path, _ in found(release)}
    finally:
        (release / name).write_bytes(original)


def test_every_file_truncated_extended_emptied_removed_renamed(release):
    for name in names_of(release):
        file = release / name
        original = file.read_bytes()
        for body in (original[:-1], original + b"\n", b""):
            file.write_bytes(body)
            assert name in {path for path, _ in found(release)}, name
        file.unlink()
        assert (name, "missing") in found(release)
        (release / "other").write_bytes(original)
        assert {(name, "missing")} <= found(release)
        if name != "manifest.json":  # without it nothing says what should be there
            assert ("other", "extra") in found(release)
        (release / "other").unlink()
        file.write_bytes(original)
    assert verify_release(release).ok


def test_every_file_replaced_by_a_link_to_itself(release, tmp_path):
    for name in names_of(release):
        shutil.move(release / name, tmp_path / "kept")
        (release / name).symlink_to(tmp_path / "kept")
        assert (name, "not_a_file") in found(release), name
        (release / name).unlink()
        shutil.move(tmp_path / "kept", release / name)
    assert verify_release(release).ok


def test_linked_folder_pipe_and_odd_names(release, tmp_path):
    shutil.move(release / "data/C++", tmp_path / "C++")
    (release / "data/C++").symlink_to(tmp_path / "C++")
    os.mkfifo(release / "pipe")
    Path(os.fsdecode(os.fsencode(release) + b"/bad\xff")).write_bytes(b"x")
    (release / "data/C#/.hidden").write_bytes(b"x")
    assert found(release) == {
        ("data/C++", "not_a_file"),
        (CPP, "missing"),
        ("pipe", "not_a_file"),
        ("bad\\xff", "extra"),
        ("data/C#/.hidden", "extra"),
    }


def test_empty_folders_do_not_matter_and_the_root_may_be_a_link(release, tmp_path):
    (release / "data/Empty").mkdir()
    (tmp_path / "latest").symlink_to(release)
    assert verify_release(tmp_path / "latest").ok


def test_two_shards_swapped(release):
    a, b = (release / CPP).read_bytes(), (release / CSHARP).read_bytes()
    (release / CPP).write_bytes(b)
    (release / CSHARP).write_bytes(a)
    assert {path for path, _ in found(release)} == {CPP, CSHARP}


def test_two_shards_swapped_and_checksums_fixed(release):
    a, b = (release / CPP).read_bytes(), (release / CSHARP).read_bytes()
    (release / CPP).write_bytes(b)
    (release / CSHARP).write_bytes(a)
    remake(release)
    assert {(CPP, "rows"), (CSHARP, "rows")} <= found(release)


def test_shards_of_one_language_swapped_and_all_but_the_ids_fixed(release):
    one, two = "data/Python/train-0.parquet", "data/Python/train-1.parquet"
    a, b = (release / one).read_bytes(), (release / two).read_bytes()
    (release / one).write_bytes(b)
    (release / two).write_bytes(a)
    document = canonical.load((release / "manifest.json").read_bytes())
    facts = {entry["path"]: entry for entry in document["shards"]}
    for key in ("text_bytes", "memory_bytes", "row_groups"):
        facts[one][key], facts[two][key] = facts[two][key], facts[one][key]
    remake(release, shards=document["shards"])
    assert found(release) == {(shard, code) for shard in (one, two) for code in ("ids", "merkle")}


def edit_content(rows: list[dict[str, Any]]) -> None:
    rows[2]["content"] = rows[2]["content"].swapcase()  # same length: every figure still fits


def test_an_edited_row_with_every_checksum_fixed_step_by_step(release):
    digest = verify_release(release).digest
    rewrite(release, CPP, edit_content)
    assert {path for path, _ in found(release)} == {CPP}
    remake(release)
    assert found(release) == {(CPP, "content"), ("README.md", "card")}  # the file's size is in the card

    def fix(rows: list[dict[str, Any]]) -> None:
        rows[2]["content_sha256"] = hashlib.sha256(rows[2]["content"].encode()).hexdigest()

    rewrite(release, CPP, fix)
    remake(release)
    recard(release)
    assert found(release) == {(CPP, "ids"), (CPP, "merkle")}
    tables = [shard_ids(release / shard.path, shard.path) for shard in Release.open(release).shards()]
    ids = pa.concat_tables(tables).sort_by("row_id")
    write_ids(ids, release / "ids.parquet")
    remake(release)
    assert found(release) == {("ids.parquet", "merkle"), (CPP, "merkle")}
    remake(release, merkle_root=root_of(ids_leaf_hashes(ids)).hex())
    assert found(release) == {(CPP, "merkle")}
    shards = [shard.to_json() for shard in Release.open(release).shards()]
    for entry in shards:
        of_shard = shard_ids(release / entry["path"], entry["path"])
        entry["merkle_root"] = root_of(ids_leaf_hashes(of_shard)).hex()
    remake(release, shards=shards)
    report = verify_release(release)
    assert report.ok and not report.signed  # consistent with itself: only the digest, and a signature, tell
    assert report.digest != digest


Edit = Callable[[list[dict[str, Any]]], None]


def change(column: str, value: Any, row: int = 1) -> Edit:
    return lambda rows: rows[row].__setitem__(column, value)


def redact(start: int, end: int) -> Edit:
    return change("redactions", [{"kind": "email", "start": start, "end": end, "rule": "r"}])


def naive(rows: list[dict[str, Any]]) -> None:
    """A redaction that starts in the middle of a character."""
    row = next(row for row in rows if "ï" in row["content"])
    at = row["content"].encode().index("ï".encode())
    row["redactions"] = [{"kind": "email", "start": at + 1, "end": at + 4, "rule": "r"}]


def overlap(rows: list[dict[str, Any]]) -> None:
    spans = [(0, 5), (4, 9)]
    rows[1]["redactions"] = [{"kind": "email", "start": a, "end": b, "rule": "r"} for a, b in spans]


@pytest.mark.parametrize(
    ("edit", "code", "message"),
    [
        (redact(-1, 3), "redaction", "row 1"),
        (redact(3, 3), "redaction", "row 1"),
        (redact(0, 10**9), "redaction", "row 1"),
        (naive, "redaction", "character"),
        (overlap, "redaction", "row 1"),
        (change("language", "C#"), "rows", "language"),
        (change("swhid", "swh:1:cnt:" + "0" * 40), "rows", "swhid"),
        (change("sha256", "A" * 64), "rows", "sha256"),
        (change("blob_id", "short"), "rows", "blob_id"),
        (change("cluster_id", "other"), "rows", "cluster_id"),
        (change("cluster_size", 0), "rows", "cluster_size"),
        (change("num_occurrences", 0), "rows", "num_occurrences"),
        (lambda rows: rows.reverse(), "ids", "row 0"),
        (lambda rows: rows.pop(), "rows", "the manifest says 9"),
        (lambda rows: rows.append(rows[0]), "rows", "the manifest says 9"),
        (lambda rows: rows.__setitem__(1, rows[2]), "ids", "row 1"),
        (change("content", "short"), "rows", "text_bytes"),
    ],
)
def test_edited_rows_with_fixed_checksums(release, edit, code, message):
    if code == "rows" and message == "language":
        table = pq.read_table(release / CPP, partitioning=None)
        rows = table.to_pylist()
        edit(rows)
        pq.write_table(pa.Table.from_pylist(rows, schema=DATA), release / CPP)
    else:
        rewrite(release, CPP, edit)
    remake(release)
    faults = [fault for fault in verify_release(release).faults if fault.path == CPP]
    assert any(fault.code == code and message in fault.message for fault in faults), faults


def test_content_that_is_not_utf8(release):
    table = pq.read_table(release / CPP, partitioning=None)
    bad = pa.array([b"\xff\xfe"] * table.num_rows, pa.binary()).view(pa.string())
    table = table.set_column(DATA.get_field_index("content"), DATA.field("content"), bad)
    pq.write_table(table, release / CPP)
    remake(release)
    assert any(path == CPP and code == "parquet" for path, code in found(release))


@pytest.mark.parametrize("body", [b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", b"x" * 5000])
@pytest.mark.parametrize("path", [CPP, "ids.parquet"])
def test_files_that_are_not_parquet(release, path, body):
    (release / path).write_bytes(body or b" ")
    remake(release)
    assert (path, "parquet") in found(release)


def test_another_schema(release):
    pq.write_table(pa.table({"a": [1]}), release / CPP)
    pq.write_table(pa.table({"a": [1]}), release / "ids.parquet")
    remake(release)
    assert {(CPP, "schema"), ("ids.parquet", "schema")} <= found(release)


def test_ids_out_of_order_repeated_or_foreign(release):
    ids = pq.read_table(release / "ids.parquet")
    for spoiled, wanted in (
        (ids.take(list(reversed(range(ids.num_rows)))), {("ids.parquet", "ids"), ("ids.parquet", "merkle")}),
        (pa.concat_tables([ids, ids]).sort_by("row_id"), {("ids.parquet", "ids"), ("ids.parquet", "merkle")}),
        (ids.slice(1), {("ids.parquet", "ids"), ("ids.parquet", "merkle")}),
        (ids.slice(0, 0), {("ids.parquet", "ids"), ("ids.parquet", "merkle")}),
    ):
        write_ids(spoiled, release / "ids.parquet")
        remake(release)
        assert found(release) == wanted


def test_a_card_that_promises_other_figures(release):
    card = (release / "README.md").read_text()
    for old, new in (
        ("num_examples: 9\n", "num_examples: 10\n"),
        ('config_name: "C++"', 'config_name: "C"'),
        ('path: "data/C++/*.parquet"', 'path: "https://example.org/x.parquet"'),
        ("dtype: int64", "dtype: int32"),
        ("- n<1K", "- 1B<n<10B"),
        ("---\n", "--\n"),
    ):
        assert old in card
        (release / "README.md").write_text(card.replace(old, new, 1))
        remake(release)
        assert found(release) == {("README.md", "card")}


def test_a_manifest_that_lies(release):
    document = canonical.load((release / "manifest.json").read_bytes())
    for changes in (
        {"totals": {**document["totals"], "found": 0}},
        {"schema_version": 99},
        {"files": [{**document["files"][0], "path": "../outside"}]},
        {"shards": [{**document["shards"][0], "path": "/etc/passwd"}]},
    ):
        (release / "manifest.json").write_bytes(canonical.dumps({**document, **changes}))
        assert {path for path, _ in found(release)} == {"manifest.json"}
    (release / CPP).write_bytes(b"")
    assert {path for path, _ in found(release)} == {"manifest.json", CPP}  # by SHA256SUMS


def test_figures_of_a_shard_that_are_wrong(release):
    document = canonical.load((release / "manifest.json").read_bytes())
    for key in ("text_bytes", "memory_bytes"):
        shards = [replace(shard) for shard in Release.open(release).shards()]
        entries = [shard.to_json() for shard in shards]
        languages = {name: dict(facts) for name, facts in document["languages"].items()}
        entry = next(entry for entry in entries if entry["path"] == CPP)
        entry[key] += 1
        languages["C++"][key] += 1
        copy = release.parent / key
        shutil.copytree(release, copy)
        remake(copy, shards=entries, languages=languages)
        assert (CPP, "rows") in found(copy)


def test_a_replayed_manifest(factory, release, tmp_path):
    older = factory.make_release(tmp_path / "older", rows={"C++": 9}, version="2.0")
    shutil.copy(older / "manifest.json", release / "manifest.json")
    faults = found(release)
    assert ("manifest.json", "sums") in faults and (CSHARP, "extra") in faults


def test_sums_reordered_or_in_another_form(release):
    sums = (release / "SHA256SUMS").read_bytes()
    (release / "SHA256SUMS").write_bytes(b"".join(reversed(sums.splitlines(keepends=True))))
    assert found(release) == {("SHA256SUMS", "sums")}
    (release / "SHA256SUMS").write_bytes(sums + b"garbage\n")
    assert found(release) == {("SHA256SUMS", "sums")}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_files(release):
    (release / CPP).chmod(0)
    assert found(release) == {(CPP, "unreadable")}


def test_what_is_no_release(tmp_path):
    with pytest.raises(ReleaseError, match="no such folder"):
        verify_release(tmp_path / "absent")
    assert found(tmp_path) == {("manifest.json", "missing")}
