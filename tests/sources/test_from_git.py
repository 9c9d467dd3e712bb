"""Real repositories: everything that git shows is in the archive under git's own ids."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess

import pytest

from pipeline.errors import ConfigError, SourceError
from pipeline.sources import swhid
from pipeline.sources.archive_writer import ArchiveWriter
from pipeline.sources.from_git import add_git


def build(archive, *repositories, url=None, **options):
    with ArchiveWriter(archive.path, **options) as writer:
        for repository in repositories:
            add_git(writer, repository.path, url)
        return writer.finish()


def listed_by_git(repository, tip) -> dict[bytes, tuple[int, str]]:
    listed = repository("ls-tree", "-r", "-z", tip).encode("utf-8", "surrogateescape")
    found = {}
    for line in listed.split(b"\x00"):
        if line:
            mode, _, rest = line.split(b" ", 2)
            target, _, name = rest.partition(b"\t")
            found[name] = (int(mode, 8), target.decode())
    return found


def assert_tree_is_whole(archive, repository, tip):
    """Directory ids, entries, modes and bodies of a tip are what git says."""
    files = archive.files(repository("rev-parse", f"{tip}^{{tree}}"))
    assert files == listed_by_git(repository, tip)
    contents = archive.by_id("content", "sha1_git")
    for mode, blob in files.values():
        if mode != 0o160000:
            body = gzip.decompress((archive.path / "content" / contents[blob]["sha1"]).read_bytes())
            assert swhid.hash_content(body).sha1_git == blob
            assert tuple(contents[blob].values())[:5] == swhid.hash_content(body)


@pytest.fixture
def rich(repository, make_repository):
    """Executable bit, symbolic link, submodule, nested trees, odd names, branches, tags, a merge."""
    repository.write("plain.py", b"print(1)\n")
    repository.write("run.sh", b"#!/bin/sh\n", executable=True)
    repository.write("a/b/c/deep.txt", b"deep\n")
    repository.write("a.b/x", b"sorts between a and a/\n")
    repository.write(b"caf\xe9 \n\t\"'\\ \xff.txt", b"not UTF-8\n")
    repository.write("empty", b"")
    repository.write("same.py", b"print(1)\n")
    (repository.path / "link").symlink_to("../outside")
    first = repository.commit("first")
    repository("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},module")
    repository("commit", "--quiet", "-m", "with a submodule")
    repository("checkout", "--quiet", "-b", "side", first)
    repository.write("side.c", b"int x;\n")
    repository.commit("side", GIT_COMMITTER_DATE="1800000000 +0000")
    repository("checkout", "--quiet", "-f", "main")
    repository("merge", "--quiet", "--no-edit", "side")
    repository("tag", "light", first)
    repository("tag", "-a", "v1", "-m", "release one", first)
    repository("tag", "-a", "v1-again", "-m", "tag of a tag", "v1")
    repository("tag", "-a", "tree-tag", "-m", "x", "main^{tree}")
    repository("tag", "blob-tag", "main:empty")
    return repository


def test_every_object_has_gits_id(archive, rich):
    summary = build(archive, rich)
    for tip in ("main", "side"):
        assert_tree_is_whole(archive, rich, tip)
    revisions = archive.by_id("revision")
    assert sorted(revisions) == sorted(rich("rev-list", "--all").split())
    for revision_id, row in revisions.items():
        assert row["directory"] == rich("rev-parse", f"{revision_id}^{{tree}}")
        assert row["message"].decode() == rich("log", "-1", "--format=%B", revision_id) + "\n"
        assert row["author"] == hashlib.sha256(b"Ada Example <ada@example.org>").digest()
        assert row["committer"] == hashlib.sha256(b"Carl Example <carl@example.org>").digest()
        assert str(row["date"]["seconds"]) == rich("log", "-1", "--format=%at", revision_id)
        assert str(row["committer_date"]["seconds"]) == rich("log", "-1", "--format=%ct", revision_id)
        assert row["raw_manifest"] is None
        parents = [r for r in archive.rows("revision_history") if r["id"] == revision_id]
        assert [r["parent_id"] for r in parents] == rich("log", "-1", "--format=%P", revision_id).split()
    branches = archive.branches()
    assert branches[b"HEAD"] == ("alias", b"refs/heads/main".hex())
    assert branches[b"refs/heads/side"] == ("revision", rich("rev-parse", "side"))
    assert branches[b"refs/tags/light"] == ("revision", rich("rev-parse", "light"))
    assert branches[b"refs/tags/v1"] == ("release", rich("rev-parse", "v1"))
    assert branches[b"refs/tags/blob-tag"] == ("content", rich("rev-parse", "blob-tag"))
    releases = archive.by_id("release")
    assert set(releases) == {rich("rev-parse", tag) for tag in ("v1", "v1-again", "tree-tag")}
    again = releases[rich("rev-parse", "v1-again")]
    assert (again["target_type"], again["target"]) == ("release", rich("rev-parse", "v1"))
    assert releases[rich("rev-parse", "v1")]["message"] == b"release one\n"
    assert archive.rows("origin")[0]["url"] == rich.path.as_uri()
    assert archive.rows("origin_visit")[0]["date"].timestamp() is not None
    status = archive.rows("origin_visit_status")[0]
    assert status["date"].isoformat() == "2027-01-15T08:00:00", "the newest committer date"
    assert summary.left_out == {"broken_ref": 0, "missing_blob": 0}


def test_the_same_repository_gives_the_same_bytes(archive, rich, tmp_path):
    """Also when it is a bare clone with its objects packed: the archive is a function of the objects."""
    build(archive, rich, url="https://example.org/x")
    bare = tmp_path / "bare"
    rich("clone", "--quiet", "--bare", str(rich.path), str(bare))
    other = type(archive)(tmp_path / "other")
    clone = type(rich)(bare, init=False)
    build(other, clone, url="https://example.org/x")
    assert archive.digest() == other.digest()


def test_only_trees_of_tips_are_read(archive, repository):
    repository.write("old.py", b"old\n")
    first = repository.commit()
    (repository.path / "old.py").unlink()
    repository.write("new.py", b"new\n")
    repository.commit()
    build(archive, repository)
    assert [row["name"] for row in archive.rows("directory_entry")] == [b"new.py"]
    assert first in archive.by_id("revision")


def test_an_empty_repository(archive, repository):
    build(archive, repository)
    assert archive.branches() == {b"HEAD": ("alias", b"refs/heads/main".hex())}
    expected = swhid.snapshot_id(
        {b"HEAD": swhid.Branch(b"refs/heads/main", "alias"), b"refs/heads/main": None}
    )
    assert archive.rows("snapshot") == [{"id": expected}]
    assert archive.rows("origin_visit")[0]["date"].isoformat() == "1970-01-01T00:00:00"


def test_an_empty_bare_repository(archive, make_repository):
    build(archive, make_repository("bare", bare=True))
    assert archive.table("revision").num_rows == 0


def test_a_commit_without_files(archive, repository):
    tip = repository.commit()
    build(archive, repository)
    assert archive.rows("revision")[0]["id"] == tip
    assert archive.rows("directory") == [{"id": swhid.directory_id([]), "raw_manifest": None}]


def test_a_detached_head_is_a_branch_with_its_tree(archive, repository):
    repository.write("a.py", b"a\n")
    repository.commit()
    repository("checkout", "--quiet", "--detach")
    repository.write("b.py", b"b\n")
    tip = repository.commit("nobody's")
    build(archive, repository)
    assert archive.branches()[b"HEAD"] == ("revision", tip)
    assert_tree_is_whole(archive, repository, tip)


def test_a_head_that_names_another_kind_of_ref(archive, repository):
    repository.write("a.py", b"a\n")
    tip = repository.commit()
    repository("update-ref", "refs/remotes/origin/main", tip)
    repository("symbolic-ref", "HEAD", "refs/remotes/origin/main")
    repository("update-ref", "-d", "refs/heads/main")
    build(archive, repository)
    assert archive.branches() == {
        b"HEAD": ("alias", b"refs/remotes/origin/main".hex()),
        b"refs/remotes/origin/main": ("revision", tip),
    }
    assert_tree_is_whole(archive, repository, tip)


def test_a_shallow_clone_keeps_the_parents_that_it_does_not_have(archive, repository, tmp_path):
    repository.write("a.py", b"a\n")
    first = repository.commit()
    repository.write("a.py", b"b\n")
    tip = repository.commit()
    repository("clone", "--quiet", "--depth=1", repository.path.as_uri(), str(tmp_path / "shallow"))
    clone = type(repository)(tmp_path / "shallow", init=False)
    build(archive, clone)
    assert list(archive.by_id("revision")) == [tip]
    assert archive.rows("revision_history") == [{"id": tip, "parent_id": first, "parent_rank": 0}]
    assert_tree_is_whole(archive, repository, tip)


def test_a_partial_clone_counts_what_it_lacks_and_fetches_nothing(archive, repository, tmp_path):
    repository("config", "uploadpack.allowFilter", "true")
    repository.write("a.py", b"a\n")
    repository.commit()
    target = tmp_path / "partial"
    repository("clone", "--quiet", "--bare", "--filter=blob:none", repository.path.as_uri(), str(target))
    clone = type(repository)(target, init=False)
    before = sorted(p.name for p in (target / "objects").rglob("*"))
    assert build(archive, clone).left_out["missing_blob"] == 1
    assert archive.rows("content") == []
    assert len(archive.rows("directory_entry")) == 1
    assert sorted(p.name for p in (target / "objects").rglob("*")) == before


def test_a_clone_without_trees_is_a_clear_error(archive, repository, tmp_path):
    repository("config", "uploadpack.allowFilter", "true")
    repository.write("a.py", b"a\n")
    repository.commit()
    target = tmp_path / "treeless"
    repository("clone", "--quiet", "--bare", "--filter=tree:0", repository.path.as_uri(), str(target))
    with pytest.raises(SourceError, match="partial clone"):
        build(archive, type(repository)(target, init=False))


def test_a_linked_work_tree(archive, repository, tmp_path):
    repository.write("a.py", b"a\n")
    repository.commit()
    repository("worktree", "add", "--quiet", str(tmp_path / "linked"))
    linked = type(repository)(tmp_path / "linked", init=False)
    build(archive, linked)
    assert b"refs/heads/linked" in archive.branches()


def test_names_that_are_not_utf8(archive, repository):
    repository.write(b"\xff\xfe/\x01\x7f\xc3(", b"x")
    tip = repository.commit()
    packed = repository.path / ".git" / "packed-refs"
    packed.write_bytes(packed.read_bytes() if packed.exists() else b"")
    with packed.open("ab") as stream:
        stream.write(tip.encode() + b" refs/heads/caf\xe9\xff\n")
    build(archive, repository)
    assert archive.branches()[b"refs/heads/caf\xe9\xff"] == ("revision", tip)
    assert_tree_is_whole(archive, repository, tip)


def test_trees_that_no_git_would_write(archive, repository):
    """Dots, slashes and doubles in names, padded modes: kept under their ids, with their raw bytes."""
    blob = bytes.fromhex(repository.hash_object("blob", b"x"))
    raw = b"".join(b"100644 " + name + b"\x00" + blob for name in (b"..", b".git", b"a/b", b"z", b"z"))
    tree = repository.hash_object("tree", raw)
    padded = repository.hash_object("tree", b"040000 sub\x00" + bytes.fromhex(tree))
    tip = repository("commit-tree", padded, "-m", "hostile")
    repository("update-ref", "refs/heads/main", tip)
    build(archive, repository)
    directories = archive.by_id("directory")
    assert directories[tree]["raw_manifest"] == raw
    assert directories[padded]["raw_manifest"].startswith(b"040000")
    assert sorted(r["name"] for r in archive.rows("directory_entry")) == [
        b"..",
        b".git",
        b"a/b",
        b"sub",
        b"z",
    ]


def test_commits_that_no_git_would_write(archive, repository):
    tree = repository.hash_object("tree", b"")
    raw = b"tree " + tree.encode() + b"\nauthor nobody\ncommitter X <x> 253402300800 +9999\nodd header\n\nm"
    tip = repository.hash_object("commit", raw)
    repository("update-ref", "refs/heads/main", tip)
    build(archive, repository)
    (row,) = archive.rows("revision")
    assert row["id"] == tip
    assert row["date"] is None
    assert archive.rows("revision_extra_headers") == [{"id": tip, "key": b"odd", "value": b"header"}]


def test_signatures_and_encodings_are_extra_headers(archive, repository):
    tree = repository.hash_object("tree", b"")
    raw = (
        b"tree " + tree.encode() + b"\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n"
        b"encoding ISO-8859-1\ngpgsig -----BEGIN\n \n line\n -----END\n\n\xe9\n"
    )
    repository("update-ref", "refs/heads/main", repository.hash_object("commit", raw))
    build(archive, repository)
    headers = {row["key"]: row["value"] for row in archive.rows("revision_extra_headers")}
    assert headers == {b"encoding": b"ISO-8859-1", b"gpgsig": b"-----BEGIN\n\nline\n-----END"}
    assert archive.rows("revision")[0]["message"] == b"\xe9\n"
    assert archive.rows("revision")[0]["raw_manifest"] is None


def test_a_large_blob_is_hashed_and_skipped(archive, repository):
    repository.write("large.bin", b"x" * 5000)
    repository.write("small.py", b"y")
    repository.commit()
    build(archive, repository, max_content_bytes=1000)
    assert [row["length"] for row in archive.rows("content")] == [1]
    (row,) = archive.rows("skipped_content")
    assert row["sha1_git"] == repository("rev-parse", "main:large.bin")
    assert row["sha256"] == hashlib.sha256(b"x" * 5000).hexdigest()


# ------------------------------------------------------------------------------------------------- damage


def loose(repository, object_id):
    path = repository.path / ".git" / "objects" / object_id[:2] / object_id[2:]
    path.chmod(0o644)
    return path


@pytest.mark.parametrize("what", ["main^{commit}", "main^{tree}", "main:a.py"])
@pytest.mark.parametrize("damage", ["remove", "garbage", "truncate", "swap"])
def test_damaged_objects_are_one_clear_error(archive, repository, what, damage):
    repository.write("a.py", b"a\n" * 100)
    repository.write("b.py", b"b\n" * 100)
    repository.commit()
    object_id = repository("rev-parse", what)
    path = loose(repository, object_id)
    if damage == "remove":
        path.unlink()
    elif damage == "garbage":
        path.write_bytes(b"\x00garbage")
    elif damage == "truncate":
        path.write_bytes(path.read_bytes()[:20])
    else:
        shutil.copyfile(loose(repository, repository("rev-parse", "main:b.py")), path)
    if damage == "remove" and what == "main:a.py":
        assert build(archive, repository).left_out["missing_blob"] == 1
        return
    with pytest.raises(SourceError) as caught:
        build(archive, repository)
    assert str(repository.path) in str(caught.value)
    assert "git fsck" in str(caught.value) or "partial clone" in str(caught.value)
    assert not (archive.path / "graph" / "local").exists()


def test_broken_refs_are_counted_or_an_error(archive, repository):
    repository.write("a.py", b"a\n")
    repository.commit()
    (repository.path / ".git" / "refs" / "heads" / "broken").write_bytes(b"not an id\n")
    assert build(archive, repository).left_out["broken_ref"] == 1
    (repository.path / ".git" / "refs" / "heads" / "broken").write_bytes(b"1" * 40 + b"\n")
    with pytest.raises(SourceError, match="git fsck"):
        build(archive, repository)


def test_a_damaged_configuration_is_one_clear_error(archive, repository):
    repository.commit()
    (repository.path / ".git" / "config").write_bytes(b"[broken\n")
    with pytest.raises(SourceError, match="config"):
        build(archive, repository)


def test_what_is_no_repository(archive, tmp_path, make_repository):
    outer = make_repository("outer")
    (outer.path / "inner").mkdir()
    file = tmp_path / "file"
    file.write_bytes(b"")
    for path in (tmp_path, file, tmp_path / "absent", outer.path / "inner"):
        with ArchiveWriter(archive.path) as writer, pytest.raises(ConfigError, match="--git"):
            add_git(writer, path)


def test_other_object_formats_are_refused(archive, tmp_path):
    path = tmp_path / "sha256"
    subprocess.run(["git", "init", "--quiet", "--object-format=sha256", path], check=True)
    with ArchiveWriter(archive.path) as writer, pytest.raises(ConfigError, match="sha256"):
        add_git(writer, path)


def test_no_program_that_a_repository_names_is_run(archive, repository, tmp_path, monkeypatch):
    repository.write("a.py", b"a\n")
    repository.write(".gitattributes", b"* filter=evil diff=evil\n")
    repository.commit()
    evil, ran = tmp_path / "evil", tmp_path / "ran"
    evil.write_text(f"#!/bin/sh\ntouch {ran}\n")
    evil.chmod(0o755)
    for key in (
        "core.fsmonitor",
        "core.pager",
        "core.editor",
        "core.sshCommand",
        "core.alternateRefsCommand",
        "gpg.program",
        "filter.evil.smudge",
        "filter.evil.clean",
        "diff.evil.textconv",
        "diff.external",
        "alias.cat-file",
        "alias.rev-list",
    ):
        repository("config", key, str(evil) if "alias" not in key else f"!{evil}")
    hooks = repository.path / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("post-checkout", "reference-transaction", "post-index-change", "fsmonitor-watchman"):
        shutil.copy(evil, hooks / hook)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(evil))
    build(archive, repository)
    assert not ran.exists()
    assert len(archive.rows("content")) == 2


def test_replaced_and_grafted_objects_are_the_real_ones(archive, repository):
    repository.write("a.py", b"a\n")
    first = repository.commit()
    repository.write("a.py", b"b\n")
    tip = repository.commit()
    repository("replace", repository("rev-parse", f"{first}:a.py"), repository("rev-parse", f"{tip}:a.py"))
    repository("branch", "old", first)
    (repository.path / ".git" / "info").mkdir(exist_ok=True)
    (repository.path / ".git" / "info" / "grafts").write_text(f"{tip}\n")
    build(archive, repository)
    assert len(archive.rows("content")) == 2
    assert archive.rows("revision_history") == [{"id": tip, "parent_id": first, "parent_rank": 0}]


# ------------------------------------------------------------------------------------------------ origins


@pytest.mark.parametrize(
    ("remote", "origin"),
    [
        ("https://user:" + "pass" + "@github.com/a/b.git", "https://github.com/a/b"),
        ("git@github.com:a/b.git", "https://github.com/a/b"),
        ("ssh://git@example.org:2222/a/b.git", "ssh://example.org:2222/a/b.git"),
        ("https://" + "token" + "@example.org/a/b?x=y#z", "https://example.org/a/b"),
        ("me@example.org:a/b", "ssh://example.org/a/b"),
        ("https://u:p@[::1]:80/x", "https://[::1]:80/x"),
    ],
)
def test_origins_are_remotes_without_credentials(archive, repository, remote, origin):
    repository("config", "remote.origin.url", remote)
    build(archive, repository)
    assert archive.rows("origin") == [{"id": swhid.origin_id(origin), "url": origin}]


@pytest.mark.parametrize("remote", ["/srv/x.git", "../x", "https://[bad", "https://", "file:///x", ""])
def test_remotes_that_name_nothing_give_the_folder(archive, repository, remote):
    repository("config", "remote.origin.url", remote)
    build(archive, repository)
    assert archive.rows("origin")[0]["url"] == repository.path.as_uri()


def test_two_clones_of_one_remote_need_two_urls(archive, make_repository):
    clones = [make_repository(name) for name in ("one", "two")]
    for clone in clones:
        clone("config", "remote.origin.url", "https://example.org/x")
    with pytest.raises(ConfigError, match="two inputs"):
        build(archive, *clones)
