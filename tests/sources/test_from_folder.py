"""Folders: the tree that git would make of them, and nothing followed or lost silently."""

from __future__ import annotations

import os
import socket

import pytest

from pipeline.errors import ConfigError, SourceError
from pipeline.sources import swhid
from pipeline.sources.archive_writer import ArchiveWriter
from pipeline.sources.from_folder import add_folder, parse_input
from pipeline.tables import PERMS_EXECUTABLE, PERMS_FILE, PERMS_SYMLINK


def build(archive, *folders, **options):
    with ArchiveWriter(archive.path) as writer:
        for folder in folders:
            add_folder(writer, folder, **options)
        return writer.finish()


def root_of(archive):
    (revision,) = archive.rows("revision")
    return revision["directory"]


def test_the_tree_has_gits_ids(archive, repository):
    repository.write("a/b.py", b"b\n")
    repository.write("a.b", b"x", executable=True)
    repository.write(b"\xe9\x01", b"odd")
    (repository.path / "link").symlink_to("/etc/passwd")
    (repository.path / "dangling").symlink_to("nowhere")
    (repository.path / "loop").symlink_to(".")
    repository.commit()
    summary = build(archive, repository.path)
    assert root_of(archive) == repository("rev-parse", "main^{tree}")
    files = archive.files(root_of(archive))
    assert files[b"a.b"][0] == PERMS_EXECUTABLE
    assert files[b"a/b.py"][0] == PERMS_FILE
    assert files[b"link"] == (PERMS_SYMLINK, swhid.hash_content(b"/etc/passwd").sha1_git)
    assert summary.files == 6
    assert summary.left_out["git_folder"] == 1
    assert archive.branches() == {b"HEAD": ("revision", archive.rows("revision")[0]["id"])}
    assert archive.rows("origin")[0]["url"] == repository.path.as_uri()


def test_ids_of_synthetic_revisions_are_gits_too(archive, repository):
    repository.write("a.py", b"a\n")
    repository.commit()
    build(archive, repository.path, url="https://example.org/x", seconds=5)
    (row,) = archive.rows("revision")
    raw = (
        f"tree {row['directory']}\nauthor Stackmill <stackmill@localhost> 5 +0000\n"
        "committer Stackmill <stackmill@localhost> 5 +0000\n\nhttps://example.org/x\n"
    )
    assert row["id"] == repository.hash_object("commit", raw.encode())


def test_what_cannot_be_archived_is_counted(archive, tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    (folder / "closed").mkdir(parents=True)
    (folder / "empty" / "er").mkdir(parents=True)
    (folder / "a").write_bytes(b"a")
    (folder / "unreadable").write_bytes(b"x")
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        real_open, real_scandir = os.open, os.scandir

        def refuse(path, *args, **kwargs):
            if isinstance(path, bytes) and path.endswith((b"/unreadable", b"/closed")):
                raise PermissionError(13, "Permission denied", path)
            return (real_scandir if not args else real_open)(path, *args, **kwargs)

        monkeypatch.setattr(os, "open", refuse)
        monkeypatch.setattr(os, "scandir", refuse)
        summary = build(archive, folder)
    assert summary.left_out == {"not_a_regular_file": 2, "unreadable_file": 1, "unreadable_folder": 1}
    assert list(archive.files(root_of(archive))) == [b"a"]
    names = {row["name"] for row in archive.rows("directory_entry")}
    assert names == {b"a", b"empty", b"er"}, "empty folders are kept"


def test_two_folders_are_two_origins_and_share_contents(archive, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_bytes(b"same")
    summary = build(archive, tmp_path / "one", tmp_path / "two")
    assert (summary.origins, summary.files, summary.contents) == (2, 2, 1)
    with pytest.raises(ConfigError, match="two inputs"):
        build(archive, tmp_path / "one", tmp_path / "one")


def test_an_empty_folder(archive, tmp_path):
    (tmp_path / "empty").mkdir()
    build(archive, tmp_path / "empty")
    assert root_of(archive) == swhid.directory_id([])


def test_a_folder_that_is_gone(archive, tmp_path):
    with pytest.raises(SourceError, match="cannot be read"):
        build(archive, tmp_path / "gone")


def test_inputs(tmp_path):
    (tmp_path / "a=b").mkdir()
    (tmp_path / "c").mkdir()
    assert parse_input("--dir", f"{tmp_path}/a=b") == (tmp_path / "a=b", None)
    url = "https://example.org/?q=1"
    assert parse_input("--dir", f"{url}={tmp_path}/c") == (tmp_path / "c", url)
    assert parse_input("--dir", f"{url}={tmp_path}/a=b") == (tmp_path / "a=b", url)
    for text in ("", "=", f"={tmp_path}/c", f"{tmp_path}/d", "x=", f"x={tmp_path}/d"):
        with pytest.raises(ConfigError, match="--git"):
            parse_input("--git", text)
