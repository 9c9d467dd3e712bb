"""License headers of source files in a release: what they veto, what rows tell of them, what stays open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import e2e_archives as archives
import e2e_runs as runs
import pyarrow.parquet as pq
import pytest

from licensing.detection import Detection
from manifests.verify import verify_release
from pipeline.explain import explain
from pipeline.explain_words import render
from pipeline.records import the_record
from pipeline.stages import header_notices, licenses

HOST = "https://forge.example"
FREE, BOUND = f"{HOST}/ann/free", f"{HOST}/ben/bound"
GPL = (
    b"# This program is free software: you can redistribute it and/or modify\n"
    b"# it under the terms of the GNU General Public License as published by\n"
    b"# the Free Software Foundation, either version 3 of the License, or\n"
    b"# (at your option) any later version.\n\n"
)
APACHE = b'/* Licensed under the Apache License, Version 2.0 (the "License") */\n'
MIT = b"# Licensed under the MIT license. See LICENSE in the project root.\n"
QUUX = b"// Copyright (c) %d Someone\n//\n// Used under the license of Quux, which nobody has read.\n\n"
POINTS = b"# See the LICENSE file for details.\n"

FILES = {
    b"gpl.py": GPL + archives.python("gpl"),
    b"mit.py": MIT + archives.python("mit"),
    b"apache.js": APACHE + archives.javascript("apache"),
    b"points.py": POINTS + archives.python("points"),
    b"plain.py": archives.python("plain"),
    b"fixture.py": archives.python("fixture") + b'\nTEXT = """\n' + GPL + b'"""\n',
    b"quux1.c": QUUX % 2001 + archives.c_source("quux 1"),
    b"quux2.c": QUUX % 2002 + archives.c_source("quux 2"),
    b"tagged.py": b"# SPDX-License-Identifier: MPL-2.0\n" + archives.python("tagged"),
}
GRANTED = {
    b"isc.py": b"# SPDX-License-Identifier: ISC\n" + archives.python("isc"),
    b"no.py": archives.python("no"),
}


class Oracle:
    """In ScanCode's place: what it is asked is counted, and one notice has an answer."""

    version = "scancode 0"
    asked: list[str] = []  # noqa: RUF012 - of all instances
    answer: str | None = None

    def load(self) -> None:
        """There is nothing to load."""

    def examine(self, text: str) -> tuple[list[Detection], list[tuple[int, int]]]:
        """Of license files: they have tags."""
        return [], [(0, len(text))]

    def detect(self, text: str) -> list[Detection]:
        self.asked.append(text)
        if "Quux" not in text or self.answer is None:
            return []
        return [Detection(self.answer, self.version, "quux_1.RULE", 99.0, 0, len(text))]


@pytest.fixture
def oracle(monkeypatch):
    monkeypatch.setattr(header_notices, "ScanCode", Oracle)
    monkeypatch.setattr(licenses, "ScanCode", Oracle)
    monkeypatch.setattr(Oracle, "asked", [])
    monkeypatch.setattr(Oracle, "answer", "GPL-2.0-only")
    return Oracle


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    world = archives.World(
        [
            archives.Origin(
                url=FREE,
                files={name: archives.File(body) for name, body in FILES.items()},
                licenses={b"": "MIT"},
            ),
            archives.Origin(
                url=BOUND,
                files={name: archives.File(body) for name, body in GRANTED.items()},
                licenses={b"": "GPL-3.0-only"},
            ),
        ]
    )
    return archives.write(world, tmp_path_factory.mktemp("headers") / "archive")


def released(outcome: Any) -> dict[str, dict[str, Any]]:
    shards = sorted((outcome.directory / "data").rglob("*.parquet"))
    return {row["path"]: row for shard in shards for row in pq.read_table(shard).to_pylist()}


def story(outcome: Any, folder: Path, path: str, origin: str = FREE) -> tuple[dict[str, Any], str]:
    told = explain(outcome.directory, origin, path=path, workdir=str(folder / "work"))
    return told, render(told)


@pytest.fixture(scope="module")
def known(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("known")
    return runs.release(small, folder), folder


def test_a_header_vetoes_what_its_directory_permits(known):
    outcome, folder = known
    assert outcome.totals["dropped"]["license_header"] == 2
    told, words = story(outcome, folder, "gpl.py")
    assert (told["files"][0]["reason"], told["files"][0]["detail"]) == ("license_header", "GPL-3.0-or-later")
    (found,) = told["detected"]["header_detections"]
    said = FILES[b"gpl.py"][found["start"] : found["end"]]
    assert said.startswith(b"This program") and said.endswith(b"version") and found["score"] == 100
    assert found["rule"].startswith("gpl-3.0-plus") and found["rule"] in words
    assert story(outcome, folder, "tagged.py")[0]["files"][0]["detail"] == "MPL-2.0"


def test_a_row_has_the_license_of_its_header_and_tells_both(known):
    outcome, _ = known
    rows = released(outcome)
    assert set(rows) == {"mit.py", "apache.js", "points.py", "plain.py", "fixture.py", "quux1.c", "quux2.c"}
    apache = rows["apache.js"]
    assert apache["license_expression"] == "Apache-2.0"
    assert apache["detected_licenses"] == ["Apache-2.0", "MIT"]
    assert [(e["path"], e["expression"]) for e in apache["license_evidence"]] == [
        ("apache.js", "Apache-2.0"),
        ("LICENSE", "MIT"),
    ]
    assert apache["license_evidence"][0]["swhid"] == apache["swhid"]
    assert rows["mit.py"]["license_expression"] == "MIT"
    assert [e["path"] for e in rows["mit.py"]["license_evidence"]] == ["mit.py", "LICENSE"]
    for silent in ("points.py", "plain.py", "fixture.py", "quux1.c"):
        assert rows[silent]["license_expression"] == "MIT"
        assert [e["path"] for e in rows[silent]["license_evidence"]] == ["LICENSE"]
    assert all(row["license_type"] == "permissive" for row in rows.values())
    assert verify_release(outcome.directory).faults == ()


def test_what_nobody_understood_is_counted_and_told(known):
    """Breach: a header that no detector knows is passed over in silence."""
    outcome, folder = known
    record = the_record(str(folder / "work"))
    told, words = story(outcome, folder, "quux1.c")
    left = told["detected"]["header_open"]
    assert left["text"] == "Used under the license of Quux, which nobody has read."
    assert b"license of Quux" in FILES[b"quux1.c"][left["start"] : left["end"]]
    assert "license of Quux" in words
    assert record is not None
    assert story(outcome, folder, "plain.py")[0]["detected"]["header_open"] is None


def test_tags_alone_leave_every_other_statement_open(small, tmp_path):
    outcome = runs.release(small, tmp_path, licenses={"headers": "tags"})
    assert outcome.totals["dropped"]["license_header"] == 1
    told, _ = story(outcome, tmp_path, "gpl.py")
    assert told["files"][0]["reason"] is None
    assert told["detected"]["header_open"]["text"].startswith("This program is free software")


def test_scancode_is_asked_once_for_each_notice_and_its_answer_holds(small, tmp_path, oracle):
    outcome = runs.release(small, tmp_path, buckets=4, licenses={"scancode": True})
    assert outcome.totals["dropped"]["license_header"] == 4
    assert sum("Quux" in text for text in oracle.asked) == 1
    told, words = story(outcome, tmp_path, "quux2.c")
    assert (told["files"][0]["reason"], told["files"][0]["detail"]) == ("license_header", "GPL-2.0-only")
    assert told["detected"]["header_open"] is None and "quux_1.RULE" in words
    asked = len(oracle.asked)
    again = runs.release(
        small, tmp_path, version="1.1", buckets=4, licenses={"scancode": True, "headers": "known"}
    )
    assert again.totals["dropped"]["license_header"] == 2
    more = {"licenses": {"scancode": True}, "quality": {"profile": "none"}}
    runs.release(small, tmp_path, version="1.2", buckets=4, **more)
    assert len(oracle.asked) == asked, "an answer is kept"
    assert (
        runs.release(small, tmp_path / "one", buckets=1, licenses={"scancode": True}).digest == outcome.digest
    )


def test_where_scancode_finds_nothing_the_header_stays_open(small, tmp_path, oracle, monkeypatch):
    monkeypatch.setattr(oracle, "answer", None)
    outcome = runs.release(small, tmp_path, licenses={"scancode": True})
    assert "quux1.c" in released(outcome)
    assert story(outcome, tmp_path, "quux1.c")[0]["detected"]["header_open"] is not None


def test_what_was_asked_for_is_asked_of_headers_too(small, tmp_path):
    outcome = runs.release(small, tmp_path, select={"licenses": ["MIT"]})
    assert "apache.js" not in released(outcome)
    told, _ = story(outcome, tmp_path, "apache.js")
    assert (told["files"][0]["reason"], told["files"][0]["detail"]) == ("license_not_selected", "Apache-2.0")


def test_a_header_grants_only_if_told_to(small, tmp_path, known):
    assert story(*known, "isc.py", BOUND)[0]["files"][0]["reason"] == "license"
    outcome = runs.release(small, tmp_path, licenses={"header_grants": True})
    row = released(outcome)["isc.py"]
    assert (row["license_type"], row["license_expression"]) == ("permissive", "ISC")
    assert row["detected_licenses"] == ["GPL-3.0-only", "ISC"]
    told, _ = story(outcome, tmp_path, "no.py", BOUND)
    assert (told["files"][0]["reason"], told["files"][0]["detail"]) == ("license", "not_permissive")
    assert outcome.totals["found"] == outcome.totals["kept"] + sum(outcome.totals["dropped"].values())
    assert story(outcome, tmp_path, "gpl.py")[0]["files"][0]["reason"] == "license_header"
