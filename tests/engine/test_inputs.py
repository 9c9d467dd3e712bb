"""Users' files that stages read travel through the work directory."""

from __future__ import annotations

import hashlib

import pytest

from pipeline.engine.inputs import keep, kept
from pipeline.engine.store import Store
from pipeline.errors import IntegrityError, SourceError


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "work"))


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("registry.jsonl", ".jsonl"),
        ("policy.YAML", ".YAML"),
        ("plain", ""),
        ("odd.a b", ""),
        ("x.123456789", ""),
    ],
)
def test_the_same_bytes_under_their_digest(store, tmp_path, name, suffix):
    """Breach: a reader that tells formats apart by the suffix meets another one."""
    (tmp_path / name).write_bytes(b"one\n")
    key = keep(store, tmp_path / name)
    assert key == f"inputs/{hashlib.sha256(b'one' + bytes([10])).hexdigest()}{suffix}"
    assert keep(store, tmp_path / name) == key
    copy = kept(store, key, tmp_path)
    assert (copy.read_bytes(), copy.suffix) == (b"one\n", suffix)


def test_a_changed_file_is_another_one(store, tmp_path):
    """Breach: a rule that was edited between two releases is not seen, or changes under a running task."""
    file = tmp_path / "registry.yaml"
    file.write_bytes(b"one")
    first = keep(store, file)
    file.write_bytes(b"two")
    second = keep(store, file)
    assert first != second
    assert kept(store, first, tmp_path).read_bytes() == b"one"


def test_what_is_lost_or_damaged_is_told(store, tmp_path):
    file = tmp_path / "registry.yaml"
    file.write_bytes(b"one")
    key = keep(store, file)
    store.put(key, b"another")
    with pytest.raises(IntegrityError, match="is damaged"):
        kept(store, key, tmp_path)
    store.delete(key)
    with pytest.raises(IntegrityError, match="is missing"):
        kept(store, key, tmp_path)
    with pytest.raises(SourceError, match=r"absent\.yaml: cannot be read"):
        keep(store, tmp_path / "absent.yaml")
