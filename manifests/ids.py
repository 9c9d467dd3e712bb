"""Checks of `ids.parquet` by itself: the list of all rows, and the leaves of the Merkle tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import ShardError
from manifests.manifest import Manifest
from manifests.merkle import ids_leaf_hashes, root_of
from manifests.rows import Finding
from manifests.shards import read_ids


def check_ids(file: BinaryIO, manifest: Manifest, groups: dict[str, pa.Table]) -> Iterator[Finding]:
    """Yield what is wrong with the list: its form, its order, its Merkle root, the rows of each shard.

    Fills `groups`, shard -> its rows in their order, with the shards that it lists completely. Memory: the list.
    """
    try:
        ids = read_ids(file)
        ids.validate(full=True)
    except ShardError as error:
        yield "schema", str(error)
        return
    except (pa.ArrowException, OSError) as error:
        yield "parquet", f"cannot be read: {error}"
        return
    row_id = ids.column("row_id")
    if ids.num_rows > 1 and not pc.all(pc.less(row_id.slice(0, ids.num_rows - 1), row_id.slice(1))).as_py():
        yield "ids", "not sorted by row_id, or a row_id twice"
    if pc.count_distinct(ids.column("content_sha256")).as_py() != ids.num_rows:
        yield "ids", "a content_sha256 twice"
    root = root_of(ids_leaf_hashes(ids)).hex()
    if root != manifest.merkle_root:
        yield "merkle", f"Merkle root is {root}, the manifest says {manifest.merkle_root}"
    found = _by_shard(ids)
    for shard in sorted(found.keys() - {facts.path for facts in manifest.shards}):
        yield "ids", f"names a shard that the manifest does not have: {ascii(shard)[:200]}"
    for facts in manifest.shards:
        group = found.get(facts.path)
        rows = None if group is None else group.column("row").to_numpy()
        if group is None or rows is None or not np.array_equal(rows, np.arange(facts.rows)):
            yield "ids", f"does not hold rows 0 to {facts.rows - 1:,} of {facts.path}"
        else:
            groups[facts.path] = group


def _by_shard(ids: pa.Table) -> dict[str, pa.Table]:
    groups: dict[str, pa.Table] = {}
    if ids.num_rows == 0:
        return groups
    ordered = ids.take(pc.sort_indices(ids, sort_keys=[("shard", "ascending"), ("row", "ascending")]))
    runs = pc.run_end_encode(ordered.column("shard").combine_chunks())
    start = 0
    for run in runs.chunks if isinstance(runs, pa.ChunkedArray) else [runs]:
        for shard, end in zip(run.values.to_pylist(), run.run_ends.to_pylist(), strict=True):
            groups[shard] = ordered.slice(start, end - start)
            start = end
    return groups
