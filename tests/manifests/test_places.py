"""Where releases lie: a plain folder, and what the Hub's client makes of one. Links are followed there, and nowhere else."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from manifests.places import HubSnapshot, place_of
from manifests.verify import verify_release

COMMIT = "c" * 40
CPP = "data/C++/train-all.parquet"


def link(snapshot: Path, path: str, body: bytes) -> None:
    """A file of a snapshot as huggingface_hub puts it there."""
    blob = snapshot.parent.parent / "blobs" / hashlib.sha256(body).hexdigest()
    blob.write_bytes(body)
    file = snapshot / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.symlink_to(os.path.relpath(blob, file.parent))


@pytest.fixture
def snapshot(pristine, tmp_path):
    root = tmp_path / "datasets--owner--name"
    folder = root / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (root / "blobs").mkdir()
    for file in pristine.rglob("*"):
        if file.is_file():
            link(folder, file.relative_to(pristine).as_posix(), file.read_bytes())
    link(folder, ".gitattributes", b"*.parquet filter=lfs\n")
    return folder


def found(folder):
    return {(fault.path, fault.code) for fault in verify_release(folder).faults}


def test_a_snapshot_is_what_the_hubs_client_makes(tmp_path):
    """Our layout of a snapshot is that of the client itself."""
    download = pytest.importorskip("huggingface_hub.file_download")
    blob, pointer = tmp_path / "blobs" / ("a" * 64), tmp_path / "snapshots" / COMMIT / "data/C++/x"
    for file in (blob, pointer):
        file.parent.mkdir(parents=True)
    blob.write_bytes(b"x")
    download._create_symlink(str(blob), str(pointer), new_blob=True)
    place = place_of(tmp_path / "snapshots" / COMMIT)
    assert isinstance(place, HubSnapshot) and place.listing().files == {"data/C++/x": 1}
    with place.open("data/C++/x", whole=True) as opened:
        assert opened.read() == b"x"


def test_a_snapshot_verifies(snapshot, tmp_path):
    report = verify_release(snapshot)
    assert report.ok and report.ignored == (".gitattributes",)
    (tmp_path / "link").symlink_to(snapshot)
    assert verify_release(tmp_path / "link").ok


def test_what_is_wrong_in_a_snapshot_is_found(snapshot, tmp_path):
    body = (snapshot / CPP).read_bytes()
    outside = tmp_path / ("b" * 64)
    outside.write_bytes(body)
    blob = "../../../../blobs/" + hashlib.sha256(body).hexdigest()
    (snapshot.parent.parent / "blobs" / ("d" * 64)).symlink_to(outside)
    for target in (
        str(outside),  # not a blob
        str((snapshot / CPP).resolve()),  # absolute: the client writes relative ones
        "../" + blob,  # one folder too far
        "../../../../blobs/../blobs/" + "b" * 64,
        "../../../../blobs/" + "d" * 64,  # a link to a link
        "../../../../blobs/x",
        "../../README.md",
        "../../../../blobs",
    ):
        (snapshot / CPP).unlink()
        (snapshot / CPP).symlink_to(target)
        assert (CPP, "not_a_file") in found(snapshot), target
    (snapshot / CPP).unlink()
    (snapshot / CPP).symlink_to(blob)
    assert verify_release(snapshot).ok
    (snapshot / CPP).resolve().write_bytes(body[:-1] + b"x")
    assert found(snapshot) == {(CPP, "sha256")}
    (snapshot / CPP).resolve().unlink()
    assert (CPP, "not_a_file") in found(snapshot)
    link(snapshot, "more.txt", b"more")
    assert ("more.txt", "extra") in found(snapshot)


def test_the_layout_must_be_that_of_a_snapshot(snapshot):
    """The same links in a folder of another name, or without blobs beside it, are links like all others."""
    other = snapshot.with_name("latest")
    snapshot.rename(other)
    assert (CPP, "not_a_file") in found(other)
    moved = other.parent.with_name("elsewhere")
    other.parent.rename(moved)
    (moved / "latest").rename(moved / COMMIT)
    assert (CPP, "not_a_file") in found(moved / COMMIT)


def test_a_local_dir_of_the_client(release):
    notes = {
        ".cache/huggingface/.gitignore": b"*",
        ".cache/huggingface/CACHEDIR.TAG": b"Signature",
        ".cache/huggingface/download/README.md.metadata": b"x",
        ".cache/huggingface/download/data/C++/train-all.parquet.lock": b"",
        ".gitattributes": b"",
    }
    (release / ".gitattributes").write_bytes(b"")
    assert found(release) == {(".gitattributes", "extra")}  # nobody's but the Hub's
    for path, body in notes.items():
        (release / path).parent.mkdir(parents=True, exist_ok=True)
        (release / path).write_bytes(body)
    report = verify_release(release)
    assert report.ok and report.ignored == tuple(sorted(notes))
    for path in (
        ".cache/other",
        ".cache/huggingface/x.py",
        "sub/.gitattributes",
        "data/.cache/huggingface/.gitignore",
    ):
        (release / path).parent.mkdir(parents=True, exist_ok=True)
        (release / path).write_bytes(b"x")
        assert found(release) == {(path, "extra")}
        (release / path).unlink()
    shutil.move(release / CPP, release.parent / "kept")
    (release / CPP).symlink_to(release.parent / "kept")
    assert (CPP, "not_a_file") in found(release)
