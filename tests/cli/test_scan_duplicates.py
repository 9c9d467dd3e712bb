"""`pipeline scan duplicates`: what it says of a folder, and how it takes folders that are not nice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from dedup import near_duplicates
from pipeline import scan_duplicates
from pipeline.cli.main import app
from pipeline.errors import SourceError
from pipeline.scan import Folder
from pipeline.scan_duplicates import find_duplicates

WORDS = [f"word{i}" for i in range(200)]
TEXT = "\n".join(WORDS) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "a/first.py": TEXT.encode(),
        "a/wide.py": b"\xff\xfe" + TEXT.encode("utf-16-le"),  # the same text
        "b/near.py": (TEXT + "one more\n").encode(),
        "b/spaced.py": TEXT.replace("\n", "  ;\n").encode(),  # the same words
        "b/other.py": "\n".join(reversed(WORDS)).encode(),
        "c/latin.py": "# caf\xe9 na\xefve d\xe9j\xe0 vu\n".encode("latin-1"),
        "c/image.png": b"\x89PNG\r\n\0\0",
        "c/noise.txt": bytes(range(0x80, 0x100)) * 3,
        "empty/1": b"",
        "empty/2": b"",
        "empty/3": b"",
    }
    for name, body in files.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(body)
    return tmp_path / "tree"


def scan(*arguments: object, code: int = 0):
    result = CliRunner().invoke(app, ["scan", "duplicates", *map(str, arguments)])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_json_has_every_text_file(folder):
    records = [json.loads(line) for line in scan(folder, "--json").stdout.splitlines()]
    found = {record["path"]: record for record in records}
    assert list(found) == sorted(found)
    assert {name: (r["kind"], r["duplicate_of"], r["cluster"], r["kept"]) for name, r in found.items()} == {
        "a/first.py": ("unique", None, "a/first.py", True),
        "a/wide.py": ("exact", "a/first.py", "a/first.py", False),
        "b/near.py": ("near", "a/first.py", "a/first.py", False),
        "b/other.py": ("unique", None, "b/other.py", True),
        "b/spaced.py": ("near", "a/first.py", "a/first.py", False),
        "c/latin.py": ("unique", None, "c/latin.py", True),
        "empty/1": ("unique", None, "empty/1", True),
        "empty/2": ("exact", "empty/1", "empty/1", False),
        "empty/3": ("exact", "empty/1", "empty/1", False),
    }
    assert found["b/near.py"]["similarity"] == 196 / 198
    assert [found[name]["similarity"] for name in ("a/first.py", "a/wide.py", "b/spaced.py")] == [None, 1, 1]


def test_people_see_the_copies_and_what_it_comes_to(folder):
    result = scan(folder)
    assert result.stdout.splitlines() == [
        "exact  100.0%  a/wide.py  =  a/first.py",
        "near    98.9%  b/near.py  =  a/first.py",
        "near   100.0%  b/spaced.py  =  a/first.py",
        "exact  100.0%  empty/2  =  empty/1",
        "exact  100.0%  empty/3  =  empty/1",
    ]
    assert "9 text files, " in result.stderr
    assert ": 4 kept, 3 exact copies, 2 near-duplicates (similarity 0.7 or more)" in result.stderr
    assert "1 binary left out; 1 undecodable left out" in result.stderr
    assert "note: c/noise.txt: left out: its encoding is not known" in result.stderr


def test_groups(folder):
    lines = scan(folder, "--clusters").stdout.splitlines()
    assert lines[:2] == [f"4 files, the kept one of {len(TEXT):,} bytes", "  kept           a/first.py"]
    assert lines[5:] == [
        "3 files, the kept one of 0 bytes",
        "  kept           empty/1",
        "  exact  100.0%  empty/2",
        "  exact  100.0%  empty/3",
    ]
    groups = [json.loads(line) for line in scan(folder, "--clusters", "--json").stdout.splitlines()]
    assert [(group["cluster"], len(group["files"])) for group in groups] == [
        ("a/first.py", 4),
        ("empty/1", 3),
    ]
    every = [json.loads(line) for line in scan(folder, "--json").stdout.splitlines()]
    assert all(file in every for group in groups for file in group["files"])


def test_a_stricter_threshold(folder):
    kinds = [
        json.loads(line)["kind"] for line in scan(folder, "--json", "--threshold", "1").stdout.splitlines()
    ]
    assert kinds.count("near") == 1  # the same words


def test_punctuation_counts_where_it_is_asked_for(folder):
    found = [json.loads(line) for line in scan(folder, "--json", "--operators").stdout.splitlines()]
    assert [r["path"] for r in found if r["kind"] == "near"] == ["b/near.py"]


@pytest.mark.parametrize(
    "value", ["7", "0", "-0.7", "1.0001", "nan", "inf", "1e999", "1e999999999", "", "much", "1/0"]
)
def test_a_threshold_out_of_range_is_refused_before_anything_is_read(value, folder):
    result = CliRunner().invoke(app, ["scan", "duplicates", str(folder / "nowhere"), f"--threshold={value}"])
    assert "threshold" in str(result.exception)
    assert type(result.exception).__name__ == "ThresholdError"  # exit code 2: tests/cli/test_hostile_names.py


def test_it_says_what_near_duplicates_says_of_the_texts(edited_texts, tmp_path):
    for number, text in enumerate(edited_texts):
        (tmp_path / f"{number:04}.txt").write_bytes(text)
    found = find_duplicates(Folder(tmp_path, max_bytes=1 << 20, note=print), threshold="0.8", note=print)
    expected = near_duplicates(pa.array(edited_texts, pa.large_binary()), threshold="0.8")
    expected = expected.drop_columns("estimated")  # it never is
    assert found.duplicates.table.rename_columns(expected.column_names).to_pylist() == expected.to_pylist()
    assert found.duplicates.counts["near"] > 10


@pytest.fixture
def edited_texts() -> list[bytes]:
    rng = np.random.default_rng(5)
    texts: list[list[str]] = []
    for _ in range(120):
        base = list(texts[rng.integers(len(texts))]) if texts and rng.random() < 0.6 else None
        words = base or [f"w{n}" for n in rng.integers(0, 2000, 150)]
        for at in rng.integers(0, len(words), 2):
            words[at] = f"w{rng.integers(0, 2000)}"
        texts.append(words)
    return [" ".join(words).encode() for words in texts]


def test_files_that_cannot_be_read_are_no_empty_files(folder, monkeypatch):
    """Breach: unreadable files are reported as copies of each other, and of every empty file."""
    real = Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: real(path) if path.parent.name != "a" else _refuse(path)
    )
    result = scan(folder, "--json")
    paths = [json.loads(line)["path"] for line in result.stdout.splitlines()]
    assert [path for path in paths if path.startswith("a/")] == []
    assert "note: 'a/first.py': not read: Permission denied" in result.stderr
    assert "2 unreadable left out" in result.stderr


def _refuse(path: Path) -> bytes:
    raise PermissionError(13, "Permission denied", str(path))


@pytest.mark.parametrize("change", [b"now something else", None], ids=["changed", "gone"])
def test_a_file_that_changes_meanwhile_is_noticed(folder, change):
    """Breach: a similarity is told of a text that nobody saw."""
    tree = Folder(folder, max_bytes=1 << 20, note=lambda text: None)

    def meanwhile(files: int, size: int) -> None:
        if change is None:
            (folder / "b/near.py").unlink()
        else:
            (folder / "b/near.py").write_bytes(change)

    with pytest.raises(SourceError, match="run again"):
        find_duplicates(tree, threshold="0.7", note=lambda text: None, progress=meanwhile)


def test_nothing_to_scan(tmp_path):
    result = scan(tmp_path)
    assert (result.stdout, result.stderr) == (
        "",
        "0 text files, 0.0 MB: 0 kept, 0 exact copies, 0 near-duplicates (similarity 0.7 or more); "
        "the copies hold 0.0 MB\n",
    )
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe/fifo")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert scan(tmp_path, "--json").stdout == ""
    assert scan(tmp_path, "--clusters").stdout == ""


def test_no_text_is_held(folder, monkeypatch):
    """Breach: a folder larger than memory ends in memory."""
    for number in range(300):
        (folder / f"big{number}.txt").write_bytes(b"%d " % number * 20_000)
    monkeypatch.setattr("pipeline.scan._BATCH_BYTES", 100_000)
    allocated = []
    before = pa.total_allocated_bytes()
    real = scan_duplicates.Deduplicator.finish

    def finish(self):
        allocated.append(pa.total_allocated_bytes() - before)
        return real(self)

    monkeypatch.setattr(scan_duplicates.Deduplicator, "finish", finish)
    scan(folder, "--json")
    assert allocated[0] < 2_500_000  # of 25 MB; other tests' readers are in it, too
