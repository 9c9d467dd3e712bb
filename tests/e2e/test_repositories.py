"""The repository view holds every row once, the rows of one origin together, in an order that batches do not decide."""

from __future__ import annotations

import hashlib
import json
import shutil
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from manifests.errors import ReleaseError
from manifests.reader import Release
from manifests.repositories import repositories
from pipeline.cli.main import app


@pytest.fixture(scope="module")
def release(made) -> Release:
    return Release.open(made[0].directory)


def read(release, *arguments, **options) -> list[tuple[str, list[dict]]]:
    return [
        (one.origin, [row for batch in one.batches for row in batch.to_pylist()])
        for one in repositories(release, *arguments, **options)
    ]


def expected(release: Release, columns: list[str], languages: set[str]) -> list[tuple[str, list[dict]]]:
    """By sorting all rows: origin, then language, then path, each where it is hashed by its hash."""
    rows = [row for batch in release.batches() for row in batch.to_pylist() if row["language"] in languages]

    def key(row: dict) -> tuple[str, str, str]:
        path = row["path_raw"] if row["path_raw"] is not None else row["path"].encode()
        return (
            hashlib.sha256(row["origin"].encode()).hexdigest(),
            row["language"],
            hashlib.sha256(path).hexdigest(),
        )

    rows.sort(key=key)
    return [
        (origin, [{name: row[name] for name in columns} for row in some])
        for origin, some in groupby(rows, key=lambda row: row["origin"])
    ]


@pytest.mark.parametrize("batch_rows", [1, 3, 256])
@pytest.mark.parametrize("languages", [None, ["Python"], ["JavaScript", "C"]])
def test_all_rows_once_and_those_of_an_origin_together(release, batch_rows, languages):
    columns = ["path", "content_sha256"]
    found = read(release, columns, languages, batch_rows=batch_rows)
    assert found == expected(release, columns, set(languages or release.languages))
    assert len({origin for origin, _ in found}) == len(found) > 1


def test_the_input_has_what_the_merge_is_for(release):
    """Several shards of a language, an origin in several languages, one in several batches."""
    assert len(release.shards("Python")) > 2
    assert any(len({row["language"] for row in rows}) > 1 for _, rows in read(release))


def test_what_is_not_read_is_passed_over(release):
    whole = read(release, ["path"], batch_rows=2)
    assert [one.origin for one in repositories(release, ["path"], batch_rows=2)] == [o for o, _ in whole]
    first = [(one.origin, next(one.batches).num_rows) for one in repositories(release, batch_rows=2)]
    assert [origin for origin, _ in first] == [origin for origin, _ in whole]
    assert all(0 < rows <= 2 for _, rows in first)


def test_unknown_names_and_altered_shards_are_errors(release, tmp_path):
    for arguments in ((["nope"],), (None, ["COBOL"])):
        with pytest.raises(ReleaseError, match=r"no such columns|no language"):
            repositories(release, *arguments)
    copy = Path(shutil.copytree(release.directory, tmp_path / "copy"))
    victim = release.shards("JavaScript")[-1].path
    (copy / victim).write_bytes(b"PAR1")
    with pytest.raises(ReleaseError, match="JavaScript"):
        read(Release.open(copy))


def test_rows_in_another_order_are_refused(release, tmp_path):
    """Breach: the files of a repository come in two parts, and nobody is told."""
    copy = Path(shutil.copytree(release.directory, tmp_path / "copy"))
    origins = {
        shard: pq.read_table(copy / shard.path, columns=["origin"], partitioning=None)["origin"].to_pylist()
        for shard in release.shards()
    }
    victim = next(shard for shard, found in origins.items() if len(set(found)) > 1)
    table = pq.read_table(copy / victim.path, partitioning=None)
    backwards = table.take(pa.array(range(table.num_rows - 1, -1, -1)))
    pq.write_table(backwards, copy / victim.path)
    with pytest.raises(ReleaseError, match="not in the order of their origins"):
        read(Release.open(copy), verify=False)


def test_the_command_prints_a_repository_a_line(release):
    result = CliRunner().invoke(
        app, ["repositories", str(release.directory), "--columns", "path,language", "--limit", "3"]
    )
    assert result.exit_code == 0, result.output
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["origin"], one["files"]) for one in told] == expected(
        release, ["path", "language"], set(release.languages)
    )[:3]
