"""Installed distributions: laid out as their sources, sampled, built again only when something changed."""

from __future__ import annotations

import json
import os
import sys

import pytest

from pipeline.errors import ConfigError
from pipeline.sources.from_installed import build_installed
from pipeline.sources.sampling import Bounds
from pipeline.tables import PERMS_EXECUTABLE


def build(archive, environment, bounds=None, **options):
    return build_installed(
        archive.path, bounds, site_packages=[str(environment.site)], stdlib=environment.stdlib, **options
    )


def trees(archive) -> dict[str, dict[bytes, tuple[int, str]]]:
    """Origin URL -> path -> (mode, id), along the way that a reader of the archive goes."""
    found = {}
    revisions = archive.by_id("revision")
    for status in archive.rows("origin_visit_status"):
        branches = archive.branches(status["snapshot"])
        kind, target = branches[b"HEAD"]
        assert kind == "alias"
        kind, target = branches[bytes.fromhex(target)]
        assert kind == "revision"
        found[status["origin"]] = archive.files(revisions[target]["directory"])
    return found


def test_a_distribution_is_laid_out_as_its_source(archive, environment):
    environment.install(
        "Some.Package",
        "1.2",
        {"some/__init__.py": b"x\n", "some/data.json": b"{}", "single.py": b"y\n"},
        {"Source": "https://github.com/a/some.git"},
        info={
            "licenses/LICENSE": b"MIT\n",
            "licenses/vendored/COPYING": b"BSD\n",
            "LICENSE.old": b"old\n",
            "entry_points.txt": b"",
            "WHEEL": b"",
            "direct_url.json": b"{}",
        },
    )
    (environment.site / "single.py").chmod(0o755)
    summary = build(archive, environment)
    tree = trees(archive)["https://github.com/a/some"]
    assert set(tree) == {
        b"some/__init__.py",
        b"some/data.json",
        b"single.py",
        b"LICENSE",
        b"vendored/COPYING",
        b"LICENSE.old",
        b"PKG-INFO",
    }
    assert tree[b"single.py"][0] == PERMS_EXECUTABLE
    assert b"releases/1.2" in archive.branches()
    assert summary.left_out["installer_record"] == 5
    assert archive.rows("origin_visit")[0]["type"] == "pypi"


def test_what_a_machine_made_stays_out(archive, environment, tmp_path):
    (tmp_path / "secret.txt").write_bytes(b"not of this package")
    environment.install(
        "p",
        "1",
        {
            "p/a.py": b"a",
            "p/__pycache__/a.cpython-311.pyc": b"c",
            "p/old.pyc": b"c",
            "p/fast.cpython-311-x86_64-linux-gnu.so": b"s",
            "p.libs/libx.so.1.2": b"s",
            "p/b.DLL": b"s",
        },
        listed=(
            "../../bin/p",
            "/etc/passwd",
            f"{tmp_path}/secret.txt",
            "p/../../x",
            "p/gone.py",
            "p//x",
            "p\\x",
        ),
    )
    (environment.site / "p" / "link.py").symlink_to(tmp_path / "secret.txt")
    (environment.site / "out").symlink_to(tmp_path)
    record = environment.site / "p-1.dist-info" / "RECORD"
    record.write_text(record.read_text() + "p/link.py,,\nout/secret.txt,,\np,,\n")
    summary = build(archive, environment)
    assert set(trees(archive)["pkg:pypi/p@1"]) == {b"p/a.py", b"PKG-INFO"}
    assert summary.left_out["bytecode"] == 2
    assert summary.left_out["compiled"] == 3
    assert summary.left_out["outside_packages"] == 7
    assert summary.left_out["missing_file"] == 1
    assert summary.left_out["not_a_regular_file"] == 2


def test_distributions_of_one_repository_are_both_kept(archive, environment):
    for name in ("one", "two"):
        environment.install(
            name, "1", {f"{name}.py": name.encode()}, {"Homepage": "https://github.com/a/mono"}
        )
    build(archive, environment)
    found = trees(archive)
    assert set(found["https://github.com/a/mono#one"]) == {b"one.py", b"PKG-INFO"}
    assert set(found["https://github.com/a/mono#two"]) == {b"two.py", b"PKG-INFO"}


def test_the_standard_library(archive, environment):
    lib = environment.stdlib
    for path in (
        "LICENSE.txt",
        "json/decoder.py",
        "test/bad_coding.py",
        "lib-dynload/x.py",
        "site-packages/other.py",
        "config-3.11-x/Makefile",
        "_sysconfigdata__linux.py",
        "__pycache__/os.pyc",
    ):
        (lib / path).parent.mkdir(parents=True, exist_ok=True)
        (lib / path).write_bytes(path.encode())
    build(archive, environment)
    assert set(trees(archive)["https://github.com/python/cpython"]) == {
        b"LICENSE",
        b"Lib/os.py",
        b"Lib/json/decoder.py",
        b"Lib/test/bad_coding.py",
    }
    assert b"releases/3.11" in archive.branches()


def test_colliding_places(archive, environment):
    """The license wins over a package file of the same place; a file never hides a folder."""
    environment.install(
        "p",
        "1",
        {"LICENSE": b"of a package file", "docs/a": b""},
        info={"licenses/LICENSE": b"T", "licenses/docs": b""},
    )
    summary = build(archive, environment)
    tree = trees(archive)["pkg:pypi/p@1"]
    assert set(tree) == {b"LICENSE", b"docs/a", b"PKG-INFO"}
    bodies = {row["sha1_git"]: row["length"] for row in archive.rows("content")}
    assert bodies[tree[b"LICENSE"][1]] == 1
    assert summary.left_out["conflicting_path"] == 2


def test_editable_distributions_are_left_out(archive, environment):
    environment.install(
        "p",
        "1",
        {"p.pth": b"/somewhere"},
        info={"direct_url.json": json.dumps({"dir_info": {"editable": True}}).encode()},
    )
    summary = build(archive, environment)
    assert set(trees(archive)) == {"https://github.com/python/cpython"}
    assert summary.left_out["editable_distribution"] == 1


@pytest.mark.parametrize("direct", [b"", b"[]", b"{", b'{"dir_info": null}', b'{"dir_info": []}', b"\xff"])
def test_a_damaged_direct_url_is_no_matter(archive, environment, direct):
    environment.install("p", "1", {"p.py": b""}, info={"direct_url.json": direct})
    build(archive, environment)
    assert "pkg:pypi/p@1" in trees(archive)


def test_the_older_egg_info_form(archive, environment):
    folder = environment.site / "old-1.0.egg-info"
    folder.mkdir()
    (environment.site / "old.py").write_bytes(b"x")
    (folder / "PKG-INFO").write_text(
        "Metadata-Version: 1.0\nName: old\nVersion: 1.0\nHome-page: https://github.com/a/old\n"
    )
    (folder / "SOURCES.txt").write_text("old.py\nold-1.0.egg-info/PKG-INFO\ntests/not-installed.py\n")
    build(archive, environment)
    assert set(trees(archive)["https://github.com/a/old"]) == {b"old.py", b"PKG-INFO"}


def test_damaged_metadata_does_not_stop_the_rest(archive, environment):
    environment.install("good", "1", {"good.py": b""})
    (environment.site / "nameless-1.dist-info").mkdir()
    (environment.site / "nameless-1.dist-info" / "METADATA").write_bytes(b"\xff\xfe\x00 nonsense")
    (environment.site / "empty-1.dist-info").mkdir()
    environment.install("odd", "1", {"odd.py": b""})
    (environment.site / "odd-1.dist-info" / "RECORD").write_bytes(b'odd.py,,\n"unfinished,\n,,\n\n')
    environment.install("bytes", "1", {"bytes.py": b""})
    (environment.site / "bytes-1.dist-info" / "RECORD").write_bytes(b"\xff.py,,\n")
    summary = build(archive, environment)
    origins = set(trees(archive))
    assert origins == {"pkg:pypi/good@1", "pkg:pypi/odd@1", "https://github.com/python/cpython"}
    assert summary.left_out["damaged_distribution"] == 3


def test_bounds(archive, environment):
    environment.install("p", "1", {f"p/f{n}.py": b"%04d" % n for n in range(50)}, info={"LICENSE": b"MIT"})
    summary = build(archive, environment, Bounds(max_files=10))
    (tree,) = (tree for url, tree in trees(archive).items() if "pypi/p" in url)
    assert {b"LICENSE", b"PKG-INFO"} <= set(tree)
    assert summary.files == 10
    assert summary.left_out["max_files"] == 50 + 3 - 10


def test_nothing_is_built_again_when_nothing_changed(archive, environment, tmp_path):
    environment.install("p", "1", {"p.py": b"one"}, info={"LICENSE": b"MIT"})
    first = build(archive, environment)
    before = archive.digest()
    again = build(archive, environment)
    assert (first.reused, again.reused) == (False, True)
    assert again.tables == first.tables
    other = type(archive)(tmp_path / "other")
    build(other, environment)
    assert other.digest() == before

    environment.install("q", "1", {"q.py": b"two"})
    assert not build(archive, environment).reused
    assert build(archive, environment).reused
    assert not build(archive, environment, Bounds(max_files=2)).reused
    assert not build(archive, environment, seconds=1).reused
    (environment.stdlib / "new.py").write_bytes(b"")
    assert not build(archive, environment, seconds=1).reused
    environment.install("p", "1", {"p.py": b"changed"})
    assert not build(archive, environment, seconds=1).reused


def test_files_that_vanish_while_reading_are_counted(archive, environment, monkeypatch):
    environment.install("p", "1", {"p/a.py": b"a", "p/b.py": b"b"})
    real = os.open

    def vanish(path, *args, **kwargs):
        if os.fsencode(path).endswith(b"p/a.py"):
            raise FileNotFoundError(2, "No such file", path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", vanish)
    assert build(archive, environment).left_out["unreadable_file"] == 1
    assert set(trees(archive)["pkg:pypi/p@1"]) == {b"p/b.py", b"PKG-INFO"}


def test_an_environment_without_files(archive, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "lib").mkdir()
    with pytest.raises(ConfigError, match="no installed distribution"):
        build_installed(archive.path, site_packages=[str(tmp_path / "site")], stdlib=tmp_path / "lib")


@pytest.mark.slow
def test_this_environment(archive):
    """The real thing, small: every distribution that has files is an origin."""
    summary = build_installed(archive.path, Bounds(max_files=1000))
    assert summary.files == 1000
    assert summary.left_out.get("unreadable_file", 0) == 0
    assert any("cpython" in row["url"] for row in archive.rows("origin"))
    assert sys.version_info >= (3, 11)
