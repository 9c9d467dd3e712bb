"""Exact and near duplicates of texts that come in portions, that lie on disk, and that may go again.

    from dedup import Deduplicator, deduplicate

    smaller = deduplicate(table)                      # in one line: the rows that stay, column "content"

    dedup = Deduplicator(column="text", id="url", rank="date")
    for batch in batches:
        dedup.add(batch)
    found = dedup.finish()                            # found.kept, found.table, found.summary()

    dedup.add(more)                                   # an update: only new pairs are compared
    dedup.forget(["https://example.org/a"])           # what it had displaced can come back
    found = dedup.finish()

The outcome is that of a release, and a function of the rows alone: walk the distinct texts in rank order; one
is kept iff it has no verified similarity of at least `threshold` to a kept one. However rows were added,
forgotten and added again, `finish` gives what it would give from scratch.

**Memory** is about 0.6 KB per distinct text and 0.1 KB per row, 24 bytes per candidate pair, and while pairs
are compared at most 9 bytes per byte of two groups of `group_bytes`; the texts themselves only if they cannot
be read again (see `dedup.sources`).
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.bands import BANDS, ROWS, band_keys
from dedup.candidates import BEST, CAP, Pairs, bucket_pairs, merge_pairs
from dedup.compare import compare
from dedup.decide import decide
from dedup.documents import Documents, as_documents
from dedup.errors import DedupError, TextChangedError
from dedup.machine import Bools, I64s, U64s
from dedup.outcome import Duplicates, Work
from dedup.similarities import Similarities
from dedup.sketch import SLOTS, sketch
from dedup.sources import Columns, Held, Rows, Source, open_source
from dedup.verify import ShingleSets, Threshold, shingle_sets

GROUP_BYTES = 1 << 25
"""Texts whose shingle sets are held at once, in bytes, twice."""

NO_TEXT, FORGOTTEN = -1, -2  # in place of the number of a row's content
PENDING = -3  # PENDING - i: the i-th new content of a batch, until it has a number
BLOCK = 1 << 16  # contents whose band keys lie in one array: it never moves while it grows
KEYS_AT_ONCE = 1 << 24  # keys that are paired at once: 256 MB with their ordinals; more go in groups of bands


class Deduplicator:
    """Collects texts, finds duplicates among them, and can take back and add at any time.

    `column`: name of the text column. `id`: name of a column of distinct values by which rows are named in the
    outcome and forgotten; without it rows are numbered as they come, from 0. `rank`: name of a column that says who
    stays, the `prefer`red end first; equal ranks, and rows without one, which come last, in the order in which they were added.
    Without it the first one stays.

    `threshold`: the least Jaccard similarity of near-duplicates, exactly as written ("0.7" is 7/10). `bands`, `rows`, `cap`,
    `best`: how candidates are found (docs/dedup.md).

    `texts`: a function from an array of ids to the array of their texts. With it no text is held, whatever
    is added. `group_bytes`: bounds the memory of comparisons.

    Raises DedupError for arguments out of range. Not for use by several threads at once.
    """

    def __init__(
        self,
        *,
        column: str = "content",
        id: str | None = None,
        rank: str | None = None,
        prefer: Literal["lowest", "highest"] = "lowest",
        threshold: Threshold | str | Fraction | Decimal | float = "0.7",
        bands: int = BANDS,
        rows: int = ROWS,
        cap: int = CAP,
        best: int = BEST,
        texts: Callable[[pa.Array], pa.Array] | None = None,
        group_bytes: int = GROUP_BYTES,
    ) -> None:
        self.threshold = Threshold.of(threshold)
        if prefer not in ("lowest", "highest"):
            raise DedupError(f"prefer must be 'lowest' or 'highest', not {prefer!r}")
        if group_bytes < 1:
            raise DedupError(f"group_bytes must be at least 1, not {group_bytes}")
        for name, value in {"bands": bands, "rows": rows, "cap": cap, "best": best}.items():
            if not isinstance(value, int):
                raise DedupError(f"{name} must be a whole number, not {value!r}")
        self._bands, self._rows, self._cap, self._best = bands, rows, cap, best
        self._pair(self._keys(np.empty((0, SLOTS), np.uint32), np.empty(0, np.int64)), np.empty(0, np.int64))
        self._columns = Columns(column, id, rank)
        self._descending = prefer == "highest"
        self._texts = texts
        self._group_bytes = group_bytes

        # By row, forgotten ones included:
        self._content = array("q")
        self._count = 0  # without those forgotten
        self._ids: list[pa.Array] = []
        self._ranks: list[pa.Array] = []
        self._row_of: dict[Any, int] = {}  # id -> row, where there is an id column
        self._sources: list[tuple[int, Source | None]] = []  # (its first row, source), ascending
        # By content, a number that may be used again when its last row was forgotten:
        self._number_of: dict[bytes, int] = {}  # SHA-256 -> content
        self._digest: list[bytes | None] = []
        self._length = array("q")
        self._holders = array("q")  # rows
        self._blocks: list[U64s] = []  # [bands, BLOCK]
        self._shingled: set[int] = set()
        self._free: list[int] = []
        self._known = Similarities()

    def __len__(self) -> int:
        """Rows that were added and not forgotten."""
        return self._count

    # ------------------------------------------------------------------------------------------------ adding

    def add(self, source: Any) -> int:
        """Take rows; gives their number.

        `source`: a pyarrow Table, RecordBatch or array (of texts, where neither ids nor ranks are needed), a
        `pyarrow.dataset.Dataset`, a Hugging Face `datasets.Dataset`, anything with `__arrow_c_stream__` (a
        RecordBatchReader, polars, DuckDB), a list of str or bytes, or an iterator of tables, batches or
        arrays. A batch is taken whole or, when DedupError is raised, not at all; batches before it stay.

        A null text is no text: its row is kept. Texts are compared as bytes: nothing is normalised.
        """
        first = len(self._content)
        batches, again = open_source(source, self._columns)
        if self._texts is not None:
            self._sources.append((first, None))
        elif again is not None:
            self._sources.append((first, again))
        for rows in batches:
            if self._texts is None and again is None:
                self._add(rows, Held(rows.texts))
            else:
                self._add(rows, None)
        return len(self._content) - first

    def _add(self, rows: Rows, source: Source | None) -> None:
        first = len(self._content)
        ids, ranks = self._checked_ids(rows.ids), self._checked_ranks(rows.ranks)
        documents = as_documents(rows.texts)
        contents = np.full(len(documents), NO_TEXT, np.int64)
        valid = rows.texts.is_valid().to_numpy(zero_copy_only=False)
        fresh: list[int] = []  # positions of texts that were not there before
        index_of: dict[bytes, int] = {}  # their SHA-256 -> which of them
        for at, digest in _digests(documents, valid):
            number = self._number_of.get(digest)
            if number is None:
                index = index_of.setdefault(digest, len(fresh))
                if index == len(fresh):
                    fresh.append(at)
                number = PENDING - index
            contents[at] = number
        made = documents.take(np.array(fresh, np.int64))
        sketches = sketch(made)
        keys = self._keys(sketches.signatures, sketches.counts)

        # From here on nothing fails.
        numbers = self._numbers(list(index_of), made.lengths)
        self._store(numbers[sketches.counts > 0], keys)
        new = contents <= PENDING
        contents[new] = numbers[PENDING - contents[new]]
        for number, count in zip(*np.unique(contents[contents >= 0], return_counts=True), strict=True):
            self._holders[number] += int(count)
        if source is not None:
            self._sources.append((first, source))
        self._content.frombytes(contents.tobytes())
        self._count += len(contents)
        if ids is not None:
            self._ids.append(ids)
            self._row_of.update(zip(ids.to_pylist(), range(first, first + len(ids)), strict=True))
        if ranks is not None:
            self._ranks.append(ranks)

    def _checked_ids(self, ids: pa.Array | None) -> pa.Array | None:
        if ids is None:
            return None
        ids = _plain(ids, self._ids, f"ids ({self._columns.id!r})")
        if pa.types.is_nested(ids.type) or pa.types.is_floating(ids.type):
            raise DedupError(f"ids ({self._columns.id!r}) of type {ids.type} cannot name rows")
        if ids.null_count:
            raise DedupError(f"ids ({self._columns.id!r}) must not be null")
        seen: set[Any] = set()
        for one in ids.to_pylist():
            if one in self._row_of or one in seen:
                raise DedupError(f"id {one!r} is there already: ids must be distinct")
            seen.add(one)
        return ids

    def _checked_ranks(self, ranks: pa.Array | None) -> pa.Array | None:
        if ranks is None:
            return None
        ranks = _plain(ranks, self._ranks, f"ranks ({self._columns.rank!r})")
        try:
            pc.sort_indices(ranks.slice(0, 0))
        except (pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise DedupError(f"ranks ({self._columns.rank!r}) of type {ranks.type} have no order") from error
        return ranks

    def _numbers(self, digests: list[bytes], lengths: I64s) -> I64s:
        """Numbers of new contents."""
        numbers = np.empty(len(digests), np.int64)
        for i, (digest, length) in enumerate(zip(digests, lengths.tolist(), strict=True)):
            if self._free:
                number = self._free.pop()
                self._digest[number], self._length[number], self._holders[number] = digest, length, 0
            else:
                number = len(self._digest)
                self._digest.append(digest)
                self._length.append(length)
                self._holders.append(0)
            self._number_of[digest] = number
            numbers[i] = number
        while len(self._blocks) * BLOCK < len(self._digest):
            self._blocks.append(np.empty((self._bands, BLOCK), np.uint64))
        return numbers

    def _store(self, numbers: I64s, keys: U64s) -> None:
        """Put band keys, uint64[len(numbers), bands], where their contents are."""
        self._shingled.update(numbers.tolist())
        for block in np.unique(numbers // BLOCK).tolist():
            here = numbers // BLOCK == block
            self._blocks[block][:, numbers[here] % BLOCK] = keys[here].T

    def _keys(self, signatures: Any, counts: I64s) -> U64s:
        return band_keys(signatures, counts, self._bands, self._rows).keys.reshape(-1, self._bands)

    # --------------------------------------------------------------------------------------------- forgetting

    def forget(self, ids: Any) -> int:
        """Take rows back, as if they had never been added; gives their number.

        `ids`: an Arrow array or any iterable of ids (of row numbers, where there is no id column). Of a text
        that no row has any more nothing is kept: neither keys nor similarities; a batch of texts that is held goes with its
        last row. Raises DedupError, and forgets nothing, if an id is not there.
        """
        if isinstance(ids, str | bytes) or not hasattr(ids, "__iter__"):
            raise DedupError(f"ids must be an array or a list of ids, not {type(ids).__name__}")
        wanted = ids.to_pylist() if isinstance(ids, pa.Array | pa.ChunkedArray) else list(ids)
        rows = np.unique([self._row(one) for one in wanted]).astype(np.int64)
        gone = np.zeros(len(self._digest), np.bool_)
        for row in rows.tolist():
            content = self._content[row]
            self._content[row] = FORGOTTEN
            if content == NO_TEXT:
                continue
            self._holders[content] -= 1
            if not self._holders[content]:
                gone[content] = True
                digest = self._digest[content]
                assert digest is not None
                del self._number_of[digest]
                self._digest[content] = None
                self._free.append(content)
                self._shingled.discard(content)
                self._blocks[content // BLOCK][:, content % BLOCK] = 0
        for one in wanted:
            self._row_of.pop(one, None)
        self._known.forget(gone)
        self._count -= len(rows)
        self._let_go(rows)
        return len(rows)

    def _row(self, id: Any) -> int:
        if self._columns.id is not None:
            row = self._row_of.get(id) if isinstance(id, Hashable) else None
        else:
            known = isinstance(id, int | np.integer) and 0 <= id < len(self._content)
            row = int(id) if known else None
        if row is None or self._content[row] == FORGOTTEN:
            raise DedupError(f"there is no row {id!r}")
        return row

    def _let_go(self, rows: I64s) -> None:
        """Drop the sources all of whose rows are forgotten."""
        firsts = [first for first, _ in self._sources]
        for at in {bisect_right(firsts, row) - 1 for row in rows.tolist()}:
            last = firsts[at + 1] if at + 1 < len(firsts) else len(self._content)
            if all(self._content[row] == FORGOTTEN for row in range(firsts[at], last)):
                self._sources[at] = (firsts[at], None)

    # ---------------------------------------------------------------------------------------------- finishing

    def finish(self) -> Duplicates:
        """Decide about all rows that are there. Can be called again, after more was added or forgotten.

        Raises TextChangedError if a text that is read again is not the one that was added.
        """
        content = np.array(self._content, np.int64)
        order = self._order(content)  # rows with a text, best first
        ranked, first = np.unique(content[order], return_index=True)
        elected = np.full(len(self._digest), -1, np.int64)  # content -> the row that stands for it
        elected[ranked] = order[first]
        by_rank = ranked[np.argsort(first)]  # ordinal -> content

        pairs = self._candidates(by_rank)
        low, high = by_rank[pairs.low], by_rank[pairs.high]
        known, inter, union = self._known.find(low, high)
        new = np.flatnonzero(~known)
        lengths = np.array(self._length, np.int64)
        compared = compare(
            elected[low[new]],
            elected[high[new]],
            lambda rows: lengths[content[rows]],
            lambda rows: self._read(rows, content),
            self._sets,
            self.threshold,
            group_bytes=self._group_bytes,
        )
        inter[new], union[new] = compared.inter, compared.union
        self._known.add(low[new], high[new], compared.inter, compared.union)

        found = decide(pairs.low, pairs.high, inter, union, self.threshold)
        rows = np.flatnonzero(content != FORGOTTEN)
        with_text = np.flatnonzero(content >= 0)
        stands = np.arange(len(content))  # for each row the one that stands for it; its own where it stays
        stands[with_text] = elected[content[with_text]]
        exact = stands != np.arange(len(content))
        near = np.zeros(len(content), np.bool_)
        dropped = elected[by_rank[found.dropped]]
        near[dropped] = True
        stands[dropped] = elected[by_rank[found.kept]]
        share = np.zeros((2, len(content)), np.int64)
        share[0, dropped], share[1, dropped] = found.inter, found.union
        return Duplicates(
            table=self._table(rows, stands, exact, near, share),
            threshold=self.threshold,
            without_text=int((content == NO_TEXT).sum()),
            work=Work(
                candidates=len(pairs),
                compared=len(new),
                texts_read=compared.texts,
                bytes_read=compared.bytes,
                hot_buckets=pairs.stats.hot_buckets,
                pairs_not_made=pairs.stats.skipped_pairs,
            ),
        )

    def _order(self, content: I64s) -> I64s:
        """Rows that have a text, best-ranked first."""
        rows = np.flatnonzero(content >= 0)
        if self._columns.rank is None or not len(rows):
            return rows
        table = pa.table({"rank": pa.chunked_array(self._ranks).take(pa.array(rows)), "row": pa.array(rows)})
        direction = "descending" if self._descending else "ascending"
        order = pc.sort_indices(table, sort_keys=[("rank", direction), ("row", "ascending")])
        return rows[np.asarray(order.to_numpy(), np.int64)]

    def _candidates(self, by_rank: I64s) -> Pairs:
        """Pairs of ordinals that share a band."""
        shingled = np.zeros(len(self._digest), np.bool_)
        shingled[list(self._shingled)] = True
        ordinals = np.full(len(self._blocks) * BLOCK, -1, np.int64)
        ordinals[by_rank] = np.arange(len(by_rank))
        ordinals[np.flatnonzero(~shingled)] = -1
        there = [np.flatnonzero(part >= 0) for part in np.split(ordinals, max(1, len(self._blocks)))]
        count = sum(map(len, there))
        group = max(1, min(self._bands, KEYS_AT_ONCE // max(1, count)))
        parts: list[Pairs] = []
        numbers = np.tile(ordinals[ordinals >= 0], group)
        for band in range(0, self._bands, group):
            last = min(band + group, self._bands)
            keys = np.empty((last - band, count), np.uint64)
            at = 0
            for block, columns in zip(self._blocks, there, strict=False):
                keys[:, at : at + len(columns)] = block[band:last, columns]
                at += len(columns)
            parts.append(self._pair(keys.reshape(-1), numbers[: keys.size]))
            if len(parts) > 1 and len(parts[-1]) > len(parts[0]):
                parts = [merge_pairs(parts)]  # most pairs share several bands
        return merge_pairs(parts)

    def _pair(self, keys: U64s, ordinals: I64s) -> Pairs:
        return bucket_pairs(keys.reshape(-1), ordinals, cap=self._cap, best=self._best)

    def _sets(self, texts: Any) -> ShingleSets:
        return shingle_sets(texts)

    def _read(self, rows: I64s, content: I64s) -> pa.Array:
        """The texts of rows, ascending, from the sources that hold them."""
        if self._texts is not None:
            ids = self._id_column().take(pa.array(rows))
            texts = self._texts(ids)
            if len(texts) != len(rows):
                raise DedupError(f"texts was asked for {len(rows)} texts and gave {len(texts)}")
            documents = as_documents(texts)
            digests = dict(_digests(documents, np.ones(len(rows), np.bool_)))
            for at, row in enumerate(rows.tolist()):
                if digests[at] != self._digest[content[row]]:
                    raise TextChangedError(
                        f"the text of {ids[at].as_py()!r} is not the one that was added: it has changed or gone"
                    )
            return documents
        firsts = [first for first, _ in self._sources]
        number = np.searchsorted(np.array(firsts, np.int64), rows, side="right") - 1
        parts: list[pa.Array] = []
        for at in np.unique(number).tolist():
            first, source = self._sources[at]
            assert source is not None
            parts.append(source.take(rows[number == at] - first).cast(pa.large_binary()))
        return pa.concat_arrays(parts)

    def _id_column(self) -> Any:
        if self._columns.id is None:
            return pa.array(np.arange(len(self._content)))
        return pa.chunked_array(self._ids)

    def _table(self, rows: I64s, stands: I64s, exact: Bools, near: Bools, share: I64s) -> pa.Table:
        """The columns of `Duplicates.table`. `stands`: row -> row; `share`: inter and union."""
        kept = ~exact & ~near
        kind = np.where(kept, 0, np.where(near, 2, 1)).astype(np.int8)[rows]
        kinds = pa.DictionaryArray.from_arrays(pa.array(kind), pa.array(["unique", "exact", "near"]))
        no_copy = kept[rows]
        if self._columns.id is None:
            named = pa.array
        else:
            ids = pa.chunked_array(self._ids).combine_chunks() if self._ids else pa.array([], pa.int64())

            def named(numbers: I64s, mask: Bools | None = None) -> Any:
                return ids.take(pa.array(numbers, mask=mask))

        return pa.table(
            {
                "id": named(rows),
                "kind": kinds.cast(pa.string()),
                "duplicate_of": named(stands[rows], mask=no_copy),
                "cluster": named(stands[stands][rows]),
                "kept": pa.array(no_copy),
                "inter": pa.array(share[0][rows], mask=~near[rows]),
                "union": pa.array(share[1][rows], mask=~near[rows]),
            }
        )


def deduplicate(data: Any, column: str = "content", **options: Any) -> Any:
    """The rows of `data` that stay: without exact copies and near-duplicates.

    `data`: a pyarrow Table, RecordBatch or array of texts, or a Hugging Face `datasets.Dataset`; the answer
    is of the same kind. Further options: those of `Deduplicator`.
    """
    dedup = Deduplicator(column=column, **options)
    if not hasattr(data, "filter"):
        raise DedupError(
            f"deduplicate takes a table, an array or a Hugging Face dataset, not {type(data).__name__}: "
            "use Deduplicator"
        )
    dedup.add(data)
    kept = dedup.finish().kept
    if isinstance(data, pa.Table | pa.RecordBatch | pa.Array | pa.ChunkedArray):
        return data.filter(kept)
    return data.select(np.flatnonzero(kept.to_numpy(zero_copy_only=False)))


def _digests(documents: Documents, valid: Bools) -> Iterable[tuple[int, bytes]]:
    """Position and SHA-256 of every text that there is."""
    data = documents.data.data
    for at, (start, stop, there) in enumerate(
        zip(documents.starts.tolist(), documents.stops.tolist(), valid.tolist(), strict=True)
    ):
        if there:
            yield at, hashlib.sha256(data[start:stop]).digest()


def _plain(column: pa.Array, earlier: list[pa.Array], what: str) -> pa.Array:
    """A column without a dictionary, of the type that it had before."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if earlier and column.type != earlier[0].type:
        try:
            column = column.cast(earlier[0].type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DedupError(f"{what} were {earlier[0].type} before and are {column.type} now") from error
    return column
