"""What the stages resolve and list is what `git ls-tree -r` lists: every path, kind and id, through both forms of the tables.

Software Heritage's own exporter is not run here (GPL-3.0): git is the oracle, and the tables are those of `pipeline archive`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.sources import orc

ROOT = Path(__file__).parents[2]


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "check_resolution", ROOT / "scripts" / "check_resolution.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check_resolution = _script()


@pytest.fixture
def repositories(make_repository) -> dict[str, Path]:
    """Repositories with what trees and refs can hold."""
    found = {}
    nested = make_repository("nested")  # loose objects; folders, links, modes, names that are no text
    for name in (
        b"a/b/c/d/e.py",
        b"a/b/f",
        b"a.txt",
        b"\xff\xfe/\xe9.c",
        b"tab\there\nline",
        b"-dash",
        b"a/same",
        b"same",
    ):
        nested.write(name, name[:1])
    nested.write("run.sh", b"#!/bin/sh\n", executable=True)
    (nested.path / "link").symlink_to("a/b")
    (nested.path / "a" / "dangling").symlink_to(b"\xff nowhere")
    nested.commit()
    found["nested"] = nested.path

    modules = make_repository("submodules")
    modules.write("x/y", b"1")
    modules("add", "--all")
    modules("update-index", "--add", "--cacheinfo", f"160000,{'12' * 20},x/module")
    modules("commit", "--quiet", "-m", "a module")
    found["submodules"] = modules.path

    merged = make_repository("merged")  # packed objects, two parents, annotated tags, another branch ahead
    merged.write("one", b"1")
    first = merged.commit()
    merged("checkout", "--quiet", "-b", "side")
    merged.write("side", b"2")
    merged.commit()
    merged("checkout", "--quiet", "main")
    merged.write("two", b"3")
    merged.commit()
    merged("merge", "--quiet", "--no-ff", "-m", "merge", "side")
    merged("tag", "-a", "v1", "-m", "tag", first)
    merged("tag", "-a", "v2", "-m", "tag of a tag", "v1")
    merged("gc", "--quiet")
    merged.write("loose", b"4")
    merged.commit()
    found["merged"] = merged.path

    detached = make_repository("detached")
    detached.write("old", b"1")
    old = detached.commit()
    detached.write("new", b"2")
    detached.commit()
    detached("checkout", "--quiet", "--detach", old)
    found["detached"] = detached.path

    bare = make_repository(
        "bare", bare=True
    )  # HEAD names a branch that is not there; another one stands for it
    tree = bare("mktree", stdin=f"100644 blob {bare.hash_object('blob', b'x')}\tfile\n".encode())
    bare("update-ref", "refs/heads/master", bare("commit-tree", tree, "-m", "m"))
    bare("symbolic-ref", "HEAD", "refs/heads/gone")
    found["bare"] = bare.path

    found["empty"] = make_repository("empty").path
    nothing = make_repository("nothing")  # a commit of the empty tree
    nothing.commit()
    found["nothing"] = nothing.path
    return found


def _this_repository() -> list[Path]:
    """This checkout, where it is one."""
    asked = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, check=False)
    return [ROOT] if asked.returncode == 0 else []


def test_every_entry_of_every_repository(repositories: dict[str, Path], tmp_path: Path) -> None:
    results = check_resolution.check(
        [*repositories.values(), *_this_repository()], ("parquet", "orc"), tmp_path / "check"
    )
    assert all(one["differences"] == 0 for one in results), json.dumps(results, indent=1)
    counts = {one["repository"]: one["git"] for one in results}
    assert counts | {ROOT.name: 0} == {
        "nested": 11, "submodules": 2, "merged": 4, "detached": 1, "bare": 1, "empty": None, "nothing": 0, ROOT.name: 0,
    }  # fmt: skip
    assert len(results) == 2 * (len(repositories) + len(_this_repository()))


def test_a_difference_is_found(
    repositories: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """The comparison itself: one entry of another kind, and one repository without a root."""
    true = check_resolution.oracle

    def lying(repository: Path) -> object:
        found = true(repository)
        if repository.name == "bare":
            [(path, _, target)] = found
            return {(path, "symlink", target)}
        return None if repository.name == "detached" else found

    monkeypatch.setattr(check_resolution, "oracle", lying)
    monkeypatch.setenv("TMPDIR", os.fspath(tmp_path))
    given = [str(repositories[name]) for name in ("bare", "detached", "nothing")]
    assert check_resolution.main(["--format", "parquet", *given]) == 1
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["differences"] for one in results] == [2, 2, 0]


@pytest.fixture(scope="module", autouse=True)
def _end_of_the_reader():
    yield
    orc.close()
