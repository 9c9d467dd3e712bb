"""Proof that a row is in a release, or that it is not, for somebody who has nothing but the manifest.

The leaves of the release's Merkle tree are the rows of `ids.parquet`, sorted by row id (`manifests.merkle`). That a row
is in the release is shown by its leaf, its index, and the hashes beside the way up to the root. That a row is not in
it is shown by the two leaves between which it would stand, with adjacent indices; at either end of the list by the
first or the last leaf alone. The latter needs that the list is sorted, which `verify_release` checks of all of it and
whoever makes a proof checks again.

    proof = prove_row(file, row_id, manifest)       # reads ids.parquet, nothing else
    check_row_proof(canonical.dumps(proof), manifest)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests import canonical
from manifests.errors import CanonicalError, ReleaseError
from manifests.manifest import Manifest
from manifests.merkle import check_inclusion, ids_leaf_hashes, leaf_bytes, leaf_hash, prove
from manifests.names import IDS_FILE
from manifests.schema import IDS

PROOF_VERSION = 1
"""Version of the keys of a proof."""

MAX_PROOF_BYTES = 1 << 20
"""Largest proof that is read; one of 2**60 rows takes 10 kB."""

_ROW_ID = re.compile(r"[\x21-\x7e]{1,200}")
_HASH = re.compile(r"[0-9a-f]{64}")
_BATCH_ROWS = 65_536


@dataclass(frozen=True, kw_only=True)
class RowFacts:
    """What a proof shows that holds."""

    row_id: str
    present: bool
    shard: str | None
    """Path of the shard that the row is in, None where it is in none."""
    row: int | None
    """Its number in that shard, from 0."""
    content_sha256: str | None
    rows: int
    """Of the release."""
    merkle_root: str


def check_row_id(row_id: str) -> str:
    """Return a row id if it can be one; else raise `ReleaseError`."""
    if not _ROW_ID.fullmatch(row_id):
        raise ReleaseError(
            f"{row_id[:80]!a} is no row id: 1 to 200 visible ASCII characters, as in the column row_id"
        )
    return row_id


def prove_row(ids: BinaryIO, row_id: str, manifest: Manifest) -> dict[str, Any]:
    """Return the proof, a JSON object, that `row_id` is or is not in the release; `ids` is its `ids.parquet`.

    Reads that file twice, in batches; what is made is checked. Raises `ReleaseError` for an id that none can be, and
    where the file is not the sorted list that the manifest's Merkle root is of.
    """
    check_row_id(row_id)
    try:
        with pq.ParquetFile(ids, page_checksum_verification=True) as parquet:
            if not parquet.schema_arrow.equals(IDS):
                raise ReleaseError(f"{IDS_FILE}: not the columns of {IDS_FILE}")
            indices = _indices(parquet, row_id)
            root, size, hashes = prove(_leaves(parquet), indices)
            leaves: list[dict[str, Any]] = [
                {"index": index, "leaf": leaf, "hashes": [value.hex() for value in hashes[index]]}
                for index, leaf in _rows(parquet, indices)
            ]
    except (pa.ArrowException, OSError) as error:
        raise ReleaseError(f"{IDS_FILE}: cannot be read: {error}") from error
    if (root.hex(), size) != (manifest.merkle_root, manifest.totals.kept):
        raise ReleaseError(
            f"{IDS_FILE}: Merkle root of {size:,} rows is {root.hex()}, the manifest says {manifest.merkle_root} of"
            f" {manifest.totals.kept:,}"
        )
    proof = {
        "proof_version": PROOF_VERSION,
        "name": manifest.name,
        "version": manifest.version,
        "digest": manifest.digest,
        "row_id": row_id,
        "present": leaves[0]["leaf"]["row_id"] == row_id,
        "merkle_root": root.hex(),
        "rows": size,
        "leaves": leaves,
    }
    check_row_proof(canonical.dumps(proof), manifest)
    return proof


def _indices(parquet: pq.ParquetFile, row_id: str) -> list[int]:
    """Where `row_id` stands in the list, or the places before and after it. Checks that the list is sorted."""
    below = at = 0
    last: str | None = None
    for batch in parquet.iter_batches(_BATCH_ROWS, columns=["row_id"]):
        column = batch.column("row_id")
        if len(column) == 0:
            continue
        ascending = pc.all(pc.less(column.slice(0, len(column) - 1), column.slice(1))).as_py()
        if ascending is False or (last is not None and last >= column[0].as_py()):
            raise ReleaseError(f"{IDS_FILE}: not sorted by row_id, or a row_id twice: it proves nothing")
        last = column[-1].as_py()
        below += pc.sum(pc.less(column, row_id)).as_py()
        at += pc.sum(pc.equal(column, row_id)).as_py()
    rows = parquet.metadata.num_rows
    if rows == 0:
        raise ReleaseError(f"{IDS_FILE}: no row")
    return [below] if at else [index for index in (below - 1, below) if 0 <= index < rows]


def _leaves(parquet: pq.ParquetFile) -> Iterator[bytes]:
    for batch in parquet.iter_batches(_BATCH_ROWS):
        yield from ids_leaf_hashes(batch)


def _rows(parquet: pq.ParquetFile, indices: list[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    first = 0
    for number in range(parquet.metadata.num_row_groups):
        rows = parquet.metadata.row_group(number).num_rows
        if wanted := [index for index in indices if first <= index < first + rows]:
            group = parquet.read_row_group(number)
            yield from ((index, group.slice(index - first, 1).to_pylist()[0]) for index in wanted)
        first += rows


def check_row_content(shard: BinaryIO, facts: RowFacts) -> None:
    """Check that a row that is present stands where its proof says, with the content that its proof names.

    Reads one row group of the shard, page checksums verified. Raises `ReleaseError`.
    """
    assert facts.shard is not None and facts.row is not None
    try:
        with pq.ParquetFile(shard, page_checksum_verification=True) as parquet:
            left = facts.row
            for number in range(parquet.metadata.num_row_groups):
                rows = parquet.metadata.row_group(number).num_rows
                if left < rows:
                    group = parquet.read_row_group(number, columns=["row_id", "content"])
                    group.validate(full=True)
                    row = group.slice(left, 1).to_pylist()[0]
                    digest = hashlib.sha256(row["content"].encode()).hexdigest()
                    if (row["row_id"], digest) != (facts.row_id, facts.content_sha256):
                        raise ReleaseError(f"{facts.shard}: row {facts.row:,} is not the row of the proof")
                    return
                left -= rows
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ReleaseError(f"{facts.shard}: cannot be read: {error}") from error
    raise ReleaseError(f"{facts.shard}: has no row {facts.row:,}")


def check_row_proof(proof: bytes, manifest: Manifest) -> RowFacts:
    """Check the bytes of a proof against a manifest that is trusted, and return what it shows.

    Offline, and in time of a few dozen hashes. Raises `ReleaseError` saying what does not hold.
    """
    try:
        value = canonical.load(proof, max_bytes=MAX_PROOF_BYTES)
    except CanonicalError as error:
        raise ReleaseError(f"the proof is not JSON: {error}") from error
    _check_form(value)
    about = {
        "name": manifest.name,
        "version": manifest.version,
        "digest": manifest.digest,
        "merkle_root": manifest.merkle_root,
        "rows": manifest.totals.kept,
    }
    for key, wanted in about.items():
        if value[key] != wanted:
            raise ReleaseError(f"the proof is of another release: its {key} is {value[key]!a}, not {wanted}")
    for entry in value["leaves"]:
        leaf = leaf_hash(leaf_bytes(**entry["leaf"]))
        hashes = [bytes.fromhex(text) for text in entry["hashes"]]
        if not check_inclusion(
            bytes.fromhex(manifest.merkle_root), leaf, entry["index"], manifest.totals.kept, hashes
        ):
            raise ReleaseError(
                f"the proof does not hold: leaf {entry['index']:,} and its hashes do not lead to the Merkle root"
            )
    row_id, leaves = value["row_id"], value["leaves"]
    ids = [entry["leaf"]["row_id"] for entry in leaves]
    if value["present"]:
        if ids != [row_id]:
            raise ReleaseError("the proof does not hold: it is of another row than it says")
        leaf = leaves[0]["leaf"]
        return _facts(value, shard=leaf["shard"], row=leaf["row"], content=leaf["content_sha256"])
    indices = [entry["index"] for entry in leaves]
    last = manifest.totals.kept - 1
    between = len(ids) == 2 and indices[1] == indices[0] + 1 and ids[0] < row_id < ids[1]
    before_all = len(ids) == 1 and indices == [0] and row_id < ids[0]
    after_all = len(ids) == 1 and indices == [last] and ids[0] < row_id
    if not (between or before_all or after_all):
        raise ReleaseError(
            "the proof does not hold: its leaves are not the neighbours between which the row would stand"
        )
    return _facts(value)


def _facts(
    value: dict[str, Any], *, shard: str | None = None, row: int | None = None, content: str | None = None
) -> RowFacts:
    return RowFacts(
        row_id=value["row_id"],
        present=value["present"],
        shard=shard,
        row=row,
        content_sha256=content,
        rows=value["rows"],
        merkle_root=value["merkle_root"],
    )


_KEYS = {"proof_version", "name", "version", "digest", "row_id", "present", "merkle_root", "rows", "leaves"}


def _check_form(value: Any) -> None:
    def wanted(truth: bool, what: str) -> None:
        if not truth:
            raise ReleaseError(f"not a proof of a row: {what}")

    wanted(isinstance(value, dict) and "proof_version" in value, "an object with proof_version")
    if type(value["proof_version"]) is not int or value["proof_version"] != PROOF_VERSION:
        raise ReleaseError(
            f"a proof of version {value['proof_version']!a:.40}; this software reads {PROOF_VERSION}"
        )
    wanted(set(value) == _KEYS, f"the keys are {', '.join(sorted(_KEYS))}")
    wanted(isinstance(value["row_id"], str) and bool(_ROW_ID.fullmatch(value["row_id"])), "row_id")
    wanted(isinstance(value["present"], bool), "present is true or false")
    leaves = value["leaves"]
    wanted(isinstance(leaves, list) and len(leaves) in (1, 2), "one or two leaves")
    for entry in leaves:
        wanted(isinstance(entry, dict) and set(entry) == {"index", "leaf", "hashes"}, "a leaf's keys")
        wanted(type(entry["index"]) is int, "an index is a number")
        hashes, leaf = entry["hashes"], entry["leaf"]
        wanted(
            isinstance(hashes, list)
            and len(hashes) <= 64
            and all(isinstance(text, str) and _HASH.fullmatch(text) for text in hashes),
            "hashes are of 64 hex digits",
        )
        wanted(isinstance(leaf, dict) and set(leaf) == set(IDS.names), "a leaf is a row of ids.parquet")
        wanted(
            type(leaf["row"]) is int
            and all(isinstance(leaf[name], str) for name in IDS.names if name != "row"),
            "the values of a leaf",
        )
