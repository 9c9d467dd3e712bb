"""`pipeline apply-removals` and `pipeline diff` as a user has them: hostile input, crashes, and what they print."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from commands import run

from manifests.removals import Tombstone, format_removals
from manifests.verify import verify_release
from pipeline import apply_removals as module
from pipeline.apply_removals import apply_removals
from pipeline.errors import ConfigError, IntegrityError

_SPEC = importlib.util.spec_from_file_location(
    "release_factory", Path(__file__).parents[1] / "manifests" / "release_factory.py"
)
factory = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(factory)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return factory.make_release(tmp_path_factory.mktemp("sound"), rows={"Python": 30, "C": 4})


@pytest.fixture
def copy(sound, tmp_path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "2.1"))


@pytest.fixture
def removals(sound, tmp_path) -> Path:
    """Tombstones of three rows."""
    ids = pq.read_table(sound / "ids.parquet")["row_id"].to_pylist()
    path = tmp_path / "removals.jsonl"
    path.write_bytes(format_removals([Tombstone(one, "ab" * 32, "2.2") for one in ids[3:30:10]]))
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_copy_is_brought_in_line_once(copy, removals, tmp_path, sound):
    first, again, verified, difference = run(
        tmp_path / "io", tmp_path,
        ["apply-removals", "2.1", "removals.jsonl", "--json"],
        ["apply-removals", "2.1", "removals.jsonl"],
        ["verify", "2.1"],
        ["diff", str(sound), "2.1", "--json"],
    )  # fmt: skip
    assert first.code == 0, first.message
    assert first.data["rows"] == 3
    assert first.data["version"].startswith("2.1+removals.")
    assert (again.code, b"0 rows" in again.out) == (0, True)
    assert verified.code == 0, verified.out
    assert difference.data["changes"] == {"added": 0, "removed": 3, "re_redacted": 0}
    assert {entry.name for entry in tmp_path.iterdir()} == {"2.1", "removals.jsonl", "io"}


def test_into_another_folder_the_copy_stays_as_it_was(copy, removals, tmp_path):
    before = files(copy)
    done = apply_removals(str(copy), str(removals), out=str(tmp_path / "sub/new"))
    assert done.rows == 3
    assert files(copy) == before
    assert verify_release(tmp_path / "sub/new").ok
    with pytest.raises(ConfigError, match="beside it"):
        apply_removals(str(copy), str(removals), out=str(copy / "data/new"))
    with pytest.raises(ConfigError, match="there already"):
        apply_removals(str(copy), str(removals), out=str(tmp_path / "sub/new"))


def test_unchanged_shards_are_not_copied_where_links_can_be(copy, removals, tmp_path):
    ids = {row["row_id"]: row["shard"] for row in pq.read_table(copy / "ids.parquet").to_pylist()}
    gone = {ids[json.loads(line)["row_id"]] for line in removals.read_text().splitlines()}
    apply_removals(str(copy), str(removals), out=str(tmp_path / "new"))
    same = [shard for shard in set(ids.values()) if shard not in gone]
    assert same
    for shard in same:
        assert (copy / shard).stat().st_ino == (tmp_path / "new" / shard).stat().st_ino


def test_rows_of_another_dataset_match_nothing_and_nothing_is_touched(copy, tmp_path):
    path = tmp_path / "other.jsonl"
    path.write_bytes(format_removals([Tombstone(f"{n:032x}", "ab" * 32, "2.2") for n in range(5000)]))
    before = {entry: entry.stat().st_mtime_ns for entry in copy.rglob("*")}
    assert apply_removals(str(copy), str(path)).rows == 0
    assert {entry: entry.stat().st_mtime_ns for entry in copy.rglob("*")} == before


MOMENTS = [(True, "derive"), (True, "verify"), (True, "swap")] + [
    (False, moment) for moment in ("derive", "verify", "first rename", "swap")
]  # with an exchange there is no moment between two renames


@pytest.mark.parametrize(("exchanging", "after"), MOMENTS)
def test_killed_anywhere_the_copy_is_the_old_or_the_new_one(copy, removals, monkeypatch, exchanging, after):
    """KeyboardInterrupt stands for a kill: nothing of ours catches it; what a kill skips is skipped by hand."""
    before = files(copy)
    reference = apply_removals(str(copy), str(removals), out=str(copy.parent / "reference")).digest

    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module.shutil, "rmtree", lambda *_, **__: None)  # a killed process cleans nothing
        if not exchanging:
            patched.setattr(module, "_renamed_both", lambda *_: False)
        if after == "derive":
            patched.setattr(module, "derive_release", die)
        elif after == "verify":
            patched.setattr(module, "_exchange", die)
        elif after == "first rename":
            rename = Path.rename
            patched.setattr(
                Path, "rename", lambda one, target: die() if ".tmp-" in one.name else rename(one, target)
            )
        else:
            patched.setattr(Path, "unlink", die)
        with pytest.raises(KeyboardInterrupt):
            apply_removals(str(copy), str(removals))
    if copy.exists():
        assert verify_release(copy).ok
        assert files(copy) == before or verify_release(copy).digest == reference
    else:
        assert (exchanging, after) == (False, "first rename")
    # The next call ends it, and leaves nothing of the withdrawn rows anywhere.
    apply_removals(str(copy), str(removals))
    assert verify_release(copy).digest == reference
    assert {entry.name for entry in copy.parent.iterdir()} == {"2.1", "removals.jsonl", "reference"}


def test_hostile_input_is_refused_and_the_copy_stays_as_it_was(copy, removals, tmp_path):
    before = files(copy)
    (tmp_path / "bad.jsonl").write_bytes(removals.read_bytes() + b"{}\n")
    (tmp_path / "long.jsonl").write_bytes(b"x" * 3_000_000)
    (tmp_path / "every.jsonl").write_bytes(
        format_removals(
            [
                Tombstone(one, "ab" * 32, "2.2")
                for one in pq.read_table(copy / "ids.parquet")["row_id"].to_pylist()
            ]
        )
    )
    (tmp_path / "link").symlink_to(copy)
    other = factory.make_release(tmp_path / "other", rows={"C": 1}, name="another")
    damaged = tmp_path / "damaged"
    shutil.copytree(copy, damaged)
    (damaged / "README.md").write_text("x")
    bad, long, every, link, dataset, none, nothing, broken, remote, directory, difference = run(
        tmp_path / "io", tmp_path,
        ["apply-removals", "2.1", "bad.jsonl"],
        ["apply-removals", "2.1", "long.jsonl"],
        ["apply-removals", "2.1", "every.jsonl"],
        ["apply-removals", "link", "removals.jsonl"],
        ["apply-removals", "2.1", str(other)],
        ["apply-removals", "2.1", "2.1"],
        ["apply-removals", "2.1", "no\x1b[31m.jsonl"],
        ["apply-removals", "damaged", "removals.jsonl"],
        ["apply-removals", "s3://bucket/2.1", "removals.jsonl"],
        ["apply-removals", "other", "removals.jsonl"],
        ["diff", "2.1", str(other)],
    )  # fmt: skip
    bad.refused(2, "bad.jsonl, line 4", "exactly the keys")
    long.refused(2, "long.jsonl, line 1", "longer than")
    every.refused(2, "delete the folder")
    link.refused(2, "no such folder")
    dataset.refused(2, "'another'")
    none.refused(2, "without a parent")
    nothing.refused(2, "no such file")
    broken.refused(4, "README.md", "fetch it again")
    remote.refused(2, "download it")
    directory.refused(2, "not a release")
    difference.refused(2, "different datasets")
    assert files(copy) == before


def test_diff_of_releases_that_are_damaged_or_none(copy, sound, tmp_path):
    (copy / "ids.parquet").write_bytes(b"x")
    (tmp_path / "old").mkdir()
    manifest = json.loads((sound / "manifest.json").read_bytes())
    (tmp_path / "old/manifest.json").write_text(json.dumps({**manifest, "schema_version": 7}))
    damaged, none, unknown = run(
        tmp_path / "io", tmp_path,
        ["diff", str(sound), "2.1"],
        ["diff", str(sound), "io"],
        ["diff", "old", str(sound)],
    )  # fmt: skip
    damaged.refused(4, "ids.parquet", "not the file that its manifest describes")
    none.refused(2, "not a release")
    unknown.refused(2, "schema_version")


def test_two_at_once_one_is_refused(copy, removals, monkeypatch):
    with (
        module._alone(copy),
        pytest.raises(ConfigError, match="another process"),
    ):
        apply_removals(str(copy), str(removals))


def test_a_result_that_does_not_verify_changes_nothing(copy, removals, monkeypatch):
    before = files(copy)
    real = module.derive_release

    def careless(release, withdrawn, staging, **options):
        digest = real(release, withdrawn, staging, **options)
        (staging / "README.md").write_text("---\nconfigs: []\n---\n")
        return digest

    monkeypatch.setattr(module, "derive_release", careless)
    with pytest.raises(IntegrityError, match="nothing was changed"):
        apply_removals(str(copy), str(removals))
    assert files(copy) == before
    assert {entry.name for entry in copy.parent.iterdir()} == {"2.1", "removals.jsonl"}
