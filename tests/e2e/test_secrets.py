"""Secrets in a release: settings by language and place, what is spared, own rules, the budget, and the last look."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import e2e_archives as archives
import e2e_runs as runs
import pyarrow.parquet as pq
import pytest
import yaml

from manifests.verify import verify_release
from pipeline import config as configuration
from pipeline.errors import ConfigError, GateError

ORIGIN = "https://one.example/repository"
OTHER = "https://two.example/repository"


def mail(number: int) -> bytes:
    """An address that no example domain excuses, made here."""
    return b"%s.%d@%s%d.net" % (b"jordan", number, b"mailhost", number)


def key(number: int) -> bytes:
    """A made-up access key of a cloud, from parts."""
    return archives.access_key(random.Random(number))


def markdown(seed: object, *lines: bytes) -> bytes:
    words = random.Random(f"markdown {seed}")
    text = [" ".join(words.choices(archives.WORDS, k=9)).encode() for _ in range(24)]
    return b"# Notes\n\n" + b".\n".join([*text[:12], *lines, *text[12:]]) + b".\n"


def code(seed: object, *lines: bytes) -> bytes:
    return archives.python(seed) + b"".join(b"%s\n" % line for line in lines)


def world_of(files: dict[bytes, bytes], others: dict[bytes, bytes] | None = None) -> archives.World:
    origins = [
        archives.Origin(
            url=ORIGIN,
            files={path: archives.File(body) for path, body in files.items()},
            licenses={b"": "MIT"},
        )
    ]
    if others:
        origins.append(
            archives.Origin(
                url=OTHER,
                files={path: archives.File(body) for path, body in others.items()},
                licenses={b"": "MIT"},
            )
        )
    return archives.World(origins=origins)


def released(folder: Path) -> dict[str, dict[str, Any]]:
    """The rows of a release by path."""
    rows = [row for file in sorted(folder.glob("data/*/*.parquet")) for row in pq.read_table(file).to_pylist()]
    return {row["path"]: row for row in rows}


def kinds(row: dict[str, Any]) -> list[str]:
    return [one["kind"] for one in row["redactions"]]


# ------------------------------------------------------------------------------------------- settings by place

SAME = code("at two places", b"MAIL = '%s'" % mail(1))
BY_PLACE = world_of(
    {
        b"src/app.py": code("app", b"MAIL = '%s'" % mail(2), b"KEY = '%s'" % key(2)),
        b"docs/notes.md": markdown("notes", b"Write to %s" % mail(3)),
        b"docs/sample.py": code("sample", b"MAIL = '%s'" % mail(4)),
        b"docs/shared.py": SAME,
        b"marked.py": code("marked", b"KEY = '%s'  # pragma: allowlist secret" % key(5)),
        b"valued.py": code("valued", b"KEY = '%s'" % key(6), b"MAIL = '%s'" % mail(6)),
        b"clean.py": code("clean"),
    },
    {b"lib/shared.py": SAME, b"lib/other.py": code("other", b"MAIL = '%s'" % mail(7))},
)
POLICY = {
    "languages": {"Markdown": {"kinds": {"email": "off"}}},
    "allow": [
        {"reason": "addresses of the examples", "kinds": ["email"], "paths": ["docs/**"]},
        {"reason": "withdrawn", "values": [hashlib.sha256(key(6)).hexdigest()]},
    ],
    "obey_pragmas": True,
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    return archives.write(BY_PLACE, tmp_path_factory.mktemp("secrets") / "archive")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="module")
def plain(archive, folder):
    return runs.release(archive, folder, version="1.0")


@pytest.fixture(scope="module")
def placed(archive, folder, plain):
    """After the default release, in the same work directory."""
    return runs.release(archive, folder, version="2.0", secrets=POLICY)


def test_without_a_policy_everything_is_redacted(plain):
    rows = released(plain.directory)
    assert kinds(rows["src/app.py"]) == ["email", "key"] and kinds(rows["docs/notes.md"]) == ["email"]
    assert kinds(rows["marked.py"]) == ["key"] and kinds(rows["valued.py"]) == ["key", "email"]
    assert not (plain.directory / "secrets-spared.parquet").exists()


def test_settings_are_the_strictest_of_all_places(placed):
    rows = released(placed.directory)
    assert kinds(rows["src/app.py"]) == ["email", "key"]
    assert kinds(rows["docs/notes.md"]) == []  # the language says off
    assert kinds(rows["docs/sample.py"]) == []  # the path is allowed
    (shared,) = (row for path, row in rows.items() if path.endswith("shared.py"))
    assert kinds(shared) == ["email"]  # one of its two places is not
    assert kinds(rows["marked.py"]) == []
    assert kinds(rows["valued.py"]) == ["email"]


def test_what_is_spared_is_recorded_and_holds_no_value(placed):
    file = placed.directory / "secrets-spared.parquet"
    rows = {row["row_id"]: row for row in released(placed.directory).values()}
    found = pq.read_table(file).to_pylist()
    there = {
        (rows[one["row_id"]]["path"], rows[one["row_id"]]["content"].encode()[one["start"] : one["end"]], one["why"])
        for one in found
    }
    assert there == {
        ("docs/sample.py", mail(4), "allowed: addresses of the examples"),
        ("valued.py", key(6), "allowed: withdrawn"),
        ("marked.py", key(5), "pragma"),
    }
    assert [one["row_id"] for one in found] == sorted(one["row_id"] for one in found)
    for value in (mail(4), key(5), key(6)):
        assert value not in file.read_bytes()
    assert verify_release(placed.directory).ok


def test_only_what_it_must_is_scanned_again(archive, folder, placed, tmp_path):
    """Other exceptions: contents without findings are carried over; the others are scanned once more."""
    policy = {**POLICY, "allow": POLICY["allow"][:1]}
    done = set((folder / "work/stages/annotate.secrets").glob("*/stage.json"))
    made = runs.release(archive, folder, version="3.0", secrets=policy)
    (new,) = (file for file in (folder / "work/stages/annotate.secrets").glob("*/stage.json") if file not in done)
    counts = Counter[str]()
    for unit in json.loads(new.read_text())["units"].values():
        counts.update(unit["counts"])
    assert counts["annotated.secrets"] == 6 and counts["carried.secrets"] == 2
    fresh = runs.release(archive, tmp_path, version="3.0", secrets=policy)
    assert fresh.digest == made.digest


def test_any_number_of_buckets_gives_the_same_bytes(archive, placed, tmp_path):
    assert runs.release(archive, tmp_path, version="2.0", buckets=8, secrets=POLICY).digest == placed.digest
