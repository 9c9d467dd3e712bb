"""`pipeline clean`: what no release references goes, what one references stays, to the object."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import e2e_runs as runs
import pytest

from pipeline.clean import clean
from pipeline.engine import lock
from pipeline.engine.lock import exclusive
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, IntegrityError
from pipeline.explain import explain

OTHER = {"emit": {"shard_bytes": 2_000_000}}  # other shards of the same rows
ORIGIN = "https://forge.example/alice/tool"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.0)


@pytest.fixture
def folder(made, tmp_path) -> Path:
    """A copy of the folder of the made release: `out/1.0` and `work`, which has a record of it."""
    shutil.copytree(made[1], tmp_path / "copy")
    (tmp_path / "copy/out/1.0").rename(tmp_path / "gone")
    shutil.rmtree(tmp_path / "copy/work/releases")
    shutil.rmtree(tmp_path / "copy/work/runs")
    (tmp_path / "copy/work/unfinished.json").unlink(missing_ok=True)
    return tmp_path / "copy"


def state(store: Store) -> set[str]:
    """What a clean can touch: all objects but the lock and the records of runs and releases."""
    keys = {entry.key for entry in store.list(temporary=True)}
    return {
        key for key in keys if key.partition("/")[0] in ("stages", "annotations", "shards", "unfinished.json")
    }


def removed(done) -> dict[str, int]:
    return {kind: found["objects"] for kind, found in done.removed.items() if found["objects"]}


def litter(store: Store, stage: str) -> dict[str, int]:
    """What killed runs and other configurations leave; how many objects of each kind."""
    store.put("stages/elect/0123456789abcdef/stage.json", b"{}")
    store.put("stages/elect/0123456789abcdef/rows-0000.parquet", b"x" * 10)
    store.put("annotations/text/0123456789abcdef/0000/one.parquet", b"x" * 10)
    store.put(f"{stage}/rows-00ff.parquet", b"of a unit without a sidecar")
    store.put(f"{stage}/00fe.json", b'{"unit": "of another split"}')
    store.put("shards/0123456789abcdef0123456789abcdef.parquet", b"of a killed unit")
    return {"stages": 2, "annotations": 1, "orphans": 2, "shards": 1}


def a_stage(store: Store) -> str:
    return next(e.key.rpartition("/")[0] for e in store.list("stages/files"))


def test_exactly_what_is_referenced_stays_on_disk(archive, folder, tmp_path):
    """Two releases; one is deleted. What is left is what a new work directory with only the other one would hold."""
    first = runs.release(archive, folder)
    store = Store(str(folder / "work"))
    only_first = state(store)
    second = runs.release(archive, folder, version="1.1", **OTHER)
    both = state(store)
    assert second.units_run > 0
    assert not removed(clean(store.uri)), "both are referenced"
    shutil.rmtree(second.directory)
    notes = clean(store.uri).notes
    assert notes == [f"{second.directory} is gone; what it used is kept (--forget-missing removes it)"]
    assert state(store) == both
    expected = litter(store, a_stage(store)) | {"records": 1, "temporary": 1}
    Path(folder, "work/stages/rows.parquet.tmp-0123").write_bytes(b"half")
    for kind in ("stages", "shards"):
        expected[kind] += len([key for key in both - only_first if key.startswith(kind)])
    told = clean(store.uri, forget_missing=True, dry_run=True)
    assert removed(told) == expected
    assert len(state(store)) > len(both), "a dry run touches nothing"
    done = clean(store.uri, forget_missing=True)
    assert removed(done) == expected
    assert (told.removed, told.kept) == (done.removed, done.kept)
    assert state(store) == only_first
    assert not [path for path in (folder / "work").rglob("*") if path.is_dir() and not any(path.iterdir())]
    again = runs.release(archive, folder)
    assert (again.state, again.units_run, again.digest) == ("unchanged", 0, first.digest)
    assert explain(first.directory, ORIGIN, path=None, workdir=store.uri)["found"] > 0
    # The same with nothing else ever made there: the oracle of `only_first`.
    runs.release(archive, folder, version="1.1", **OTHER)
    assert state(store) == both


def test_an_interrupted_run_can_go_on_after_a_clean(archive, folder):
    """What it has made is kept, unless the user says otherwise; its half units are not."""
    finished = runs.release(archive, folder)
    store = Store(str(folder / "work"))
    before = state(store)
    stages = 0

    class Stops(type(runs.InProcess())):  # type: ignore[misc]
        def run(self, payloads, *, heavy=None):
            nonlocal stages
            for sidecar in super().run(payloads, heavy=heavy):
                stages += 1
                yield sidecar
                if stages == 3:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runs.release(archive, folder, version="1.1", executor=Stops(), near_duplicates={"threshold": "0.95"})
    begun = {key.rpartition("/")[0] for key in state(store) - before if key.startswith("stages/")}
    open_stage = next(place for place in sorted(begun) if store.stat(f"{place}/stage.json") is None)
    store.put(f"{open_stage}/answers/0001/address/first.parquet", b"what a unit was told so far")
    left = state(store)
    assert "unfinished.json" in left
    assert len(left - before) > 3
    done = clean(store.uri)
    assert not removed(done)
    assert len(done.notes) == 1
    assert "the work of the interrupted run" in done.notes[0]
    assert state(store) == left
    done = clean(store.uri, drop_unfinished=True)
    assert state(store) == before
    assert sum(removed(done).values()) == len(left - before)
    resumed = runs.release(archive, folder, version="1.1", near_duplicates={"threshold": "0.95"})
    assert resumed.state == "made"
    assert "unfinished.json" not in state(store)
    assert not removed(clean(store.uri))
    assert runs.release(archive, folder).digest == finished.digest


def test_a_clean_that_was_killed_leaves_no_half_stage(archive, folder, monkeypatch):
    """A summary goes before its files: what is half removed is made again, not taken for finished."""
    first = runs.release(archive, folder, version="1.1", **OTHER)
    shutil.rmtree(first.directory)
    real, left = Store.delete, [3]

    def delete(self, *keys):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        real(self, *keys)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "delete", delete)
        patch.setattr("pipeline.clean._CHUNK", 5)
        with pytest.raises(KeyboardInterrupt):
            clean(str(folder / "work"), forget_missing=True)
    again = runs.release(archive, folder, version="1.1", **OTHER)
    assert (again.state, again.digest) == ("made", first.digest)


def test_clean_on_s3(archive, folder, s3_bucket):
    """The same on S3; and what a killed upload and a killed publication left."""
    import boto3
    from botocore.config import Config

    work, out = Store(f"{s3_bucket}/work"), Store(f"{s3_bucket}/out")
    local = Store(str(folder / "work"))
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(lambda e: work.put(e.key, local.read(e.key)) if e.key != "lock" else None, local.list())
        )
    first = runs.release(archive, folder, out=out.uri, workdir=work.uri)
    assert first.units_run == 0
    only = state(work)
    released = {entry.key for entry in out.list()}
    expected = litter(work, a_stage(work))
    client = boto3.Session().client("s3", config=Config(s3={"addressing_style": "path"}))
    client.create_multipart_upload(Bucket=work.bucket, Key="work/stages/large.parquet")
    client.create_multipart_upload(Bucket=work.bucket, Key="out/2.0/data/large.parquet")
    client.create_multipart_upload(Bucket=work.bucket, Key="out/3.0/data/of-a-living-run.parquet")
    out.put("2.0/data/C/train-all.parquet", b"PAR1")
    out.put(
        "2.0.claim/000001.json",
        json.dumps({"workdir_id": json.loads(work.read("workdir.json"))["id"]}).encode(),
    )
    out.put(
        "1.0.claim/000001.json", b'{"released": true}'
    )  # killed after the manifest, before the claim went
    kept = clean(work.uri, [out.uri], dry_run=True)
    assert [note for note in kept.notes if "2.0 is unfinished; what it holds is kept" in note]
    done = clean(work.uri, [out.uri], drop_unfinished=True)
    assert removed(done) == expected | {"temporary": 2, "releases": 1, "locks": 2}
    assert state(work) == only
    assert {entry.key for entry in out.list()} == released
    assert work.pending_uploads() == []
    assert out.pending_uploads() == ["out/3.0/data/of-a-living-run.parquet"]
    assert explain(first.directory, ORIGIN, path=None, workdir=work.uri)["found"] > 0


def test_never_while_a_run_is_going_on(archive, folder, s3_bucket):
    for uri in (str(folder / "work"), f"{s3_bucket}/work"):
        store = Store(uri)
        store.put("workdir.json", json.dumps({"format": 1, "buckets": 2}).encode())
        store.put("stages/x/y/z.parquet", b"x")
        with exclusive(store), pytest.raises(ConfigError, match="another run uses"):
            clean(uri)
        assert store.stat("stages/x/y/z.parquet") is not None


def test_what_cannot_be_cleaned_is_said(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"is not a work directory: it has no workdir\.json"):
        clean(str(tmp_path))
    assert not (tmp_path / "lock").exists()
    store = Store(str(folder / "work"))
    before = state(store)
    store.put("releases/1.0-abc.json", b"{")
    with pytest.raises(
        IntegrityError, match=r"releases/1.0-abc\.json is not readable, so what its release uses"
    ):
        clean(store.uri)
    assert state(store) == before


def test_the_command(archive, folder):
    runs.release(archive, folder)
    store = Store(str(folder / "work"))
    litter(store, a_stage(store))
    line = [sys.executable, "-m", "pipeline.cli.main", "clean", "--workdir", store.uri, "--json"]
    told = json.loads(subprocess.run([*line, "--dry-run"], capture_output=True, check=True).stdout)
    done = json.loads(subprocess.run(line, capture_output=True, check=True).stdout)
    assert told == {**done, "dry_run": True}
    assert done["removed"]["stages"] == {"objects": 2, "bytes": 12}
    assert done["kept"]["objects"] > 100
    again = subprocess.run(line[:-1], capture_output=True, check=True, text=True).stdout
    assert again.startswith("removed   nothing\nkept ")
