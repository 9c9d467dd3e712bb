"""`pipeline explain` and `pipeline ledger`: every occurrence is told once, as the manifest counts it, from a few objects."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace
from typing import Any

import duckdb
import e2e_runs as runs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipeline import ledger_table
from pipeline.cli.main import app
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, IntegrityError
from pipeline.explain import explain
from pipeline.explain_rows import Rows
from pipeline.explain_words import render, why
from pipeline.occurrences import condition
from pipeline.records import the_record
from pipeline.stages.index import PLACES
from pipeline.stages.ledger import LEDGER
from pipeline.tables import STAGES, Reason

HOST = "https://forge.example"
ALICE = f"{HOST}/alice/tool"


@pytest.fixture(scope="module")
def record(made):
    return the_record(str(made[1] / "work"))


@pytest.fixture(scope="module")
def book(record) -> list[dict[str, Any]]:
    """All occurrences."""
    return [row for batch in ledger_table.occurrences(record) for row in batch.to_pylist()]


@pytest.fixture(scope="module")
def manifest(made) -> dict[str, Any]:
    return json.loads((made[0].directory / "manifest.json").read_bytes())


@pytest.fixture(scope="module")
def kept(made) -> list[dict[str, Any]]:
    folder = made[0].directory / "data"
    return [row for part in sorted(folder.rglob("*.parquet")) for row in pq.read_table(part).to_pylist()]


@pytest.fixture
def ask(made):
    """`ask(id, path)`: the story; its words must be writable."""

    def look(identifier: str, path: str | None = None, **more: Any) -> dict[str, Any]:
        story = explain(made[0].directory, identifier, path=path, workdir=str(made[1] / "work"), **more)
        assert render(story)
        assert json.loads(json.dumps(story)) == story
        return story

    return look


# ------------------------------------------------------------------------------------------------------- the ledger


def test_the_table_has_one_row_for_each_occurrence(book, world):
    """Breach: an occurrence is missing from the ledger, or is there twice."""
    expected = Counter((origin.url, path) for origin in world.origins for path in origin.all_files())
    assert Counter((row["origin"], row["path"]) for row in book) == expected


def test_its_totals_are_those_of_the_manifest(record, book, manifest):
    """Breach: the ledger and the manifest do not count the same, by reason or by stage: opt-outs, shared roots, copies."""
    totals = manifest["totals"]
    counted = ledger_table.totals(record)
    assert (counted["found"], counted["kept"]) == (totals["found"], totals["kept"])
    assert counted["dropped"] == totals["dropped"] == Counter(r["reason"] for r in book if r["reason"])
    by_stage = {stage["name"]: stage["dropped"] for stage in totals["stages"] if stage["dropped"]}
    assert counted["stages"] == by_stage
    assert [name for name in STAGES if name in by_stage] == list(counted["stages"])
    # The world has what can go wrong: a root of three origins, one of which opted out.
    places = Counter(row["root"] for row in book if row["path"] == b"setup.py")
    assert max(places.values()) == 4 and totals["dropped"]["opted_out"] > 0


def test_a_kept_row_is_one_of_the_release(book, kept):
    """Breach: the ledger says kept of what the release does not hold, or of another place than the row names."""
    told = {(row["row_id"], row["origin"], row["path"]) for row in book if row["decision"] == "kept"}
    rows = {(r["row_id"], r["origin"], r["path_raw"] or r["path"].encode()) for r in kept}
    assert told == rows
    assert all(
        (row["reason"] is None) == (row["decision"] == "kept") == (row["row_id"] is not None) for row in book
    )


def test_every_stand_in_leads_to_a_kept_row(book, kept, ask):
    """Breach: a duplicate is dropped for the sake of something that is not in the release."""
    rows = {row["row_id"] for row in kept}
    for sha256 in sorted({row["sha256"] for row in book if row["stand_in"]})[::3]:
        story = ask(sha256)
        assert (story["kept"] or story["chain"][-1])["row_id"] in rows


def test_conditions(record, book):
    def count(**given: Any) -> int:
        return ledger_table.totals(record, condition(**given))["found"]

    assert count(reasons=["quality"]) == sum((r["reason"] or "").startswith("quality.") for r in book)
    assert count(reasons=["quality.empty"]) == sum(r["reason"] == "quality.empty" for r in book)
    assert count(decisions=["kept"], languages=["C"]) == sum(
        r["decision"] == "kept" and r["language"] == "C" for r in book
    )
    assert count(languages=["Python"], stages=["election"]) == sum(
        r["language"] == "Python" and r["stage"] == "election" for r in book
    )
    assert count(path_prefix="tool/part") == sum(r["path"].startswith(b"tool/part") for r in book) > 0
    assert count(languages=["x' or true --"]) == 0, "a value is a value"
    identity = hashlib.sha1(ALICE.encode(), usedforsecurity=False).hexdigest()
    mine = [r for r in book if r["origin"] == ALICE]
    assert ledger_table.totals(record, condition(origins=[ALICE]), identity)["found"] == len(mine)


def test_forks_of_one_root_are_multiplied_out_in_small_pieces():
    """Breach: a root of many origins is held in memory as often as it has origins."""
    root = "ab" * 20
    files = [{"root": root, "path": b"%d.py" % n, "kind": "file", "sha1_git": f"{n:040x}", "sha256": f"{n:064x}"}
             for n in range(2_000)]  # fmt: skip
    origins = [{"root": root, "origin_id": f"{n:040x}", "origin": f"https://a.example/{n}", "opted_out": n % 10 == 1,
                "speaks": n == 0} for n in range(100)]  # fmt: skip

    class One:
        buckets = 1

    pieces = [(pa.Table.from_pylist(files, LEDGER), pa.Table.from_pylist(origins, PLACES))]
    original = ledger_table._pieces
    ledger_table._pieces = lambda *_: iter(pieces)  # type: ignore[assignment]
    try:
        sizes = [batch.num_rows for batch in ledger_table.occurrences(One())]  # type: ignore[arg-type]
        totals = ledger_table.totals(One())  # type: ignore[arg-type]
    finally:
        ledger_table._pieces = original
    assert sum(sizes) == 200_000 and max(sizes) <= ledger_table.BATCH_ROWS
    assert totals["kept"] == 2_000
    assert totals["dropped"] == {"opted_out": 20_000, "exact_duplicate": 178_000}


def test_a_missing_object_is_not_taken_for_no_rows(made, tmp_path):
    """Breach: a bucket that is gone makes the ledger shorter, and nobody is told."""
    shutil.copytree(made[1] / "work", tmp_path / "work")
    copy = the_record(str(tmp_path / "work"))
    next((tmp_path / "work" / copy.ref("ledger", "ledger").folder).glob("ledger-*.parquet")).unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        ledger_table.totals(copy)


def test_the_command(made, book, manifest, tmp_path):
    work = ["--workdir", str(made[1] / "work")]

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["ledger", *work, *arguments])
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    assert json.loads(run("--totals", "--json"))["dropped"] == manifest["totals"]["dropped"]
    assert f"{manifest['totals']['found']}  occurrences" in run()
    lines = [json.loads(line) for line in run("--json", "--release", str(made[0].directory)).splitlines()]
    assert len(lines) == len(book) and set(lines[0]) == set(ledger_table.SCHEMA.names)
    odd = {bytes.fromhex(line["path_raw"]) for line in lines if line["path_raw"]}
    assert b"n\xe9e/caf\xe9.py" in odd
    run("--out", str(tmp_path / "l.parquet"), "--stage", "licenses")
    table = pq.read_table(tmp_path / "l.parquet")
    assert table.schema.equals(ledger_table.SCHEMA)
    assert table.num_rows == sum(row["stage"] == "licenses" for row in book)
    run("--out", str(tmp_path / "l.jsonl"), "--version", "1.0")
    assert len((tmp_path / "l.jsonl").read_text().splitlines()) == len(book)
    assert {path.name for path in tmp_path.iterdir()} == {"l.parquet", "l.jsonl"}
    with duckdb.connect() as connection:
        connection.execute(run("--view"))
        dropped = connection.sql(
            "select reason, count(*) from ledger where reason is not null group by all"
        ).fetchall()
    assert dict(dropped) == manifest["totals"]["dropped"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--reason", "licence"], "none of not_a_file"),
        (["--stage", "near"], "none of graph"),
        (["--version", "7.7"], "it made 1.0"),
        (["--out", "x.csv"], "ends in .parquet or .jsonl"),
        (["--origin", "https://no.where/x"], "not an origin"),
        (["--workdir", "/no/where"], "is not a work directory"),
    ],
)
def test_the_command_refuses(made, arguments, words):
    done = CliRunner().invoke(app, ["ledger", "--workdir", str(made[1] / "work"), *arguments])
    assert isinstance(done.exception, ConfigError) and words in str(done.exception)


# ---------------------------------------------------------------------------------------------------------- explain


def test_every_id_of_a_file_tells_one_story(ask, book, kept):
    """Breach: a SWHID and a hash of one content have two stories."""
    row = next(r for r in kept if r["origin"] == ALICE and r["path"] == "tool/part1.py")
    ids = [row[name] for name in ("swhid", "content_id", "sha256", "blob_id", "row_id", "content_sha256")]
    stories = [ask(identifier) for identifier in ids]
    for story in stories:
        assert {**story, "query": ""} == {**stories[0], "query": ""}
    story = stories[0]
    assert story["kept"]["row_id"] == row["row_id"] and story["content"]["sha256"] == row["sha256"]
    places = [one for one in book if one["sha256"] == row["sha256"]]
    assert story["found"] == len(places) == len(story["occurrences"])
    assert [(o["origin"], o["reason"]) for o in story["occurrences"] if o["reason"] is None] == [
        (ALICE, None)
    ]
    assert {o["reason"] for o in story["occurrences"]} == {None, "exact_duplicate", "opted_out", "license"}
    assert story["occurrences"][0]["row"]["shard"].startswith("data/Python/")
    assert story["cluster"]["size"] == 2 and story["cluster"]["members"][0]["similarity"]
    assert (
        ask(f"{row['swhid']};origin={HOST}/erin/silent;path=/part1.py")["occurrences"][0]["reason"]
        == "license"
    )
    assert ask(ids[0], limit=2)["found"] == len(places)
    assert len(ask(ids[0], limit=2)["occurrences"]) == 2


def test_the_row_is_where_the_story_says(ask, made, kept):
    for row in kept[:: len(kept) // 8]:
        told = ask(row["row_id"])["kept"]
        found = pq.read_table(made[0].directory / told["shard"]).slice(told["row"], 1).to_pylist()[0]
        assert found["row_id"] == row["row_id"]


def test_every_decision_of_the_world_is_told_with_its_evidence(ask, book):
    """Breach: a dropped file has no story, or one without what led to it."""
    first = {}
    for row in book:
        first.setdefault(row["reason"], row)
    for reason, row in first.items():
        path = row["path"].decode("utf-8", "backslashreplace")
        story = ask(row["origin"], path)
        assert story["found"] == 1 and story["totals"] == {reason or "kept": 1}
        one = story["files"][0]
        assert (one["reason"], one["stage"]) == (reason, row["stage"])
        assert reason is None or one["why"] in render(story)
        if row["stage"] == "licenses":
            assert one["license"]["permitted"] is False
        if row["stage"] in ("contents", "similarity") and reason not in ("missing", "corrupt"):
            assert story["detected"]["encoding"] or story["detected"]["undecoded"]
        if (reason or "").startswith("quality."):
            failed = {f"quality.{test['rule']}" for test in story["detected"]["quality"]}
            assert reason in failed, "the value and the bound that it breaks are told"
        if reason == "near_duplicate":
            assert story["chain"][0]["similarity"] == one["stand_in"]["similarity"]
            assert any(
                pair["sha256"] == one["stand_in"]["sha256"] for pair in story["detected"]["candidates"]
            )
        if reason == "opted_out":
            assert story["origin"]["opted_out"] is True and one["stand_in"] is None


def test_every_reason_has_words():
    assert all(why(reason if reason != Reason.QUALITY else "quality.x") for reason in Reason)


def test_findings_are_told_by_kind_and_never_shown(ask, world):
    """Breach: `explain` prints the secret, or where in the original it stands."""
    story = ask(f"{HOST}/iris/secrets", "conf/all.js")
    kinds = {one["kind"] for one in story["detected"]["findings"]}
    assert kinds == {one["kind"] for one in story["kept"]["redactions"]} and "email" in kinds
    assert all(set(one) == {"kind", "rule", "count"} for one in story["detected"]["findings"])
    for secret in world.secrets:
        assert secret.decode() not in json.dumps(story) + render(story)


def test_repositories(ask, book):
    """Breach: a repository is not found by its root, revision, snapshot or id, or its files do not add up."""
    story = ask(ALICE, limit=1_000)
    mine = [row for row in book if row["origin"] == ALICE]
    assert story["found"] == len(mine) == len(story["files"]) == sum(story["totals"].values())
    origin = story["origin"]
    for kind, key in (("dir", "root"), ("rev", "revision"), ("snp", "snapshot")):
        found = ask(f"swh:1:{kind}:{origin[key]}", limit=1_000)
        assert ALICE in found["origins"]["urls"]
        assert found["totals"] == ask(found["origins"]["urls"][0], limit=1_000)["totals"]
    root = ask(f"swh:1:dir:{origin['root']}")
    assert root["origins"]["found"] == 4 and root["origin"]["url"] == ALICE, "the one that speaks comes first"
    identity = hashlib.sha1(ALICE.encode(), usedforsecurity=False).hexdigest()
    assert ask(f"swh:1:ori:{identity}")["totals"] == story["totals"]
    folder = ask(ALICE, "web")
    assert folder["found"] == sum(row["path"].startswith(b"web/") for row in mine) > 1
    assert ask(f"{HOST}/lena/empty")["origin"]["resolved"] is False
    assert ask(f"{HOST}/henry/odd", "n\\xe9e/caf\\xe9.py")["found"] == 1


@pytest.mark.parametrize(
    "identifier", ["swh:1:rel:" + "a" * 40, "swh:1:dir:" + "a" * 40, "f" * 64, "0" * 32, "a" * 40, "x"]
)
def test_what_is_not_there(ask, identifier):
    with pytest.raises(ConfigError):
        ask(identifier)


def test_without_the_work_directory_kept_rows_are_told(made, kept):
    for key in ("swhid", "sha256", "content_sha256", "row_id"):
        story = explain(made[0].directory, kept[3][key], path=None, workdir="/no/where")
        assert story["kept"]["row_id"] == kept[3]["row_id"] and len(story["notes"]) == 1
    for origin in {row["origin"] for row in kept}:
        found = explain(made[0].directory, origin, path=None, workdir="/no/where", limit=1_000)
        assert found["found"] == sum(row["origin"] == origin for row in kept)
    with pytest.raises(ConfigError, match="does not occur in the release"):
        explain(made[0].directory, "f" * 64, path=None, workdir="/no/where")


# ------------------------------------------------------------------------------------------------------ how it looks


@contextlib.contextmanager
def counted(monkeypatch):
    """The objects that are opened, and the prefixes that are listed."""
    seen: list[str] = []
    with monkeypatch.context() as patch:
        for name in ("read", "read_ranges", "list", "parquet"):
            original = getattr(Store, name)

            def spy(self, key="", *rest, _original=original, **more):
                seen.append(f"{self.uri}/{key}")
                return _original(self, key, *rest, **more)

            patch.setattr(Store, name, spy)
        yield seen


def test_a_question_costs_the_same_whatever_the_number_of_buckets_and_shards(
    archive, made, tmp_path, monkeypatch, kept, book
):
    """Breach: a look-up asks every bucket, or opens every shard."""
    settings = {"emit": {"shard_bytes": 1_000_000}}
    other = runs.release(archive, tmp_path, buckets=4, **settings)
    assert len(kept) == other.totals["kept"]
    row = next(r for r in kept if r["origin"] == ALICE and r["path"] == "tool/part1.py")
    lost = next(r for r in book if r["reason"] == "near_duplicate")
    questions = [(row["swhid"], None), (row["sha256"], None), (row["blob_id"], None), (row["row_id"], None),
                 (row["content_sha256"], None), (lost["sha256"], None), (ALICE, "tool/part1.py"), (ALICE, None),
                 (f"swh:1:dir:{lost['root']}", None)]  # fmt: skip
    for identifier, path in questions:
        costs = []
        for directory, work in ((made[0].directory, made[1] / "work"), (other.directory, tmp_path / "work")):
            with counted(monkeypatch) as seen:
                explain(directory, identifier, path=path, workdir=str(work), limit=5)
            costs.append(len(seen))
        # One more where a bucket has no rows: the summary says that it is so.
        assert abs(costs[1] - costs[0]) <= 1 and max(costs) < 40, (identifier, path, costs)


def test_what_answers_loads_nothing_heavy():
    """Breach: a question takes seconds, for what starts before it is read."""
    code = (
        "import sys, pipeline.cli.main, pipeline.explain, pipeline.explain_words;"
        "print(*{'numba', 'pandas', 'ray', 'torch', 'scancode'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_changes_against_the_parent_are_told(kept, tmp_path):
    """Breach: a release with a parent says that a row was re-elected, and `explain` does not; or a stray file is believed."""
    row = kept[0]["row_id"]
    table = pa.table({"row_id": [row, "f" * 32], "change": ["re_elected", "added"], "reason": [None, None]})
    pq.write_table(table, tmp_path / "changes.parquet")

    def rows(*listed: str) -> Rows:
        manifest = SimpleNamespace(listed=lambda: dict.fromkeys(listed))
        return Rows(SimpleNamespace(manifest=manifest), Store(str(tmp_path)))  # type: ignore[arg-type]

    assert [one["change"] for one in rows("changes.parquet").changes(row)] == ["re_elected"]
    assert rows("ids.parquet").changes(row) == []
    story = {"query": row, "release": "2.0", "notes": [], "changes": rows("changes.parquet").changes(row)}
    assert "against the parent release: re_elected" in render(story)
