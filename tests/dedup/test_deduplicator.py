"""Whatever was added, forgotten and added again: the outcome is that of `near_duplicates` on what is left."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import DedupError, Deduplicator, TextChangedError, deduplicate, near_duplicates, sources

BASE = " ".join(f"word{i}" for i in range(200))


@pytest.fixture(scope="module")
def pool(edited_copies) -> list[bytes]:
    """Texts with exact and near copies among them."""
    return [*edited_copies(60, seed=3), b"", b"a b", b"a b c d e f"]


def table(texts: list[bytes], ids: list[Any] | None = None, **more: Any) -> pa.Table:
    columns = {"content": pa.array(texts, pa.large_binary()), **more}
    return pa.table(columns if ids is None else columns | {"id": ids})


def scratch(rows: dict[Any, tuple[bytes, int]]) -> list[dict[str, Any]]:
    """The outcome for id -> (text, rank), by the function that holds everything; ties by position."""
    ids = list(rows)
    order = sorted(range(len(ids)), key=lambda at: (rows[ids[at]][1], at))
    ranks = np.empty(len(ids), np.int64)
    ranks[order] = np.arange(len(ids))
    found = near_duplicates(pa.array([text for text, _ in rows.values()], pa.large_binary()), ranks=ranks)
    out = []
    for row in found.to_pylist():
        named = {
            name: None if row[name] is None else ids[row[name]]
            for name in ("index", "duplicate_of", "cluster")
        }
        out.append(
            {"id": named.pop("index"), **{k: row[k] for k in ("kind", "kept", "inter", "union")}, **named}
        )
    return out


def same(found: Any, rows: dict[Any, tuple[bytes, int]]) -> bool:
    return sorted(found.table.to_pylist(), key=lambda r: r["id"]) == sorted(
        scratch(rows), key=lambda r: r["id"]
    )


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.tuples(st.integers(0, 62), st.integers(0, 4)), max_size=25)),
        st.tuples(st.just("forget"), st.sets(st.integers(0, 10**6), max_size=12)),
        st.tuples(st.just("finish"), st.none()),
    ),
    min_size=1,
    max_size=12,
)


@given(STEPS, st.sampled_from(["held", "asked"]), st.sampled_from([1, 1000, 1 << 26]))
@settings(deadline=None, max_examples=60)
def test_any_history_ends_as_from_scratch(pool, steps, mode, group_bytes):
    rows: dict[int, tuple[bytes, int]] = {}
    dedup = Deduplicator(
        id="id",
        rank="rank",
        group_bytes=group_bytes,
        texts=None if mode == "held" else lambda ids: pa.array([rows[i][0] for i in ids.to_pylist()]),
    )
    number = 0
    for step, value in [*steps, ("finish", None)]:
        if step == "add":
            new = {number + i: (pool[text], rank) for i, (text, rank) in enumerate(value)}
            number += len(new)
            rows |= new
            ranks = pa.array([rank for _, rank in new.values()], pa.int64())
            texts = [text for text, _ in new.values()]
            assert dedup.add(table(texts, pa.array(list(new), pa.int64()), rank=ranks)) == len(new)
        elif step == "forget":
            gone = sorted(set(value) & set(rows)) or sorted(rows)[::3]
            assert dedup.forget(gone) == len(gone)
            for one in gone:
                del rows[one]
        else:
            assert same(dedup.finish(), rows)
            assert dedup.finish().work.compared == 0  # nothing is compared twice
        assert len(dedup) == len(rows)


def test_an_update_compares_new_pairs_only(pool):
    dedup = Deduplicator()
    dedup.add(table(pool[:40]))
    before = dedup.finish()
    dedup.add(table(pool[40:]))
    after = dedup.finish()
    assert after.work.candidates > before.work.candidates > 0
    assert after.work.compared == after.work.candidates - before.work.candidates
    whole = Deduplicator()
    whole.add(table(pool))
    assert whole.finish().table.equals(after.table)


def test_what_is_forgotten_leaves_no_trace_and_what_it_displaced_comes_back():
    dedup = Deduplicator(id="id")
    dedup.add(table([BASE.encode(), BASE.encode() + b" more", b"other"], ["a", "b", "c"]))
    assert dedup.finish().kept_ids.to_pylist() == ["a", "c"]
    dedup.forget(["a"])
    assert dedup.finish().kept_ids.to_pylist() == ["b", "c"]
    assert len(dedup._known) == 0 and len(dedup._contents._number_of) == 2
    dedup.add(table([BASE.encode()], ["a"]))  # a name is free again, and so is the place of its text
    found = dedup.finish()
    assert found.table["duplicate_of"].to_pylist() == [None, None, "b"]
    assert len(dedup._contents) == 3
    with pytest.raises(DedupError, match="no row 'z'"):
        dedup.forget(["b", "z"])
    assert len(dedup) == 3
    with pytest.raises(DedupError, match="no row"):
        Deduplicator().forget([0])


def test_a_batch_whose_rows_are_all_forgotten_is_held_no_longer():
    """Arrow counts for the whole process, and other tests' readers come and go: so the batch is far larger than these."""
    dedup = Deduplicator()
    texts = [f"{number} " * 100_000 for number in range(20)]
    whole = sum(map(len, texts))
    before = pa.total_allocated_bytes()
    dedup.add(texts)
    dedup.add(["x"])
    assert pa.total_allocated_bytes() - before > whole / 2
    dedup.forget(range(19))
    assert pa.total_allocated_bytes() - before > whole / 2
    dedup.forget([19])
    assert pa.total_allocated_bytes() - before < whole / 10
    assert dedup.finish().table["id"].to_pylist() == [20]


def all_sources(texts: list[bytes], folder) -> dict[str, Any]:
    datasets = pytest.importorskip("datasets")
    polars = pytest.importorskip("polars")
    rows = table(texts, rank=pa.array(range(len(texts))), other=pa.array(["x"] * len(texts)))
    words = rows.set_column(0, "content", rows["content"].cast(pa.string()))
    pq.write_table(rows, folder / "rows-1.parquet", row_group_size=7)
    pq.write_table(rows.slice(0, 0), folder / "rows-2.parquet")
    shuffled = list(range(len(texts)))
    random.Random(1).shuffle(shuffled)
    back = np.argsort(shuffled)
    return {
        "table": rows,
        "string": words,
        "batch": rows.to_batches()[0],
        "chunks": pa.concat_tables([rows.slice(0, 10), rows.slice(10, 0), rows.slice(10)]),
        "slices": pa.concat_tables([rows, rows]).slice(0, len(texts)),
        "dictionary": rows.set_column(0, "content", rows["content"].dictionary_encode()),
        "view": words.set_column(0, "content", words["content"].cast(pa.string_view())),
        "iterator": iter([rows.slice(0, 10), *rows.slice(10).to_batches()]),
        "reader": rows.to_reader(max_chunksize=9),
        "dataset": ds.dataset(folder),
        "dataset in memory": ds.dataset(rows),
        "polars": polars.from_arrow(words),
        "hugging face": datasets.Dataset(pa.Table.from_batches(words.to_batches())),
        "hugging face, shuffled": datasets.Dataset(words.take(pa.array(shuffled))).select(back.tolist()),
    }


@pytest.mark.parametrize(
    "kind",
    ["table", "string", "batch", "chunks", "slices", "dictionary", "view", "iterator", "reader", "dataset",
     "dataset in memory", "polars", "hugging face", "hugging face, shuffled"],
)  # fmt: skip
@pytest.mark.parametrize("small", [False, True], ids=["whole", "in pieces"])
def test_the_same_rows_from_anywhere(kind, small, pool, tmp_path, monkeypatch):
    if small:
        monkeypatch.setattr(sources, "BATCH_ROWS", 5)
        monkeypatch.setattr(sources, "READ_ROWS", 3)
    expected = near_duplicates(pa.array(pool, pa.large_binary())).drop_columns("estimated")  # it never is
    dedup = Deduplicator(group_bytes=2000 if small else 1 << 26)
    assert dedup.add(all_sources(pool, tmp_path)[kind]) == len(pool)
    found = dedup.finish()
    assert found.table.rename_columns(expected.column_names).to_pylist() == expected.to_pylist()
    assert 0 < found.counts["near"] < len(pool)


def test_lists_and_arrays(pool):
    expected = near_duplicates(pa.array(pool, pa.large_binary()))["kept"].to_pylist()
    texts = [text.decode() for text in pool]
    for source in (texts, tuple(pool), pa.array(texts), pa.chunked_array([texts[:9], texts[9:]])):
        dedup = Deduplicator()
        dedup.add(source)
        assert dedup.finish().kept.to_pylist() == expected


def test_texts_on_disk_are_not_held(tmp_path):
    """Breach: a dataset larger than memory ends in memory.

    Arrow counts for the whole process, and other tests' readers may still be letting go of buffers: so the
    texts are a hundred times what that can be.
    """
    texts = [b"%d " % number * 10_000 for number in range(100)] * 2
    rows = table(texts)
    pq.write_table(rows, tmp_path / "a.parquet", row_group_size=10)
    whole = rows.nbytes
    del rows
    dedup = Deduplicator()
    before = pa.total_allocated_bytes()
    dedup.add(ds.dataset(tmp_path))
    assert pa.total_allocated_bytes() - before < whole / 10


def test_texts_on_disk_are_read_again_once(pool, tmp_path):
    pq.write_table(table(pool * 40), tmp_path / "a.parquet", row_group_size=50)
    dedup = Deduplicator()
    dedup.add(ds.dataset(tmp_path))
    found = dedup.finish()
    assert 0 < found.work.texts_read < len(set(pool))  # those in pairs, each once


def test_a_function_gives_the_texts_again(pool):
    asked: list[int] = []

    def texts(ids: pa.Array) -> pa.Array:
        asked.extend(ids.to_pylist())
        return pa.array([pool[i] for i in ids.to_pylist()], pa.binary())

    dedup = Deduplicator(texts=texts)
    dedup.add(table(pool))
    found = dedup.finish()
    assert found.table.equals(_of(pool).table)
    assert len(asked) == len(set(asked)) == found.work.texts_read < len(pool)


def test_texts_that_a_function_can_give_again_are_not_held():
    rows = table([b"%d " % number * 100_000 for number in range(20)])
    whole = rows.nbytes
    dedup = Deduplicator(texts=lambda ids: pytest.fail("no two of them are alike"))
    before = pa.total_allocated_bytes()
    dedup.add(rows)
    del rows
    assert before - pa.total_allocated_bytes() > whole / 2


@pytest.mark.parametrize(
    "wrong", [lambda texts: texts[::-1], lambda texts: [b"", *texts[1:]], lambda texts: [None, *texts[1:]]]
)
def test_another_text_than_the_one_that_was_added_is_noticed(pool, wrong):
    """Breach: a file changes between two reads, or a function mixes up its answers, and texts go unjustly."""
    dedup = Deduplicator(texts=lambda ids: pa.array(wrong([pool[i] for i in ids.to_pylist()]), pa.binary()))
    dedup.add(table(pool))
    with pytest.raises(TextChangedError, match="not the one that was added"):
        dedup.finish()
    dedup = Deduplicator(texts=lambda ids: pa.array([b"x"]))
    dedup.add(table(pool))
    with pytest.raises(DedupError, match="gave 1"):
        dedup.finish()


def _of(texts: list[Any], **options: Any) -> Any:
    dedup = Deduplicator(**options)
    dedup.add(table(texts))
    return dedup.finish()


RANKS = {
    "lowest": (pa.array([3, 1, 2]), "lowest", [1]),
    "highest": (pa.array([3, 1, 2]), "highest", [0]),
    "ties": (pa.array([5, 5, 5]), "highest", [0]),
    "some ties": (pa.array([5, 4, 4], pa.uint8()), "lowest", [1]),
    "unknown last": (pa.array([None, None, 9]), "lowest", [2]),
    "unknown last, highest": (pa.array([None, -9, None]), "highest", [1]),
    "not a number": (pa.array([float("nan"), None, 1.5]), "lowest", [2]),
    "text": (pa.array(["b", "a", "c"]), "lowest", [1]),
    "dates": (pa.array([3, 2, 2], pa.timestamp("us")), "lowest", [1]),
    "large": (pa.array([2**64 - 1, 2**63, 2**63 + 1], pa.uint64()), "lowest", [1]),
    "dictionary": (pa.array(["b", "a", "c"]).dictionary_encode(), "lowest", [1]),
}


@pytest.mark.parametrize("case", RANKS)
def test_the_best_ranked_stays(case):
    ranks, prefer, stays = RANKS[case]
    texts = [f"{BASE} {i}".encode() for i in range(3)]
    dedup = Deduplicator(rank="rank", prefer=prefer)
    dedup.add(table(texts, rank=ranks))
    assert dedup.finish().kept_ids.to_pylist() == stays


def test_one_line(pool):
    datasets = pytest.importorskip("datasets")
    expected = [text for text, kept in zip(pool, _of(pool).kept.to_pylist(), strict=True) if kept]
    rows = table(pool, other=pa.array(range(len(pool))))
    assert deduplicate(rows)["content"].to_pylist() == expected
    assert deduplicate(rows.combine_chunks().to_batches()[0])["content"].to_pylist() == expected
    assert deduplicate(rows["content"]).to_pylist() == expected
    assert deduplicate(rows["content"].combine_chunks()).to_pylist() == expected
    texts = pa.table({"text": rows["content"].cast(pa.string())})
    assert deduplicate(datasets.Dataset(texts), "text")["text"] == [text.decode() for text in expected]
    assert deduplicate(rows, threshold="1").num_rows > len(expected)
    assert deduplicate(rows.slice(0, 0)).num_rows == 0
    for wrong in (["a"], pytest.importorskip("polars").DataFrame({"content": ["a"]}), None):
        with pytest.raises(DedupError, match="use Deduplicator"):
            deduplicate(wrong)
    with pytest.raises(DedupError, match="one split of the dataset: 'train'"):
        Deduplicator(column="text").add(datasets.DatasetDict(train=datasets.Dataset(texts)))


@pytest.mark.parametrize("options", [{"operators": True}, {"method": "minhash"}], ids=str)
def test_settings_are_those_of_near_duplicates(options, pool, shingles_of):
    """Breach: sketches with one setting are verified with another."""
    changed = [text.replace(b" ", b"++") for text in pool]
    expected = near_duplicates(pa.array(pool + changed, pa.large_binary()), **options)["duplicate_of"]
    assert _of(pool + changed, **options).table["duplicate_of"].to_pylist() == expected.to_pylist()
    default = _of(pool + changed).table["duplicate_of"].to_pylist()
    assert (default == expected.to_pylist()) == ("method" in options)


def test_groups_and_figures():
    texts = [BASE, "alone", BASE + " one", BASE + " two", "twin", "twin", None]
    found = _of(texts)
    groups = [group["id"].to_pylist() for group in found.clusters()]
    assert groups == [[0, 2, 3], [4, 5]]
    assert found.counts == {"unique": 4, "exact": 1, "near": 2}
    assert found.without_text == 1
    assert "7 rows: 4 kept, 1 exact copies (14.3%), 2 near-duplicates (28.6%)" in found.summary()
    assert "no text (null)" in found.summary()
    by_rank = Deduplicator(rank="rank")
    by_rank.add(table([BASE + " z", BASE], rank=pa.array([2, 1])))
    assert [group["id"].to_pylist() for group in by_rank.finish().clusters()] == [[1, 0]]
    nothing = Deduplicator().finish()
    assert (len(nothing), nothing.counts, list(nothing.clusters())) == (
        0,
        {"unique": 0, "exact": 0, "near": 0},
        [],
    )
    assert nothing.summary()


# ------------------------------------------------------------------------------------------- against another set


def matched(texts: list[bytes], others: list[bytes], shingles_of) -> list[dict[str, Any]]:
    """All pairs of a text and another one that are copies, by plain Python; equal texts here count once."""
    rows = []
    distinct = list(dict.fromkeys(others))
    sets = {text: set(shingles_of(text)) for text in {*texts, *others}}
    for row, text in enumerate(texts):
        for other in distinct:
            inter, union = len(sets[text] & sets[other]), len(sets[text] | sets[other])
            pair = {"row": row, "match": others.index(other)}
            if text == other:
                rows.append({**pair, "kind": "exact", "inter": None, "union": None})
            elif union and 10 * inter >= 7 * union:
                rows.append({**pair, "kind": "near", "inter": inter, "union": union})
    return rows


@pytest.mark.parametrize("mode", ["held", "asked"])
@pytest.mark.parametrize("small", [False, True], ids=["whole", "in pieces"])
def test_which_texts_are_copies_of_another_set(mode, small, pool, shingles_of, monkeypatch):
    if small:
        monkeypatch.setattr(sources, "BATCH_ROWS", 5)
    others, texts = pool[::2] + pool[:4], pool[1::3] + pool[:9]
    dedup = Deduplicator(
        group_bytes=2000 if small else 1 << 20,
        texts=None if mode == "held" else lambda ids: pa.array([others[i] for i in ids.to_pylist()]),
    )
    dedup.add(table(others))
    expected = matched(texts, others, shingles_of)
    assert {row["kind"] for row in expected} == {"exact", "near"}
    assert dedup.matches(table(texts)).to_pylist() == expected
    assert len(dedup) == len(others)
    named = dedup.matches(
        pa.table({"text": pa.array(texts, pa.binary()), "key": [f"k{i}" for i in range(len(texts))]}),
        column="text",
        id="key",
    )
    assert named.to_pylist() == [{**row, "row": f"k{row['row']}"} for row in expected]
    dedup.forget(range(len(others)))
    assert dedup.matches(table(texts)).num_rows == 0
    assert Deduplicator().matches(iter([])).num_rows == 0


def test_a_crowded_key_leads_to_the_best_ranked():
    dedup = Deduplicator(id="id", rank="rank")
    texts = [f"{BASE} {i}".encode() for i in range(100)]
    dedup.add(table(texts, [f"t{i}" for i in range(100)], rank=pa.array(range(100, 0, -1))))
    found = dedup.matches(table([BASE.encode()]))
    assert {f"t{i}" for i in range(99, 99 - 16, -1)} <= set(found["match"].to_pylist())
    assert found["match"][0].as_py() == "t99"
