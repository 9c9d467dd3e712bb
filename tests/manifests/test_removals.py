"""`removals.jsonl`: what is written is read back; a line that is none is named."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests import canonical
from manifests.errors import RemovalsError
from manifests.removals import MAX_LINE_BYTES, Tombstone, format_line, format_removals, read_removals

hexes = st.integers(0, 16**32 - 1).map("{:032x}".format)
tombstones = st.builds(
    Tombstone, hexes, hexes.map(lambda one: one * 2), st.sampled_from(["2.1", "10.0.3-rc.1"])
)


def read(data: bytes) -> list[Tombstone]:
    return list(read_removals(io.BytesIO(data), "removals.jsonl"))


@given(st.lists(tombstones, unique_by=lambda one: one.row_id))
def test_read_gives_what_was_written(some):
    data = format_removals(some)
    assert read(data) == sorted(some, key=lambda one: one.row_id)
    for line in data.splitlines():
        assert canonical.dumps(canonical.load(line)) == line


ONE = Tombstone("0" * 32, "1" * 64, "2.1")
GOOD = format_line(ONE)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (GOOD[:-1], "line 1: the file ends in the middle of a line"),
        (GOOD + GOOD, "line 2: not sorted"),
        (GOOD + b"\n", "line 2: not JSON"),
        (GOOD + b"[1]\n", "line 2: not an object"),
        (b"\xff\n", "line 1: not UTF-8"),
        (b"x" * (MAX_LINE_BYTES + 5), "line 1: longer than"),
        (b"[" * 1000 + b"\n", "line 1: "),
        (GOOD.replace(b"withdrawn", b"opted_out"), "line 1: the reason"),
        (GOOD.replace(b'"version":"2.1"', b'"version":2.1'), "line 1: .* not a release version"),
        (GOOD.replace(b'"version":"2.1"', b'"version":"../x"'), "line 1: .* not a release version"),
        (GOOD.replace(b"0" * 32, b"0" * 31 + b"G"), "line 1: row_id"),
        (GOOD.replace(b'"' + b"0" * 32 + b'"', b"7"), "line 1: row_id"),
        (GOOD.replace(b"1" * 64, b"1" * 63), "line 1: content_sha256"),
        (GOOD.replace(b'"reason"', b'"extra":1,"reason"'), "line 1: not an object with exactly"),
        (GOOD.replace(b'"reason"', b'"row_id":"x","reason"'), "line 1: .* twice"),
    ],
)
def test_a_line_that_is_no_tombstone_is_named(data, words):
    with pytest.raises(RemovalsError, match=f"removals.jsonl, {words}"):
        read(data)


def test_memory_does_not_grow_with_the_file():
    """A line is asked for with a bound: a file of one endless line is given up after a kilobyte."""

    class Endless(io.RawIOBase):
        asked = 0

        def readline(self, size: int | None = -1) -> bytes:  # type: ignore[override]
            assert size is not None and 0 < size <= MAX_LINE_BYTES + 1
            self.asked += size
            return b"x" * size

    stream = Endless()
    with pytest.raises(RemovalsError, match="longer than"):
        list(read_removals(stream, "removals.jsonl"))  # type: ignore[arg-type]
    assert stream.asked <= MAX_LINE_BYTES + 1
