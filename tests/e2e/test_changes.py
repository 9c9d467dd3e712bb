"""A chain of releases: what each says of the one before it is what two dictionaries of rows say, and why.

1.0    the small world
1.0.1  gina opted out: nothing else
1.1    alice left the archive, henry's license is another one, files came and went, an origin is new
1.2    gina's opt-out was withdrawn
"""

from __future__ import annotations

import dataclasses
import io
import json
import random
import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import e2e_archives as archives
import e2e_expectation as expectation
import e2e_runs as runs
import pyarrow.parquet as pq
import pytest

from licensing.policy import Policy
from manifests.changes import COMPARED, ELECTED_COLUMNS, count_changes
from manifests.reader import Release
from manifests.removals import read_removals
from manifests.verify import verify_release
from pipeline.apply_removals import apply_removals
from pipeline.compare import compare_releases
from pipeline.engine.executor import InProcess
from pipeline.engine.progress import Progress
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, IntegrityError
from pipeline.plan import plan_release
from pipeline.release import make_release
from pipeline.stages.emit import row_id

VERSIONS = ("1.0", "1.0.1", "1.1", "1.2")
STEPS = list(pairwise(VERSIONS))
# The order of the waves, as DESIGN 3 has it.
ORDER = (
    "not_a_file", "path_limit", "opted_out", "not_archived", "too_large", "vendored", "not_selected", "license", "missing",
    "corrupt", "binary", "undecodable", "license_header", "language", "generated", "quality", "secrets_budget",
    "contaminated", "exact_duplicate", "near_duplicate",
)  # fmt: skip
NOT_TOLD = {"opted_out", "license", "license_header", "not_archived", "secrets_budget"}


def worlds() -> dict[str, archives.World]:
    first = archives.small_world()

    def changed(world: archives.World, **by_owner) -> archives.World:
        made = []
        for origin in world.origins:
            change = by_owner.get(origin.url.split("/")[3], {})
            if change is not None:
                made.append(dataclasses.replace(origin, **(change(origin) if callable(change) else change)))
        return archives.World(made, world.secrets)

    def edit_mia(origin: archives.Origin) -> dict:
        files = dict(origin.files or {})
        files[b"free/a0.py"] = archives.File(archives.python("mixed, rewritten"))
        return {"files": files}

    def edit_iris(origin: archives.Origin) -> dict:
        files = {path: file for path, file in (origin.files or {}).items() if path != b"conf/clean.py"}
        files[b"conf/part.py"] = archives.File(archives.edited(archives.python("clean"), 9, b"moved"))
        return {"files": files}

    def generate_jack(origin: archives.Origin) -> dict:
        marked = archives.File((origin.files or {})[b"own/o0.js"].body, late=None)
        return {"files": {**(origin.files or {}), b"node_modules/o0.js": dataclasses.replace(marked, early="vendored")}
                | {b"own/o0.js": archives.File(archives.javascript("another"))}}  # fmt: skip

    mail = archives.python("with mail") + b'OWNER = "%s"\n'
    opted_out = changed(first, gina={"opted_out": True})
    moved = changed(
        opted_out,
        alice=None,
        henry={"licenses": {b"": "GPL-3.0-only"}},
        mia=edit_mia,
        iris=edit_iris,
        jack=generate_jack,
    )
    moved.origins.append(
        archives.Origin(
            url="https://forge.example/nina/new",
            licenses={b"": "MIT"},
            files={
                **{b"n%d.py" % n: archives.File(archives.python(f"nina {n}")) for n in range(3)},
                b"near.py": archives.File(
                    archives.edited(archives.python("mixed 1"), 9, b"older")
                ),  # than mia's
                # The text of iris's file, its address apart; and what is similar to both, and better placed.
                b"bb.py": archives.File(mail % archives.email(random.Random(5))),
                b"aa.py": archives.File(archives.edited(mail % b"nobody", 9, b"older")),
            },
            date=archives.NOW - 5000 * archives.DAY,
        )
    )
    back = changed(moved, gina={"opted_out": False})
    return dict(zip(VERSIONS, (first, opted_out, moved, back), strict=True))


@dataclasses.dataclass
class Chain:
    folder: Path
    worlds: dict[str, archives.World]
    archives: dict[str, Path]

    def out(self, version: str) -> Path:
        return self.folder / "out" / version

    def release(self, version: str, *, folder: Path | None = None, buckets: int | None = 2, **options):
        folder = folder or self.folder
        archive, sections = self.archives[options.pop("input", version)], options.pop("sections", {})
        arguments = {
            "version": version,
            "out": str(folder / "out"),
            "workdir": str(folder / "work"),
            "executor": InProcess(),
            "progress": Progress(io.StringIO()),
            **options,
        }
        return make_release(runs.parsed(archive, buckets=buckets, **sections), **arguments)

    def rows(self, version: str) -> dict[str, dict]:
        release = Release.open(self.out(version))
        return {
            row["row_id"]: row
            for shard in release.manifest.shards
            for row in pq.read_table(self.out(version) / shard.path, partitioning=None).to_pylist()
        }

    def changes(self, version: str) -> list[dict]:
        return pq.read_table(self.out(version) / "changes.parquet").to_pylist()

    def tombstones(self, version: str) -> dict[str, str]:
        data = (self.out(version) / "removals.jsonl").read_bytes()
        return {one.row_id: one.version for one in read_removals(io.BytesIO(data), version)}


@pytest.fixture(scope="module")
def chain(made, tmp_path_factory) -> Chain:
    """The four releases from one work directory; the first is the one that every test has."""
    folder = tmp_path_factory.mktemp("chain")
    shutil.copytree(made[1], folder, dirs_exist_ok=True)
    found = Chain(folder, worlds(), {})
    for version, world in found.worlds.items():
        place = folder / f"input-{version}"
        place.mkdir()
        (place / "registry.yaml").write_text(world.registry())
        found.archives[version] = archives.write(world, place / "archive")
    for before, version in STEPS:
        assert found.release(version, parent=str(found.out(before))).state == "made"
    return found


@pytest.mark.parametrize(("before", "version"), STEPS)
def test_changes_are_those_of_two_dictionaries(chain, before, version):
    old, new = chain.rows(before), chain.rows(version)
    dead = chain.tombstones(before) if before != "1.0" else {}
    wanted = {}
    for key in {*old, *new}:
        if key not in old:
            wanted[key] = "restored" if key in dead else "added"
        elif key not in new:
            wanted[key] = "removed"
        else:
            columns = {name for name in COMPARED if old[key][name] != new[key][name]}
            if columns:
                wanted[key] = ("re_redacted" if "content_sha256" in columns
                               else "re_elected" if columns & set(ELECTED_COLUMNS) else "changed")  # fmt: skip
    rows = chain.changes(version)
    assert {row["row_id"]: row["change"] for row in rows} == wanted
    assert [row["row_id"] for row in rows] == sorted(wanted)
    for row in rows:
        key = row["row_id"]
        assert row["old_language"] == (old[key]["language"] if key in old else None)
        assert row["new_content_sha256"] == (new[key]["content_sha256"] if key in new else None)
        assert row["withdrawn_in"] == (dead[key] if row["change"] == "restored" else None)


@pytest.mark.parametrize(("before", "version"), STEPS)
def test_the_reasons_of_removed_rows_are_those_of_plain_python(chain, before, version):
    world, old, new = chain.worlds[version], chain.rows(before), chain.rows(version)
    expected = expectation.expect(world)
    opted_out = {origin.url for origin in world.origins if origin.opted_out}
    reasons: dict[str, set[str]] = {}
    for origin in world.origins:
        for path, entry in origin.all_files().items():
            if isinstance(entry, archives.File):
                sha256 = archives.swhid.hash_content(entry.body).sha256
                reasons.setdefault(sha256, set()).add(expected.reasons[origin.url, path])
    seen = Counter()
    for row in chain.changes(version):
        if row["change"] != "removed":
            assert row["reason"] is None
            continue
        sha256 = old[row["row_id"]]["sha256"]
        best = max(
            reasons.get(sha256, {"gone"}), key=lambda r: ORDER.index(r.split(".")[0]) if r != "gone" else -1
        )
        hidden = best.split(".")[0] in NOT_TOLD or old[row["row_id"]]["origin"] in opted_out
        assert row["reason"] == ("withdrawn" if hidden else best)
        assert (row["stand_in"] is None) == ("duplicate" not in row["reason"])
        if row["reason"] == "near_duplicate":
            assert row["stand_in"] == row_id(expected.near[sha256])
        if row["stand_in"] is not None:
            assert row["stand_in"] in new
        seen[row["reason"]] += 1
    if version == "1.1":
        assert set(seen) >= {"withdrawn", "gone", "vendored", "near_duplicate", "exact_duplicate"}, seen


def test_the_stand_in_of_a_stand_in_is_told(chain):
    """Iris's text is nina's bb.py, which is near nina's aa.py: that one is the row."""
    row = next(row for row in chain.changes("1.1") if row["reason"] == "exact_duplicate")
    assert chain.rows("1.0.1")[row["row_id"]]["path"] == "conf/a.py"
    assert chain.rows("1.1")[row["stand_in"]]["path"] == "aa.py"


def test_the_chain_meets_every_kind_of_change(chain):
    kinds = {version: Counter(row["change"] for row in chain.changes(version)) for version in VERSIONS[1:]}
    assert kinds["1.0.1"]["removed"] >= 5
    assert set(kinds["1.1"]) >= {"added", "removed", "re_elected"}
    assert kinds["1.2"]["restored"] >= 5
    for version in VERSIONS[1:]:
        assert sum(count_changes(chain.out(version) / "changes.parquet").values()) == kinds[version].total()


def test_tombstones_are_cumulative_and_leave_with_the_row(chain):
    first = {row["row_id"] for row in chain.changes("1.0.1") if row["reason"] == "withdrawn"}
    assert chain.tombstones("1.0.1") == dict.fromkeys(first, "1.0.1")
    second = {row["row_id"] for row in chain.changes("1.1") if row["reason"] == "withdrawn"}
    assert second and not second & first
    assert chain.tombstones("1.1") == dict.fromkeys(first, "1.0.1") | dict.fromkeys(second, "1.1")
    restored = {row["row_id"] for row in chain.changes("1.2") if row["change"] == "restored"}
    assert restored <= first
    now = chain.tombstones("1.2")
    assert set(now) == (first | second) - restored
    assert not set(now) & set(chain.rows("1.2"))


@pytest.mark.parametrize(("before", "version"), STEPS)
def test_manifest_changelog_and_verification(chain, before, version):
    manifest, old = Release.open(chain.out(version)).manifest, Release.open(chain.out(before))
    assert manifest.parent is not None
    assert (manifest.parent.version, manifest.parent.digest) == (before, old.digest)
    assert verify_release(chain.out(version)).ok
    text = (chain.out(version) / "CHANGELOG.md").read_text()
    earlier = (chain.out(before) / "CHANGELOG.md").read_text()
    assert text.endswith(earlier.removeprefix("# Changelog\n"))
    assert text.count("# Changelog\n") == 1
    section = text.removesuffix(earlier.removeprefix("# Changelog\n"))
    counts = Counter(row["change"] for row in chain.changes(version))
    for kind, number in counts.items():
        assert f"| {kind}: " in section and f" | {number:,} |" in section
    assert "opt_out_head" in section if version != "1.1" else "inputs.origins_digest" in section


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_from_scratch_with_the_same_parent_every_byte_is_equal(chain, tmp_path):
    outcome = chain.release("1.2", folder=tmp_path, buckets=8, parent=str(chain.out("1.1")))
    assert outcome.state == "made"
    assert files(tmp_path / "out/1.2") == files(chain.out("1.2"))


def test_data_and_totals_do_not_depend_on_the_parent(chain, tmp_path):
    """The same release without a parent, with all stages done: only what tells of the parent differs."""
    shutil.copytree(chain.folder / "work", tmp_path / "work")
    chain.release("1.2", folder=tmp_path)
    alone, with_parent = files(tmp_path / "out/1.2"), files(chain.out("1.2"))
    told = {"changes.parquet", "removals.jsonl"}
    assert set(with_parent) - set(alone) == told
    differing = {path for path in alone if alone[path] != with_parent[path]}
    # The report and its figures compare with the parent; the card and croissant.json name it.
    own = {"manifest.json", "SHA256SUMS", "CHANGELOG.md"}
    assert differing == own | {"report.html", "stats.json", "README.md", "croissant.json"}
    manifests = [json.loads(one["manifest.json"]) for one in (alone, with_parent)]
    for key in ("shards", "totals", "merkle_root", "languages", "origins"):
        assert manifests[0][key] == manifests[1][key]
    with pytest.raises(ConfigError, match="never overwritten"):
        chain.release("1.2", folder=tmp_path, parent=str(chain.out("1.1")))


def test_made_again_it_is_unchanged(chain):
    assert chain.release("1.2", parent=str(chain.out("1.1"))).state == "unchanged"


# --------------------------------------------------------------------------------------------- a parent on S3


def test_a_parent_on_s3_gives_the_same_bytes(chain, tmp_path, s3_bucket):
    there = Store(f"{s3_bucket}/releases/1.0")
    for path, data in files(chain.out("1.0")).items():
        there.put(path, data)
    shutil.copytree(chain.folder / "work", tmp_path / "work", ignore=shutil.ignore_patterns("changes.*"))
    outcome = chain.release("1.0.1", folder=tmp_path, parent=f"{s3_bucket}/releases/1.0")
    assert outcome.state == "made"
    assert files(tmp_path / "out/1.0.1") == files(chain.out("1.0.1"))
    diff = compare_releases(f"{s3_bucket}/releases/1.0", str(chain.out("1.0.1")))
    assert diff.exact and diff.changes["removed"] > 0
    there.delete("manifest.json")
    with pytest.raises(ConfigError, match="upload that is not finished"):
        chain.release("1.0.1", folder=tmp_path, parent=f"{s3_bucket}/releases/1.0")


# ------------------------------------------------------------------------------------------------------- refusals


def spoiled(chain: Chain, folder: Path, change) -> str:
    copy = folder / "parent"
    shutil.copytree(chain.out("1.0"), copy)
    change(copy)
    return str(copy)


def edited(key: str, value):
    def change(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        manifest[key] = value
        data = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        (folder / "manifest.json").write_bytes(data)

    return change


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (edited("name", "another"), ConfigError, "same dataset"),
        (edited("schema_version", 99), ConfigError, "newer one"),
        (edited("version", "1.1"), ConfigError, "equals the parent's"),
        (edited("version", "3.0"), ConfigError, "comes before the parent's"),
        (edited("shards", []), IntegrityError, "without a single row"),
        (lambda f: (f / "manifest.json").write_text("{"), IntegrityError, "not JSON"),
        (lambda f: (f / "manifest.json").unlink(), ConfigError, "has no manifest.json"),
        (lambda f: (f / "SHA256SUMS").unlink(), IntegrityError, "fully written"),
        (lambda f: (f / "SHA256SUMS").write_text("x"), IntegrityError, "does not follow"),
        (lambda f: next(f.rglob("train-*.parquet")).unlink(), IntegrityError, "fully uploaded"),
        (lambda f: (f / "ids.parquet").write_bytes(b""), IntegrityError, "ids.parquet has 0 bytes"),
        (lambda f: (f / "CHANGELOG.md").unlink(), IntegrityError, "CHANGELOG.md is missing"),
        (lambda f: flip(f / "CHANGELOG.md"), IntegrityError, "CHANGELOG.md is not the file"),
        (edited("policies", {"license": "00" * 32}), IntegrityError, "does not follow"),
    ],
)  # fmt: skip
def test_a_parent_that_cannot_be_one_is_refused_before_any_work(chain, tmp_path, change, error, words):
    parent = spoiled(chain, tmp_path, change)
    with pytest.raises(error, match=words):
        chain.release("1.1", folder=tmp_path / "run", parent=parent)
    assert not (tmp_path / "run").exists()


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    file.write_bytes(data)


def test_the_release_is_no_parent_of_itself(chain):
    with pytest.raises(ConfigError, match="itself"):
        chain.release("1.0", parent=f"{chain.out('1.0')}/")
    with pytest.raises(ConfigError, match=r"no manifest\.json"):
        chain.release("1.1", parent=str(chain.folder / "nothing"))


def test_a_number_that_is_too_small_is_refused_with_the_one_that_fits(chain, tmp_path, monkeypatch):
    shutil.copytree(chain.folder / "work", tmp_path / "work")
    with pytest.raises(ConfigError, match=r"not only withdrawn.*smallest number that fits is 1\.1 "):
        chain.release("1.0.2", folder=tmp_path, input="1.1", parent=str(chain.out("1.0.1")))
    with pytest.raises(ConfigError, match=r"restored.*smallest number that fits is 1\.2 "):
        chain.release("1.1.1", folder=tmp_path, input="1.2", parent=str(chain.out("1.1")))
    assert not list((tmp_path / "out").iterdir())
    with monkeypatch.context() as patched:
        patched.setattr(Policy, "load", lambda path: SimpleNamespace(digest="ab" * 32))
        with pytest.raises(ConfigError, match=r"license policy.*smallest number that fits is 2\.0 "):
            chain.release("1.2", folder=tmp_path / "run", parent=str(chain.out("1.1")))
    assert not (tmp_path / "run").exists()


def test_nothing_changed_is_a_release_too(chain, tmp_path):
    """Same input, next patch: no row differs, the tombstones stay."""
    shutil.copytree(chain.folder / "work", tmp_path / "work")
    chain.release("1.2.1", folder=tmp_path, input="1.2", parent=str(chain.out("1.2")))
    made, before = files(tmp_path / "out/1.2.1"), files(chain.out("1.2"))
    assert pq.read_table(io.BytesIO(made["changes.parquet"])).num_rows == 0
    assert made["removals.jsonl"] == before["removals.jsonl"]
    assert b"rows are the same" in made["CHANGELOG.md"]
    assert {path: data for path, data in made.items() if path.startswith("data/")} == {
        path: data for path, data in before.items() if path.startswith("data/")
    }


def test_another_configuration_is_told(chain, tmp_path):
    """Without near-duplicates: what they stood for is added, and the changelog says which key did it."""
    shutil.copytree(chain.folder / "work", tmp_path / "work")
    sections = {"near_duplicates": {"enabled": False}}
    chain.release("1.3", folder=tmp_path, input="1.2", sections=sections, parent=str(chain.out("1.2")))
    text = (tmp_path / "out/1.3/CHANGELOG.md").read_text()
    assert "| near_duplicates.enabled | true | false |" in text
    counts = count_changes(tmp_path / "out/1.3/changes.parquet")
    assert {change for change, _, _ in counts} == {"added", "changed"}
    dropped = json.loads((chain.out("1.2") / "manifest.json").read_bytes())["totals"]["dropped"]
    assert sum(n for (change, _, _), n in counts.items() if change == "added") == dropped["near_duplicate"]


def test_the_plan_shows_the_parent(chain):
    plan = plan_release(
        runs.parsed(chain.archives["1.2"], buckets=2), version="1.2", out=str(chain.folder / "out"),
        workdir=str(chain.folder / "work"), parent=str(chain.out("1.1")),
    )  # fmt: skip
    assert plan["parent"]["version"] == "1.1"
    assert plan["parent"]["rows"] == len(chain.rows("1.1"))
    assert plan["parent"]["differs"] == ["opt_out"]


# --------------------------------------------------------------------------------------------- what a downloader does


def test_an_older_copy_is_brought_in_line_by_any_later_release(chain, tmp_path):
    copy = tmp_path / "1.0"
    shutil.copytree(chain.out("1.0"), copy)
    done = apply_removals(str(copy), str(chain.out("1.1")))
    tombstones, before = chain.tombstones("1.1"), chain.rows("1.0")
    assert done.rows == len(set(tombstones) & set(before)) > 5
    after = {
        row["row_id"]: row for shard in Release.open(copy).manifest.shards
        for row in pq.read_table(copy / shard.path, partitioning=None).to_pylist()
    }  # fmt: skip
    assert after == {key: row for key, row in before.items() if key not in tombstones}
    diff = compare_releases(str(chain.out("1.0")), str(copy))
    assert +diff.changes == {"removed": done.rows}


def test_diff_by_ids_agrees_with_changes(chain):
    """Two steps at once, for which there is no changes.parquet."""
    found = compare_releases(str(chain.out("1.0")), str(chain.out("1.2"))).to_json()
    old, new = chain.rows("1.0"), chain.rows("1.2")
    assert found["from"] == "ids.parquet"
    assert found["changes"]["added"] == len(set(new) - set(old))
    assert found["changes"]["removed"] == len(set(old) - set(new))
    direct = compare_releases(str(chain.out("1.1")), str(chain.out("1.2"))).to_json()
    assert direct["from"] == "changes.parquet" and direct["is_parent"]
    assert direct["changes"]["restored"] >= 5
