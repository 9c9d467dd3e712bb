"""The archive on disk: what was put in comes out, whole or not at all, and always with the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.engine.store import Store
from pipeline.errors import ConfigError, SourceError
from pipeline.sources import orc, swhid
from pipeline.sources.archive_summary import read_summary, table_path
from pipeline.sources.archive_writer import ArchiveWriter
from pipeline.sources.graph import GraphExport
from pipeline.sources.swhid import Branch, Release, Revision, Timestamp
from pipeline.sources.trees import add_tree, without_conflicts
from pipeline.tables import GRAPH, PERMS_FILE


def fill(writer, bodies):
    files = {}
    for index, body in enumerate(bodies):
        files[b"d%d/f%d" % (index % 3, index)] = (PERMS_FILE, writer.add_content(body).sha1_git)
    writer.files += len(files)
    root = add_tree(writer, files)
    date = Timestamp(seconds=1, offset=b"+0130")
    revision = writer.add_revision(
        Revision(directory=root, author=b"A <a>", date=date, extra_headers=((b"k", b"v"),), message=b"m")
    )
    child = writer.add_revision(Revision(directory=root, parents=(revision, "1" * 40), message=None))
    release = writer.add_release(Release(name=b"v1", target=revision, target_type="revision"))
    snapshot = writer.add_snapshot(
        {
            b"HEAD": Branch(b"main", "alias"),
            b"main": Branch(child, "revision"),
            b"v1": Branch(release, "release"),
        }
    )
    writer.add_origin("https://example.org/x", snapshot, seconds=7, visit_type="git")
    return root


def test_every_table_has_its_schema_and_every_object_its_bytes(archive):
    bodies = [b"", b"one", b"two" * 1000, b"one"]
    with ArchiveWriter(archive.path) as writer:
        root = fill(writer, bodies)
        summary = writer.finish("digest")
    for name, schema in GRAPH.items():
        assert archive.table(name).schema.equals(schema), name
        assert summary.tables[name]["rows"] == archive.table(name).num_rows
    assert len(archive.rows("content")) == 3
    for row in archive.rows("content"):
        body = gzip.decompress((archive.path / "content" / row["sha1"]).read_bytes())
        assert swhid.hash_content(body) == tuple(row.values())[:5]
        assert row["status"] == "visible"
    assert len(archive.files(root)) == 4
    assert archive.branches()[b"HEAD"] == ("alias", b"main".hex())
    first, second = (next(r for r in archive.rows("revision") if r["message"] == m) for m in (b"m", None))
    assert first["author"] == hashlib.sha256(b"A <a>").digest()
    assert first["date"] == {"seconds": 1, "microseconds": 0}
    assert (first["date_offset"], first["date_raw_offset_bytes"]) == (90, b"+0130")
    assert second["author"] is second["date"] is None
    assert [(r["parent_rank"], r["parent_id"]) for r in archive.rows("revision_history")] == [
        (0, first["id"]),
        (1, "1" * 40),
    ]
    status = archive.rows("origin_visit_status")[0]
    assert (status["origin"], status["status"], status["visit"]) == ("https://example.org/x", "full", 1)
    assert status["date"].isoformat() == "1970-01-01T00:00:07"
    assert (summary.files, summary.contents, summary.origins) == (4, 3, 1)
    assert read_summary(archive.path) == summary


def test_the_order_of_calls_changes_no_byte(tmp_path, archive):
    bodies = [bytes([n]) * n for n in range(50)]
    digests = []
    for seed in (1, 2):
        shuffled = list(enumerate(bodies))
        random.Random(seed).shuffle(shuffled)
        path = tmp_path / str(seed)
        with ArchiveWriter(path) as writer:
            files = {b"f%d" % n: (PERMS_FILE, writer.add_content(body).sha1_git) for n, body in shuffled}
            snapshot = writer.add_snapshot({b"HEAD": Branch(add_tree(writer, files), "directory")})
            writer.add_origin("x", snapshot, seconds=0, visit_type="directory")
            writer.finish()
        digests.append(type(archive)(path).digest())
    assert digests[0] == digests[1]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.binary(min_size=1, max_size=4).filter(lambda n: b"/" not in n and b"\0" not in n),
        st.binary(max_size=50),
    )
)
def test_any_names_and_bodies_come_back(tmp_path_factory, archive, tree):
    path = tmp_path_factory.mktemp("any")
    with ArchiveWriter(path) as writer:
        files = {name: (PERMS_FILE, writer.add_content(body).sha1_git) for name, body in tree.items()}
        root = add_tree(writer, files)
        writer.finish()
    read = type(archive)(path)
    assert read.files(root) == files
    contents = read.by_id("content", "sha1_git")
    for name, body in tree.items():
        stored = (path / "content" / contents[files[name][1]]["sha1"]).read_bytes()
        assert gzip.decompress(stored) == body


def test_trees_with_empty_folders_and_deep_paths(archive):
    deep = b"/".join([b"d"] * 3000) + b"/f"
    with ArchiveWriter(archive.path) as writer:
        add_tree(writer, {deep: (PERMS_FILE, writer.add_content(b"x").sha1_git)}, empty=[b"e/f"])
        writer.finish()
    assert len(archive.rows("directory")) == 3000 + 3


def test_paths_that_are_folders_of_others_are_told_apart():
    paths = [b"a", b"a/b", b"a/b/c", b"ab", b"d/e"]
    assert without_conflicts(paths) == ([b"a/b/c", b"ab", b"d/e"], [b"a", b"a/b"])


def test_large_contents_are_recorded_and_not_stored(tmp_path, archive):
    large, limit = tmp_path / "large", tmp_path / "limit"
    large.write_bytes(b"x" * 101)
    limit.write_bytes(b"y" * 100)
    with ArchiveWriter(archive.path, max_content_bytes=100) as writer:
        hashes = writer.add_file(os.fsencode(large), 101)
        assert writer.add_content(b"x" * 101) == hashes
        writer.add_file(os.fsencode(limit), 100)
        writer.finish()
    assert [row["length"] for row in archive.rows("content")] == [100]
    (skipped,) = archive.rows("skipped_content")
    assert tuple(skipped.values())[:5] == tuple(swhid.hash_content(b"x" * 101))
    assert "100 bytes" in skipped["reason"]
    assert len(list((archive.path / "content").iterdir())) == 1


def test_files_that_are_not_what_they_were_are_refused(tmp_path, archive):
    file, link, pipe = tmp_path / "file", tmp_path / "link", tmp_path / "pipe"
    file.write_bytes(b"abc")
    link.symlink_to(file)
    os.mkfifo(pipe)
    with ArchiveWriter(archive.path) as writer:
        for path, size in (
            (link, 3),
            (pipe, 0),
            (tmp_path / "absent", 0),
            (tmp_path, 0),
            (file, 2),
            (file, 4),
        ):
            with pytest.raises(OSError):
                writer.add_file(os.fsencode(path), size)
        with pytest.raises(OSError, match="changed"):
            writer.add_large([b"abc"], 4)


def test_a_build_that_fails_leaves_the_export_of_before(archive):
    with ArchiveWriter(archive.path) as writer:
        fill(writer, [b"a"])
        writer.finish("one")
    before = archive.digest()

    def fails():
        with ArchiveWriter(archive.path) as writer:
            fill(writer, [b"b"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    after = archive.digest()
    assert {k: v for k, v in after.items() if not k.startswith("content/")} == {
        k: v for k, v in before.items() if not k.startswith("content/")
    }
    assert not (archive.path / ".scratch").exists()


def test_a_killed_build_is_not_taken_for_an_archive_and_is_swept_up(archive):
    (archive.path / ".scratch" / "new" / "parquet").mkdir(parents=True)
    (archive.path / ".scratch" / "object-0").write_bytes(b"half")
    assert read_summary(archive.path) is None
    with ArchiveWriter(archive.path) as writer:
        fill(writer, [b"a"])
        writer.finish()
    assert not (archive.path / ".scratch").exists()
    assert sorted(p.name for p in (archive.path / "graph").iterdir()) == ["local"]


def test_objects_that_are_there_are_not_written_again(archive):
    for _ in range(2):
        with ArchiveWriter(archive.path) as writer:
            fill(writer, [b"same"])
            writer.finish()
        (stored,) = (archive.path / "content").iterdir()
        os.utime(stored, ns=(1, 1))
    with ArchiveWriter(archive.path) as writer:
        fill(writer, [b"same"])
        writer.finish()
    assert stored.stat().st_mtime_ns == 1


def test_an_empty_object_is_written_again(archive):
    for _ in range(2):
        with ArchiveWriter(archive.path) as writer:
            fill(writer, [b"same"])
            writer.finish()
        (stored,) = (archive.path / "content").iterdir()
        assert gzip.decompress(stored.read_bytes()) == b"same"
        stored.write_bytes(b"")


@pytest.mark.parametrize("lost", ["content/*", "graph/local/parquet/origin/*"])
def test_an_archive_that_lost_files_is_not_whole(archive, lost):
    with ArchiveWriter(archive.path) as writer:
        fill(writer, [b"same"])
        writer.finish()
    assert read_summary(archive.path) is not None
    next(archive.path.glob(lost)).unlink()
    assert read_summary(archive.path) is None


def test_two_exports_share_the_objects(archive):
    for export in ("one", "two"):
        with ArchiveWriter(archive.path, export) as writer:
            fill(writer, [b"same"])
            writer.finish()
    assert sorted(p.name for p in (archive.path / "graph").iterdir()) == ["one", "two"]


def test_one_build_at_a_time(archive):
    with ArchiveWriter(archive.path), pytest.raises(SourceError, match="another process"):
        ArchiveWriter(archive.path)
    with ArchiveWriter(archive.path) as writer:
        writer.finish()


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SourceError, match="cannot write the archive"):
        ArchiveWriter(tmp_path / "file")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", ".hidden", "a b"])
def test_export_names(tmp_path, name):
    with pytest.raises(ConfigError, match="--export"):
        ArchiveWriter(tmp_path, name)


def test_an_origin_twice_is_refused(archive):
    with ArchiveWriter(archive.path) as writer:
        fill(writer, [b"a"])
        with pytest.raises(ConfigError, match="two inputs"):
            writer.check_origin("https://example.org/x")


@pytest.mark.parametrize(
    "marker", ["", "[]", "{}", '{"format_version": 99}', '{"format_version": 1, "odd": 2}']
)
def test_a_foreign_marker_is_no_marker(archive, marker):
    path = archive.path / "graph" / "local" / "archive.json"
    path.parent.mkdir(parents=True)
    path.write_text(marker)
    assert read_summary(archive.path) is None


def test_the_marker_names_no_path_of_this_machine(archive):
    with ArchiveWriter(archive.path) as writer:
        writer.finish()
    marker = (archive.path / "graph" / "local" / "archive.json").read_text()
    assert str(archive.path) not in marker
    assert json.loads(marker)["format_version"] == 1


def test_dates_out_of_range_are_clamped_or_unknown(archive):
    with ArchiveWriter(archive.path) as writer:
        snapshot = writer.add_snapshot({})
        for index, seconds in enumerate((-5, 1 << 62)):
            writer.add_origin(f"o{index}", snapshot, seconds=seconds, visit_type="git")
        date = Timestamp(seconds=1 << 64)
        writer.add_revision(Revision(directory="1" * 40, author=b"A", date=date))
        writer.finish()
    years = sorted(row["date"].year for row in archive.rows("origin_visit"))
    assert years == [1970, 9999]
    assert archive.rows("revision")[0]["date"] is None
    assert pa.types.is_struct(archive.table("revision").schema.field("date").type)


@pytest.mark.parametrize("forms", [("orc",), ("parquet", "orc")])
def test_the_form_of_public_exports(tmp_path, forms):
    """The tables as ORC hold the same rows, the same calls give the same bytes, and the marker covers every file."""
    digests = []
    for name in ("a", "b"):
        with ArchiveWriter(tmp_path / name, forms=forms) as writer:
            fill(writer, [b"one", b"two"])
            summary = writer.finish("digest")
        files = sorted((tmp_path / name / "graph").rglob("*-00000.*"))
        assert len(files) == len(forms) * len(GRAPH)
        digests.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
        assert read_summary(tmp_path / name) == summary
        assert (summary.origins, summary.contents, set(summary.forms)) == (1, 2, set(forms))
    assert digests[0] == digests[1]
    assert set(summary.orc_tables) == set(GRAPH)
    store = Store(str(tmp_path / "a" / "graph" / "local" / "orc"))
    with ArchiveWriter(tmp_path / "c") as writer:
        fill(writer, [b"one", b"two"])
        writer.finish()
    for name in GRAPH:
        export = GraphExport(store, "local")
        rows = [row for item in export.units(name) for row in export.read(name, item).to_pylist()]
        assert rows == pq.read_table(tmp_path / "c/graph/local/parquet" / name).to_pylist(), name
    file = table_path(tmp_path / "a" / "graph" / "local", "content", "orc")
    file.write_bytes(file.read_bytes()[:-1])
    assert read_summary(tmp_path / "a") is None
    orc.close()
