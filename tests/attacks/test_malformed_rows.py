"""Rows that broke a release once, by name: each keeps its place among the occurrences, and its neighbours are released."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path

import pytest
from graphs import DAY, Graph, Made, export_of, file, folder, oid, release

from pipeline.audit import census

CODE = b"import os\n\n\ndef area%d(width, height):\n    return width * height + %d\n\n\nprint(area%d(2, 3), os.name)\n"
SECONDS = {
    "first": -62_135_596_800, "before": -62_135_596_801, "last": 253_402_300_799, "after": 253_402_300_800, "huge": 1 << 62,
    "least": -(1 << 63), "none": None,
}  # fmt: skip


def _root(
    g: Graph, name: str, number: int, *more: tuple[bytes | None, str | None, str | None, int | None]
) -> str:
    mit = g.content(b"SPDX-License-Identifier: MIT\n")
    return g.directory(
        name,
        [
            file(b"LICENSE", mit),
            file(name.encode() + b".py", g.content(CODE % (number, number, number))),
            *more,
        ],
    )


CODE_COUNT = len(SECONDS) + 3
"""Origins that have a root and one file of code each."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    base = tmp_path_factory.mktemp("rows")
    g = Graph()
    for number, (name, seconds) in enumerate(SECONDS.items()):
        tip = g.revision(name, _root(g, name, number), seconds, 2**32 - 1)
        g.origin(f"https://example.org/{name}", g.snapshot(name, [(b"HEAD", tip, "revision")]))
    # Ids that are none, as targets of entries; a type that is none; a name that is none.
    odd = _root(g, "odd", 100, file(b"short", "ab"), file(b"path", "../../../etc/passwd"), file(b"null", None),
                folder(b"d", "x"), (b"type", None, oid("t"), 0o100644), (None, "file", oid("n"), 0o100644))  # fmt: skip
    g.origin("https://example.org/odd", g.snapshot("odd", [(b"HEAD", g.revision("odd", odd), "revision")]))
    # A branch, a tag and a revision that say two things; the smaller counts, in any order of the rows.
    twice = _root(g, "twice", 101)
    tip = g.revision("twice", twice)
    g.rows["revision"].append(g.rows["revision"][-1] | {"directory": "f" * 40})
    tag = g.tag("twice", tip, "revision")
    g.tag("twice", None, None)
    g.origin(
        "https://example.org/twice",
        g.snapshot("twice", [(b"HEAD", "f" * 40, "snapshot"), (b"HEAD", tag, "release")]),
    )
    # A visit without a date is none; one beyond the calendar neither; the dated one counts.
    dated = g.snapshot("dated", [(b"HEAD", g.revision("dated", _root(g, "dated", 102)), "revision")])
    g.origin("https://example.org/dated")
    g.visit("https://example.org/dated", 9, None, "full", oid("no such snapshot"))
    g.visit("https://example.org/dated", 1, DAY, "full", dated)
    g.origin("https://example.org/undated")
    g.visit("https://example.org/undated", 1, None, "full", dated)
    for row in g.rows["content"]:
        row["blake2s256"] = None  # not every export has it
    return release(g.write(base / "archive"), base, {"near_duplicates": {"enabled": False}, "quality": {"profile": "none"},
                                                     "engine": {"buckets": 2}})  # fmt: skip


def test_origins(made: Made) -> None:
    told = json.loads((made.directory / "manifest.json").read_bytes())["origins"]
    assert told == {"found": CODE_COUNT + 1, "resolved": CODE_COUNT, "unresolved": {"no_full_visit": 1}}


def test_every_neighbour_is_kept(made: Made) -> None:
    names = {path.removesuffix(".py") for path in made.by_path}
    assert names - {"LICENSE"} == {*SECONDS, "odd", "twice", "dated"}


def test_entries_that_point_nowhere_are_occurrences(made: Made) -> None:
    reasons = made.reasons()
    for path in (b"short", b"path", b"null", b"d", b"type"):
        assert reasons[path] == "not_archived", path
    assert made.dropped["not_archived"] == 5
    archive = made.directory.parent.parent / "archive"
    counted = census(export_of(archive), prefixes=(), limit=None, max_depth=64, max_entries=10**6)
    assert counted.found == made.totals["found"]


def test_dates_are_those_of_a_calendar_or_none(made: Made) -> None:
    rows = made.by_path
    assert rows["first.py"]["revision_date"] == datetime(1, 1, 1, 0, 0, 0, 999_999)
    assert rows["last.py"]["revision_date"] == datetime(9999, 12, 31, 23, 59, 59, 999_999)
    for name in ("before", "after", "huge", "least", "none"):
        assert rows[f"{name}.py"]["revision_date"] is None, name
    assert rows["dated.py"]["visit_date"] == DAY


def test_hashes_that_an_export_does_not_have_are_taken_from_the_bytes(made: Made) -> None:
    for row in made.rows:
        assert row["blake2s256"] == hashlib.blake2s(row["content"].encode()).hexdigest()


def test_an_object_key_outside_the_content_folder_is_never_asked_for(tmp_path: Path) -> None:
    """The key of an object comes from the graph: `../secret` must not leave the store."""
    g = Graph()
    body = CODE % (7, 7, 7)
    target = g.content(body, sha1="../secret")
    g.repository(
        "https://example.org/a/b", [file(b"a.py", g.content(CODE % (8, 8, 8))), file(b"s.py", target)]
    )
    archive = g.write(tmp_path / "archive")
    (archive / "secret").write_bytes(next(iter(g.objects.values())))
    made = release(archive, tmp_path)
    assert made.reasons()[b"s.py"] == "not_archived"
