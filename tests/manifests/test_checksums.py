"""SHA256SUMS: what we write, coreutils reads, and the other way round."""

from __future__ import annotations

import hashlib
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.checksums import BUFFER_BYTES, format_sums, parse_sums, sha256_file, sha256_files
from manifests.errors import ChecksumError

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(st.dictionaries(NAMES, DIGESTS, max_size=6))
def test_parse_inverts_format_and_lines_are_sorted_by_bytes(digests):
    data = format_sums(digests)
    assert parse_sums(data) == digests
    assert list(parse_sums(data)) == sorted(digests, key=str.encode)
    assert data.count(b"\n") == len(digests)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="coreutils is not installed")
def test_coreutils_agrees_on_odd_names(tmp_path):
    names = [
        "plain",
        "with blank",
        "back\\slash",
        "new\nline",
        "carriage\rreturn",
        "ünïcode",
        "*star",
        "a\\nb",
        " lead",
    ]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(b"body %d" % number)
    ours = format_sums({name: digest for name, (digest, _) in sha256_files(tmp_path, names).items()})
    (tmp_path / "SHA256SUMS").write_bytes(ours)
    subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=tmp_path, check=True, capture_output=True
    )
    theirs = subprocess.run(["sha256sum", "--", *names], cwd=tmp_path, check=True, capture_output=True).stdout
    assert parse_sums(theirs) == parse_sums(ours)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"0" * 64 + b"  a", 1),
        (b"0" * 63 + b"  a\n", 1),
        (b"A" * 64 + b"  a\n", 1),
        (b"0" * 64 + b" a\n", 1),
        (b"0" * 64 + b"  \n", 1),
        (b"0" * 64 + b"  a\n\n", 2),
        (b"0" * 64 + b"  \xff\n", 1),
        (b"\\" + b"0" * 64 + b"  a\\x\n", 1),
        (b"\\" + b"0" * 64 + b"  a\\\n", 1),
        (b"0" * 64 + b"  a\n" + b"1" * 64 + b"  a\n", 2),
    ],
)
def test_malformed_lines_are_named(data, line):
    with pytest.raises(ChecksumError, match=f"line {line}"):
        parse_sums(data)


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_raise_our_error(data):
    try:
        found = parse_sums(data)
    except ChecksumError:
        return
    assert parse_sums(format_sums(found)) == found


@pytest.mark.parametrize(
    "size", [0, 1, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, 3 * BUFFER_BYTES + 7]
)
def test_file_digest_and_progress(tmp_path, size):
    body = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "f").write_bytes(body[:size])
    read: list[int] = []
    assert sha256_file(tmp_path / "f", read.append) == (hashlib.sha256(body[:size]).hexdigest(), size)
    assert sum(read) == size


def test_threads_do_not_change_the_result(tmp_path):
    names = [f"f{number}" for number in range(20)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(b"x" * number)
    assert sha256_files(tmp_path, names, threads=4) == sha256_files(tmp_path, names, threads=1)
    with pytest.raises(FileNotFoundError):
        sha256_files(tmp_path, ["absent"])
