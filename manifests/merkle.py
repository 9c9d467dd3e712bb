"""The Merkle tree of a release: RFC 9162 (section 2.1) hashing over the rows of `ids.parquet`.

    leaf hash = SHA-256(0x00 || leaf)           node hash = SHA-256(0x01 || left || right)

A list of n > 1 leaves splits at the largest power of two below n; the tree of no leaves is SHA-256 of
nothing. The different first bytes keep a node from passing as a leaf. Leaf number i is row i of
`ids.parquet`, which is sorted by `row_id`; its bytes are the canonical JSON (RFC 8785) of that row:

    {"content_sha256":"<hex>","row":<int>,"row_id":"<id>","shard":"<path>"}

so a proof that row_id is in a release needs the row, its index, the number of rows, and log2(rows) hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from json.encoder import encode_basestring

import pyarrow as pa

HASH_BYTES = 32
_BLOCK = 1 << 16
_EMPTY = hashlib.sha256(b"").digest()


def leaf_bytes(row_id: str, content_sha256: str, shard: str, row: int) -> bytes:
    """Return the leaf of one row: RFC 8785 JSON, keys in their canonical order (equal to `canonical.dumps`).

    Written out here because a general serializer takes 30 times as long per row. JSON's string escapes as
    Python writes them with `ensure_ascii=False` are those of RFC 8785.
    """
    return (
        f'{{"content_sha256":{encode_basestring(content_sha256)},"row":{row:d},'
        f'"row_id":{encode_basestring(row_id)},"shard":{encode_basestring(shard)}}}'
    ).encode()


def leaf_hash(leaf: bytes) -> bytes:
    """Return SHA-256(0x00 || leaf), 32 bytes."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right), 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def ids_leaf_hashes(ids: pa.Table | pa.RecordBatch) -> Iterator[bytes]:
    """Yield the leaf hashes of rows of `ids.parquet` (schema `IDS`), in the order given."""
    sha256, quote = hashlib.sha256, encode_basestring
    for batch in ids.to_batches(max_chunksize=_BLOCK) if isinstance(ids, pa.Table) else [ids]:
        columns = [batch.column(name).to_pylist() for name in ("content_sha256", "row", "row_id", "shard")]
        for content, row, row_id, shard in zip(*columns, strict=True):
            leaf = (
                f'{{"content_sha256":{quote(content)},"row":{row:d},'
                f'"row_id":{quote(row_id)},"shard":{quote(shard)}}}'
            )
            yield sha256(b"\x00" + leaf.encode()).digest()


def _parents(level: list[bytes]) -> list[bytes]:
    sha256 = hashlib.sha256
    pairs = zip(level[0::2], level[1::2], strict=False)
    above = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
    if len(level) % 2:
        above.append(
            level[-1]
        )  # an unpaired last node moves up unchanged: the same tree as RFC 9162's splits
    return above


def _collapse(level: list[bytes]) -> bytes:
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root of leaf hashes (as `leaf_hash` makes them); n - 1 node hashes, memory for n / 65,536 of
    them.

    Leaves are taken in blocks of a power of two: the root of a full block is a node of the whole tree, and
    the last block, full or not, is the rest of it.
    """
    iterator = iter(leaves)
    blocks: list[bytes] = []
    while block := list(islice(iterator, _BLOCK)):
        blocks.append(_collapse(block))
    return _collapse(blocks) if blocks else _EMPTY


class Tree:
    """A Merkle tree held in memory (64 bytes and some overhead per leaf), for making proofs."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._levels = [list(leaves)]
        while len(self._levels[-1]) > 1:
            self._levels.append(_parents(self._levels[-1]))

    def __len__(self) -> int:
        return len(self._levels[0])

    @property
    def root(self) -> bytes:
        """The root, 32 bytes."""
        return self._levels[-1][0] if self._levels[0] else _EMPTY

    def proof(self, index: int) -> list[bytes]:
        """Return the inclusion proof of leaf `index`: the sibling hashes from the leaf upwards (RFC 9162,
        2.1.3.1).

        Raises `IndexError` when there is no such leaf.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"leaf {index} of a tree with {len(self)} leaves")
        proof = []
        for level in self._levels[:-1]:
            sibling = index ^ 1
            if sibling < len(level):
                proof.append(level[sibling])
            index //= 2
        return proof


def prove(leaves: Iterable[bytes], indices: Sequence[int]) -> tuple[bytes, int, dict[int, list[bytes]]]:
    """Return (root, number of leaves, index -> inclusion proof) of leaf hashes that are read once.

    The proofs are those of `Tree`; memory is that of `root_of`. Raises `IndexError` for an index beyond the leaves.
    """
    iterator = iter(leaves)
    blocks: list[bytes] = []
    inner: dict[int, list[bytes]] = {}
    size = 0
    while block := list(islice(iterator, _BLOCK)):
        if wanted := [index for index in indices if size <= index < size + len(block)]:
            tree = Tree(block)
            inner.update({index: tree.proof(index - size) for index in wanted})
            blocks.append(tree.root)
        else:
            blocks.append(_collapse(block))
        size += len(block)
    if missing := [index for index in indices if index not in inner]:
        raise IndexError(f"leaf {missing[0]} of a tree with {size} leaves")
    top = Tree(blocks)
    return top.root, size, {index: proof + top.proof(index // _BLOCK) for index, proof in inner.items()}


def check_inclusion(root: bytes, leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bool:
    """Tell whether `proof` shows that leaf hash `leaf` is number `index` of the `size` leaves under `root`.

    The algorithm of RFC 9162, section 2.1.3.2. Work is bounded by log2(size) hashes; a malformed proof is
    False.
    """
    if not 0 <= index < size:
        return False
    position, last, current = index, size - 1, leaf
    for sibling in proof:
        if last == 0 or len(sibling) != HASH_BYTES:
            return False
        if position % 2 or position == last:
            current = node_hash(sibling, current)
            while position % 2 == 0 and position:
                position //= 2
                last //= 2
        else:
            current = node_hash(current, sibling)
        position //= 2
        last //= 2
    return last == 0 and current == root
