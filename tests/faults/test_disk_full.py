"""A disk that fills up: exit code 5, a message that says what to do, and a second run that ends as if nothing had been."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from graphs import Graph, Made, file, release

from pipeline.errors import SourceError

_SMALL_KIB, _LARGE_KIB = 400, 65_536


def _mount(path: Path, kibibytes: int, more: str = "") -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k{more}", "tmpfs", str(path)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 400 KiB."""
    path = tmp_path / "disk"
    path.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None or not _mount(path, _SMALL_KIB):
        pytest.skip("NO SMALL DISK: mounting one needs root; a full disk stays untested here")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def _grow(disk: Path) -> None:
    assert _mount(disk, _LARGE_KIB, ",remount")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that do not compress, so that bodies and shards need room."""
    g = Graph()
    files = [
        file(f"m{number:02d}.py".encode(), g.content(_noise(number)))
        for number in range(24)
    ]  # fmt: skip
    g.repository("https://example.org/a/b", files)
    return g.write(tmp_path_factory.mktemp("full") / "archive")


def _noise(number: int) -> bytes:
    words = (oct(number * 7919 + line * 104_729 + line**5)[2:] for line in range(500))
    return b"".join(
        b"def f%b(x):\n    return x + %b\n" % (w.encode(), w[::-1].lstrip("0").encode() or b"1")
        for w in words
    )


SECTIONS = {
    "quality": {"profile": "none"},
    "near_duplicates": {"enabled": False},
    "secrets": {"max_findings": 1_000_000},
}


@pytest.fixture(scope="module")
def expected(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return release(archive, tmp_path_factory.mktemp("room"), SECTIONS)


def test_a_full_work_directory(archive: Path, expected: Made, disk: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "work").symlink_to(disk)
    with pytest.raises(SourceError, match=r"no space left.*--workdir"):
        release(archive, base, SECTIONS)
    assert not list((base / "out").iterdir())
    assert not [path for path in disk.rglob("*") if ".tmp-" in path.name]
    _grow(disk)
    made = release(archive, base, SECTIONS)
    assert made.outcome.digest == expected.outcome.digest
    assert made.outcome.units_skipped > 0


def test_a_full_release_folder(archive: Path, expected: Made, disk: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "out").symlink_to(disk)
    (disk / "ballast").write_bytes(bytes(300 << 10))
    with pytest.raises(SourceError, match=r"no space left.*--out"):
        release(archive, base, SECTIONS)
    assert [path.name for path in disk.iterdir()] == ["ballast"]
    _grow(disk)
    made = release(archive, base, SECTIONS)
    assert made.outcome.digest == expected.outcome.digest
    assert made.outcome.units_run == 0


def test_a_disk_that_may_only_be_read(archive: Path, disk: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "work").symlink_to(disk)
    assert _mount(disk, _SMALL_KIB, ",remount,ro")
    with pytest.raises(SourceError, match=r"read-only.*--workdir"):
        release(archive, base, SECTIONS)
