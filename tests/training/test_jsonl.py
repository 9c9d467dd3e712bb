"""A file of JSON lines: whatever is on a line, it is a row or it is counted, with its reason."""

import gzip
import hashlib
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from training.corpus import jsonl, lines
from training.corpus.jsonl import JsonlSource
from training.errors import TrainingConfigError, TrainingDataError

GOOD = b'{"text": "x = 1\\n", "language": "Python"}'

HOSTILE = [
    (b"", "blank"),
    (b" \t\r", "blank"),
    (b"{", "not_json"),
    (b"nonsense", "not_json"),
    (b"[" * 100_000, "not_json"),
    (b'{"text": "a", "n": ' + b"9" * 10_000 + b"}", "not_json"),  # a number that Python refuses to read
    (b'{"text": "\xff"}', "not_utf8"),
    (b"[1]", "not_an_object"),
    (b"null", "not_an_object"),
    (b"{}", "no_text"),
    (b'{"text": null}', "no_text"),
    (b'{"text": ["a"]}', "no_text"),
    (b'{"content": "a"}', "no_text"),
    (b'{"text": ""}', "empty_text"),
    (b'{"text": "\\ud800"}', "not_unicode"),
    (b'{"text": "a", "path": "\\udfff"}', "not_unicode"),
    (b'{"text": "a", "language": 3}', "bad_language"),
    (b'{"text": "a", "language": "A\\u0007"}', "bad_language"),
    (b'{"text": "a", "language": ""}', "bad_language"),
    (b'{"text": "a", "language": "' + b"x" * 101 + b'"}', "bad_language"),
    (b'{"text": "a", "origin": {}}', "bad_origin"),
    (b'{"text": "a", "path": ["b"]}', "bad_path"),
    (b'{"text": "a", "id": true}', "bad_id"),
    (b'{"text": "a", "repo_name": "' + b"x" * 5000 + b'"}', "bad_repo_name"),
]


def written(folder: Path, data: bytes, name: str = "some.jsonl") -> Path:
    file = folder / name
    file.write_bytes(data)
    return file


def source(file: Path, languages=None) -> JsonlSource:
    return JsonlSource("own", str(file), languages)


def read(opened: JsonlSource, columns=jsonl.TEXT_COLUMNS) -> list[dict]:
    usable = np.array([problem is None for problem in opened.index(["language"])["problem"].to_pylist()])
    found = []
    for rows, batch in opened.texts(usable, columns):
        found += [{"row": int(row), **record} for row, record in zip(rows, batch.to_pylist(), strict=True)]
    return found


@pytest.mark.parametrize(("line", "problem"), HOSTILE, ids=[f"{n}-{p}" for n, (_, p) in enumerate(HOSTILE)])
def test_a_line_that_cannot_be_used_has_its_reason(line, problem, tmp_path):
    opened = source(written(tmp_path, GOOD + b"\n" + line + b"\n" + GOOD + b"\n"))
    assert opened.problems == {problem: (1, 2)}
    assert opened.index()["problem"].to_pylist() == [None, problem, None]
    assert [row["row"] for row in read(opened)] == [0, 2]


def test_all_of_them_in_one_file(tmp_path):
    lines = [line for line, _ in HOSTILE]
    opened = source(written(tmp_path, b"\n".join([*lines, GOOD])))
    assert sum(count for count, _ in opened.problems.values()) == len(lines)
    assert opened.about()["lines"] == len(lines) + 1
    assert [row["row"] for row in read(opened)] == [len(lines)]


@settings(deadline=None, max_examples=80)
@given(
    st.lists(
        st.binary(max_size=40).map(lambda b: b.replace(b"\n", b""))
        | st.dictionaries(
            st.sampled_from(["text", "language", "id", "origin"]), st.text() | st.integers() | st.none()
        ).map(lambda d: json.dumps(d).encode()),
        max_size=12,
    ),
    st.booleans(),
)
def test_every_line_is_a_row_or_counted(tmp_path_factory, lines, end):
    folder = tmp_path_factory.mktemp("lines")
    data = b"\n".join([*lines, GOOD]) + (b"\n" if end else b"")
    assume(not data.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")))  # a compressed file, by its first bytes
    opened = source(written(folder, data))
    rows = read(opened)
    assert opened.index().num_rows == len(lines) + 1
    assert len(rows) + sum(count for count, _ in opened.problems.values()) == len(lines) + 1
    for row in rows:
        given_text = json.loads([*lines, GOOD][row["row"]].decode("utf-8-sig"))["text"]
        assert row["content"] == given_text
        assert row["content_sha256"] == hashlib.sha256(given_text.encode()).hexdigest()


def test_plain_gzip_and_zstandard_hold_the_same_rows(tmp_path):
    data = b"".join(json.dumps({"text": f"row {n}\n" * 50}).encode() + b"\n" for n in range(3000))
    plain = source(written(tmp_path, data, "a.jsonl"))
    packed = [
        gzip.compress(data[:100_000])
        + gzip.compress(data[100_000:]),  # members, as `cat a.gz b.gz` makes them
        zstandard.compress(data[:100_000]) + zstandard.compress(data[100_000:]),
    ]
    for number, compressed in enumerate(packed):
        other = source(written(tmp_path, compressed, f"{number}.jsonl"))
        assert other.digest == hashlib.sha256(compressed).hexdigest()
        assert read(other) == read(plain)
        assert other.index().equals(plain.index())
    assert plain.digest == hashlib.sha256(data).hexdigest()
    assert len(read(plain)) == 3000


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_damaged_file_says_so(kind, tmp_path):
    data = b"".join(json.dumps({"text": os.urandom(200).hex()}).encode() + b"\n" for _ in range(2000))
    checked = zstandard.ZstdCompressor(write_checksum=True)
    compressed = gzip.compress(data) if kind == "gzip" else checked.compress(data)
    middle = len(compressed) // 2
    broken = [
        compressed[:middle] + b"\x00" * 64 + compressed[middle + 64 :],
        compressed[:middle],
        compressed[:-1],
        compressed + compressed[:1000],
    ]
    for number, part in enumerate(broken):
        with pytest.raises(TrainingDataError, match="damaged after line"):
            source(written(tmp_path, part, f"{number}.jsonl"))


def test_a_line_that_is_too_long_is_left_out_and_never_held(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 100)
    fits = b'{"text": "' + b"a" * 88 + b'"}'
    assert len(fits) == 100
    opened = source(written(tmp_path, b"\n".join([GOOD, fits, b"y" * 101, b"z" * 5000, GOOD, b"w" * 300])))
    assert opened.problems == {"too_long": (3, 3)}
    assert [row["row"] for row in read(opened)] == [0, 1, 4]


def test_batches_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl, "BATCH_BYTES", 50)
    opened = source(written(tmp_path, (b'{"text": "' + b"a" * 30 + b'"}\n') * 7))
    assert [len(rows) for rows, _ in opened.texts(np.ones(7, dtype=bool))] == [2, 2, 2, 1]


def test_a_file_that_changes_is_noticed(tmp_path):
    file = written(tmp_path, GOOD + b"\n" + GOOD + b"\n")
    opened = source(file)
    file.write_bytes(GOOD.replace(b"1", b"2") + b"\n" + GOOD + b"\n")
    with pytest.raises(TrainingDataError, match="has changed since it was first read"):
        read(opened)


def test_columns(tmp_path):
    record = {
        "text": "größe = 1\n",
        "id": 7,
        "origin": "https://example.org/a/b",
        "path": "x.py",
        "repo_name": "a/b",
        "license_expression": "MIT",
        "is_vendor": True,
        "stars": 12,
        "huge": 10**400,
        "name": "x",
    }
    opened = source(written(tmp_path, b"\xef\xbb\xbf" + json.dumps(record).encode() + b"\n" + GOOD))
    columns = [
        "row_id",
        "origin",
        "path",
        "repo_name",
        "license_expression",
        "is_vendor",
        "stars",
        "huge",
        "directory_id",
    ]
    table = opened.index([*columns, "length_bytes", "swhid"]).to_pylist()
    assert list(table[0].values()) == [
        "7", "https://example.org/a/b", "x.py", "a/b", "MIT", True, 12.0, None, None, 12,
        "swh:1:cnt:" + hashlib.sha1(b"blob 12\0" + record["text"].encode()).hexdigest(), None,
    ]  # fmt: skip
    assert table[1]["row_id"] == hashlib.sha256(b"x = 1\n").hexdigest()
    assert table[1]["stars"] is None
    assert opened.known == ("Python", "unknown")
    assert opened.numbers == ("huge", "length_bytes", "stars")


def test_languages(tmp_path):
    file = written(tmp_path, GOOD + b'\n{"text": "a"}\n{"text": "b", "language": "Go"}\n')
    opened = source(file, ["Go", "Lua"])
    assert (opened.known, opened.languages, opened.missing) == (
        ("Go", "Python", "unknown"),
        ("Go",),
        ("Lua",),
    )
    assert opened.problems == {"other_language": (2, 1)}
    assert [row["row"] for row in read(opened)] == [2]


def test_nothing_to_read(tmp_path):
    with pytest.raises(TrainingConfigError, match="is not a file"):
        source(tmp_path / "none.jsonl")
    with pytest.raises(TrainingConfigError, match="is not a file"):
        source(tmp_path)
    with pytest.raises(TrainingDataError, match="is empty"):
        source(written(tmp_path, b""))
    with pytest.raises(
        TrainingDataError, match=r"no line can be used \(1 no_text, 1 not_json\).*keys found: 'content'"
    ):
        source(written(tmp_path, b'{"content": "a"}\nx\n'))


def packed(data: bytes, kind: str) -> bytes:
    """As a file of that kind has it; compressed ones in two parts."""
    if kind == "plain":
        return data
    compress = {"gzip": gzip.compress, "zstd": zstandard.compress}[kind]
    return compress(data[: len(data) // 2]) + compress(data[len(data) // 2 :])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.sampled_from([GOOD, b"", b"{}", b'{"text": "b\\u00e9", "id": 3}', b'{"text": "c"}']), max_size=9
    ),
    st.lists(st.sets(st.integers(0, 9)), min_size=1, max_size=5),
    st.sampled_from(["plain", "gzip", "zstd"]),
    st.booleans(),
)
def test_any_lines_in_any_order_of_asking_are_those_of_the_file(
    tmp_path_factory, lines, asked, kind, pickled
):
    lines = [*lines, GOOD]
    file = written(tmp_path_factory.mktemp("again"), packed(b"\n".join(lines), kind))
    opened = source(file)
    usable = opened.index()["problem"].is_null().to_numpy()
    whole = {row["row"]: row["content"] for row in read(opened)}
    assert whole == {n: json.loads(lines[n])["text"] for n in np.flatnonzero(usable)}
    again = pickle.loads(pickle.dumps(opened)) if pickled else opened
    for some in asked:
        chosen = usable & np.isin(np.arange(len(lines)), list(some))
        found = [
            (int(row), text)
            for rows, batch in again.texts(chosen, ["content"])
            for row, text in zip(rows, batch["content"].to_pylist(), strict=True)
        ]
        assert found == [(n, whole[n]) for n in np.flatnonzero(chosen)]


@pytest.mark.parametrize("kind", ["plain", "gzip", "zstd"])
def test_units_of_a_file_cost_one_reading_of_it(kind, tmp_path, monkeypatch):
    """Breach: every unit of tokenising, and every other source's, reads the whole file."""
    data = b"".join(json.dumps({"text": f"{n} " * 400}).encode() + b"\n" for n in range(400))
    opened = source(written(tmp_path, packed(data, kind)))
    size, parsed = 0, 0
    plain, decoded = lines._Reader.bytes, jsonl._decoded

    def counted(self, begin, end):
        nonlocal size
        size += end - min(begin, self.at if self.compressed else begin)
        return plain(self, begin, end)

    def decoded_counted(line, **more):
        nonlocal parsed
        parsed += 1
        return decoded(line, **more)

    monkeypatch.setattr(lines._Reader, "bytes", counted)
    monkeypatch.setattr(jsonl, "_decoded", decoded_counted)
    opened.index(["content_sha256", "row_id", "length_bytes", "directory_id"])
    assert (size, parsed) == (0, 0)
    for unit in np.split(np.arange(400), 20):
        for _ in opened.texts(np.isin(np.arange(400), unit)):
            pass
    assert (size, parsed) == (len(data), 400)
    for _ in opened.texts(
        np.arange(400) == 399
    ):  # after the end: a plain file is read there, others begin anew
        pass
    assert size == (len(data) + len(data.splitlines()[-1]) + 1 if kind == "plain" else 2 * len(data))


@pytest.mark.parametrize(
    "changed",
    [
        b'{"content": "another"}\n' + GOOD,
        b"",
        GOOD[:-3],
        b"\n" * 100,
        GOOD.replace(b"1", b"2") + b"\n" + GOOD,
    ],
    ids=["no text", "empty", "shorter", "blank", "a byte"],
)
def test_whatever_a_file_has_become_is_a_message(changed, tmp_path):
    file = written(tmp_path, GOOD + b"\n" + GOOD + b"\n")
    opened = source(file)
    file.write_bytes(changed)
    with pytest.raises(
        TrainingDataError, match="has changed since it was first read: line 1 is not what it was"
    ):
        list(opened.texts(np.ones(2, dtype=bool)))
    file.unlink()
    with pytest.raises(TrainingDataError, match="cannot be read: No such file"):
        list(opened.texts(np.ones(2, dtype=bool)))


def test_how_deep_a_line_may_be_does_not_depend_on_who_reads_it(tmp_path):
    """Breach: a line that can be used is broken when it is read from a deeper place in the program."""
    deep = [
        b'{"text": "a", "x": ' + b"[" * n + b"1" + b"]" * n + b"}"
        for n in (1, jsonl.MAX_DEPTH - 1, jsonl.MAX_DEPTH)
    ]
    opened = source(
        written(tmp_path, b"\n".join([*deep, b'{"text": "a", "x": ' + b'{"":' * 700 + b"1" + b"}" * 701]))
    )
    assert opened.problems == {"not_json": (2, 3)}

    def deeper(left: int) -> int:
        return deeper(left - 1) if left else len(read(opened))

    assert deeper(500) == 2


def test_frames_of_parallel_compressors(tmp_path):
    """They put a skippable frame with the size before each frame."""
    frame = zstandard.compress(GOOD + b"\n")
    skipped = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + len(frame).to_bytes(4, "little")
    assert len(read(source(written(tmp_path, (skipped + frame) * 3)))) == 3


def test_a_key_of_our_own_columns_is_no_number_to_filter_by(tmp_path):
    line = {"text": "a", "content": 1, "problem": 2, "swhid": 3, "is_vendor": 4, "revision_id": 5, "stars": 6}
    assert source(written(tmp_path, json.dumps(line).encode())).numbers == ("length_bytes", "stars")
