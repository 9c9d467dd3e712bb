"""A release of the small world holds exactly what DESIGN 3 says, counted and decided by plain Python."""

from __future__ import annotations

import io
import json
import random
import re
import shutil
from pathlib import Path

import e2e_archives as archives
import e2e_expectation as expectation
import e2e_runs as runs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from manifests.reader import Release
from manifests.verify import verify_release
from pipeline.engine.stage import Ref, read_ref
from pipeline.engine.store import Store
from pipeline.errors import ConfigError
from pipeline.release import make_release
from pipeline.sources.swhid import hash_content


@pytest.fixture(scope="module")
def expected(world) -> expectation.Expected:
    return expectation.expect(world)


@pytest.fixture(scope="module")
def rows(made) -> list[dict]:
    """All released rows."""
    shards = sorted((made[0].directory / "data").rglob("*.parquet"))
    return [row for shard in shards for row in pq.read_table(shard).to_pylist()]


def place_of(row: dict) -> tuple[str, bytes]:
    return row["origin"], row["path_raw"] if row["path_raw"] is not None else row["path"].encode()


# -------------------------------------------------------------------------------------------------- every file counted


def test_the_small_world_meets_the_rules_it_is_made_for(expected):
    assert {
        "not_a_file", "opted_out", "vendored", "license", "missing", "corrupt", "binary", "license_header",
        "language", "generated", "quality.empty", "quality.text", "exact_duplicate", "near_duplicate",
    } <= set(expected.totals["dropped"])  # fmt: skip
    assert 100 < expected.totals["found"] < 300
    assert expected.totals["kept"] > 40
    assert expected.unresolved == 1


def without_stages(totals):
    return {key: value for key, value in totals.items() if key != "stages"}


def test_found_is_kept_plus_dropped_by_reason(made, expected):
    totals = made[0].totals
    assert totals["found"] == totals["kept"] + sum(totals["dropped"].values())
    assert without_stages(totals) == expected.totals
    manifest = json.loads((made[0].directory / "manifest.json").read_bytes())
    assert manifest["totals"] == totals
    stages = totals["stages"]
    assert [stage["name"] for stage in stages] == [
        "graph", "licenses", "contents", "election", "similarity", "selection",
    ]  # fmt: skip
    assert all(stage["dropped"] for stage in stages[:-1]), "this input has every stage drop something"


def test_every_occurrence_has_the_expected_reason(made, expected, world):
    """The ledger is factored by root; a root's reasons are those of its best origin that did not opt out."""
    ledger = _table(made[1], "ledger", "ledger")
    best = {row["root"]: row["origin"] for row in _table(made[1], "roots", "roots") if row["origin"]}
    opted_out = {origin.url for origin in world.origins if origin.opted_out}
    decided = {}
    for row in ledger:
        if row["root"] in best:
            decided[best[row["root"]], row["path"]] = row["reason"]
    speaking = set(best.values())
    assert speaking.isdisjoint(opted_out)
    assert decided == {key: reason for key, reason in expected.reasons.items() if key[0] in speaking}


def _table(folder: Path, stage: str, output: str) -> list[dict]:
    made = [
        path.parent.relative_to(folder / "work")
        for path in (folder / "work/stages" / stage).glob("*/stage.json")
    ]
    assert made
    refs = [Ref(path.as_posix(), output, path.name) for path in made]
    store = Store(str(folder / "work"))
    return [row for ref in refs for row in read_ref(store, ref, None).to_pylist()]


def test_kept_rows_are_the_elected_occurrences(rows, expected):
    assert {place_of(row): row["sha256"] for row in rows} == {
        (place.url, place.path): sha256 for sha256, place in expected.kept.items()
    }
    assert {row["sha256"]: row["content"].encode() for row in rows} == expected.texts
    assert {row["sha256"]: row["num_occurrences"] for row in rows} == {
        sha256: expected.occurrences[sha256] for sha256 in expected.kept
    }


def test_near_duplicate_clusters_are_those_of_brute_force(rows, expected, made):
    sizes = {row["sha256"]: row["cluster_size"] for row in rows}
    stand_ins = list(expected.near.values())
    assert sizes == {sha256: 1 + stand_ins.count(sha256) for sha256 in expected.kept}
    replaced = {row["sha256"]: row["stand_in"] for row in _table(made[1], "near.settle", "replaced")}
    assert replaced == expected.near
    chain = [r for r in rows if "chain/" in r["path"]]
    assert sorted(r["path"] for r in chain) == ["chain/a.py", "chain/c.py"], "a chain a ~ b ~ c keeps a and c"


# A seed says all; to shrink it would be many releases.
@settings(max_examples=2, deadline=None, derandomize=True, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_conservation_on_generated_archives(tmp_path_factory, seed):
    _conservation(tmp_path_factory.mktemp("generated"), seed)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, database=None, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_conservation_on_many_generated_archives(tmp_path_factory, seed):
    _conservation(tmp_path_factory.mktemp("generated"), seed)


def _conservation(folder: Path, seed: int) -> None:
    world = _random_world(seed)
    (folder / "registry.yaml").write_text(world.registry())
    archive = archives.write(world, folder / "archive")
    licenses = random.Random(seed).choice(([], ["MIT"], ["MIT", "Apache-2.0"]))
    cap = random.Random(seed + 1).choice((None, 4_000, 12_000))
    expected = expectation.expect(world, licenses=frozenset(licenses), cap=cap)
    select = {"licenses": licenses, "max_bytes": {} if cap is None else {"Python": cap}}
    outcome = runs.release(archive, folder, buckets=1, select=select)
    assert without_stages(outcome.totals) == expected.totals
    assert verify_release(outcome.directory).ok
    shutil.rmtree(folder)


def _random_world(seed: int) -> archives.World:
    """Up to 40 origins over a pool of contents that repeat, resemble each other, or are dropped."""
    draw = random.Random(seed)
    pool: list[archives.File] = [archives.File(archives.python(f"{seed} {n}", 30)) for n in range(24)]
    pool += [archives.File(archives.edited(one.body, draw.choice((7, 9, 12)), b"new")) for one in pool[:14]]
    pool += [
        archives.File(b"", late="quality.empty"),
        archives.File(bytes(range(256)) * 5, late="binary"),
        archives.File(archives.python(f"{seed} gone"), late="missing", stored="missing"),
        archives.File(archives.python(f"{seed} cut"), late="corrupt", stored="corrupt"),
    ]
    names = [b"a.py", b"b.py", b"x/a.py", b"x/y/c.py", b"x/y/d.py", b"z/\xff.py", b"z/e.py", b"z/f/g.py"]
    origins: list[archives.Origin] = []
    for number in range(draw.choice((1, 7, 40, 40))):
        files: dict[bytes, archives.Entry] = {
            name: draw.choice(pool) for name in draw.sample(names, draw.randint(1, len(names)))
        }
        if draw.random() < 0.4:
            files[b"link"] = archives.Link(b"a.py")
        if draw.random() < 0.3:
            files[b"module"] = archives.Submodule("12" * 20)
        licenses = {b"": draw.choice(("MIT", "Apache-2.0", "GPL-3.0-only"))} if draw.random() < 0.85 else {}
        if draw.random() < 0.3:
            licenses[b"x"] = draw.choice(("MIT", "GPL-3.0-only"))
            files.setdefault(b"x/a.py", draw.choice(pool))
        if origins and draw.random() < 0.3:  # a fork with the same root
            files, licenses = dict(origins[-1].files or {}), origins[-1].licenses
        origins.append(
            archives.Origin(
                url=f"https://forge.example/{draw.randrange(10**6)}/{number}",
                files=files,
                licenses=licenses,
                date=draw.choice((None, archives.NOW - draw.randrange(9) * archives.DAY)),
                # The first one keeps something: a release of nothing is refused, which another test holds.
                opted_out=number > 0 and draw.random() < 0.25,
                layout=draw.choice(("main", "alias", "tag")),
            )
        )
    origins[0] = archives.Origin(
        url="https://forge.example/sure/thing", files={b"sure.py": pool[0]}, licenses={b"": "MIT"}
    )
    return archives.World(origins)


# ------------------------------------------------------------------------------------------- lawful, secret-free


def test_an_opted_out_or_unlicensed_copy_never_shadows_a_lawful_one(rows, world):
    opted_out = {origin.url for origin in world.origins if origin.opted_out}
    assert not {row["origin"] for row in rows} & opted_out
    by_sha256 = {row["sha256"]: row for row in rows}
    for origin, path, lawful in (
        ("frank/private", b"lib0.py", "gina/lib"),  # opted out, five years older, and nearer to its root
        ("dave/bound", b"part0.py", "alice/tool"),  # GPL, older
        ("erin/silent", b"part1.py", "alice/tool"),  # no license, older
    ):
        source = next(o for o in world.origins if o.url.endswith(origin))
        entry = source.all_files()[path]
        row = by_sha256[hash_content(entry.body).sha256]
        assert row["origin"].endswith(lawful)
    # frank/tool has alice's root, is older than hers and opted out: all her files are there, under her name.
    assert any(row["origin"].endswith("alice/tool") for row in rows)


def test_the_election_follows_its_order(rows, world):
    by_path = {(row["origin"].rsplit("/", 2)[1], row["path"]): row for row in rows}
    # Earliest revision: alice's over bob's, carol's (date unknown) and jack's exact copy.
    exact = by_path["alice", "tool/part5.py"]
    assert (exact["num_origins"], exact["num_occurrences"]) == (5, 5)
    assert exact["revision_date"].timestamp() is not None
    # Fewest components decide within one origin.
    assert ("henry", "real.py") in by_path
    assert ("henry", "copy/real.py") not in by_path


def test_license_evidence_names_the_file(rows):
    for row in rows:
        assert row["license_type"] == "permissive"
        assert row["license_expression"] in expectation.PERMISSIVE
        assert [e["expression"] for e in row["license_evidence"]] == [row["license_expression"]]
        notice = archives.notice(row["license_expression"])
        assert row["license_evidence"][0]["swhid"] == f"swh:1:cnt:{hash_content(notice.body).sha1_git}"
    again = next(row for row in rows if row["path"] == "bound/free/again.c")
    assert again["license_expression"] == "ISC"
    assert again["license_evidence"][0]["path"] == "bound/free/LICENSE"


def test_no_planted_secret_is_in_the_release_nor_in_logs_nor_sidecars(made, rows, world):
    outcome, folder, log = made
    assert len(world.secrets) >= 5
    texts = [row["content"].encode() for row in rows]
    assert any(b"<EMAIL_1>" in text for text in texts), "the planted files are in the release"
    looked_at = 0
    for path in [*outcome.directory.rglob("*"), *(folder / "work").rglob("*.json")]:
        if path.is_file():
            data = path.read_bytes()
            looked_at += 1
            for number, secret in enumerate(world.secrets):
                assert secret not in data, f"secret {number} is in {path}"
    assert looked_at > 50
    for number, secret in enumerate(world.secrets):
        assert secret.decode() not in log, number
        # Parquet pages are compressed: the texts are looked at too, and every other column.
        assert not any(secret.decode() in repr(row) for row in rows), number


def test_unlawful_text_is_not_in_the_release(rows, world, expected):
    """Not one line of a dropped file that no kept file has."""
    kept_lines = {line for text in expected.texts.values() for line in text.split(b"\n")}
    released = b"\n".join(row["content"].encode() for row in rows)
    checked = 0
    for origin in world.origins:
        for path, entry in origin.all_files().items():
            reason = expected.reasons.get((origin.url, path))
            if reason in ("opted_out", "license", "license_header", "vendored", "generated"):
                lines = [
                    line for line in entry.body.split(b"\n") if len(line) > 30 and line not in kept_lines
                ]
                checked += bool(lines)
                assert not any(line in released for line in lines[:5])
    assert checked > 10


# ------------------------------------------------------------------------------------------------ what is downloaded


def test_verify_finds_no_fault(made):
    report = verify_release(made[0].directory)
    assert report.faults == ()
    assert report.digest == made[0].digest


def test_shards_open_with_page_checksums_and_add_up(made):
    release = Release.open(made[0].directory)
    total = 0
    for shard in release.manifest.shards:
        with pq.ParquetFile(made[0].directory / shard.path, page_checksum_verification=True) as file:
            table = file.read()
            assert table.num_rows == shard.rows
            assert file.metadata.row_group(0).column(0).compression == "ZSTD"
            total += table.num_rows
    assert total == made[0].totals["kept"]
    assert len(release.manifest.shards) > len(release.manifest.languages), (
        "the small target splits a language"
    )


def test_a_broken_page_is_noticed(made, tmp_path):
    """Page checksums are in the shards: a flipped bit is an error, not another text."""
    shard = next((made[0].directory / "data").rglob("*.parquet"))
    data = bytearray(shard.read_bytes())
    column = pq.ParquetFile(shard).metadata.row_group(0).column(6)
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 0x10
    (tmp_path / "broken.parquet").write_bytes(data)
    with (
        pq.ParquetFile(tmp_path / "broken.parquet", page_checksum_verification=True) as file,
        pytest.raises(OSError, match="CRC"),
    ):
        file.read()


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_loads_every_language_offline(made, tmp_path, monkeypatch, streaming):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    import datasets

    datasets.disable_progress_bars()
    manifest = json.loads((made[0].directory / "manifest.json").read_bytes())
    counts: dict[str, int] = {}
    for shard in manifest["shards"]:
        language = shard["language"]
        counts[language] = counts.get(language, 0) + shard["rows"]
    assert {"Python", "JavaScript", "C"} <= set(counts)
    for language, wanted in counts.items():
        data = datasets.load_dataset(
            str(made[0].directory), language, split="train", streaming=streaming, cache_dir=str(tmp_path)
        )
        found = [row["language"] for row in data]
        assert found == [language] * wanted


def test_rows_are_complete(rows):
    assert len({row["row_id"] for row in rows}) == len({row["content_sha256"] for row in rows}) == len(rows)
    for row in rows:
        assert row["swhid"] == f"swh:1:cnt:{row['content_id']}"
        for place in row["redactions"]:
            text = row["content"].encode()[place["start"] : place["end"]]
            assert re.match(rb"<?[A-Z_]+_[0-9]+>?|[0-9]+$", text), text
    shown = [row["path"] for row in rows if row["path_raw"] is not None]
    assert sorted(shown)[0] == r"ctl\x01/\x1b[31m.py"
    assert len(shown) == 3


# --------------------------------------------------------------------------------------------- once and only once


@pytest.fixture
def again(made, tmp_path) -> Path:
    """A copy of the folder of the made release, for a test that changes it."""
    shutil.copytree(made[1], tmp_path / "again")
    return tmp_path / "again"


def test_a_second_run_does_nothing_and_says_so(archive, made):
    before = {path: path.stat().st_mtime_ns for path in made[0].directory.rglob("*")}
    records = set((made[1] / "work/runs").iterdir())
    second = runs.release(archive, made[1])
    assert (second.state, second.units_run, second.digest) == ("unchanged", 0, made[0].digest)
    assert second.units_skipped == made[0].units_run
    assert second.totals == made[0].totals
    assert {path: path.stat().st_mtime_ns for path in made[0].directory.rglob("*")} == before
    third = runs.release(archive, made[1])
    assert (third.state, third.units_run) == ("unchanged", 0)
    for record in set((made[1] / "work/runs").iterdir()) - records:
        shutil.rmtree(record)  # other tests count the runs of this folder


def test_another_version_from_the_same_work_directory_runs_nothing(archive, again, made):
    for version in ("1.1", "1.2"):
        outcome = runs.release(archive, again, version=version)
        assert (outcome.state, outcome.units_run) == ("made", 0)
        assert verify_release(outcome.directory).ok
        for shard in (made[0].directory / "data").rglob("*.parquet"):
            twin = outcome.directory / shard.relative_to(made[0].directory)
            assert twin.read_bytes() == shard.read_bytes()


def test_a_changed_threshold_runs_only_what_depends_on_it(archive, again, world):
    log = io.StringIO()
    outcome = runs.release(archive, again, version="1.1", log=log, near_duplicates={"threshold": "0.95"})
    assert _stages_run(log) == [
        "near.settle", "replaced.near", "kept", "ledger", "emit.rows", "emit.place", "emit.members",
        "emit.keys", "emit.missing", "emit.texts", "emit.shards", "secrets.recheck", "figures.rows",
        "figures.origins", "repositories.origins", "repositories.networks", "figures", "quality-signals",
        "quality-signals.file", "notices", "notices.file", "index.contents", "index",
    ]  # fmt: skip
    assert without_stages(outcome.totals) == expectation.expect(world, threshold="0.95").totals


def test_a_changed_opt_out_fetches_and_annotates_nothing(archive, again, tmp_path, world):
    registry = tmp_path / "more.yaml"
    registry.write_text(world.registry() + "- kind: owner\n  value: forge.example/jack\n")
    log = io.StringIO()
    outcome = runs.release(archive, again, version="1.1", log=log, optout={"registry": str(registry)})
    run = _stages_run(log)
    assert "origins" in run
    assert not [name for name in run if name.startswith(("shuffle", "graph.", "resolve"))]
    record = max(
        (again / "work/stages/fetch.bodies").glob("*/stage.json"), key=lambda p: p.stat().st_mtime_ns
    )
    for unit in json.loads(record.read_bytes())["units"].values():
        # What failed before (missing, corrupt) is asked for again; what was had is not.
        assert unit["counts"].get("objects.requested", 0) <= 2
    for stage in ("annotate.text", "annotate.secrets"):
        record = max((again / "work/stages" / stage).glob("*/stage.json"), key=lambda p: p.stat().st_mtime_ns)
        for unit in json.loads(record.read_bytes())["units"].values():
            assert not [name for name in unit["counts"] if name.startswith("annotated")]
    changed = archives.World(
        [archives.Origin(**{**vars(o), "opted_out": o.opted_out or "/jack/" in o.url}) for o in world.origins]
    )
    assert without_stages(outcome.totals) == expectation.expect(changed).totals


def _stages_run(log: io.StringIO) -> list[str]:
    return [line.split()[0] for line in log.getvalue().splitlines() if " units " in line]


def test_the_same_version_made_again_from_scratch_is_identical(archive, made, tmp_path):
    """Another work directory, the same release folder: made again, byte for byte, and left in place."""
    outcome = make_release(
        runs.parsed(archive, buckets=1),
        version="1.0",
        out=made[1] / "out",
        workdir=str(tmp_path / "other"),
        executor=runs.InProcess(),
        progress=runs.Progress(io.StringIO()),
    )
    assert (outcome.state, outcome.digest) == ("identical", made[0].digest)


def test_the_same_version_with_other_content_is_refused(archive, again):
    before = (again / "out/1.0/manifest.json").read_bytes()
    with pytest.raises(ConfigError, match="never overwritten") as refused:
        runs.release(archive, again, near_duplicates={"threshold": "0.95"})
    assert refused.value.exit_code == 2
    assert (again / "out/1.0/manifest.json").read_bytes() == before
    assert sorted(path.name for path in (again / "out").iterdir()) == ["1.0"], "no staging folder stays"


def test_stderr_has_one_line_per_stage_with_rates_and_drops(made, expected):
    lines = made[2].splitlines()
    names = [line.split()[0] for line in lines]
    assert len(set(names)) == len(names)
    for wave in ("shuffle.origin", "files", "licenses.attribute", "judge", "elect", "near.settle", "ledger"):
        assert wave in names
    judged = lines[names.index("judge")]
    assert re.search(r"2/2 units .* rows/s .* MB/s .* s  dropped: ", judged), judged
    settled = lines[names.index("near.settle")]
    assert settled.endswith(f"dropped: near_duplicate {len(expected.near)}")


def test_arrow_tables_of_the_release_have_the_declared_types(made):
    """Offsets and ids as the schema has them: a reader may rely on it without looking."""
    from manifests.schema import DATA, IDS

    shard = next((made[0].directory / "data").rglob("*.parquet"))
    assert pq.read_schema(shard).remove_metadata().equals(DATA)
    ids = pq.read_table(made[0].directory / "ids.parquet")
    assert ids.schema.names == IDS.names
    assert ids["row_id"].to_pylist() == sorted(ids["row_id"].to_pylist())
    assert pa.types.is_integer(ids.schema.field("row").type)
