"""Trees, commits and tags: what is parsed gives the same bytes back, whatever they are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources import swhid
from pipeline.sources.git_objects import parse_commit, parse_tag, parse_tree

TREE = b"tree " + b"4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"
PARENT = b"parent " + b"1" * 40 + b"\n"
AUTHOR = b"author Ada <ada@example.org> 1700000000 +0230\n"
COMMITTER = b"committer Carl <c@example.org> -5 -0000\n"


def test_a_plain_commit():
    revision = parse_commit(TREE + PARENT + PARENT + AUTHOR + COMMITTER + b"\nfirst\n\nbody\n")
    assert revision.parents == ("1" * 40, "1" * 40)
    assert revision.author == b"Ada <ada@example.org>"
    assert revision.date == swhid.Timestamp(seconds=1_700_000_000, offset=b"+0230")
    assert revision.committer_date == swhid.Timestamp(seconds=-5, offset=b"-0000")
    assert revision.message == b"first\n\nbody\n"
    assert revision.raw_manifest is None


def test_extra_headers_keep_their_lines_and_order():
    extra = (
        b"encoding latin-1\ngpgsig -----BEGIN X-----\n \n abc\n -----END X-----\nmergetag object 1\n type x\n"
    )
    raw = TREE + AUTHOR + COMMITTER + extra + b"\nm"
    revision = parse_commit(raw)
    assert revision.extra_headers == (
        (b"encoding", b"latin-1"),
        (b"gpgsig", b"-----BEGIN X-----\n\nabc\n-----END X-----"),
        (b"mergetag", b"object 1\ntype x"),
    )
    assert revision.raw_manifest is None
    assert revision.manifest() == raw


@pytest.mark.parametrize(
    "raw",
    [
        TREE + b"author no date at all\n" + COMMITTER + b"\nm",
        TREE + b"author A <a> 99999999999999999999999 +0000\n" + COMMITTER + b"\nm",
        TREE + b"author A <a> 0012 +0000\n" + COMMITTER + b"\nm",
        TREE + b"author A <a> 12  +0000\n" + COMMITTER + b"\nm",
        TREE + b"author A <a> 12 +" + b"9" * 5000 + b"\n" + COMMITTER + b"\nm",
        TREE + COMMITTER + AUTHOR + b"\nm",
        TREE + b"\n\n",
        TREE,
        TREE[:-1],
        TREE + AUTHOR + AUTHOR + b"odd\n\nm",
    ],
)
def test_commits_that_git_would_not_write_keep_their_bytes(raw):
    revision = parse_commit(raw)
    assert revision.manifest() == raw
    assert revision.id == swhid.object_id("revision", raw)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_commit_is_given_back_or_refused(tail):
    raw = TREE + tail
    try:
        revision = parse_commit(raw)
    except ValueError:
        return
    assert revision.manifest() == raw


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_tree_is_given_back_or_refused(raw):
    try:
        entries, raw_manifest = parse_tree(raw)
    except ValueError:
        return
    assert (raw_manifest or swhid.directory_manifest(entries)) == raw


@pytest.mark.parametrize("raw", [b"", b"tree x\n", b"parent " + b"1" * 40, TREE.replace(b"4b", b"4B")])
def test_commits_without_a_tree_are_refused(raw):
    with pytest.raises(ValueError, match="tree line"):
        parse_commit(raw)


@pytest.mark.parametrize("raw", [b"100644 a", b"100644 a\x00short", b"99 a\x00" + b"x" * 20, b"\x00" * 30])
def test_damaged_trees_are_refused(raw):
    with pytest.raises(ValueError, match="not a tree"):
        parse_tree(raw)


def test_unusual_trees_keep_their_bytes():
    padded = b"040000 a\x00" + b"x" * 20
    unsorted = b"100644 b\x00" + b"x" * 20 + b"100644 a\x00" + b"x" * 20
    twice = b"100644 a\x00" + b"x" * 20 + b"100644 a\x00" + b"y" * 20
    for raw in (padded, unsorted, twice, b"100644 a/b\x00" + b"x" * 20):
        assert parse_tree(raw)[1] == raw


def test_tags():
    raw = b"object " + b"1" * 40 + b"\ntype commit\ntag v1\ntagger T <t> 12 +0000\n\nnotes\n-----BEGIN X\n"
    release = parse_tag(raw)
    assert (release.name, release.target, release.target_type) == (b"v1", "1" * 40, "revision")
    assert (release.author, release.message) == (b"T <t>", b"notes\n-----BEGIN X\n")
    assert release.raw_manifest is None
    assert release.id == swhid.object_id("release", raw)
    old = parse_tag(raw.replace(b"tagger T <t> 12 +0000\n", b""))
    assert old.author is None
    assert old.raw_manifest is None
    odd = raw.replace(b"tag v1\n", b"tag v1\nextra x\n")
    assert parse_tag(odd).raw_manifest == odd


@pytest.mark.parametrize("raw", [b"", b"object x\n", b"object " + b"1" * 40 + b"\ntype mystery\ntag v\n\n"])
def test_damaged_tags_are_refused(raw):
    with pytest.raises(ValueError, match=r"damaged|unknown type"):
        parse_tag(raw)
