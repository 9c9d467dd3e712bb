"""A token cache on disk: sound or not opened, whole or not there, and not in every process's memory."""

import json
import os
import shutil
import socket

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.errors import OutputError
from training.tokens import stored
from training.tokens.writer import Writer

KEY = "5" * 64


def rows_of(count: int, first: int = 0) -> tuple[np.ndarray, pa.Table, pa.Table]:
    """(tokens, documents, members) of documents of 1, 2, 3, ... tokens."""
    length = np.arange(1, count + 1)
    zeros, numbers = np.zeros(count, np.int64), np.arange(count)
    documents = {
        "content_id": [f"document {first + number}" for number in range(count)],
        "language": zeros,
        "source": zeros + 1,
        "length": length,
        "text_bytes": 3 * length,
    }
    members = {"document": numbers, "row": numbers + first, "token": zeros}
    return np.arange(length.sum()).astype(np.uint16), pa.table(documents), pa.table(members)


def write(cache, count=9, key=KEY):
    with Writer(cache, key) as writer:
        writer.add(*rows_of(count))
        writer.add(*rows_of(count, first=count))
        return writer.done(fim=2)


def same(found, wanted):
    columns = [name for name in vars(wanted) if isinstance(getattr(wanted, name), np.ndarray)]
    assert len(columns) == 8
    assert all((getattr(found, name) == getattr(wanted, name)).all() for name in columns)
    assert found.content_id.equals(wanted.content_id)
    assert (found.key, found.digest, found.fim) == (wanted.key, wanted.digest, wanted.fim)
    return True


def test_what_is_written_is_read(tmp_path):
    found = write(tmp_path)
    assert found.tokens.tolist() == 2 * list(range(45))
    assert found.length.tolist() == 2 * list(range(1, 10))
    assert found.content_id.to_pylist() == [f"document {number}" for number in range(18)]
    assert found.member_document.tolist() == found.member_row.tolist() == list(range(18))
    assert set(found.source.tolist()) == {1}
    assert found.fim == 2
    assert [path.name for path in tmp_path.iterdir()] == [f"tokens-{KEY[:24]}"]
    files = sorted(path.name for path in stored.folder_of(tmp_path, KEY).iterdir() if path.name[0] != ".")
    assert files == ["cache.json", "documents.arrow", "members.arrow", "tokens.bin"]


def test_columns_are_memory_of_the_file(tmp_path):
    """Breach: 64 processes hold the names of ten million documents each."""
    write(tmp_path, count=400)
    before = pa.total_allocated_bytes()
    found = stored.open_cache(stored.folder_of(tmp_path, KEY), KEY)
    assert pa.total_allocated_bytes() - before < 10_000 < found.content_id.nbytes
    numbers = (found.language, found.length, found.text_bytes, found.member_row, found.tokens)
    assert not any(array.flags.owndata for array in numbers)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A cache, its folder without marks, and a folder for damaged copies."""
    cache = tmp_path_factory.mktemp("whole")
    made, folder = write(cache), stored.folder_of(cache, KEY)
    for mark in folder.glob(".hashed-*"):
        mark.unlink()
    return made, folder, cache / "copy"


FILES = (*stored.PARTS.values(), stored.ABOUT)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(FILES), st.floats(0, 1, exclude_max=True), st.integers(0, 255), st.booleans())
def test_any_damage_of_any_file_is_noticed(whole, name, where, value, cut):
    made, folder, copy = whole
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    data = bytearray((copy / name).read_bytes())
    place = int(where * len(data))
    if cut:
        del data[place:]
    else:
        data[place] = value
    (copy / name).write_bytes(data)
    found = stored.open_cache(copy, KEY)
    if found is not None:  # the same byte, or a blank between the entries of cache.json
        assert name == stored.ABOUT or bytes(data) == (folder / name).read_bytes()
        assert same(found, made)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '"x"', "7", "{"])
def test_a_file_that_says_nothing_is_no_cache(whole, text):
    _, folder, copy = whole
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    (copy / stored.ABOUT).write_text(text)
    assert stored.open_cache(copy, KEY) is None


def test_a_cache_of_another_name_is_not_taken(tmp_path):
    write(tmp_path)
    other = KEY[:24] + "6" * 40  # in the same folder
    lines: list[str] = []
    assert stored.found(tmp_path, other, lines.append) is None
    assert "damaged and is made again" in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_two_machines_that_no_lock_reaches(tmp_path, monkeypatch):
    """Breach: the second removes what the first is writing, and the first ends with an error."""
    wanted = write(tmp_path / "alone")
    here, there = Writer(tmp_path, KEY), Writer(tmp_path, KEY)
    with here:
        here.add(*rows_of(9))
        monkeypatch.setattr(socket, "gethostname", lambda: "another")
        with there:
            there.add(*rows_of(9))
            here.add(*rows_of(9, first=9))
            there.add(*rows_of(9, first=9))
            first = here.done(fim=2)
            assert same(there.done(fim=2), wanted)
    assert same(first, wanted)
    assert [path.name for path in tmp_path.iterdir() if path.name != "alone"] == [f"tokens-{KEY[:24]}"]


@pytest.mark.parametrize("step", ["fsync", "write_table", "write_about", "put"])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch, step):
    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os if step == "fsync" else stored, step, full)
    with pytest.raises(OutputError, match=r"tokens-5.*: cannot be written: No space left on device"):
        write(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_writer_leaves_nothing(tmp_path, error):
    with pytest.raises(error), Writer(tmp_path, KEY) as writer:
        writer.add(*rows_of(9))
        raise error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_damaged_cache_that_cannot_be_removed_is_said(tmp_path):
    write(tmp_path)
    (stored.folder_of(tmp_path, KEY) / stored.ABOUT).write_text("{}")
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            stored.found(tmp_path, KEY, lambda _: None)
    finally:
        tmp_path.chmod(0o700)


def test_the_same_documents_give_the_same_bytes(tmp_path):
    write(tmp_path / "one")
    with Writer(tmp_path / "two", KEY) as writer:
        writer.add(*rows_of(9))
        writer.add(*(part[:0] for part in rows_of(9)))
        writer.add(*rows_of(9, first=9))
        writer.done(fim=2)
    one, two = (stored.folder_of(tmp_path / name, KEY) for name in ("one", "two"))
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in FILES)
    assert json.loads((one / stored.ABOUT).read_text())["dtype"] == "uint16"
