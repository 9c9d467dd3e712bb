"""Bad exports: each a message that names the object and the remedy, exit code 5, and never the end of the process."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace

import graph_exports as exports
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engine.store import Store
from pipeline.errors import SourceError, StackmillError
from pipeline.sources import orc
from pipeline.sources.graph import GraphExport, open_export
from pipeline.tables import GRAPH

FORMS = exports.FORMS
oid = exports.oid
UUID, OTHER = "0a0a0a0a-0000-4000-8000-000000000001", "0b0b0b0b-0000-4000-8000-000000000002"


def opened(archive: Path | str, form: str | None = None) -> GraphExport:
    return open_export(Store(str(archive)), None, None, form=form)


def everything(export: GraphExport) -> dict[str, list[dict]]:
    return {
        table: [row for item in export.units(table) for row in export.read(table, item).to_pylist()]
        for table in exports.traps()
        if table != "origin_visit_status"
    }


def refusal(export: GraphExport, *words: str) -> str:
    with pytest.raises(SourceError) as caught:
        for table in exports.traps():
            for item in export.units(table):
                export.read(table, item)
    said = str(caught.value)
    assert caught.value.exit_code == 5
    assert all(word in said for word in words), said
    return said


def one_file(archive: Path, form: str, table: str) -> Path:
    return archive / "graph" / "e" / form / table / f"{table}-00000.{form}"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for form in FORMS:
        exports.write(tmp_path, form, exports.tables())
    return tmp_path


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_is_cut_off(archive: Path, form: str) -> None:
    path = one_file(archive, form, "directory_entry")
    whole = path.read_bytes()
    for length in (0, 1, 3, 8, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refusal(opened(archive, form), str(path), "cut off", "fetch it again")


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_is_cut_off_on_s3(archive: Path, form: str, s3_bucket: str) -> None:
    store = Store(f"{s3_bucket}/swh")
    for path in (archive / "graph").rglob(f"*.{form}"):
        data = path.read_bytes()
        store.put(
            path.relative_to(archive).as_posix(), data[: len(data) // 2] if "revision" in path.name else data
        )
    refusal(open_export(store, None, None), f"{store.uri}/graph/e/{form}/revision/", "cut off")


@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_something_else(archive: Path, form: str) -> None:
    path = one_file(archive, form, "content")
    other = one_file(archive, "orc" if form == "parquet" else "parquet", "content").read_bytes()
    for data in (
        b"hello\n" * 100,
        other,
        b"ORC",
        b"PAR1" * 3,
        b"\0" * 5000,
        b"<html>" + b"ORC\x03",
        b"PAR1" + b"\xff" * 8 + b"PAR1",
    ):
        path.write_bytes(data)
        refusal(opened(archive, form), str(path), "not a readable")


@pytest.mark.parametrize("form", FORMS)
def test_a_missing_table_a_missing_column_a_wrong_type(archive: Path, form: str) -> None:
    given = exports.tables()
    path = one_file(archive, form, "snapshot_branch")
    path.rename(path.with_suffix(".moved"))
    refusal(opened(archive, form), "'snapshot_branch' is missing", f"copy snapshot_branch/*.{form}")
    wrong = given["snapshot_branch"].drop_columns(["name"])
    exports.write(archive, form, {"snapshot_branch": wrong})
    refusal(opened(archive, form), str(path), "lacks the column 'name'", "'target_type'")
    wrong = wrong.append_column("name", pa.array([1] * wrong.num_rows, pa.int64()))
    exports.write(archive, form, {"snapshot_branch": wrong})
    refusal(opened(archive, form), str(path), "'name' as", "not as binary")


@pytest.mark.parametrize("form", FORMS)
def test_empty_tables_and_foreign_files_are_no_error(archive: Path, form: str) -> None:
    """A table without rows is one; what another tool left in the folder is not read."""
    exports.write(archive, form, {name: table.slice(0, 0) for name, table in exports.tables().items()})
    folder = one_file(archive, form, "content").parent
    for name in ("_SUCCESS", "README.txt", f".part.{form}", f"_temporary.{form}", f"x.{form}.crc"):
        (folder / name).write_bytes(b"none")
    assert all(rows == [] for rows in everything(opened(archive, form)).values())


def test_an_export_that_is_not_there(archive: Path, tmp_path: Path) -> None:
    (archive / "graph" / "e").rename(archive / "graph" / "2025-05-18")
    (archive / "graph" / "2024-08-23").mkdir()
    store = Store(str(archive))
    for name, words in {
        "2025-05-19": ("no export '2025-05-19'", "did you mean '2025-05-18'", "2024-08-23, 2025-05-18"),
        None: ("several exports", "archive.export"),
        "2024-08-23": ("2024-08-23", "neither orc nor parquet"),
    }.items():
        with pytest.raises(SourceError) as caught:
            open_export(store, None, name)
        assert all(word in str(caught.value) for word in words), caught.value
    with pytest.raises(SourceError, match="folder above"):
        open_export(None, Store(f"{archive}/graph/2025-05-18/orc"), None)
    with pytest.raises(SourceError, match="not an archive"):
        open_export(Store(str(tmp_path / "content")), None, None)
    exports.write(tmp_path / "o", "orc", exports.tables())
    with pytest.raises(SourceError, match=r"has no parquet tables, only orc; set archive\.format"):
        open_export(Store(str(tmp_path / "o")), None, None, form="parquet")


@pytest.mark.parametrize("form", FORMS)
def test_tables_of_two_exports(tmp_path: Path, form: str) -> None:
    """What files tell: the versions that wrote them, the table that they are of, and their own id."""
    ours = {"swh_model_version": "6.16.0", "swh_export_version": "1.12.0"}
    given = exports.tables()
    exports.write(tmp_path, form, given, labels=ours)
    assert everything(opened(tmp_path, form))
    exports.write(
        tmp_path, form, {"release": given["release"]}, labels={**ours, "swh_export_version": "1.4.0"}
    )
    refusal(opened(tmp_path, form), "two exports are mixed", "export 1.12.0", "export 1.4.0", "release-00000")
    exports.write(
        tmp_path, form, {"release": given["release"]}, labels={**ours, "swh_object_type": "revision"}
    )
    refusal(opened(tmp_path, form), "says that it is of the table 'revision'")
    exports.write(tmp_path, form, {"release": given["release"]}, labels={**ours, "swh_uuid": UUID})
    path = one_file(tmp_path, form, "release")
    path.rename(path.with_name(f"release-{UUID}.{form}"))
    assert everything(opened(tmp_path, form))
    path.with_name(f"release-{UUID}.{form}").rename(path.with_name(f"release-{OTHER}.{form}"))
    refusal(opened(tmp_path, form), f"release-{OTHER}.{form}", f"its id is {UUID}")


def flipped(data: bytes, seed: int) -> bytes:
    draw = random.Random(seed)
    end = seed % 3 == 0  # a third of them in the footer, where most of the meaning is
    at = len(data) - 1 - draw.randrange(min(400, len(data))) if end else draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]


def one_table(tmp_path: Path, form: str, table: str, data: bytes) -> list[dict] | str:
    """The rows of a table of one file, or what was said instead."""
    path = tmp_path / form / table / f"x.{form}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    export = GraphExport(Store(str(tmp_path / form)), "")
    try:
        return [row for item in export.units(table) for row in export.read(table, item).to_pylist()]
    except StackmillError as error:
        assert str(path) in str(error) and error.exit_code == 5
        return str(error)


def entries(count: int) -> pa.Table:
    rows = [
        {
            "directory_id": oid(n // 7),
            "name": b"name%d" % (n * n),
            "type": ("file", "dir")[n % 2],
            "target": oid(n),
            "perms": 33188,
        }
        for n in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=GRAPH["directory_entry"])


@pytest.mark.parametrize(
    ("form", "table", "flips"),
    [("orc", "directory_entry", 140), ("orc", "revision", 60), ("parquet", "directory_entry", 200)],
)
def test_flipped_bits_end_no_process(tmp_path: Path, form: str, table: str, flips: int) -> None:
    """Every damaged file gives rows of the right columns, or an error that names it. A Parquet file with checksums, as ours
    are, gives no wrong rows; ORC has none, so that half of the flips there are other bytes of a name or an id."""
    given = entries(700) if table == "directory_entry" else exports.tables()["revision"]
    path = (
        exports.write(tmp_path / "a", form, {table: given})
        / "graph"
        / "e"
        / form
        / table
        / f"{table}-00000.{form}"
    )
    if form == "parquet":
        pq.write_table(given, path, write_page_checksum=True)
    data, wanted = path.read_bytes(), given.to_pylist()
    said = [one_table(tmp_path, form, table, flipped(data, seed)) for seed in range(flips)]
    assert any(isinstance(one, str) for one in said) and one_table(tmp_path, form, table, data) == wanted
    if form == "parquet":
        wrong = [one for one in said if isinstance(one, list) and one != wanted]
        assert (
            len(wrong) <= flips // 20
        )  # a footer has no checksum: it may name another column or lose a group


def test_a_reader_that_dies_names_the_file_and_the_next_one_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some damaged files end the native reader (a length that leads out of its memory): never this process."""
    path = (
        exports.write(tmp_path, "orc", {"directory_entry": entries(9)})
        / "graph/e/orc/directory_entry/directory_entry-00000.orc"
    )
    data = path.read_bytes()
    orc.close()
    monkeypatch.setattr(orc, "orc_process", SimpleNamespace(__name__="this"))  # a module that ends at once
    said = one_table(tmp_path / "b", "orc", "directory_entry", data)
    assert isinstance(said, str) and "ended the reader" in said and "fetch it again" in said
    monkeypatch.undo()
    assert one_table(tmp_path / "b", "orc", "directory_entry", data) == entries(9).to_pylist()
    reader = orc._process()  # asked once: it starts another one when this one is gone
    reader.kill()
    reader.wait()
    assert one_table(tmp_path / "b", "orc", "directory_entry", data) == entries(9).to_pylist()


@pytest.fixture(scope="module", autouse=True)
def _end_of_the_reader():
    yield
    orc.close()
