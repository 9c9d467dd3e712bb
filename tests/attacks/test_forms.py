"""A release is the same, byte for byte, whichever form of the graph tables it was made from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
from graphs import Graph, file, link, release, settings, submodule

from pipeline.plan import plan_release
from pipeline.sources import orc
from pipeline.sources.orc_writer import write_orc

CODE = b"import os\n\n\ndef area%d(width, height):\n    return width * height + %d\n\n\nprint(area%d(2, 3), os.name)\n"


def test_parquet_and_orc_give_one_release(tmp_path: Path) -> None:
    g = Graph()
    for number in range(4):
        entries = [file(b"a%d.py" % n, g.content(CODE % (number * n, n, n))) for n in range(4)]
        g.repository(
            f"https://example.org/{number}", [*entries, link(b"l", "1" * 40), submodule(b"m", "2" * 40)]
        )
    parquet, form = g.write(tmp_path / "parquet" / "archive"), tmp_path / "orc"
    shutil.copytree(parquet, form / "archive")
    raw = form / "archive" / "graph" / "raw"
    for table in (raw / "parquet").iterdir():
        (raw / "orc" / table.name).mkdir(parents=True)
        write_orc(
            pq.read_table(table / "part-0.parquet"), raw / "orc" / table.name / "part-0.orc", table.name
        )
    shutil.rmtree(raw / "parquet")
    sections = {"near_duplicates": {"enabled": False}, "engine": {"buckets": 1}}
    made = [release(base / "archive", base, sections) for base in (tmp_path / "parquet", form)]
    assert made[0].outcome.digest == made[1].outcome.digest
    assert made[1].totals["found"] == 4 * 7 and made[1].dropped["not_a_file"] == 8
    config = settings(form / "archive", sections)
    plan = plan_release(config, version="2.0", out=tmp_path / "out", workdir=str(form / "work"))
    assert plan["objects"]["rows"] == g.tables()["content"].num_rows
    assert plan["note"].startswith("nothing to run")
    orc.close()
