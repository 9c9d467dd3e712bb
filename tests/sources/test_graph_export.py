"""The graph export in both forms: the same rows, whatever is in them, and work items that cover each once."""

from __future__ import annotations

import json
from pathlib import Path

import graph_exports as exports
import pyarrow as pa
import pytest

from pipeline.engine.executor import InProcess
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Runner, open_workdir
from pipeline.engine.store import Store
from pipeline.sources import graph, orc
from pipeline.sources.graph import GraphExport, open_export
from pipeline.stages.graph import COLUMNS, convert, reasons_of, warn_of_mixed_tables
from pipeline.tables import ENTRY_SCHEMAS, GRAPH

FORMS = exports.FORMS
oid = exports.oid


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The traps, in both forms, two files a table."""
    base = tmp_path_factory.mktemp("traps")
    for form in FORMS:
        exports.write(base, form, exports.tables(), parts=2)
    return base


def opened(archive: Path, form: str | None = None) -> GraphExport:
    return open_export(Store(str(archive)), None, None, form=form)


def read(export: GraphExport, table: str) -> list[dict]:
    return [row for item in export.units(table) for row in export.read(table, item).to_pylist()]


def converted(archive: Path, base: Path, form: str, buckets: int = 2) -> tuple[dict[str, list[dict]], dict]:
    store, _ = open_workdir(str(base / f"work-{form}"), buckets, default_buckets=buckets)
    runner = Runner(store, InProcess(), buckets, Progress(quiet=True))
    done = convert(runner, opened(archive, form))
    return {name: runner.table(one.ref("rows")).to_pylist() for name, one in done.items()}, done


def test_both_forms_give_the_rows_that_were_written(archive: Path) -> None:
    """Guards every trap of the tables: dates beyond every clock, null snapshots, names that are any bytes."""
    for name, rows in exports.traps().items():
        wanted = pa.Table.from_pylist(rows, schema=GRAPH[name]).to_pylist()
        for form in FORMS:
            export = opened(archive, form)
            assert len(export.files(name)) == 2 and export.rows(name) == len(rows)
            if (
                name == "origin_visit_status"
            ):  # Python has no microsecond after the last one, and Arrow none to show
                [item] = export.units(name)
                assert export.read(name, item).equals(pa.Table.from_pylist(rows, schema=GRAPH[name]))
            assert read(export, name) == wanted, (name, form)


def test_conversion_is_the_same_of_both_forms(archive: Path, tmp_path: Path) -> None:
    (parquet, _), (orc_rows, _) = converted(archive, tmp_path, "parquet"), converted(archive, tmp_path, "orc")
    assert parquet == orc_rows
    entries = {row["name"]: row for row in parquet["directory_entry"]}
    assert (
        len(parquet["directory_entry"]) == len(entries) == len(exports.ODD_NAMES) + 6
    )  # "twice" once, two without an id
    assert (entries[b"link"]["perms"], entries[b"module"]["type"]) == (0o120000, "rev")
    assert entries[b"twice"]["perms"] == 0o100755
    for name in (b"bad", b"none"):  # an occurrence still, of a content that nothing has
        assert len(entries[name]["target"]) == 40 and entries[name]["target"] != oid("t")
    branches = {row["name"]: row["target"] for row in parquet["snapshot_branch"]}
    assert branches == {
        b"HEAD": b"refs/heads/main".hex(),
        b"refs/heads/main": oid("tag"),
        b"\xff\0/": oid("c"),
        b"upper": None,
    }
    dates = {row["id"]: row["date"] for row in parquet["revision"]}
    micro = 1_000_000
    assert [dates[oid(f"r{n}")] for n in range(9)] == [
        exports.YEAR_1 * micro, exports.YEAR_9999 * micro + 999_999, -micro, -2 * micro + 999_999, 0, None, None, None, None,
    ]  # fmt: skip
    assert [row["directory"] for row in parquet["revision"] if row["id"] == oid("r8")] == [None]
    visits = {
        row["visit"]: row["snapshot"] for row in parquet["origin_visit_status"] if row["status"] != "created"
    }
    assert visits == {1: oid("s"), 2: None, 3: None, 4: None}
    assert {row["sha1_git"] for row in parquet["content"]} == {oid(0), oid(1), oid(2), oid("h")}
    assert {row["status"] for row in parquet["content"]} == {"visible"}
    assert parquet["skipped_content"] == [{"sha1_git": oid("big"), "length": 1 << 40, "reason": "large"}]
    assert len(parquet["origin"]) == 1 and len(parquet["directory"]) == 2


def test_what_is_malformed_is_counted_and_sidecars_stay_small(archive: Path, tmp_path: Path) -> None:
    _, done = converted(archive, tmp_path, "parquet")
    shuffles = {path.parent.parent.name: path for path in tmp_path.rglob("stage.json")}
    count = {}
    for name in ENTRY_SCHEMAS:
        path = shuffles[f"shuffle.{name}"]
        assert path.stat().st_size < 10_000
        for unit in json.loads(path.read_text())["units"].values():
            count |= unit["counts"]
    assert count["malformed.directory_entry"] == 2 and count["malformed.content"] == 2
    assert set(done) == set(ENTRY_SCHEMAS)


@pytest.mark.parametrize("form", FORMS)
def test_an_older_export_lacks_columns_and_has_others(tmp_path: Path, form: str) -> None:
    """Exports up to 2023 have no raw_manifest and no *_raw_offset_bytes; later ones may have more than we know."""
    given = exports.tables()
    more = pa.array([1] * given["revision"].num_rows, pa.int64())
    given["revision"] = (
        given["revision"]
        .drop_columns(["raw_manifest", "date_raw_offset_bytes", "committer_date_raw_offset_bytes"])
        .append_column("new_column", more)
    )
    given["content"] = given["content"].drop_columns(["blake2s256", "status"])
    exports.write(tmp_path, form, given)
    rows = read(opened(tmp_path, form), "revision")
    wanted = [
        {**row, "raw_manifest": None, "date_raw_offset_bytes": None}
        for row in exports.tables()["revision"].to_pylist()
    ]
    assert [{k: v for k, v in row.items() if "committer" not in k} for row in rows] == [
        {k: v for k, v in row.items() if "committer" not in k} for row in wanted
    ]
    assert {row["blake2s256"] for row in read(opened(tmp_path, form), "content")} == {None}


@pytest.mark.parametrize("form", FORMS)
def test_only_the_columns_that_are_asked_for_are_read(tmp_path: Path, form: str) -> None:
    """Messages are most of the bytes of revisions: a message that cannot be decoded shows that nobody decodes it."""
    rows = [
        {"id": oid(n), "directory": oid("d"), "message": oid(n).encode() * 2000, "date": exports.date(n)}
        for n in range(40)
    ]
    exports.write(tmp_path, form, exports.tables({"revision": rows}))
    export = opened(tmp_path, form)
    [item] = export.units("revision")
    chunk = next(export.batches("revision", item, COLUMNS["revision"]))
    assert chunk.schema.names == list(COLUMNS["revision"]) and chunk.nbytes < 10_000
    assert next(export.batches("revision", item, ["id"])).num_rows == 40
    assert next(export.batches("revision", item, ["raw_manifest"]))["raw_manifest"].null_count == 40


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("at_most", [None, 1, 3, 16])
def test_units_cover_every_part_once_and_are_few(
    tmp_path: Path, monkeypatch, form: str, at_most: int | None
) -> None:
    monkeypatch.setattr(graph, "_UNIT_ROWS", 5)
    rows = [{"id": oid(n)} for n in range(90)]
    exports.write(tmp_path, form, exports.tables({"directory": rows}), parts=30)
    export = opened(tmp_path, form)
    units = export.units("directory", at_most)
    assert at_most is None or len(units) <= at_most
    assert [row["id"] for unit in units for row in export.read("directory", unit).to_pylist()] == [
        oid(n) for n in range(90)
    ]
    sizes = [export.read("directory", unit).num_rows for unit in units]
    assert max(sizes) <= 2 * 90 / len(units) + 3
    keys = [
        (key, part) for unit in units for key, _, first, last in unit["parts"] for part in range(first, last)
    ]
    assert len(keys) == len(set(keys)) == 30


def test_parts_of_one_file_are_read_in_chunks(tmp_path: Path, monkeypatch) -> None:
    """A unit's memory must not grow with the file: it gives rows a chunk at a time, small files together."""
    monkeypatch.setattr(graph, "CHUNK_ROWS", 16)
    rows = [{"id": oid(n)} for n in range(100)]
    for form in FORMS:
        exports.write(tmp_path, form, exports.tables({"directory": rows}), parts=25)
        export = opened(tmp_path, form)
        [item] = export.units("directory")
        assert [chunk.num_rows for chunk in export.batches("directory", item, ["id"])] == [16] * 6 + [4]
    exports.write(tmp_path, "parquet", exports.tables({"directory": rows}), export="one")
    export = open_export(Store(str(tmp_path)), None, "one")
    assert [c.num_rows for c in export.batches("directory", export.units("directory")[0], ["id"])] == [
        16
    ] * 6 + [4]


def test_the_fingerprint_tells_a_changed_file(tmp_path: Path) -> None:
    for form in FORMS:
        exports.write(tmp_path, form, exports.tables({"directory": [{"id": oid(1)}]}))
        before = opened(tmp_path, form).fingerprint("directory")
        assert opened(tmp_path, form).fingerprint("directory") == before
        exports.write(tmp_path, form, exports.tables({"directory": [{"id": oid(2)}]}))
        assert opened(tmp_path, form).fingerprint("directory") != before


@pytest.mark.parametrize("form", FORMS)
def test_each_footer_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """An export has some 10,000 files: units, rows and fingerprint cost one request for each, and no row is read."""
    exports.write(
        tmp_path, form, exports.tables({"directory": [{"id": oid(n)} for n in range(40)]}), parts=40
    )
    asked: list[str] = []
    true = Store.read_ranges
    monkeypatch.setattr(
        Store, "read_ranges", lambda self, key, spans: asked.append(key) or true(self, key, spans)
    )
    export = opened(tmp_path, form)
    assert export.rows("directory") == 40 and export.units("directory", 2) and export.fingerprint("directory")
    assert len(asked) == len(set(asked)) == 40


def test_the_form_is_parquet_unless_only_orc_is_whole(archive: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    assert open_export(Store(str(archive)), None, None, note=notes.append).store.uri.endswith("/parquet")
    assert "both forms are whole" in notes[0]
    assert opened(archive, "orc").store.uri.endswith("/orc")
    exports.write(tmp_path, "orc", exports.tables())
    assert opened(tmp_path).store.uri.endswith("/orc")
    exports.write(tmp_path, "parquet", exports.tables({"origin": []}))
    assert open_export(Store(str(tmp_path)), None, None, note=notes.append).store.uri.endswith("/orc")
    assert "lacks tables" in notes[1]
    straight = open_export(None, Store(f"{archive}/graph/e"), None, form="orc")
    assert straight.rows("content") == 6


def test_both_forms_from_s3(archive: Path, s3_bucket: str) -> None:
    store = Store(f"{s3_bucket}/swh")
    for path in archive.rglob("*-*.*"):
        store.put(path.relative_to(archive).as_posix(), path.read_bytes())
    for form in FORMS:
        export = open_export(store, None, "e", form=form)
        for name in ("revision", "directory_entry"):
            assert read(export, name) == exports.tables()[name].to_pylist()


def test_a_warning_where_tables_do_not_fit() -> None:
    facts = [{"input": [["resolved", 3], ["no_full_visit", 100]]}, {"input": [["empty_repository", 4]]}]
    assert "'snapshot_branch'" in str(warn_of_mixed_tables(reasons_of(facts)))
    assert warn_of_mixed_tables({"resolved": 4, "empty_repository": 4}) is None
    assert warn_of_mixed_tables({"no_full_visit": 4}) is None
    assert warn_of_mixed_tables({}) is None


@pytest.fixture(scope="module", autouse=True)
def _end_of_the_reader():
    yield
    orc.close()
