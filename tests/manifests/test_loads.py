"""A release loads in what people use, offline: DuckDB, polars, pandas (`datasets` is in test_card.py); and suits the Hub."""

from __future__ import annotations

import duckdb
import pyarrow.parquet as pq
import pytest

from manifests.reader import Release
from manifests.shards import MAX_GROUP_BYTES

VIEWER_BYTES = 286 << 20
"""The largest row group that the Hub's viewer opens."""


@pytest.fixture(scope="module")
def rows(pristine) -> dict[str, str]:
    """row_id -> content, as our own reader has them."""
    return {
        row["row_id"]: row["content"]
        for batch in Release.open(pristine).batches(["row_id", "content"])
        for row in batch.to_pylist()
    }


def test_duckdb(pristine, rows):
    found = duckdb.sql(f"select row_id, content from '{pristine}/data/*/*.parquet'").fetchall()
    assert dict(found) == rows and len(found) == len(rows)
    kinds = duckdb.sql(
        f"select typeof(license_evidence), typeof(redactions) from '{pristine}/data/C#/*.parquet'"
    )
    assert all("STRUCT" in kind for kind in kinds.limit(1).fetchall()[0])


def test_polars(pristine, rows):
    polars = pytest.importorskip("polars")
    whole = (
        polars.scan_parquet(f"{pristine}/data/*/*.parquet")
        .select("row_id", "content", "redactions")
        .collect()
    )
    assert dict(whole.select("row_id", "content").iter_rows()) == rows
    for facts in Release.open(pristine).manifest.languages.values():
        assert polars.read_parquet(f"{pristine}/data/{facts.config_name}/*.parquet").height == facts.rows


def test_pandas(pristine, rows):
    pandas = pytest.importorskip("pandas")
    found = {}
    for shard in Release.open(pristine).manifest.shards:
        frame = pandas.read_parquet(pristine / shard.path)
        assert len(frame) == shard.rows
        found |= dict(zip(frame["row_id"], frame["content"], strict=True))
    assert found == rows


def test_groups_pages_and_checksums_suit_the_hub(pristine):
    assert (
        MAX_GROUP_BYTES + (10 << 20) < VIEWER_BYTES
    )  # the bound, and one file of the default limit above it
    for shard in Release.open(pristine).manifest.shards:
        metadata = pq.read_metadata(pristine / shard.path)
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            assert group.total_byte_size < VIEWER_BYTES
            for position in range(group.num_columns):
                assert group.column(position).has_offset_index
