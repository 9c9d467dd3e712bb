"""Whole releases that compare within a language, or across origins only; groups of bands change no byte."""

from __future__ import annotations

from pathlib import Path

import e2e_archives as archives
import e2e_runs as runs
import pyarrow.parquet as pq
import pytest

PYTHON, C = archives.python("limits", 60), archives.c_source("limits", 60)
FILES = {
    "a": {"x.py": PYTHON, "y.py": archives.edited(PYTHON, 60, b"one"), "m.c": C},  # the oldest: ranks first
    "b": {"z.py": archives.edited(PYTHON, 60, b"two", 3)},
    "c": {"m.cpp": archives.edited(C, 60, b"three", 3)},
}
ALL = {path for files in FILES.values() for path in files}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with the archive in it; what the tests release shares its work directory."""
    folder = tmp_path_factory.mktemp("limits")
    origins = [
        archives.Origin(
            url=f"https://forge.example/{name}/repo",
            date=archives.NOW - (1_000 - number) * archives.DAY,
            licenses={b"": "MIT"},
            files={path.encode(): archives.File(body) for path, body in files.items()},
        )
        for number, (name, files) in enumerate(FILES.items())
    ]
    archives.write(archives.World(origins), folder / "archive")
    return folder


def kept(folder: Path) -> set[str]:
    return {
        path
        for file in (folder / "data").rglob("*.parquet")
        for path in pq.read_table(file)["path"].to_pylist()
    }


@pytest.mark.parametrize(
    ("number", "limits", "dropped"),
    [
        (1, {}, {"y.py", "z.py", "m.cpp"}),
        (2, {"across_languages": False}, {"y.py", "z.py"}),
        (3, {"across_origins_only": True}, {"z.py", "m.cpp"}),
        (4, {"across_languages": False, "across_origins_only": True, "band_groups": 3}, {"z.py"}),
    ],
    ids=["all", "languages", "origins", "both"],
)
def test_what_is_compared(place, number, limits, dropped):
    """Breach: a file goes for one of another language, or of its own repository, or stays for the wrong reason."""
    outcome = runs.release(place / "archive", place, version=f"1.{number}", near_duplicates=limits)
    assert {Path(path).name for path in kept(outcome.directory)} & ALL == ALL - dropped
    assert outcome.totals["dropped"]["near_duplicate"] == len(dropped)
    card = (outcome.directory / "README.md").read_text()
    assert ("files of the same language" in card) == (not limits.get("across_languages", True))
    assert ("of the same origin were not compared" in card) == limits.get("across_origins_only", False)


def test_groups_of_bands_change_no_byte(place):
    """Breach: how the work is cut up shows in the release, in its manifest or in its configuration."""
    made = []
    for groups in (None, 1, 5):
        near = {"band_groups": groups, "bucket_cap": 63}
        out = str(place / f"{groups}")
        made.append(runs.release(place / "archive", place, version="2.0", out=out, near_duplicates=near))
    assert len({outcome.digest for outcome in made}) == 1
    assert made[2].state == "made" and made[2].units_run > 0
    assert not list((place / "work/stages").glob("near.bands.*/*/*"))
