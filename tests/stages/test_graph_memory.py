"""Conversion in little memory: the same tables, in the same order, whether a bucket is held whole or goes over the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.engine.executor import InProcess
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Runner
from pipeline.engine.store import Store
from pipeline.sources.archive_writer import ArchiveWriter
from pipeline.sources.graph import open_export
from pipeline.sources.swhid import Entry
from pipeline.stages.graph import convert
from pipeline.tables import PERMS_FILE


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    with ArchiveWriter(folder) as writer:
        for number in range(400):
            body = writer.add_content(b"%d" % (number % 50))
            writer.add_directory([Entry(b"%d-%d" % (number, n), PERMS_FILE, body.sha1_git) for n in range(9)])
        writer.finish()
    return folder


@pytest.mark.parametrize("buckets", [1, 4])
def test_a_bucket_that_does_not_fit_gives_the_same_table(archive, tmp_path, buckets):
    made = {}
    for memory in ("1GB", "1KB"):
        runner = Runner(
            Store(str(tmp_path / memory)), InProcess(), buckets, Progress(quiet=True), task_memory=memory
        )
        done = convert(runner, open_export(Store(str(archive)), None, None))
        made[memory] = {name: runner.table(one.ref("rows")).to_pylist() for name, one in done.items()}
    assert made["1KB"] == made["1GB"]
    assert len(made["1GB"]["directory_entry"]) == 400 * 9
    ids = [row["directory_id"] for row in made["1KB"]["directory_entry"]]
    assert ids == sorted(ids)
