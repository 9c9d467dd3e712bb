"""Which origins take part, at which revision, and what is said of those that do not."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from choosing import MIT, Chosen, code, world
from graphs import DAY, Graph, file, oid, release, settings

from manifests.verify import verify_release
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, SourceError
from pipeline.explain import explain
from pipeline.explain_words import render
from pipeline.plan import plan_release
from pipeline.sources import selection

ONE, TWO, THREE = "https://github.com/a/one", "https://github.com/b/two", "https://gitlab.com/a/three"
TWICE, DEV = "https://github.com/c/twice", "https://example.org/dev"
EVERY = {ONE, TWO, THREE, TWICE, DEV}
LOOSE = {"quality": {"profile": "none"}, "near_duplicates": {"enabled": False}}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world().write(tmp_path_factory.mktemp("world") / "archive")


def test_nothing_chosen_is_everything(archive: Path, tmp_path: Path) -> None:
    assert Chosen(archive, tmp_path / "work", {}).resolved == EVERY


# ------------------------------------------------------------------------------------------------------- the list


LIST = b"\xef\xbb\xbf# mine\r\n\r\n" + b"\r\n".join(
    [ONE.encode(), b"  " + ONE.encode() + b"\t", b"https://github.com/no/where", b"no url", b"https://x.org/\x1b[31m",
     b"https://x.org/\xff", b"https://x.org/" + b"y" * 2_048, b"#" + TWO.encode(), THREE.encode()]
)  # fmt: skip


def test_a_list_counts_what_it_asks_for_in_vain(archive: Path, tmp_path: Path) -> None:
    """Breach: a line that is no URL, or that the export lacks, vanishes; or the same line counts twice."""
    (tmp_path / "list.txt").write_bytes(LIST)
    chosen = Chosen(archive, tmp_path / "work", {"list": str(tmp_path / "list.txt")})
    assert chosen.resolved == {ONE, THREE}
    reasons = list(chosen.reasons.values())
    assert (
        reasons.count("not_in_export") == 1
        and chosen.reasons["https://github.com/no/where"] == "not_in_export"
    )
    assert reasons.count("malformed_url") == 4 and len(reasons) == 7
    assert not any(c < " " for origin in chosen.rows for c in origin.replace("\x1b", "")), "shown, not obeyed"
    assert "4 malformed" in chosen.said and "line 6: 'no url'" in chosen.said and "\x1b[31" not in chosen.said


def test_the_manifest_adds_up_and_explain_says_why(archive: Path, tmp_path: Path) -> None:
    """Breach: origins that were asked for in vain are missing from the account of the release."""
    (tmp_path / "list.txt").write_bytes(LIST)
    made = release(archive, tmp_path, {**LOOSE, "origins": {"list": str(tmp_path / "list.txt")}})
    manifest = json.loads((made.directory / "manifest.json").read_bytes())
    assert manifest["origins"] == {
        "found": 7,
        "resolved": 2,
        "unresolved": {"malformed_url": 4, "not_in_export": 1},
    }
    assert set(manifest["inputs"]["selections"]) == {"list"}
    assert str(tmp_path) not in (made.directory / "manifest.json").read_text()
    story = explain(made.directory, "https://github.com/no/where", path=None, workdir=str(made.work))
    assert (story["origin"]["resolved"], story["origin"]["reason"]) == (False, "not_in_export")
    assert "not_in_export" in render(story)


@pytest.mark.parametrize("lines", [b"", b"# nothing\n\n", b"no url\nnor this\n", b"\xff\xfe\x00"])
def test_a_list_without_a_usable_line_is_refused(archive: Path, tmp_path: Path, lines: bytes) -> None:
    """Breach: a wrong file makes an empty release, or one of everything."""
    (tmp_path / "list.txt").write_bytes(lines)
    with pytest.raises(ConfigError, match=r"list\.txt has no usable line .*one URL a line"):
        Chosen(archive, tmp_path / "work", {"list": str(tmp_path / "list.txt")})


def write(path: Path, /, **columns: list[Any]) -> str:
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    else:
        rows = zip(*columns.values(), strict=True)
        lines = [",".join(columns), *(",".join("" if v is None else str(v) for v in row) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_a_choice_is_named_by_what_it_says(archive: Path, tmp_path: Path) -> None:
    """Breach: the digest of a release depends on the path, format, order or buckets of the list."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.txt").write_text(f"{TWO}\n{ONE}\n{ONE}")
    lists = [
        (str(tmp_path / "elsewhere" / "x.txt"), 1),
        (write(tmp_path / "a.csv", n=[1, 2], url=[ONE, TWO]), 4),
        (write(tmp_path / "b.parquet", origin=[ONE, TWO, None]), 4),
    ]
    digests = set()
    for number, (path, buckets) in enumerate(lists):
        chosen = Chosen(archive, tmp_path / f"work{number}", {"list": path}, buckets)
        assert chosen.resolved == {ONE, TWO} == set(chosen.rows)
        digests.add(chosen.files["list"].digest)
    assert len(digests) == 1
    other = Chosen(archive, tmp_path / "other", {"list": write(tmp_path / "c.csv", url=[ONE])})
    assert other.files["list"].digest not in digests


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.txt", None, "no such file"),
        ("empty", "folder", "no .parquet or .csv file"),
        ("x.parquet", b"PAR1 no", "not a readable Parquet file"),
        ("x.csv", b"name\nx\n", r"no column url / origin; it has: name"),
        ("x.csv", b"", r"no column url / origin"),
        ("x.csv", b"url,url\na,b\n", "more than once"),
        ("x.csv", b"url,n\nhttps://x.org/a,1\nhttps://x.org/b\n", "cannot be read"),
    ],
)
def test_a_file_that_is_no_list(archive: Path, tmp_path: Path, name: str, content: Any, says: str) -> None:
    """Breach: a stack trace, or a message that does not name the file."""
    if content == "folder":
        (tmp_path / name).mkdir()
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises((ConfigError, SourceError), match=rf"(?s){name}.*{says}"):
        Chosen(archive, tmp_path / "work", {"list": str(tmp_path / name)})


def test_files_on_s3_are_read_there(archive: Path, tmp_path: Path, s3_bucket: str) -> None:
    """Breach: a list on S3 is another list than the same one on disk; a missing one is a stack trace."""
    Store(f"{s3_bucket}/mine").put("list.txt", LIST)
    write(tmp_path / "part.parquet", origin=[ONE, TWO], stars=[3, None], fork_of=[TWO, None])
    Store(s3_bucket).put("meta/data/part.parquet", (tmp_path / "part.parquet").read_bytes())
    (tmp_path / "list.txt").write_bytes(LIST)
    here = Chosen(
        archive,
        tmp_path / "a",
        {"list": str(tmp_path / "list.txt"), "metadata": str(tmp_path / "part.parquet")},
    )
    there = Chosen(
        archive, tmp_path / "b", {"list": f"{s3_bucket}/mine/list.txt", "metadata": f"{s3_bucket}/meta"}
    )
    assert here.rows == there.rows and here.rows[ONE]["stars"] == 3
    assert {n: c.digest for n, c in here.files.items()} == {n: c.digest for n, c in there.files.items()}
    assert not (tmp_path / "b" / "inputs").exists() and (tmp_path / "a" / "inputs").is_dir()
    with pytest.raises(ConfigError, match="no file of that name"):
        Chosen(archive, tmp_path / "c", {"list": f"{s3_bucket}/mine/gone.txt"})


# ------------------------------------------------------------------------------------------ forges, limit, visits


def test_a_forge_is_a_host(tmp_path: Path) -> None:
    """Breach: a URL that only looks like one of the forge is taken, or one in another spelling is not."""
    yes = ["https://github.com/a", "git://github.com/b", "HTTPS://GitHub.COM/c", "https://u:p@github.com/d",
           "https://github.com:443/e", "ssh://git@github.com:22/f", "https://github.com?g", "https://github.com"]  # fmt: skip
    no = ["https://github.com.evil.example/a", "https://evil.example/github.com/b", "https://github.com@evil.example/c",
          "https://xgithub.com/d", "https://gist.github.com/e", "https://github.com\\@evil.example/f",
          "https://evil.example#@github.com/g", "https://evil.example?@github.com/h", "pkg:github.com/i", "github.com/j",
          "https://github.com:x/k", "https://githu\u212a.com/l"]  # fmt: skip
    g = Graph()
    root = g.directory("r", [file(b"LICENSE", g.content(MIT))])
    snapshot = g.snapshot("s", [(b"HEAD", g.revision("r", root), "revision")])
    for url in (*yes, *no):
        g.origin(url, snapshot)
    chosen = Chosen(g.write(tmp_path / "archive"), tmp_path / "work", {"forges": ["GitHub.com"]})
    assert set(chosen.rows) == set(yes)


def test_a_sample_is_the_first_by_sha1_whatever_the_buckets(archive: Path, tmp_path: Path) -> None:
    """Breach: the sample depends on the buckets, or what is asked for in vain takes the place of an origin."""
    ordered = sorted(EVERY, key=lambda url: hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest())
    write(tmp_path / "list.csv", url=[*EVERY, "https://not.here/1", "no url"])
    for limit, buckets in ((1, 4), (3, 1), (3, 8), (9, 1)):
        work = tmp_path / f"{limit}-{buckets}"
        chosen = Chosen(archive, work, {"limit": limit, "list": str(tmp_path / "list.csv")}, buckets)
        assert chosen.resolved == set(ordered[:limit])
        assert len(chosen.rows) == min(limit, 5) + 2
        for summary in work.glob("stages/origins.sample/*/stage.json"):
            assert json.loads(summary.read_bytes())["units"]["all"]["rows_in"] < 7 or buckets == 1, (
                "one bucket is enough"
            )
    sampled = Chosen(archive, tmp_path / "few", {"limit": 2, "prefixes": ["https://github.com/"]})
    assert sampled.resolved == set([url for url in ordered if "github" in url][:2])


@pytest.mark.parametrize(
    ("as_of", "path"),
    [
        (None, b"new.py"),
        ("2024-06-16", b"new.py"),  # the whole day of the second visit
        ("2024-06-16T00:00:00Z", b"new.py"),
        ("2024-06-15T23:59:59.999999Z", b"old.py"),
        ("2024-06-16T01:00:00+02:00", b"old.py"),
        ("2024-05-17T00:00:00", b"old.py"),
        ("2024-05-16", None),
    ],
)
def test_the_latest_full_visit_up_to_a_moment(
    archive: Path, tmp_path: Path, as_of: str | None, path: bytes | None
) -> None:
    """Breach: a later visit, or one that is not full, decides."""
    assert DAY + timedelta(days=30) == DAY.replace(month=6, day=16)
    chosen = Chosen(archive, tmp_path / "work", {"as_of": as_of, "prefixes": [TWICE]})
    row = chosen.rows[TWICE]
    wanted = None if path is None else oid(("dir", path.decode().removesuffix(".py")))
    assert (row["directory"], row["reason"]) == (wanted, "no_full_visit" if path is None else None)


# ------------------------------------------------------------------------------------- revisions, metadata, dataset


def test_named_revisions_need_no_visit(tmp_path: Path) -> None:
    """Breach: the branch decides in spite of the user's word; or a row without a snapshot breaks the release."""
    g = world()
    g.origin("https://example.org/never")
    archive = g.write(tmp_path / "archive")
    never = "https://example.org/never"
    path = write(
        tmp_path / "revisions.csv",
        origin=[TWICE, never, ONE, TWO, "https://not.selected/x", "no url"],
        revision=[
            oid(("rev", "old")),
            "swh:1:rev:" + oid(("rev", "dev")),
            oid("absent"),
            "main",
            oid("x"),
            oid("y"),
        ],
    )
    made = release(archive, tmp_path, {**LOOSE, "origins": {"revisions": path}})
    manifest = json.loads((made.directory / "manifest.json").read_bytes())
    assert manifest["origins"] == {"found": 6, "resolved": 5, "unresolved": {"revision_not_archived": 1}}
    by_path = made.by_path
    assert {"old.py", "dev.py"} <= set(by_path) and "new.py" in by_path  # the last by HEAD of `dev`
    assert not verify_release(made.directory).faults
    old = by_path["old.py"]
    assert (old["origin"], old["revision_id"]) == (TWICE, oid(("rev", "old")))
    assert old["snapshot_id"] is None and old["branch_name"] is None and old["visit_date"] is None


def test_metadata_name_the_branch_and_rank(archive: Path, tmp_path: Path) -> None:
    """Breach: HEAD before the default branch; a star count that is none; a fork that is no fork."""
    path = write(
        tmp_path / "metadata.csv",
        url=[ONE, TWO, THREE, TWICE, DEV, DEV, "no url", "https://not.here/x"],
        stars=["12", "-3", "1e999", "7.0", "5", "", "9", "1"],
        forks=["1", "many", "99999999999999", "0", "1", "3", "9", "1"],
        default_branch=["gone", "", "refs/heads/none", "", "dev", "", "x", "x"],
        fork_of=["", ONE, "not a url", "", "", "", "", ""],
    )
    chosen = Chosen(archive, tmp_path / "work", {"metadata": path})
    assert chosen.resolved == EVERY
    rank = {url: (row["is_fork"], row["stars"], row["forks"]) for url, row in chosen.rows.items()}
    assert rank == {
        ONE: (False, 12, 1),
        TWO: (True, 0, 0),
        THREE: (False, 0, 0),
        TWICE: (False, 7, 0),
        DEV: (False, 5, 3),
    }
    assert chosen.rows[DEV]["branch"] == b"refs/heads/dev" and chosen.rows[ONE]["branch"] == b"HEAD"
    assert chosen.rows[ONE]["network"] == chosen.rows[TWO]["network"] != chosen.rows[THREE]["network"]
    counted = chosen.files["metadata"].rows.counts
    told = {name.partition(".")[2]: n for name, n in counted.items()}
    assert told == {"malformed": 1, "stars": 2, "forks": 2, "fork_of": 1}


@pytest.mark.parametrize(
    "values", [[1.0, float("nan"), float("inf"), 2.5, -1.0, 2e10], [1, None, None, None, -7, 1 << 60]]
)
def test_numbers_of_any_kind_are_counts_or_nothing(archive: Path, tmp_path: Path, values: list[Any]) -> None:
    """Breach: a float column, as tools write it where a value is missing, is refused or rounded."""
    urls = [*sorted(EVERY), "https://x.org/y"]
    path = write(tmp_path / "m.parquet", origin=urls, stars=values)
    chosen = Chosen(archive, tmp_path / "work", {"metadata": path})
    assert [chosen.rows[url]["stars"] for url in urls[:5]] == [1, 0, 0, 0, 0]


def test_the_contents_of_a_dataset_and_their_licenses(tmp_path: Path) -> None:
    """Breach: what a dataset does not name is kept, or its license files no longer speak for what it names."""
    g = world()
    archive = g.write(tmp_path / "archive")
    named = [g.content(code(0)), g.content(code(10)), g.content(code(2)).upper(), "short"]
    path = write(tmp_path / "ids.parquet", content_id=named, blob_id=["", "", "", ""])
    made = release(archive, tmp_path, {**LOOSE, "origins": {"dataset": path}})
    # code(10) is only in the older revision of `twice`, which nobody named.
    assert {row["content_id"] for row in made.rows} == {oid_of(code(0)), oid_of(code(2))}
    assert {row["license_expression"] for row in made.rows} == {"MIT"}
    assert set(made.dropped) == {"not_selected"}
    assert made.totals["found"] == made.totals["kept"] + made.dropped["not_selected"] == 10


def oid_of(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()


def test_the_stack_names_repositories_revisions_and_contents(archive: Path, tmp_path: Path) -> None:
    """Breach: the branch of today instead of the revision of the dataset; an origin that it does not have."""
    path = write(
        tmp_path / "part.parquet",
        blob_id=[hashlib.sha1(code(n), usedforsecurity=False).hexdigest() for n in (0, 10, 11, 3)],
        content_id=[oid_of(code(n)) for n in (0, 10, 11, 3)],
        repo_name=["a/one", "c/twice", "c/twice", "gone/x"],
        revision_id=[oid(("rev", ONE)), oid(("rev", "old")), oid(("rev", "old")), oid("x")],
        path=["/a.py", "/old.py", "/new.py", "/x.py"],
    )
    made = release(archive, tmp_path, {**LOOSE, "origins": {"dataset": path}})
    manifest = json.loads((made.directory / "manifest.json").read_bytes())
    assert manifest["origins"] == {"found": 3, "resolved": 2, "unresolved": {"not_in_export": 1}}
    assert set(made.by_path) == {"a.py", "old.py"}


def test_a_row_for_each_repository_with_a_list_of_files(archive: Path, tmp_path: Path) -> None:
    """Breach: the ids that are published by repository name nothing, or one without files is lost."""
    files = [
        [{"path": "x", "content_id": oid_of(code(0))}, {"path": "y", "content_id": oid_of(MIT)}],
        [],
        None,
    ]
    table = pa.table({"repo_name": ["a/one", "b/two", "c/twice"], "files": files})
    pq.write_table(table, tmp_path / "ids.parquet")
    chosen = Chosen(archive, tmp_path / "work", {"dataset": str(tmp_path / "ids.parquet")})
    assert set(chosen.rows) == {ONE, TWO, TWICE}
    (contents,) = chosen.contents
    assert chosen.runner.table(contents)["sha1_git"].to_pylist() == sorted([oid_of(code(0)), oid_of(MIT)])
    assert not chosen.files["dataset"].rows.counts
    pq.write_table(pa.table({"files": ["a"]}), tmp_path / "no.parquet")
    with pytest.raises(SourceError, match=r"no\.parquet|inputs/.*no list of rows"):
        Chosen(archive, tmp_path / "other", {"dataset": str(tmp_path / "no.parquet")})


def test_our_own_release_is_a_selection(archive: Path, tmp_path: Path) -> None:
    """Breach: a release, given as the dataset to select, is not made again."""
    first = release(archive, tmp_path / "a", {**LOOSE, "origins": {"limit": 3}})
    data = str(first.directory / "data")
    second = release(archive, tmp_path / "b", {**LOOSE, "origins": {"dataset": data}})
    ids = lambda made: {(row["row_id"], row["origin"], row["path"]) for row in made.rows}  # noqa: E731
    assert ids(first) == ids(second) != set()


def test_one_and_many_units_say_the_same(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breach: what a selection says depends on how its row groups are cut into tasks."""
    table = pa.table({"origin": [ONE, TWO, THREE], "revision": [oid(("rev", ONE)), None, "x"]})
    pq.write_table(table, tmp_path / "d.parquet", row_group_size=1)
    whole = Chosen(archive, tmp_path / "a", {"dataset": str(tmp_path / "d.parquet")})
    monkeypatch.setattr(selection, "ROWS_PER_UNIT", 1)
    cut = Chosen(archive, tmp_path / "b", {"dataset": str(tmp_path / "d.parquet")})
    assert len(cut.files["dataset"].selection.units) == 3
    assert whole.rows == cut.rows and whole.files["dataset"].digest == cut.files["dataset"].digest
    assert whole.rows[ONE]["snapshot"] is None and whole.rows[TWO]["snapshot"] is not None


def test_a_plan_reads_the_choice_and_writes_nothing(archive: Path, tmp_path: Path) -> None:
    """Breach: a plan copies the user's files, breaks where the sample is not known yet, or plans what is done."""
    write(tmp_path / "list.csv", url=[*EVERY, "no url"])
    sections = {**LOOSE, "origins": {"list": str(tmp_path / "list.csv"), "limit": 2}}
    place = {"version": "1.0", "out": tmp_path / "out", "workdir": str(tmp_path / "work")}
    before = plan_release(settings(archive, sections), **place)  # type: ignore[arg-type]
    assert not (tmp_path / "work").exists()
    assert {"shuffle.list", "origins.selected", "earliest"} <= {stage["stage"] for stage in before["stages"]}
    release(archive, tmp_path, sections)
    after = plan_release(settings(archive, sections), **place)  # type: ignore[arg-type]
    assert after["note"] == "nothing to run: every stage is done"
    shutil.rmtree(tmp_path / "work" / "stages" / "origins.sample")
    again = plan_release(settings(archive, sections), **place)  # type: ignore[arg-type]
    assert next(s["stage"] for s in again["stages"] if not s["done"]) == "origins.sample"


# ------------------------------------------------------------------------------------------------ what explain says


def test_explain_knows_network_and_earliest_occurrence(tmp_path: Path) -> None:
    """Breach: an opted-out or unlicensed copy is not considered, though it is the earliest."""
    g = Graph()
    body = code(1)
    g.repository("https://example.org/new", [file(b"a.py", g.content(body))])
    for name, seconds in (("b", 1_000_000_000), ("a", 1_000_000_000), ("undated", None)):
        root = g.directory(name, [file(b"z.py", g.content(body)), file(b"y.py", g.content(body))])
        tip = g.revision(name, root, seconds)
        g.origin(f"https://example.org/{name}", g.snapshot(name, [(b"HEAD", tip, "revision")]))
    (tmp_path / "registry.jsonl").write_text(
        json.dumps({"kind": "origin", "value": "https://example.org/a"}) + "\n"
    )
    forks = write(tmp_path / "m.csv", origin=["https://example.org/new"], fork_of=["https://example.org/b"])
    made = release(
        g.write(tmp_path / "archive"),
        tmp_path,
        {**LOOSE, "optout": {"registry": str(tmp_path / "registry.jsonl")}, "origins": {"metadata": forks},
         "engine": {"buckets": 4}},
    )  # fmt: skip
    row = made.by_path["a.py"]
    story = explain(made.directory, row["swhid"], path=None, workdir=str(made.work))
    assert story["earliest"] == {
        "revision_date": "2001-09-09T01:46:40",
        "origin": "https://example.org/a",
        "path": "y.py",
    }
    assert "earliest known: 2001-09-09T01:46:40, https://example.org/a, y.py" in render(story)
    told = explain(made.directory, "https://example.org/new", path=None, workdir=str(made.work))
    ids = [
        hashlib.sha1(f"https://example.org/{n}".encode(), usedforsecurity=False).hexdigest()
        for n in ("new", "b")
    ]
    assert told["origin"]["network"] == {"id": min(ids), "origins": 2}
    assert told["origin"]["fork_of"] == "https://example.org/b"
    assert "2 origins of this release" in render(told)
