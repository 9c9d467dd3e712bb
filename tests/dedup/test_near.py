"""The whole road in memory against the definition, and the inputs that break others."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest

from dedup import NEAR_SCHEMA, DedupError, ThresholdError, lazy, near, near_duplicates
from dedup.documents import as_documents


def definition(texts: list[bytes], shingles_of, groups=None, owners=None) -> list[dict]:
    """What a release keeps, from all pairs (banding finds all of a few hundred texts with near certainty)."""
    first: dict[bytes, int] = {}
    rows: list[dict] = []
    kept: list[int] = []
    sets = [set(shingles_of(text)) for text in texts]
    for i, text in enumerate(texts):
        row = dict.fromkeys(NEAR_SCHEMA.names) | {"index": i, "kind": "unique", "cluster": i, "kept": True}
        row |= {"estimated": False}
        copy = first.setdefault(text, i)
        if copy != i:
            row |= {"kind": "exact", "duplicate_of": copy, "cluster": rows[copy]["cluster"], "kept": False}
        else:
            for k in kept:
                inter, union = len(sets[i] & sets[k]), len(sets[i] | sets[k])
                if groups is not None and groups[i] != groups[k]:
                    continue
                if owners is not None and owners[i] == owners[k]:
                    continue
                if union and 10 * inter >= 7 * union:
                    row |= {"kind": "near", "duplicate_of": k, "cluster": k, "kept": False}
                    row |= {"inter": inter, "union": union}
                    break
            else:
                kept.append(i)
        rows.append(row)
    return rows


@pytest.mark.parametrize("seed", range(4))
def test_against_the_definition(seed, edited_copies, shingles_of, binary):
    texts = edited_copies(400, seed=seed)
    texts += random.Random(seed).sample(texts, 40)
    table = near_duplicates(binary(texts))
    assert table.schema == NEAR_SCHEMA
    assert table.to_pylist() == definition(texts, shingles_of)


@pytest.mark.parametrize("limits", ["groups", "owners", "both"])
def test_within_groups_and_across_owners(limits, edited_copies, shingles_of, binary):
    """Breach: a file stands for one of another language, or for one of its own repository."""
    texts = edited_copies(300, seed=11)
    texts += texts[:20]
    groups = [("C", None, "C++")[n % 3] for n in range(len(texts))] if limits != "owners" else None
    owners = [n // 7 % 4 for n in range(len(texts))] if limits != "groups" else None
    wanted = definition(texts, shingles_of, groups, owners)
    assert near_duplicates(binary(texts), groups=groups, owners=owners).to_pylist() == wanted
    assert wanted != definition(texts, shingles_of)
    order = random.Random(5).sample(range(len(texts)), len(texts))
    shuffled = near_duplicates(
        binary([texts[i] for i in order]),
        ranks=np.array(order),
        groups=None if groups is None else pa.chunked_array([pa.array([groups[i] for i in order])]),
        owners=None if owners is None else np.array([owners[i] for i in order]),
    )
    kinds = dict(zip(order, shuffled["kind"].to_pylist(), strict=True))
    assert [kinds[i] for i in range(len(texts))] == [row["kind"] for row in wanted]
    with pytest.raises(DedupError, match="one for each text"):
        near_duplicates(binary(texts), groups=["C"])


def test_the_order_of_texts_does_not_matter_once_ranks_are_given(edited_copies, binary):
    texts = edited_copies(300, seed=9)
    texts += texts[:30]
    usual = near_duplicates(binary(texts)).to_pylist()
    order = list(range(len(texts)))
    random.Random(1).shuffle(order)
    ranks = np.array(order) * 7 - 1000
    shuffled = near_duplicates(binary([texts[i] for i in order]), ranks=ranks).to_pylist()
    for i, row in zip(order, shuffled, strict=True):
        for name in ("duplicate_of", "cluster"):
            row[name] = order[row[name]] if row[name] is not None else None
        assert row | {"index": i} == usual[i]


def test_bands_in_groups_and_verification_in_passes_change_nothing(edited_copies, binary, monkeypatch):
    texts = binary(edited_copies(300, seed=10))
    whole = near_duplicates(texts)
    monkeypatch.setattr(near, "KEYS_AT_ONCE", 300 * 5)
    monkeypatch.setattr(
        lazy.decide_lazily, "__kwdefaults__", {**lazy.decide_lazily.__kwdefaults__, "block_bytes": 2_000}
    )
    assert near_duplicates(texts).equals(whole)


def test_an_exact_copy_of_a_dropped_text_names_its_first_copy_and_the_kept_cluster(binary):
    base = " ".join(f"w{i}" for i in range(200)).encode()
    table = near_duplicates(binary([base, base + b" more", base + b" more", b"x"])).to_pylist()
    assert [(r["kind"], r["duplicate_of"], r["cluster"], r["kept"]) for r in table] == [
        ("unique", None, 0, True),
        ("near", 0, 0, False),
        ("exact", 1, 0, False),
        ("unique", None, 3, True),
    ]
    assert (table[1]["inter"], table[1]["union"]) == (196, 197)


def test_small_and_foreign_files_do_not_all_look_alike(binary):
    texts = ["", "a", "a b c d", "a b c e", "...", ";;;", "变量 一", "变量 二", "😀 😀 😀 😀", "😀 😀 😀 🎉"]
    assert set(near_duplicates(binary([t.encode() for t in texts]))["kind"].to_pylist()) == {"unique"}
    stories = [" ".join(chr(0x4E00 + (i * k) % 5000) + "、" for i in range(200)) for k in (3, 7)]
    assert near_duplicates(pa.array(stories))["kind"].to_pylist() == ["unique", "unique"]


def test_nothing_in_nothing_out():
    table = near_duplicates(pa.array([], pa.large_binary()))
    assert (table.num_rows, table.schema) == (0, NEAR_SCHEMA)
    assert near_duplicates(pa.array([None, b""], pa.large_binary()))["kind"].to_pylist() == [
        "unique",
        "exact",
    ]


def test_ten_million_times_one_token(binary):
    table = near_duplicates(binary([b"x " * 10_000_000, b"x x x x x x", b"y " * 9]))
    assert table["kind"].to_pylist() == ["unique", "near", "unique"]
    assert (table["inter"][1].as_py(), table["union"][1].as_py()) == (1, 1)


def test_a_hundred_thousand_identical_files():
    table = near_duplicates(pa.array([b"the very same file, again and again"] * 100_000, pa.large_binary()))
    assert table["kept"].to_pylist() == [True] + [False] * 99_999
    assert set(table["duplicate_of"].to_pylist()[1:]) == {0}


def test_many_near_identical_generated_files_share_hot_buckets(binary):
    body = " ".join(f"field_{i}" for i in range(60))
    texts = binary([f"{body} id_{i}".encode() for i in range(3000)])
    table = near_duplicates(texts)
    assert table["kept"].to_pylist() == [True] + [False] * 2999
    pairs = near.candidate_pairs(as_documents(texts))
    assert pairs.stats.hot_buckets > 0
    assert pairs.stats.skipped_pairs > 0


def test_chunks_and_slices(edited_copies, binary):
    texts = binary(edited_copies(50, seed=20))
    whole = near_duplicates(texts)
    assert near_duplicates(pa.chunked_array([texts.slice(0, 20), texts.slice(20)])).equals(whole)
    assert near_duplicates(texts.slice(0, 30)).equals(whole.slice(0, 30))  # better-ranked ones decide alone


def test_wrong_arguments_are_refused(binary):
    texts = binary([b"a b c d e", b"f g h i j"])
    for ranks in (np.array([1, 1]), np.array([1]), np.array([0.5, 1.5])):
        with pytest.raises(DedupError, match="ranks"):
            near_duplicates(texts, ranks=ranks)
    with pytest.raises(ThresholdError):
        near_duplicates(texts, threshold="7")
    with pytest.raises(DedupError, match="bands"):
        near_duplicates(texts, bands=50, rows=6)
    with pytest.raises(DedupError, match="bands"):
        near_duplicates(texts, bands=0)
    with pytest.raises(DedupError, match="best"):
        near_duplicates(texts, best=0)
