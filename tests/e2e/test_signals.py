"""Signals of a release: what lies in what and what is repeated, as plain Python finds it; and what is dropped for it."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import e2e_archives as archives
import e2e_expectation as expectation
import e2e_runs as runs
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from manifests.reader import Release
from manifests.signals import SIGNALS
from manifests.summary import summarize
from manifests.verify import verify_release
from pipeline.cli.main import app
from pipeline.engine import lookup
from pipeline.release import Outcome

HOST = "https://forge.example"
NOTICE = [
    b"Copyright holders of the fictional work, all rights given",
    b"Permission is given to whoever reads this, at no charge",
    b"to use it, provided that the words above stay with it",
    b"and that nobody claims to have written these words",
    b"which come without any promise of any kind at all",
    b"as is usual among those who give things away",
]
REPEATED = {"lines": 4, "bytes": 80, "contents": 4, "origins": 3}
ON = {"containment": {"least": "0.8"}, "repeated": REPEATED}
DROP = {"repeated": {**REPEATED, "drop_above": "0.5"}}


def with_notice(body: bytes, mark: bytes, lines: int = 6) -> archives.File:
    return archives.File(b"".join(mark + line + b"\n" for line in NOTICE[:lines]) + body)


def origin(name: str, files: dict[bytes, bytes | archives.File], **more: object) -> archives.Origin:
    made = {
        path: one if isinstance(one, archives.File) else archives.File(one) for path, one in files.items()
    }
    return archives.Origin(url=f"{HOST}/{name}", files=made, licenses={b"": "MIT"}, **more)  # type: ignore[arg-type]


def signal_world() -> archives.World:
    big = archives.python("big", 150)
    lines = big.splitlines(keepends=True)
    whole, other = b"".join(lines[:40]), archives.python("other", 9)
    gone = archives.python("gone", 300)
    forked = {
        b"f.py": archives.python("f"),
        b"g.py": archives.python("g", 60),
        b"h.js": with_notice(archives.javascript("h", 6), b"//"),
    }
    return archives.World(
        [
            origin(
                "big",
                {
                    b"big.py": big,
                    b"bigger.py": big + archives.python("more", 200),
                    b"part.py": b"".join(lines[6:40])
                    + archives.python("rest", 90),  # most of whole.py, not all
                    b"n.py": with_notice(archives.python("n"), b"## "),
                },
            ),
            origin(
                "inner",
                {
                    b"whole.py": whole,  # lies in big.py
                    b"most.py": b"".join(lines[50:100]) + other,  # most of it does
                    b"some.py": b"".join(lines[100:120]) + archives.python("own", 24),  # not enough
                    b"tiny.py": b"".join(lines[41:45]),  # too small to be asked about
                    b"of_gone.py": b"".join(gone.splitlines(keepends=True)[:30]),
                },
            ),
            origin("left", {b"gone.py": gone}, opted_out=True),
            origin(
                "a",
                {
                    b"one.py": with_notice(archives.python("one"), b"# "),
                    b"five.py": with_notice(archives.python("five"), b"# ", lines=5),
                    b"x.py": archives.python("x"),
                },
            ),
            origin(
                "b",
                {
                    b"two.js": with_notice(archives.javascript("two"), b" // "),
                    b"most.js": with_notice(b"const answer = 42;\n", b"// "),
                },
            ),
            origin("fork/1", forked),
            origin("fork/2", forked),
            origin("fork/3", forked, opted_out=True),
        ]
    )


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    folder, world = tmp_path_factory.mktemp("signals"), signal_world()
    (folder / "registry.yaml").write_text(world.registry())
    return archives.write(world, folder / "archive")


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """One work directory of four buckets: what one configuration left is no other one's."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def made(archive, work) -> Path:
    return Path(runs.release(archive, work, buckets=4, near_duplicates=ON).directory)


@pytest.fixture(scope="module")
def rows(made) -> dict[str, dict]:
    return {row["row_id"]: row for batch in Release.open(made).batches() for row in batch.to_pylist()}


def other(archive: Path, work: Path, folder: Path, config: dict) -> Outcome:
    return runs.release(archive, folder, workdir=str(work / "work"), buckets=4, near_duplicates=config)


def files_of(folder: Path | str) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def blocks(text: bytes) -> tuple[list[bytes], list[tuple[bytes, ...]]]:
    lines = [
        re.sub(rb"^[^A-Za-z0-9_\x80-\xff]+|[^A-Za-z0-9_\x80-\xff]+$", b"", one) for one in text.split(b"\n")
    ]
    lines = [line for line in lines if line]
    return lines, [tuple(lines[i : i + 4]) for i in range(len(lines) - 3)]


def test_the_file_tells_what_plain_python_finds(made, rows):
    """Containment by brute force over all pairs, repeated lines by counting all blocks."""
    table = pq.read_table(made / "signals.parquet")
    assert table.schema.equals(SIGNALS)
    found = {row["row_id"]: row for row in table.to_pylist()}
    assert list(found) == sorted(found) and set(found) <= set(rows)
    texts = {key: row["content"].encode() for key, row in rows.items()}
    shingled = {key: expectation.shingles(text) for key, text in texts.items()}
    holders = defaultdict(set)
    for key, text in texts.items():
        for run in set(blocks(text)[1]):
            holders[run].add(key)
    frequent = {
        run
        for run, who in holders.items()
        if len(who) >= 4 and len({rows[key]["origin"] for key in who}) >= 3 and sum(map(len, run)) >= 80
    }
    contained = 0
    for key, mine in shingled.items():
        bigger = [
            (-len(mine & other), len(other), rows[name]["sha256"], name)
            for name, other in shingled.items()
            if len(mine) >= 64 and 10 * len(mine) < 7 * len(other) and 10 * len(mine & other) >= 8 * len(mine)
        ]
        lines, runs_of = blocks(texts[key])
        covered = {line for at, run in enumerate(runs_of) if run in frequent for line in range(at, at + 4)}
        share = sum(len(lines[at]) for at in covered)
        told = found.get(key)
        assert (told is not None) == bool(bigger or covered), rows[key]["path"]
        if told is None:
            continue
        assert told["repeated_bytes"] == share
        assert told["repeated_share"] == share / sum(map(len, lines))
        if not bigger:
            assert told["contained_in"] is told["containment"] is told["shared_shingles"] is None
            continue
        contained += 1
        common, _, _, name = min(bigger)
        assert (told["contained_in"], told["shared_shingles"], told["shingles"]) == (name, -common, len(mine))
        assert told["containment"] == -common / len(mine)
    paths = {rows[key]["path"] for key, row in found.items() if row["contained_in"]}
    assert contained == len(paths) and paths == {"whole.py", "most.py", "big.py"}
    assert {rows[key]["path"] for key, row in found.items() if row["repeated_bytes"]} == {
        "n.py", "one.py", "five.py", "two.js", "most.js", "h.js",
    }  # fmt: skip


def test_rows_do_not_depend_on_signals_nor_signals_on_buckets(archive, made, work, tmp_path, monkeypatch):
    """Breach: a signal changes a row, or another number of buckets, or less memory, another byte."""
    plain = files_of(other(archive, work, tmp_path / "plain", {}).directory)
    monkeypatch.setattr(lookup, "MEMORY_SHARE", 1 << 60)  # everything is split on disk
    again = files_of(runs.release(archive, tmp_path / "again", buckets=1, near_duplicates=ON).directory)
    with_signals = files_of(made)
    assert again == with_signals
    assert set(with_signals) - set(plain) == {"signals.parquet"}
    same = {path for path in plain if plain[path] == with_signals[path]}
    assert {path for path in plain if path.startswith("data/")} | {"ids.parquet"} <= same
    assert verify_release(made).ok and "signals.parquet" in Release.open(made).manifest.listed()
    assert (
        b"signals.parquet" in with_signals["SHA256SUMS"] and b"`signals.parquet`" in with_signals["README.md"]
    )
    assert b"`signals.parquet`" not in plain["README.md"]


def test_one_signal_alone(archive, made, work, tmp_path):
    both = pq.read_table(made / "signals.parquet").to_pylist()
    for name, columns in {
        "containment": ("contained_in", "shared_shingles", "shingles", "containment"),
        "repeated": ("repeated_bytes", "repeated_share"),
    }.items():
        folder = other(archive, work, tmp_path / name, {name: ON[name]}).directory
        alone = {one["row_id"]: one for one in pq.read_table(Path(folder) / "signals.parquet").to_pylist()}
        assert set(alone) == {one["row_id"] for one in both if one[columns[0]]}
        for one in both:
            if one["row_id"] in alone:
                told = alone[one["row_id"]]
                assert [told[column] for column in columns] == [one[column] for column in columns]
                assert all(told[column] is None for column in SIGNALS.names[1:] if column not in columns)


def test_what_stats_say_of_it(made, rows):
    told = summarize(Release.open(made))["duplication"]
    table = pq.read_table(made / "signals.parquet").to_pylist()
    assert told["containment"]["contained"] == sum(one["contained_in"] is not None for one in table)
    assert (
        told["containment"]["compared"] >= told["containment"]["contained"]
        and told["containment"]["least"] == "0.8"
    )
    repeated = told["repeated"]
    assert {name: repeated[name] for name in REPEATED} == REPEATED and repeated["drop_above"] is None
    assert repeated["repeated_bytes"] == sum(one["repeated_bytes"] for one in table)
    assert repeated["files"] == sum(one["repeated_bytes"] > 0 for one in table)
    (notice,) = repeated["most"]
    assert (notice["contents"], notice["origins"], notice["lines"]) == (6, 4, 5)
    row = rows[notice["row_id"]]
    assert (row["path"], row["origin"], row["language"]) == (
        notice["path"],
        notice["origin"],
        notice["language"],
    )
    assert NOTICE[0] in row["content"].encode().split(b"\n")[notice["line"] - 1]
    (fork,) = told["roots"]["largest"]
    assert (fork["origin"], fork["origins"], fork["occurrences"], fork["rows"]) == (f"{HOST}/fork/1", 2, 4, 3)
    assert {name: told["roots"][name] for name in ("found", "origins", "occurrences", "rows")} == {
        "found": 1, "origins": 2, "occurrences": 4, "rows": 3,
    }  # fmt: skip
    assert told["networks"]["largest"] == [{**fork, "occurrences": 8}]  # LICENSE and three files, twice
    assert told["search"]["candidates"] < 5 and told["search"]["hot_buckets"] == 0
    assert summarize(Release.open(made), recount=True)["duplication"] is None
    for name in ("stats.json", "report.html"):
        text = (made / name).read_text()
        assert f"{HOST}/left" not in text and "fork/3" not in text


def test_a_file_of_repeated_lines_is_dropped_for_one_reason(archive, made, work, tmp_path):
    """Breach: a file is dropped without a reason, twice, or cut; or others change with it."""
    outcome = other(archive, work, tmp_path, DROP)
    before, after = Release.open(made), Release.open(Path(outcome.directory))
    assert verify_release(Path(outcome.directory)).ok
    totals, whole = outcome.totals["dropped"], before.manifest.totals
    assert totals == {**whole.dropped, "repeated": 2} and outcome.totals["kept"] == whole.kept - 2
    assert outcome.totals["found"] == outcome.totals["kept"] + sum(totals.values())
    stages = {one["name"]: one["dropped"] for one in outcome.totals["stages"]}
    assert stages["similarity"] == {"repeated": 2}
    texts = [
        Counter(text for batch in one.batches(["content"]) for text in batch.column("content").to_pylist())
        for one in (before, after)
    ]
    gone = texts[0] - texts[1]
    assert (
        not texts[1] - texts[0]
        and sum(gone.values()) == 2
        and any("const answer = 42" in one for one in gone)
    )
    told = summarize(after)["duplication"]["repeated"]
    assert told["drop_above"] == "0.5" and [one["contents"] for one in told["most"]] == [6]
    assert told["most"][0]["path"] != "most.js"
    done = CliRunner().invoke(
        app,
        ["explain", outcome.directory.as_posix(), f"{HOST}/b", "most.js", "--workdir", str(work / "work")],
    )
    assert done.exit_code == 0, done.output
    assert "dropped: repeated, too much of it is blocks of lines that many other files hold" in done.output
    ledger = CliRunner().invoke(
        app,
        [
            "ledger",
            "--release",
            outcome.directory.as_posix(),
            "--workdir",
            str(work / "work"),
            "--reason",
            "repeated",
            "--json",
        ],
    )
    assert ledger.exit_code == 0, ledger.output
    lines = {(one["origin"], one["path"]): one for one in map(json.loads, ledger.stdout.splitlines())}
    assert set(lines) == {
        (f"{HOST}/b", "most.js"),
        (f"{HOST}/fork/1", "h.js"),
    }  # elsewhere it is a copy of that one
    assert all(re.fullmatch(r"\d+ of \d+ bytes", one["detail"]) for one in lines.values())
