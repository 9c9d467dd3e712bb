"""Settings of the sketch: what they change in a release, and what they do not make anybody do again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import e2e_archives as archives
import e2e_runs as runs
import pyarrow.parquet as pq
import pytest

from pipeline.stages import secrets

OPERATORS = str.maketrans("+*=:(", "-/!;[")  # no word changes


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """Files of one origin: two that differ in a few words, two that differ in operators only, one alone."""
    near, signs = archives.python("near").decode(), archives.python("signs").decode()
    files = {
        b"near.py": near,
        b"near_too.py": near.replace("return", "yield", 1),
        b"signs.py": signs,
        b"signs_too.py": signs.translate(OPERATORS),
        b"alone.py": archives.python("alone").decode(),
    }
    origin = archives.Origin(
        url="https://forge.example/a/b",
        files={name: archives.File(text.encode()) for name, text in files.items()},
        licenses={b"": "MIT"},
    )
    return archives.write(archives.World([origin]), tmp_path_factory.mktemp("signs") / "archive")


def stored(workdir: Path, name: str) -> dict[str, list[str]]:
    """Key of each store of this name -> the contents in it, with repetitions."""
    return {
        folder.name: sorted(
            sha256
            for path in folder.rglob("*.parquet")
            for sha256 in pq.read_table(path, columns=["sha256"], partitioning=None)["sha256"].to_pylist()
        )
        for folder in sorted((workdir / "annotations" / name).glob("*"))
    }


def paths(release: Any) -> set[str]:
    return {
        path
        for shard in (Path(release.directory) / "data").rglob("*.parquet")
        for path in pq.read_table(shard, columns=["path"])["path"].to_pylist()
    }


SETTINGS: dict[str, dict[str, Any]] = {
    "off": {"enabled": False},
    "words": {},
    "signs": {"operators": True},
    "classic": {"operators": True, "sketch": "minhash"},
}


@pytest.fixture(scope="module")
def made(archive, tmp_path_factory):
    """One release per setting, all in one work directory; what its stores held after each; how often kernels were
    compiled, as if none was cached. The last one is made twice."""
    folder, releases, scans, sketches = tmp_path_factory.mktemp("settings"), {}, [], []
    calls: list[int] = []
    compiled = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secrets, "kernels_are_cached", lambda: False)
        patch.setattr(secrets, "compile_kernels", lambda: calls.append(1))
        for number, (name, near) in enumerate([*SETTINGS.items(), list(SETTINGS.items())[-1]]):
            version = f"1.{min(number, len(SETTINGS) - 1)}"
            releases[name] = runs.release(archive, folder, version=version, buckets=1, near_duplicates=near)
            scans.append(stored(folder / "work", "released"))
            sketches.append(stored(folder / "work", "sketch"))
            compiled.append(len(calls))
    return releases, scans, sketches, compiled


def test_other_settings_sketch_again_and_scan_nothing_again(made):
    """Breach: a sketch is part of what scanning is a function of, or sketches of two settings are mixed."""
    _, scans, sketches, _ = made
    assert len(scans[0]) == 1
    assert all(found == scans[0] for found in scans)
    assert [len(found) for found in sketches] == [0, 1, 2, 3, 3]
    (contents,) = scans[0].values()
    assert all(found == contents for found in sketches[-1].values())


def test_kernels_are_compiled_before_the_workers_need_them_and_only_then(made):
    """Not without sketches, and not where nothing is left to do."""
    assert made[3] == [0, 1, 2, 3, 3]


def test_sketches_made_afterwards_are_those_made_while_scanning(archive, made, tmp_path):
    releases = made[0]
    scratch = runs.release(archive, tmp_path, version="1.2", buckets=1, near_duplicates=SETTINGS["signs"])
    assert scratch.digest == releases["signs"].digest


def test_only_with_operators_do_files_that_differ_in_punctuation_differ(made):
    kept = {name: paths(release) for name, release in made[0].items()}
    assert {name: len(found) for name, found in kept.items()} == {
        "off": 5, "words": 3, "signs": 4, "classic": 4,
    }  # fmt: skip
    assert len(kept["words"] & {"near.py", "near_too.py"}) == 1
    assert len(kept["words"] & {"signs.py", "signs_too.py"}) == 1
    assert kept["signs"] == kept["classic"] >= {"signs.py", "signs_too.py", "alone.py"}
    card = Path(made[0]["signs"].directory, "README.md").read_text()
    assert "punctuation included" in card
