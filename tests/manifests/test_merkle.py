"""The Merkle tree against a literal transcription of RFC 9162's recursive definitions."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests import canonical, merkle
from manifests.merkle import Tree, check_inclusion, leaf_bytes, leaf_hash, root_of
from manifests.schema import IDS, LARGE_IDS


def split(n: int) -> int:
    return 1 << ((n - 1).bit_length() - 1)


def reference_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = split(len(leaves))
    return hashlib.sha256(b"\1" + reference_root(leaves[:k]) + reference_root(leaves[k:])).digest()


def reference_path(m: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*reference_path(m, leaves[:k]), reference_root(leaves[k:])]
    return [*reference_path(m - k, leaves[k:]), reference_root(leaves[:k])]


@given(st.lists(st.binary(max_size=4), max_size=40))
def test_root_is_that_of_the_recursive_definition(leaves):
    hashes = [leaf_hash(leaf) for leaf in leaves]
    assert root_of(hashes) == reference_root(leaves) == Tree(hashes).root


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 64, 65])
def test_root_in_blocks_is_the_root_in_one(count, monkeypatch):
    monkeypatch.setattr(merkle, "_BLOCK", 4)
    leaves = [b"%d" % number for number in range(count)]
    assert root_of(map(leaf_hash, leaves)) == reference_root(leaves)


@given(st.integers(1, 70), st.data())
def test_every_leaf_has_a_proof_and_it_is_the_standard_one(count, data):
    leaves = [b"%d" % number for number in range(count)]
    tree = Tree([leaf_hash(leaf) for leaf in leaves])
    index = data.draw(st.integers(0, count - 1))
    proof = tree.proof(index)
    assert proof == reference_path(index, leaves)
    assert check_inclusion(tree.root, leaf_hash(leaves[index]), index, count, proof)


@settings(max_examples=200)
@given(st.integers(1, 40), st.data())
def test_a_changed_proof_fails(count, data):
    hashes = [leaf_hash(b"%d" % number) for number in range(count)]
    tree = Tree(hashes)
    index = data.draw(st.integers(0, count - 1))
    proof, root, leaf, size = tree.proof(index), tree.root, hashes[index], count
    change = data.draw(
        st.sampled_from(["index", "root", "leaf", "longer", "shorter", "sibling", "short hash"])
    )
    if change == "index":
        index = data.draw(st.integers(-2, count + 2).filter(lambda other: other != index))
    elif change == "root":
        root = bytes(32)
    elif change == "leaf":
        leaf = bytes(32)
    elif change == "longer":
        proof = [*proof, bytes(32)]
    elif proof and change == "shorter":
        proof = proof[:-1]
    elif proof and change == "sibling":
        position = data.draw(st.integers(0, len(proof) - 1))
        proof[position] = bytes(32)
    elif proof and change == "short hash":
        proof[0] = proof[0][:31]
    else:
        return
    assert not check_inclusion(root, leaf, index, size, proof)


def test_a_node_does_not_pass_as_a_leaf():
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert root_of([left, right]) != leaf_hash(left + right)


def test_proof_of_no_leaf():
    with pytest.raises(IndexError):
        Tree([]).proof(0)
    with pytest.raises(IndexError):
        Tree([leaf_hash(b"")]).proof(1)


TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


@given(TEXT, TEXT, TEXT, st.integers(0, 2**53 - 1))
def test_leaf_bytes_are_canonical_json(row_id, content, shard, row):
    record = {"row_id": row_id, "content_sha256": content, "shard": shard, "row": row}
    assert leaf_bytes(row_id, content, shard, row) == canonical.dumps(record)
    batch = pa.RecordBatch.from_pylist([record], schema=IDS)
    assert list(merkle.ids_leaf_hashes(batch)) == [leaf_hash(canonical.dumps(record))]
    table = pa.Table.from_batches([batch, batch]).cast(LARGE_IDS)
    assert list(merkle.ids_leaf_hashes(table)) == [leaf_hash(canonical.dumps(record))] * 2
