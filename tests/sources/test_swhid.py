"""Ids: known vectors, and git itself as the oracle."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources import swhid
from pipeline.sources.swhid import Branch, Entry, Timestamp
from pipeline.tables import PERMS_DIRECTORY, PERMS_EXECUTABLE, PERMS_FILE, PERMS_SUBMODULE, PERMS_SYMLINK

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
EMPTY_SNAPSHOT = "1a8893e6a86f444e8be8e7bda6cb34fb1735a00e"


def test_hashes_of_a_known_content():
    hashes = swhid.hash_content(b"hello\n")
    assert hashes.sha1_git == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert hashes.sha1.startswith("f572d396")
    assert hashes.sha256.startswith("5891b5b5")
    assert hashes.blake2s256.startswith("3969b392")
    assert hashes.length == 6
    assert swhid.swhid("content", hashes.sha1_git) == "swh:1:cnt:ce013625030ba8dba906f756967f9e9ca394464a"


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(1, 7))
def test_hashes_do_not_depend_on_chunks(body, step):
    hasher = swhid.ContentHasher(len(body))
    for start in range(0, len(body), step):
        hasher.update(body[start : start + step])
    assert hasher.result() == swhid.hash_content(body)
    assert hasher.result().sha256 == hashlib.sha256(body).hexdigest()


def test_a_content_of_another_length_than_announced_is_refused():
    hasher = swhid.ContentHasher(3)
    hasher.update(b"ab")
    with pytest.raises(ValueError, match="2 bytes was announced with 3"):
        hasher.result()


def test_empty_objects():
    assert swhid.directory_id([]) == EMPTY_TREE
    assert swhid.snapshot_id({}) == EMPTY_SNAPSHOT


def test_a_published_snapshot_with_every_kind_of_branch():
    """The example snapshot of Software Heritage's data model: all six target types and a dangling branch."""
    branches = {
        b"directory": Branch("1bd0e65f7d2ff14ae994de17a1e7fe65111dcad8", "directory"),
        b"content": Branch("fe95a46679d128ff167b7c55df5d02356c5a1ae1", "content"),
        b"alias": Branch(b"revision", "alias"),
        b"revision": Branch("aafb16d69fd30ff58afdd69036a26047f3aebdc6", "revision"),
        b"release": Branch("7045404f3d1c54e6473c71bbb716529fbad4be24", "release"),
        b"snapshot": Branch(EMPTY_SNAPSHOT, "snapshot"),
        b"dangling": None,
    }
    assert swhid.snapshot_id(branches) == "6e65b86363953b780d92b0a928f3e8fcdd10db36"


def test_directories_sort_as_if_their_names_ended_in_a_slash(repository):
    blob = repository.hash_object("blob", b"x")
    entries = [
        Entry(b"a", PERMS_DIRECTORY, EMPTY_TREE),
        Entry(b"a.c", PERMS_FILE, blob),
        Entry(b"a0", PERMS_EXECUTABLE, blob),
        Entry(b"link", PERMS_SYMLINK, blob),
        Entry(b"module", PERMS_SUBMODULE, "1" * 40),
        Entry(b"\xff\x01\n", PERMS_FILE, blob),
    ]
    repository.hash_object("tree", b"")
    kinds = {"dir": "tree", "rev": "commit", "file": "blob"}
    lines = b"".join(
        b"%06o %s %s\t%s\x00" % (e.perms, kinds[e.type].encode(), e.target.encode(), e.name) for e in entries
    )
    assert swhid.directory_id(entries) == repository("mktree", "-z", "--missing", stdin=lines)


@pytest.mark.parametrize("name", [b"", b"a/b", b"a\x00b"])
def test_names_that_no_tree_can_hold(name):
    with pytest.raises(ValueError, match="cannot hold"):
        swhid.directory_id([Entry(name, PERMS_FILE, "0" * 40)])


def test_a_name_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        swhid.directory_id([Entry(b"a", PERMS_FILE, "0" * 40), Entry(b"a", PERMS_DIRECTORY, EMPTY_TREE)])


@pytest.mark.parametrize(
    ("offset", "minutes"),
    [
        (b"+0230", 150),
        (b"-0800", -480),
        (b"-0000", 0),
        (b"+7500000", 0),
        (b"0200", 0),
        (b"+0299", 0),
        (b"", 0),
    ],
)
def test_offsets(offset, minutes):
    assert Timestamp(seconds=0, offset=offset).offset_minutes == minutes


def test_origin_ids_are_the_sha1_of_the_url():
    assert swhid.origin_id("https://example.org/x") == hashlib.sha1(b"https://example.org/x").hexdigest()
