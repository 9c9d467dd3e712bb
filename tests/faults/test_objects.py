"""Objects that are missing, broken, hostile or lie about themselves: each ends in one status, and nothing else is lost."""

from __future__ import annotations

import gzip
import hashlib
import math
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from graphs import Graph, Made, file, oid, release

from pipeline.engine.store import Store
from pipeline.sources.contents import CORRUPT, MISSING, OK, TOO_LARGE, Contents, Fetched, Wanted
from pipeline.sources.pace import Pace

GOOD = b"def area(width, height):\n    return width * height\n\n\nprint(area(2, 3))\n"
CASES = ("cut", "cut_in_trailer", "not_gzip", "empty_object", "raw", "other_bytes", "bomb", "garbage", "member", "wrong_crc",
         "longer_in_graph", "shorter_in_graph", "zlib_stream", "wrong_sha256", "huge_object",
         "wrong_sha1_git", "wrong_blake2s256")  # fmt: skip
LARGER = ("bomb", "shorter_in_graph", "huge_object")  # than the graph says


def _body(name: str) -> bytes:
    return GOOD + b"# " + hashlib.sha256(name.encode()).hexdigest().encode() + b"\n"


def _add(g: Graph, name: str) -> str:
    body = _body(name)
    whole = gzip.compress(body, mtime=0)
    packed = {
        "cut": whole[: len(whole) // 2],
        "cut_in_trailer": whole[:-3],
        "not_gzip": b"not gzip at all",
        "empty_object": b"",
        "raw": body,
        "other_bytes": gzip.compress(body.swapcase(), mtime=0),
        "bomb": gzip.compress(bytes(1 << 20), mtime=0),
        "garbage": whole + b"what is this",
        "member": whole + gzip.compress(b"import os\n", mtime=0),
        "wrong_crc": whole[:-8] + bytes(4) + whole[-4:],
        "zlib_stream": zlib.compress(body),
        "huge_object": whole + bytes(64 << 20),
    }.get(name)
    override = {
        "longer_in_graph": {"length": len(body) + 1},
        "shorter_in_graph": {"length": len(body) - 1},
        "wrong_sha256": {"sha256": hashlib.sha256(b"another").hexdigest()},
        "wrong_sha1_git": {"sha1_git": oid("another")},
        "wrong_blake2s256": {"blake2s256": hashlib.blake2s(b"another").hexdigest()},
    }.get(name, {})
    return g.content(body, packed, **override)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One release over an archive with every kind of broken object, a lost one, a too large one and three good ones."""
    base = tmp_path_factory.mktemp("objects")
    g = Graph()
    entries = [file(f"{name}.py".encode(), _add(g, name)) for name in CASES]
    lost = g.content(_body("lost"))
    g.objects.pop(g.rows["content"][-1]["sha1"])
    large = g.content(GOOD * 40)
    odd = b'key = "\xc3\xa9"\r\n\r\n' + GOOD.replace(b"area", b"room").replace(b"print", b"assert")
    entries += [file(b"lost.py", lost), file(b"large.py", large), file(b"odd.py", g.content(odd)),
                file(b"good.py", g.content(GOOD)), file(b"nothing.py", g.content(b""))]  # fmt: skip
    g.repository("https://example.org/a/b", entries)
    return release(g.write(base / "archive"), base, {"files": {"max_bytes": 2_000}, "near_duplicates": {"enabled": False},
                                                     "quality": {"profile": "none"}})  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_broken_object_is_corrupt_or_too_large(made: Made, name: str) -> None:
    assert made.reasons()[f"{name}.py".encode()] == ("too_large" if name in LARGER else "corrupt")


def test_the_other_statuses(made: Made) -> None:
    reasons = made.reasons()
    assert reasons[b"lost.py"] == "missing"
    assert reasons[b"large.py"] == "too_large"
    assert made.dropped["corrupt"] == len(CASES) - len(LARGER)
    assert made.dropped["missing"] == 1
    assert made.dropped["too_large"] == 1 + len(LARGER)


def test_everything_else_is_kept_byte_for_byte(made: Made) -> None:
    rows = made.by_path
    assert rows["good.py"]["content"].encode() == GOOD
    assert rows["odd.py"]["content"].encode().startswith(b'key = "\xc3\xa9"')
    for path in ("good.py", "odd.py"):
        row = rows[path]
        assert hashlib.sha256(row["content"].encode()).hexdigest() == row["content_sha256"]


def test_an_empty_file_is_accounted_for(made: Made) -> None:
    assert b"nothing.py" in made.reasons()
    assert made.totals["found"] == made.totals["kept"] + sum(made.dropped.values())


def _wanted(body: bytes, length: int | None = None) -> Wanted:
    sha1 = hashlib.sha1(body, usedforsecurity=False).hexdigest()
    return Wanted(sha1, hashlib.sha256(body).hexdigest(), len(body) if length is None else length)


def fetch(store: Store, wanted: Wanted) -> Fetched:
    return Contents(store, Pace(math.inf, 1)).fetch(wanted)


def test_an_empty_object_of_an_empty_file_is_not_one(tmp_path: Path) -> None:
    wanted = _wanted(b"")
    store = Store(str(tmp_path))
    assert fetch(store, wanted).status == MISSING
    store.put(f"content/{wanted.sha1}", b"")
    assert fetch(store, wanted).status == CORRUPT
    store.put(f"content/{wanted.sha1}", gzip.compress(b""))
    assert fetch(store, wanted).status == OK


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    body = _body("said")
    store, wanted = Store(str(tmp_path)), _wanted(body)
    for packed, status, words in (
        (b"plain", CORRUPT, "not a gzip stream"),
        (gzip.compress(body)[:40], CORRUPT, "cut off"),
        (gzip.compress(body + b"x"), TOO_LARGE, "more than the declared"),
        (gzip.compress(body) + bytes(70_000), TOO_LARGE, "cannot need more than"),
        (gzip.compress(body[::-1]), CORRUPT, "sha1"),
        (gzip.compress(body) + b"x", CORRUPT, "after the end"),
    ):
        store.put(f"content/{wanted.sha1}", packed)
        got = fetch(store, wanted)
        assert (got.status, got.body) == (status, None)
        assert words in got.detail


def test_an_object_that_is_a_folder_is_a_source_error_not_a_crash(tmp_path: Path) -> None:
    wanted = _wanted(GOOD)
    (tmp_path / "content" / wanted.sha1).mkdir(parents=True)
    with pytest.raises(Exception, match="directory") as caught:
        fetch(Store(str(tmp_path)), wanted)
    assert type(caught.value).__name__ == "SourceError"


_BOUNDED = """
import resource, sys
from pathlib import Path
from pipeline.engine.store import Store
from pipeline.sources.contents import Contents, Wanted
from pipeline.sources.pace import Pace
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
got = Contents(Store(sys.argv[1]), Pace(1e9, 1)).fetch(Wanted(sys.argv[2], sys.argv[3], int(sys.argv[4])))
print(got.status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def _grown(archive: Path, wanted: Wanted) -> tuple[str, float]:
    """Status of a fetch in a process of its own, and by how many MiB its peak memory grew."""
    arguments = [sys.executable, "-c", _BOUNDED, str(archive), wanted.sha1, wanted.sha256, str(wanted.length)]
    status, kilobytes = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()
    return status, int(kilobytes) / 1024


def test_a_bomb_of_a_gigabyte_costs_its_declared_length(tmp_path: Path) -> None:
    wanted = _wanted(GOOD)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    bomb = b"".join(packer.compress(zeros) for _ in range(1024)) + packer.flush()
    Store(str(tmp_path)).put(f"content/{wanted.sha1}", bomb)
    status, grown = _grown(tmp_path, wanted)
    assert status == TOO_LARGE
    assert grown < 30


def test_an_object_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    wanted = _wanted(GOOD)
    path = tmp_path / "content" / wanted.sha1
    path.parent.mkdir()
    with path.open("wb") as stream:
        stream.write(gzip.compress(GOOD))
        stream.truncate(3 << 30)  # sparse: no disk is used
    status, grown = _grown(tmp_path, wanted)
    assert status == TOO_LARGE
    assert grown < 30
