"""Archives that are none, or not whole; folders that cannot be written; what a run leaves behind when it cannot go on."""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import Result, modes_count, run
from graphs import Graph, file

CODE = b"import os\n\n\ndef area(width, height):\n    return width * height\n\n\nprint(area(2, 3), os.name)\n"
CONFIG = "licenses: {scancode: false}\nengine: {buckets: 1}\n"
TABLES = ("origin", "origin_visit_status", "snapshot_branch", "revision", "directory_entry", "content")


def _graph() -> Graph:
    g = Graph()
    g.repository("https://example.org/a/b", [file(b"a.py", g.content(CODE))])
    return g


def _part(archive: Path, table: str) -> Path:
    return archive / "graph" / "raw" / "parquet" / table / "part-0.parquet"


def _rewrite(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path)


def _broken(base: Path) -> dict[str, tuple[Path, tuple[str, ...]]]:
    """Name -> archive and the words that its message must hold."""
    whole = _graph().write(base / "whole")
    found: dict[str, tuple[Path, tuple[str, ...]]] = {}

    def copy(name: str, *words: str) -> Path:
        archive = base / name
        shutil.copytree(whole, archive)
        found[name] = (archive, words)
        return archive

    for table in TABLES:
        shutil.rmtree(_part(copy(f"no_{table}", table, "missing"), table).parent)
        path = _part(copy(f"empty_{table}", table, "part-0.parquet"), table)
        path.write_bytes(b"")
    for table, column in (
        ("origin", "url"),
        ("directory_entry", "perms"),
        ("content", "sha256"),
        ("revision", "directory"),
    ):
        path = _part(copy(f"no_{table}_{column}", table, column, "part-0.parquet"), table)
        _rewrite(path, pq.read_table(path).drop_columns([column]))
    for table in ("directory_entry", "release", "skipped_content"):
        path = _part(copy(f"cut_{table}", table, "part-0.parquet"), table)
        path.write_bytes(path.read_bytes()[:-20])
    path = _part(copy("text", "content", "part-0.parquet"), "content")
    path.write_text("this is no table\n")
    path = _part(copy("damaged", "directory_entry", "part-0.parquet"), "directory_entry")
    data = bytearray(path.read_bytes())
    data[4:200] = bytes(196)
    path.write_bytes(data)
    for name, column, values in (
        ("text_length", "length", pa.array(["many", "few"])),
        ("list_length", "length", pa.array([[1], [2]])),
        ("struct_sha1", "sha1", pa.array([{"a": 1}, {"a": 2}])),
        ("invalid_text", "sha256", pa.array([b"\xff\xfe", b"ab"], pa.binary())),
    ):
        path = _part(copy(name, "content", "part-0.parquet"), "content")
        table = pq.read_table(path)
        _rewrite(path, table.set_column(table.column_names.index(column), column, values))
    path = _part(copy("column_twice", "content", "length", "part-0.parquet"), "content")
    table = pq.read_table(path)
    _rewrite(path, table.append_column("length", table["length"]))
    # Bytes that are no UTF-8 in a column that says it is text: written as bytes, declared as text.
    path = _part(copy("lying_text", "origin", "part-0.parquet"), "origin")
    bad = pa.StringArray.from_buffers(
        1, pa.py_buffer(b"\0\0\0\0\x0f\0\0\0"), pa.py_buffer(b"https://a/\xff\xfeabc")
    )
    _rewrite(path, pa.table({"id": pa.array(["00"]), "url": bad}))
    return found


OTHERS: dict[str, tuple[str, ...]] = {
    "no_such": ("no_such", "no such folder"),
    "a_file": ("a_file",),
    "empty": ("empty", "not an archive"),
    "orc": ("ORC",),
    "two": ("several exports", "a, raw", "archive.export"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    base = tmp_path_factory.mktemp("archives")
    config = base / "config.yaml"
    config.write_text(CONFIG)
    broken = _broken(base)
    (base / "a_file").write_text("x")
    (base / "empty").mkdir()
    (base / "orc" / "graph" / "x" / "orc" / "origin").mkdir(parents=True)
    (base / "orc" / "graph" / "x" / "orc" / "origin" / "1.orc").write_bytes(b"ORC")
    shutil.copytree(base / "whole", base / "two")
    shutil.copytree(base / "two" / "graph" / "raw", base / "two" / "graph" / "a")
    commands = {}
    for name in [*broken, *OTHERS]:
        at = base / "made" / name
        commands[name] = ["release", "-q", "--in-process", "--version", "1.0", "--config", str(config),
                          "--archive", str(base / name), "--out", str(at / "out"), "--workdir", str(at / "work")]  # fmt: skip
    found = dict(zip(commands, run(base / "output", base, *commands.values()), strict=True))
    found["_releases"] = Result(0, b"".join(bytes(p) for p in (base / "made").rglob("1.0*")), b"")
    return found


NAMES = [
    *(f"{how}_{table}" for table in TABLES for how in ("no", "empty")), "no_origin_url", "no_directory_entry_perms",
    "no_content_sha256", "no_revision_directory", "cut_directory_entry", "cut_release", "cut_skipped_content", "text",
    "damaged", "text_length", "list_length", "struct_sha1", "invalid_text", "column_twice", "lying_text",
]  # fmt: skip
WORDS = {
    **{f"no_{table}": (table, "missing") for table in TABLES},
    "no_origin_url": ("origin", "url"),
    "no_directory_entry_perms": ("directory_entry", "perms"),
    "no_content_sha256": ("content", "sha256"),
    "no_revision_directory": ("revision", "directory"),
}


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_that_is_not_whole_is_a_source_error_that_names_the_file(
    results: dict[str, Result], name: str
) -> None:
    results[name].refused(5, *WORDS.get(name, ("part-0.parquet",)))


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_archive_is_a_source_error(results: dict[str, Result], name: str) -> None:
    results[name].refused(5, *OTHERS[name])


def test_no_release_was_begun(results: dict[str, Result]) -> None:
    assert results["_releases"].out == b""


# ------------------------------------------------------------------------------- folders, locks, existing releases


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Result], Path]:
    """One good archive and the ways in which what it is to become can be in the way."""
    base = tmp_path_factory.mktemp("places")
    archive = _graph().write(base / "archive")
    other = _graph()
    other.repository(
        "https://example.org/c/d", [file(b"b.py", other.content(CODE.replace(b"area", b"room") * 3))]
    )
    other.write(base / "other")
    (base / "config.yaml").write_text(CONFIG)
    (base / "strict.yaml").write_text(CONFIG + "quality: {profile: none}\n")
    (base / "buckets.yaml").write_text(CONFIG.replace("buckets: 1", "buckets: 2"))
    (base / "policy.yaml").write_text(
        "licenses: {scancode: false, policy: nowhere.yaml}\nengine: {buckets: 1}\n"
    )
    (base / "registry.yaml").write_text(CONFIG + "optout: {registry: nowhere.yaml}\n")
    (base / "blocked").write_text("a file where a folder should be")
    for name in ("locked_out", "locked_work", "held", "wrong_work", "bad_work"):
        (base / name).mkdir()
    (base / "locked_out").chmod(0o555)
    (base / "locked_work").chmod(0o555)
    (base / "wrong_work" / "workdir.json").write_text('{"format": 99, "buckets": 1}')
    (base / "bad_work" / "workdir.json").write_text("not json")

    def command(
        config: str = "config.yaml", at: Path = archive, out: str = "out", work: str = "work", *more: str
    ) -> list[str]:
        return ["release", "-q", "--in-process", "--version", "1.0", "--config", config, "--archive", str(at), "--out", out,
                "--workdir", work, *more]  # fmt: skip

    commands = {
        "dry_before": command("config.yaml", archive, "dry/out", "dry/work", "--dry-run"),
        "first": command("config.yaml", archive, "out", "work", "--json"),
        "again": command("config.yaml", archive, "out", "work", "--json"),
        "dry_after": command("config.yaml", archive, "out", "work", "--dry-run", "--json"),
        "other_workdir": command("config.yaml", archive, "out", "work2", "--json"),
        "another": command("config.yaml", base / "other", "out", "work"),
        "out_is_a_file": command(out="blocked"),
        "out_below_a_file": command(out="blocked/x"),
        "work_is_a_file": command(work="blocked"),
        "work_below_a_file": command(work="blocked/x"),
        "locked_out": command(out="locked_out"),
        "locked_work": command(work="locked_work"),
        "below_locked_work": command(work="locked_work/x"),
        "held": command(work="held"),
        "wrong_work": command(work="wrong_work"),
        "bad_work": command(work="bad_work"),
        "buckets": command("buckets.yaml"),
        "policy": command("policy.yaml", archive, "out3", "work3"),
        "registry": command("registry.yaml", archive, "out3", "work4"),
        "ray_dry": [
            part
            for part in command("config.yaml", archive, "dry/out", "dry/work", "--dry-run")
            if part != "--in-process"
        ],
    }
    with (base / "held" / "lock").open("a+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        found = dict(zip(commands, run(base / "output", base, *commands.values()), strict=True))
    return found, base


def test_a_plan_creates_nothing_at_all(places: tuple[dict[str, Result], Path]) -> None:
    found, base = places
    for name in ("dry_before", "ray_dry"):
        assert found[name].code == 0
        assert b"to run" in found[name].out
        assert found[name].err == b""
    assert not (base / "dry").exists()


def test_the_second_run_does_nothing_and_says_so(places: tuple[dict[str, Result], Path]) -> None:
    found, _ = places
    first, again = found["first"], found["again"]
    assert first.code == again.code == 0, first.message
    assert (first.data["state"], again.data["state"]) == ("made", "unchanged")
    assert again.data["units_run"] == 0
    assert first.data["digest"] == again.data["digest"] == found["other_workdir"].data["digest"]
    assert found["other_workdir"].data["state"] == "identical"
    assert all(stage["done"] for stage in found["dry_after"].data["stages"])
    assert first.err == b""  # -q


def test_another_release_is_never_overwritten(places: tuple[dict[str, Result], Path]) -> None:
    found, base = places
    found["another"].refused(2, "out/1.0", "never overwritten", "--version")
    manifest = json.loads((base / "out" / "1.0" / "manifest.json").read_bytes())
    assert manifest["totals"]["found"] == 2
    assert [path.name for path in (base / "out").iterdir()] == ["1.0"]


@pytest.mark.parametrize("name", ["out_is_a_file", "out_below_a_file", "work_is_a_file", "work_below_a_file"])
def test_a_file_in_place_of_a_folder(places: tuple[dict[str, Result], Path], name: str) -> None:
    places[0][name].refused(5, "blocked")


@pytest.mark.parametrize("name", ["locked_out", "locked_work", "below_locked_work"])
def test_a_folder_that_may_not_be_written(places: tuple[dict[str, Result], Path], name: str) -> None:
    if not modes_count():
        pytest.skip("ROOT WITHOUT setpriv: file modes do not bind this user")
    places[0][name].refused(5, "locked_", "ermission")


def test_a_work_directory_that_another_run_holds(places: tuple[dict[str, Result], Path]) -> None:
    places[0]["held"].refused(2, "another run", "--workdir")


def test_a_work_directory_of_another_kind(places: tuple[dict[str, Result], Path]) -> None:
    places[0]["wrong_work"].refused(2, "another version", "--workdir")
    places[0]["bad_work"].refused(4, "workdir.json")
    places[0]["buckets"].refused(2, "1 buckets", "2", "--workdir")


@pytest.mark.parametrize("name", ["policy", "registry"])
def test_a_policy_or_registry_that_is_not_there(places: tuple[dict[str, Result], Path], name: str) -> None:
    places[0][name].refused(2, "nowhere.yaml")
    assert not (places[1] / "out3").exists()
    assert not (places[1] / {"policy": "work3", "registry": "work4"}[name]).exists()
