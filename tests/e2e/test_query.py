"""`pipeline query`: what it finds is what plain Python finds, and nobody's question reaches anything but the rows."""

from __future__ import annotations

import io
import json
import re
import shutil
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from manifests.reader import Release
from pipeline import query as asking
from pipeline.cli.main import app
from pipeline.errors import ConfigError, IntegrityError, SourceError
from pipeline.query import Filters, Limits, Question, ask, needed_shards
from pipeline.query_output import json_line, write_table

HOST = "https://forge.example"


@pytest.fixture(scope="module")
def release(made) -> Release:
    return Release.open(made[0].directory)


@pytest.fixture(scope="module")
def rows(release) -> list[dict[str, Any]]:
    return [row for batch in release.batches() for row in batch.to_pylist()]


def found(release: Release, filters: Filters, **more: Any) -> list[str]:
    question = Question(filters=filters, columns=("row_id",), **more)
    with ask(release, question, Limits(threads=1)) as answer:
        return answer.read_all()["row_id"].to_pylist()


def asked(release: Release, sql: str, **limits: Any) -> list[dict[str, Any]]:
    with ask(release, Question(sql=sql), Limits(threads=1, **limits)) as answer:
        return answer.read_all().to_pylist()


def command(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["query", *map(str, arguments)], catch_exceptions=True)


# ------------------------------------------------------------------------------------------------ what it finds


def test_without_conditions_the_rows_are_those_of_the_release_in_its_order(release, rows):
    assert found(release, Filters()) == [row["row_id"] for row in rows]


CASES = {
    "languages": (Filters(languages=("C", "JavaScript")), lambda r: r["language"] in ("C", "JavaScript")),
    "license": (Filters(licenses=("mit",)), lambda r: r["license_expression"] == "MIT"),
    "origin": (Filters(origins=(f"{HOST}/alice/tool",)), lambda r: r["origin"] == f"{HOST}/alice/tool"),
    "prefix": (Filters(origins=(f"{HOST}/g*",)), lambda r: r["origin"].startswith(f"{HOST}/g")),
    "either": (
        Filters(origins=(f"{HOST}/g*", f"{HOST}/alice/tool")),
        lambda r: r["origin"].startswith(f"{HOST}/g") or r["origin"] == f"{HOST}/alice/tool",
    ),
    "path": (Filters(paths=("*/part?.*", "*.md")), lambda r: any(fnmatchcase(r["path"], p) for p in ("*/part?.*", "*.md"))),
    "sizes": (Filters(min_size=1_000, max_size=1_500), lambda r: 1_000 <= r["length_bytes"] <= 1_500),
    "dates": (
        Filters(since=asking.parse_date("2021-01-01"), before=asking.parse_date("2023-06-01", end=True)),
        lambda r: r["revision_date"] is not None and "2021-01-01" <= str(r["revision_date"])[:10] <= "2023-06-01",
    ),
    "content": (Filters(content=r"def \w*amber"), lambda r: re.search(r"def \w*amber", r["content"])),
    "case": (Filters(content="DEF .*AMBER", ignore_case=True), lambda r: re.search("(?i)DEF .*AMBER", r["content"])),
    "all at once": (
        Filters(languages=("Python",), licenses=("MIT",), paths=("*.py",), content="(?m)^def "),
        lambda r: r["language"] == "Python" and r["license_expression"] == "MIT"
        and r["path"].endswith(".py") and re.search("(?m)^def ", r["content"]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_condition_finds_what_plain_python_finds(release, rows, name):
    """Breach: a condition that leaves out rows that it should find, or is passed over."""
    filters, holds = CASES[name]
    expected = [row["row_id"] for row in rows if holds(row)]
    assert 0 < len(expected) < len(rows), "this case says nothing"
    assert found(release, filters) == expected


def test_order_and_limit(release, rows):
    ranked = sorted(rows, key=lambda row: (-row["length_bytes"], row["row_id"]))
    assert found(release, Filters(), order=("-length_bytes",), limit=5) == [r["row_id"] for r in ranked[:5]]
    assert found(release, Filters(), limit=0) == []


# ---------------------------------------------------------------------------------------- what is opened and checked


@pytest.fixture
def copy(made, tmp_path) -> Path:
    return Path(shutil.copytree(made[0].directory, tmp_path / "a release [1]*"))


def test_other_shards_are_not_opened(copy, rows):
    """Breach: a question about one language, or one origin, reads the whole release."""
    release = Release.open(copy)
    for filters, holds in (
        (Filters(languages=("JavaScript",)), lambda r: r["language"] == "JavaScript"),
        (Filters(origins=(f"{HOST}/jack/near",)), lambda r: r["origin"] == f"{HOST}/jack/near"),
    ):
        needed = needed_shards(release, filters)
        assert 0 < len(needed) < len(release.shards())
        left = {shard.path for shard in release.shards()} - {shard.path for shard in needed}
        kept = {path: (copy / path).read_bytes() for path in left}
        for path in left:
            (copy / path).write_bytes(b"not Parquet at all")
        expected = [row["row_id"] for row in rows if holds(row)]
        assert expected and found(Release.open(copy), filters) == expected
        with pytest.raises(IntegrityError, match=re.escape(min(left))):
            found(Release.open(copy), Filters())
        for path, data in kept.items():
            (copy / path).write_bytes(data)


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(prefix=st.text("01", max_size=20), url=st.text(min_size=1, max_size=30))
def test_a_shard_is_left_out_only_where_the_origin_cannot_lie(prefix, url):
    """Breach: the name of a shard is read otherwise than it was given (stages/emit.py)."""
    from pipeline.stages.emit import placement_key

    bits = f"{int(placement_key(url, b'any path')[:16], 16):064b}"
    path = f"data/C/train-{prefix or 'all'}.parquet"
    assert asking._may_hold(path, bits) == bits.startswith(prefix)


def test_an_altered_shard_is_refused_unless_told_otherwise(copy):
    victim = Release.open(copy).shards("C")[0]
    table = pq.read_table(copy / victim.path, partitioning=None)
    pq.write_table(table, copy / victim.path, compression="none")
    with pytest.raises(IntegrityError, match=re.escape(victim.path)):
        found(Release.open(copy), Filters(languages=("C",)))
    with ask(
        Release.open(copy), Question(filters=Filters(languages=("C",)), count=True), verify=False
    ) as answer:
        assert answer.read_all().to_pylist() == [{"count": table.num_rows}]


# --------------------------------------------------------------------------------------------------------- attacks


@pytest.mark.parametrize("field", ["languages", "licenses", "origins", "paths", "content"])
@pytest.mark.parametrize("text", ["' or true --", "'; drop view rows; --", "$p0", "\x00", "%", "\\"])
def test_what_is_given_to_a_filter_is_never_sql(release, field, text):
    """Breach: injection through a filter: more rows than should be, or another statement."""
    value: Any = text if field == "content" else (text,)
    try:
        assert found(release, Filters(**{field: value})) == []
    except ConfigError as error:  # no such language, no regular expression
        assert field in ("languages", "content"), error


@pytest.mark.parametrize("column", ["content; drop view rows", "count(*)", '"', "row_id, content", ""])
def test_a_column_is_one_of_the_schema(release, column):
    for question in (Question(columns=(column,)), Question(order=(column,))):
        with pytest.raises(ConfigError, match="no column"), ask(release, question):
            pass


STATEMENTS = (
    "copy rows to '{folder}/out.csv'", "copy (select 1) to '{shard}'", "attach '{folder}/x.db' as x", "install httpfs",
    "load httpfs", "set threads = 1", "pragma database_list", "create table t as select 1", "insert into rows select * from rows",
    "drop view rows", "delete from rows", "update rows set path = ''", "select 1; select 2", "export database '{folder}/e'",
    "call pragma_version()", "explain analyze select 1", "checkpoint", "vacuum", "begin", "prepare p as select 1", "use x",
    "import database '{folder}'", "create macro m() as 1", "create secret (type s3)", "", "-- nothing",
)  # fmt: skip


@pytest.mark.parametrize("sql", STATEMENTS)
def test_only_a_select_is_run(copy, sql):
    """Breach: SQL that writes, attaches, loads code or changes a setting."""
    release = Release.open(copy)
    before = {p: p.stat().st_mtime_ns for p in copy.parent.rglob("*")}
    shard = copy / release.shards("C")[0].path
    with pytest.raises(ConfigError, match="SQL"):
        asked(release, sql.format(folder=copy.parent, shard=shard))
    assert {p: p.stat().st_mtime_ns for p in copy.parent.rglob("*")} == before


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_text('{secret}')", "select * from read_blob('{secret}')", "select * from read_csv('{secret}')",
        "select * from '{secret}'", "select * from glob('{folder}/*')", "select * from read_json('{secret}')",
        "select * from read_parquet('{other}')", "from query('select * from read_text(''{secret}'')')",
        "select * from read_text('https://example.org/')", "select * from sniff_csv('{secret}')",
        "select * from duckdb_secrets()", "select getenv('HOME')", "select * from secret_table",
        "select * from sqlite_scan('{secret}', 't')", "select * from parquet_schema('{other}')",
        "with x as (select * from read_text('{secret}')) select * from x", "select (select content from read_text('{secret}'))",
        "select * from read_text('/proc/self/environ')", "select * from read_parquet('s3://bucket/x.parquet')",
    ],
)  # fmt: skip
def test_sql_reads_the_rows_and_nothing_else(release, tmp_path, sql):
    """Breach: a question that somebody sends along reads the files of whoever asks it."""
    secret_table = pq.read_table(
        release.directory / release.shards()[0].path, partitioning=None
    )  # a name in Python
    (tmp_path / "secret.txt").write_text("the secret")
    pq.write_table(secret_table, tmp_path / "other.parquet")
    sql = sql.format(secret=tmp_path / "secret.txt", other=tmp_path / "other.parquet", folder=tmp_path)
    with pytest.raises(ConfigError, match="SQL cannot be run"):
        asked(release, sql)


def test_sql_over_the_view(release, rows):
    assert asked(release, "select language, count(*) as n from rows group by all order by all") == [
        {"language": name, "n": sum(row["language"] == name for row in rows)} for name in release.languages
    ]
    assert asked(release, "with t as (from rows) select max(length_bytes) as n from t") == [
        {"n": max(row["length_bytes"] for row in rows)}
    ]


def test_time_and_memory_have_bounds(release):
    with pytest.raises(SourceError, match=r"not done within 0\.2 s"):
        asked(release, "select sum(random()) from range(100000000000)", seconds=0.2)
    with pytest.raises((SourceError, ConfigError), match="memory"):
        asked(release, "select list(range) from range(30000000)", memory="20MB")
    with pytest.raises(ValueError, match="amount"):
        Limits(memory="1; attach 'x'")


def test_the_database_is_locked(release):
    """Breach: a later statement opens what was closed."""
    for name, value in (("enable_external_access", False), ("lock_configuration", True)):
        assert asked(release, f"select current_setting('{name}') as a") == [{"a": value}]


# --------------------------------------------------------------------------------------------------- errors, output


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (Question(filters=Filters(languages=("Pyton",))), "did you mean 'Python'"),
        (Question(filters=Filters(languages=("COBOL",))), "it has C, JavaScript"),
        (Question(columns=("sha265",)), "did you mean 'sha256'"),
        (Question(columns=("zzzz",)), "the columns are row_id"),
        (Question(order=("-lenght_bytes",)), "did you mean 'length_bytes'"),
        (Question(filters=Filters(content="a(b")), "not a regular expression of RE2"),
        (Question(filters=Filters(content=r"(a)\1")), "not a regular expression of RE2"),
        (Question(sql="select lenght_bytes from rows"), "length_bytes"),
        (Question(sql="selct 1"), "this is not SQL"),
        (Question(sql="select 1", filters=Filters(paths=("*",))), "into the SQL"),
    ],
)
def test_errors_say_what_was_meant(release, question, words):
    with pytest.raises(ConfigError, match=re.escape(words)), ask(release, question) as answer:
        answer.read_all()


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01", "9999-12-31", "2024-05-17T25:00"])
def test_what_is_no_date(text):
    with pytest.raises(ConfigError, match="is not a date"):
        asking.parse_date(text, end=True)


def test_json_lines_are_the_rows(made, rows):
    result = command(made[0].directory, "--language", "C", "--json", "--columns", "all")
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    (row,) = [row for row in rows if row["language"] == "C"]
    told = json.loads(line)
    assert told.keys() == row.keys()
    assert told["content"] == row["content"] and told["visit_date"] == row["visit_date"].isoformat()
    assert told["license_evidence"] == row["license_evidence"]


def test_parquet_is_the_rows_and_never_written_over(made, rows, tmp_path):
    file = tmp_path / "out.parquet"
    arguments = (made[0].directory, "--language", "Python", "--columns", "all", "--parquet", file)
    assert command(*arguments).exit_code == 0
    wanted = [row for row in rows if row["language"] == "Python"]
    assert pq.read_table(file).to_pylist() == wanted
    again = command(*arguments)
    assert isinstance(again.exception, ConfigError) and "exists" in str(again.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_a_table_and_a_count_for_people(made, rows):
    result = command(made[0].directory)
    assert result.exit_code == 0 and "the first 20 rows" in result.stderr
    assert sum(line.count(row["row_id"]) for line in result.stdout.splitlines() for row in rows) == 20
    assert command(made[0].directory, "--count").stdout == f"{len(rows)}\n"
    assert command(made[0].directory, "--path", "nowhere/*").stdout == "no rows\n"
    refused = command(made[0].directory, "--sql", "select 1", "--count")
    assert isinstance(refused.exception, ConfigError)


def test_control_characters_reach_no_terminal():
    import pyarrow as pa

    batch = pa.RecordBatch.from_pydict(
        {"path\x1b]0;": ["a\x1b[2J\x07\u202eb", "\ud7ff\x9b31m"], "n": [1, float("nan")]}
    )
    out = io.StringIO()
    write_table([batch], out)
    line = json_line({"path": "a\x1b[2J\u202e", "raw": b"\xff\x1b"})
    for text in (out.getvalue(), line):
        assert not set(text) & {"\x1b", "\x07", "\u202e", "\x9b"}
    assert "a\\x1b[2J\\x07\\u202eb" in out.getvalue()


def test_sql_speaks_of_quality_signals(made, copy, rows):
    """Breach: the signals cannot be joined to the rows, or altered ones are believed."""
    sql = "select count(*) as n from rows join quality_signals q using (row_id) where q.num_lines = rows.num_lines"
    answer = command(made[0].directory, "--json", "--sql", sql)
    assert json.loads(answer.stdout) == {"n": len(rows)}, (answer.output, answer.exception)
    with (copy / "quality-signals.parquet").open("r+b") as file:
        file.seek(100)
        file.write(b"\xff\x00\xff")
    refused = command(copy, "--json", "--sql", sql)
    assert isinstance(refused.exception, IntegrityError) and "quality-signals.parquet" in str(
        refused.exception
    )
    assert command(copy, "--json", "--sql", "select count(*) as n from rows").exit_code == 0
