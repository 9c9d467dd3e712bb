"""Shards are written once: a release takes those that are there, and has the bytes that an empty work directory gives."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import e2e_archives as archives
import e2e_runs as runs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from manifests.canonical import dumps
from manifests.schema import DATA
from manifests.shards import write_shard
from manifests.verify import verify_release
from pipeline.cli.main import app
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, IntegrityError, SourceError
from pipeline.rebuild import pick
from pipeline.stages import shard_files

ORIGINS = 150
CUT = {"emit": {"shard_bytes": 12_000}, "near_duplicates": {"enabled": False}}


def many_origins(changed: tuple[int, ...] = ()) -> archives.World:
    """150 repositories of four files; of some, one file has another text."""
    return archives.World(
        [
            archives.Origin(
                url=f"https://forge.example/owner{n}/project",
                files={
                    **{b"part%d.py" % i: archives.File(archives.python(f"{n} {i}")) for i in range(3)},
                    b"main.c": archives.File(archives.c_source(f"{n} {'new' if n in changed else 'old'}")),
                },
                licenses={b"": "MIT"},
            )
            for n in range(ORIGINS)
        ]
    )


def written_to(world: archives.World, folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "registry.yaml").write_text(world.registry())
    return archives.write(world, folder / "archive")


def texts_read(work: Path) -> dict[str, int]:
    """Rows that each run of the stage that reads texts gave."""
    found = {}
    for path in work.glob("stages/emit.texts/*/stage.json"):
        units = json.loads(path.read_bytes())["units"].values()
        found[path.parent.name] = sum(unit["outputs"]["rows"]["rows"] for unit in units)
    return found


def data_files(release: Path) -> dict[str, bytes]:
    return {p.relative_to(release).as_posix(): p.read_bytes() for p in release.rglob("*") if p.is_file()}


def test_an_update_writes_only_the_shards_that_changed(tmp_path):
    before = written_to(many_origins(), tmp_path / "before")
    after = written_to(many_origins(changed=(11, 97)), tmp_path / "after")
    first = runs.release(before, tmp_path, **CUT)
    shards = list((first.directory / "data").rglob("*.parquet"))
    assert len(shards) >= 50
    assert (first.shards_reused, first.shards_written) == (0, len(shards))
    seen = texts_read(tmp_path / "work")

    second = runs.release(after, tmp_path, version="1.1", **CUT)
    assert 1 <= second.shards_written <= 4
    assert second.shards_reused >= 0.6 * (second.shards_reused + second.shards_written) >= 30
    (read,) = (rows for key, rows in texts_read(tmp_path / "work").items() if key not in seen)
    assert 0 < read < 0.1 * second.totals["kept"], "texts are read for the shards that changed, and no others"

    scratch = runs.release(after, tmp_path / "scratch", version="1.1", **CUT)
    assert (scratch.digest, scratch.shards_reused) == (second.digest, 0)
    assert data_files(scratch.directory) == data_files(second.directory)
    for path in second.directory.rglob("*"):
        assert not path.is_symlink()


# ------------------------------------------------------------------------------------- what can happen to what is kept


@pytest.fixture
def folder(made, tmp_path) -> Path:
    """A copy of the made release and its work directory."""
    shutil.copytree(made[1], tmp_path / "copy")
    return tmp_path / "copy"


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "work/shards").glob("*.parquet"))


@pytest.mark.parametrize("suffixes", [(".parquet",), (".json",), (".json", ".parquet")])
def test_what_is_lost_is_written_again(archive, made, folder, suffixes):
    for file in kept(folder)[:2]:
        for suffix in suffixes:
            file.with_suffix(suffix).unlink()
    for version, written in (("1.1", 2), ("1.2", 0)):
        outcome = runs.release(archive, folder, version=version)
        assert (outcome.state, outcome.shards_written) == ("made", written)
        assert verify_release(outcome.directory).ok
        assert data_files(outcome.directory / "data") == data_files(made[0].directory / "data")
    kept(folder)[0].unlink()  # lost again: not what the stage of the first loss stands for
    assert runs.release(archive, folder, version="1.3").shards_written == 1


@pytest.mark.parametrize("spoil", [lambda file: file.write_bytes(file.read_bytes()[:-9]),
                                   lambda file: file.with_suffix(".json").write_bytes(b'{"facts": {')])  # fmt: skip
def test_what_is_torn_is_named(archive, folder, spoil):
    spoil(kept(folder)[0])
    for stage in ("emit.missing", "emit.texts", "emit.shards"):  # of the run that wrote it
        shutil.rmtree(folder / "work/stages" / stage)
    with pytest.raises(
        IntegrityError, match=f"{kept(folder)[0].name}.*is not whole.*delete it and run again"
    ):
        runs.release(archive, folder, version="1.1")
    kept(folder)[0].unlink()
    assert runs.release(archive, folder, version="1.1").shards_written == 1


def test_a_run_that_ended_between_two_shards_goes_on(archive, made, tmp_path, monkeypatch):
    """What is finished stays; nothing half-written is taken for a shard."""
    calls = 0

    def fails(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise OSError(28, "No space left on device")
        return write_shard(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(shard_files, "write_shard", fails)
        with pytest.raises(SourceError, match="no space left"):
            runs.release(archive, tmp_path)
    there = shard_files.present(Store(str(tmp_path / "work")))
    assert len(there) == 3
    log = io.StringIO()
    outcome = runs.release(archive, tmp_path, log=log)
    assert outcome.digest == made[0].digest
    assert outcome.shards_written == made[0].shards_written - 3
    assert "emit.texts" not in [line.split()[0] for line in log.getvalue().splitlines()]


# ------------------------------------------------------------------------------------------------- how they are written


def test_the_form_of_shards_is_the_users(archive, made, tmp_path):
    """Rows, bytes, level and pages are as configured, the rows the same, and nothing before them is done again."""
    shutil.copytree(made[1] / "work", tmp_path / "work")
    form = {"group_rows": 7, "compression_level": 9, "content_defined_chunking": True}
    log = io.StringIO()
    outcome = runs.release(archive, tmp_path, version="1.1", log=log, emit=form)
    stages = [line.split()[0] for line in log.getvalue().splitlines()]
    assert stages == ["emit.keys", "emit.missing", "emit.texts", "emit.shards", "secrets.recheck"]
    assert outcome.shards_reused == 0
    for path in (made[0].directory / "data").rglob("*.parquet"):
        twin = outcome.directory / path.relative_to(made[0].directory)
        meta = pq.read_metadata(twin)
        assert all(meta.row_group(n).num_rows == 7 for n in range(meta.num_row_groups - 1))
        assert pq.read_table(twin).equals(pq.read_table(path))
    assert verify_release(outcome.directory).ok


# ------------------------------------------------------------------------------------------------------ the spot check


def asked(archive: Path, folder: Path, wanted: str, *more: str, **options):
    line = runs.command(archive, folder, "--rebuild-shard", wanted, "--in-process", "--json", "-q", **options)
    done = CliRunner().invoke(app, [*line[3:], *more])
    return done.exit_code, json.loads(done.stdout) if done.stdout.startswith("{") else done.output


def test_shards_are_rebuilt_from_bodies(archive, made, folder, tmp_path):
    """With the work directory, whose kept files are spoiled and must not be looked at, and with a new one."""
    before = set((folder / "work/stages").rglob("*"))
    for file in kept(folder):
        file.write_bytes(b"not what it was")
    code, told = asked(archive, folder, "random:3")
    assert (code, told["ok"], told["digest"], told["notes"]) == (0, True, made[0].digest, [])
    assert list(told["shards"]) == pick("random:3", sorted(p for p in _paths(made)), made[0].digest)
    assert {path for path in (folder / "work/stages").rglob("*") if path.is_file()} <= before
    one = next(iter(told["shards"]))
    code, told = asked(archive, folder, one, workdir=str(tmp_path / "new"))
    assert (code, told["shards"]) == (0, {one: []})


def _paths(made) -> list[str]:
    return [s["path"] for s in json.loads((made[0].directory / "manifest.json").read_bytes())["shards"]]


def test_a_shard_that_differs_is_told_with_row_and_column(archive, folder):
    """Somebody changed a row, and the manifest with it."""
    release = folder / "out/1.0"
    manifest = json.loads((release / "manifest.json").read_bytes())
    entry = max(manifest["shards"], key=lambda shard: shard["rows"])
    rows = pq.read_table(release / entry["path"], schema=DATA).to_pylist()
    rows[2]["license_expression"] = "WTFPL"
    facts = write_shard(pa.Table.from_pylist(rows, schema=DATA), release / entry["path"], path=entry["path"])
    languages = manifest["languages"][entry["language"]]
    languages["memory_bytes"] += facts.memory_bytes - entry["memory_bytes"]
    languages["bytes"] += facts.bytes - entry["bytes"]
    entry.update(facts.to_json())
    (release / "manifest.json").write_bytes(dumps(manifest))
    code, told = asked(archive, folder, entry["path"])
    assert (code, told["ok"]) == (4, False)
    (difference,) = told["shards"].values()
    assert difference[1] == "row 2, column license_expression: 'WTFPL' there, 'MIT' rebuilt"


@pytest.mark.parametrize("wanted", ["data/Python/none.parquet", "random:0", "random:x", "../etc", ""])
def test_what_cannot_be_rebuilt(wanted):
    with pytest.raises(ConfigError, match="--rebuild-shard"):
        pick(wanted, ["data/C/train-all.parquet"], "00")


def test_a_release_is_made_again_from_its_own_configuration(archive, made, tmp_path):
    """config.yaml holds all but the user's files; without these it says which are needed."""
    recipe = made[0].directory / "config.yaml"
    line = ["release", "--config", str(recipe), "--version", "1.0", "--archive", str(archive), "--in-process", "--json",
            "--out", str(tmp_path / "out"), "--workdir", str(tmp_path / "work"), "-q"]  # fmt: skip
    refused = CliRunner().invoke(app, line)
    assert isinstance(refused.exception, ConfigError)
    assert "optout.registry: the file with the digest" in str(refused.exception)
    assert not (tmp_path / "work").exists()
    full = tmp_path / "again.yaml"
    full.write_text(
        recipe.read_text()
        + f"optout:\n  registry: {archive.parent / 'registry.yaml'}\nengine:\n  buckets: 1\n"
    )
    line[2] = str(full)
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["digest"] == made[0].digest
