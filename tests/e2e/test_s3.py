"""The archive and the work directory on a real S3 server: the same release, and it resumes there too."""

from __future__ import annotations

import io
from pathlib import Path

import e2e_runs as runs
import pytest

from pipeline import config as configuration
from pipeline.engine.store import Store
from pipeline.release import Outcome, make_release


def upload(archive: Path, store: Store) -> None:
    for path in archive.rglob("*"):
        if path.is_file() and path.name != ".lock":
            store.put(path.relative_to(archive).as_posix(), path.read_bytes())


def released(archive: Path, uri: str, out: Path, workdir: str) -> Outcome:
    data = runs.settings(archive, buckets=1)
    data["archive"] = {"uri": uri, "anonymous": False}
    return make_release(
        configuration.parse(data),
        version="1.0",
        out=out,
        workdir=workdir,
        executor=runs.InProcess(),
        progress=runs.Progress(io.StringIO()),
    )


def test_an_archive_on_s3(archive, made, s3_bucket, tmp_path):
    store = Store(f"{s3_bucket}/swh")
    upload(archive, store)
    outcome = released(archive, store.uri, tmp_path / "out", str(tmp_path / "work"))
    assert (outcome.digest, outcome.totals) == (made[0].digest, made[0].totals)


@pytest.mark.slow
def test_a_work_directory_on_s3(archive, made, s3_bucket, tmp_path):
    store = Store(f"{s3_bucket}/swh")
    upload(archive, store)
    workdir = f"{s3_bucket}/work"
    outcome = released(archive, store.uri, tmp_path / "out", workdir)
    assert (outcome.digest, outcome.state) == (made[0].digest, "made")
    again = released(archive, store.uri, tmp_path / "out", workdir)
    assert (again.state, again.units_run) == ("unchanged", 0)
    # One stage is lost: its units, and nothing else, are run again, and the release that they make is the same.
    Store(workdir).delete_all("stages/elect")
    third = released(archive, store.uri, tmp_path / "out", workdir)
    assert third.digest == made[0].digest
    assert third.units_run == 1
