"""`quality-signals.parquet` of a release, and rules of the user's own. Its bytes for other buckets: test_signals.py."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import e2e_runs as runs
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from manifests.quality_signals import KEYS
from manifests.reader import Release
from manifests.schema import DATA
from manifests.verify import verify_release
from pipeline.config import parse
from pipeline.content.code_schema import NUMBERS
from pipeline.content.code_schema import SCHEMA as CODE
from pipeline.content.profiles import load_profile, profile_names
from pipeline.content.signal_schema import KNOWN, PARSED, SCHEMA, SIGNALS
from pipeline.content.signals import signals
from pipeline.explain import explain

LINES = 40
MINE = {
    "profile": "mine",
    "rules": [
        {
            "rule": "short",
            "kinds": ["programming"],
            "all": [{"signal": "num_lines", "below": LINES}, {"signal": "num_words", "above": 0}],
        }
    ],
}


def rows_of(folder: Path | str) -> dict[str, dict]:
    return {row["row_id"]: row for batch in Release.open(Path(folder)).batches() for row in batch.to_pylist()}


def test_every_row_has_the_signals_of_its_text(made):
    folder = Path(made[0].directory)
    table = pq.read_table(folder / "quality-signals.parquet")
    assert table.schema.equals(pa.schema([*KEYS, *SCHEMA, *CODE]))
    assert [(field.name, field.type) for field in CODE if field.name in NUMBERS] == [
        (s.name, s.type) for s in PARSED
    ]
    assert table["comment_fraction"].null_count < len(table) == table["functions"].null_count
    rows = rows_of(folder)
    assert table["row_id"].to_pylist() == sorted(rows)
    plain = 0
    for row in table.to_pylist():
        released = rows[row["row_id"]]
        assert all(row[name] == released[name] for name in DATA.names if name in row)
        if not released["redactions"]:  # the signals are of the text before that
            measured = signals(pa.array([released["content"].encode()], pa.large_binary())).to_pylist()[0]
            assert {name: row[name] for name in SCHEMA.names} == measured
            plain += 1
    assert plain > len(rows) // 2
    assert "quality-signals.parquet" in Release.open(folder).manifest.listed()
    assert b"`quality-signals.parquet`" in (folder / "README.md").read_bytes()


def test_rules_of_ones_own_drop_and_are_told(archive, made, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(MINE))
    outcome = runs.release(archive, tmp_path, quality={"profile": str(file), "signals": "none"})
    kept = rows_of(outcome.directory)
    assert outcome.totals["dropped"]["quality.short"] > 0
    assert not [
        r
        for r in kept.values()
        if 0 < r["num_lines"] < LINES and r["language"] in ("Python", "JavaScript", "C")
    ]
    assert verify_release(outcome.directory).ok
    written = (Path(outcome.directory) / "config.yaml").read_text()
    assert str(tmp_path) not in written and yaml.safe_load(written)["quality"]["profile"] == MINE
    assert parse(yaml.safe_load(written))
    card = (Path(outcome.directory) / "README.md").read_bytes()
    assert b"quality-signals" not in card and b"'mine'" in card
    assert not (Path(outcome.directory) / "quality-signals.parquet").exists()
    # The rules live in the work directory's record: their file may be gone.
    file.unlink()
    gone = next(
        row
        for row in rows_of(made[0].directory).values()
        if row["row_id"] not in kept and 0 < row["num_lines"] < LINES
    )
    story = explain(Path(outcome.directory), gone["swhid"], path=None, workdir=str(tmp_path / "work"))
    assert "quality.short" in repr(story)


def test_the_page_tells_the_truth(made, tmp_path):
    """Breach: the page lists other signals than there are, or one of its examples does not work."""
    page = (Path(__file__).parents[2] / "docs" / "quality.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE)
    assert [(name, unit) for name, unit, _ in listed if name in KNOWN] == [
        (s.name, s.unit) for s in (*SIGNALS, *PARSED)
    ]
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \| .* \|$", page, re.MULTILINE)) >= set(profile_names())
    blocks = dict.fromkeys(("sql", "yaml"), ())
    for kind, block in re.findall(r"^```(\w+)\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        blocks[kind] = (*blocks.get(kind, ()), block)
    assert [load_profile(yaml.safe_load(block)).name for block in blocks["yaml"]] == ["mine"]
    count, join = (block.replace("releases/2.1", str(made[0].directory)) for block in blocks["sql"])
    rows = rows_of(made[0].directory).values()
    assert sum(files for _, files, *_ in duckdb.sql(count).fetchall()) <= len(rows)
    kept = duckdb.sql(join.rstrip("; \n")).fetchall()
    assert 0 < len(kept) <= sum(row["max_line_length"] <= 200 for row in rows)
