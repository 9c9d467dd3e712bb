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

**Memory** is about 0.5 KB per distinct text (0.7 KB with an id column of strings), 24 bytes per candidate
pair, some 0.5 GB at most while keys are paired, and while pairs are compared at most 9 bytes per byte of two
groups of `group_bytes`; the texts themselves only if they cannot be read again (see `dedup.sources`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from dedup.bands import BANDS, ROWS
from dedup.candidates import BEST, CAP
from dedup.compare import compare
from dedup.contents import Contents
from dedup.decide import decide
from dedup.documents import Documents, as_documents
from dedup.errors import DedupError, TextChangedError
from dedup.machine import Bools, I64s
from dedup.matching import Matcher
from dedup.outcome import Duplicates, Work
from dedup.rows import FORGOTTEN, NO_TEXT, RowList
from dedup.similarities import Similarities
from dedup.sketch import Method, Sketches, sketch
from dedup.sources import Columns, Held, Rows, open_source
from dedup.verify import ShingleSets, Threshold, shingle_sets

GROUP_BYTES = 1 << 25
"""Texts whose shingle sets are held at once, in bytes, twice."""

PENDING = -3  # PENDING - i: the i-th new text of a batch, until it has a number


NO_MATCHES = pa.table(
    {
        name: pa.array([], pa.string() if name == "kind" else pa.int64())
        for name in ("row", "match", "kind", "inter", "union")
    }
)


class Deduplicator:
    """Collects texts, finds duplicates among them, and can take back and add at any time.

    `column`: name of the text column. `id`: name of a column of distinct values by which rows are named in the
    outcome and forgotten; without it rows are numbered as they come, from 0. `rank`: name of a column that says who
    stays, the `prefer`red end first; equal ranks, and rows without one, which come last, in the order in which they were added.
    Without it the first one stays.

    `threshold`: the least Jaccard similarity of near-duplicates, exactly as written ("0.7" is 7/10). `bands`, `rows`, `cap`,
    `best`: how candidates are found (docs/dedup.md). `operators`: every byte of punctuation is a token, too, so
    that it counts. `method`: "fast" or "minhash", how sketches are made.

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
        operators: bool = False,
        method: Method = "fast",
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
        self._columns = Columns(column, id, rank)
        self._operators, self._method = operators, method
        self._texts = texts
        self._group_bytes = group_bytes
        self._rows = RowList(self._columns, highest_first=prefer == "highest")
        self._contents = Contents(bands, rows, cap, best)
        self._known = Similarities()
        # So that settings are refused here, not when work was done.
        self._contents.keys_of(self._sketch(as_documents(pa.array([], pa.large_binary()))))
        self._contents.candidates(np.empty(0, np.int64))

    def __len__(self) -> int:
        """Rows that were added and not forgotten."""
        return self._rows.alive

    def add(self, source: Any) -> int:
        """Take rows; gives their number.

        `source`: a pyarrow Table, RecordBatch or array (of texts, where neither ids nor ranks are needed), a
        `pyarrow.dataset.Dataset`, a Hugging Face `datasets.Dataset`, anything with `__arrow_c_stream__` (a
        RecordBatchReader, polars, DuckDB), a list of str or bytes, or an iterator of tables, batches or
        arrays. A batch is taken whole or, when DedupError is raised, not at all; batches before it stay.

        A null text is no text: its row is kept. Texts are compared as bytes: nothing is normalised.
        """
        first = len(self._rows)
        batches, again = open_source(source, self._columns)
        hold = self._texts is None and again is None
        if not hold:
            self._rows.add_source(again)
        for rows in batches:
            self._add(rows, hold)
        return len(self._rows) - first

    def _add(self, rows: Rows, hold: bool) -> None:
        rows = self._rows.checked(rows)
        documents = as_documents(rows.texts)
        content = np.full(len(documents), NO_TEXT, np.int64)
        fresh: list[int] = []  # positions of texts that were not there before
        index_of: dict[bytes, int] = {}  # their SHA-256 -> which of them
        for at, digest in _digests(documents, rows.texts.is_valid().to_numpy(zero_copy_only=False)):
            number = self._contents.find(digest)
            if number is None:
                index = index_of.setdefault(digest, len(fresh))
                if index == len(fresh):
                    fresh.append(at)
                number = PENDING - index
            content[at] = number
        new = documents.take(np.array(fresh, np.int64))
        sketches = self._sketch(new)
        keys = self._contents.keys_of(sketches)

        # From here on nothing fails.
        numbers = self._contents.add(list(index_of), new.lengths, sketches.counts > 0, keys)
        pending = content <= PENDING
        content[pending] = numbers[PENDING - content[pending]]
        self._contents.hold(content[content >= 0])
        if hold:
            self._rows.add_source(Held(rows.texts))
        self._rows.add(rows, content)

    def forget(self, ids: Any) -> int:
        """Take rows back, as if they had never been added; gives their number.

        `ids`: an Arrow array or any iterable of ids (of row numbers, where there is no id column). Of a text
        that no row has any more nothing is kept: neither keys nor similarities; a batch of texts that is held
        goes with its last row. Raises DedupError, and forgets nothing, if an id is not there.
        """
        if isinstance(ids, str | bytes) or not hasattr(ids, "__iter__"):
            raise DedupError(f"ids must be an array or a list of ids, not {type(ids).__name__}")
        wanted = ids.to_pylist() if isinstance(ids, pa.Array | pa.ChunkedArray) else list(ids)
        rows = np.unique([self._rows.find(one) for one in wanted]).astype(np.int64)
        gone = np.zeros(len(self._contents), np.bool_)
        for number in self._rows.forget(rows, wanted):
            gone[number] = self._contents.release(number)
        self._known.forget(gone)
        return len(rows)

    def finish(self) -> Duplicates:
        """Decide about all rows that are there. Can be called again, after more was added or forgotten.

        Raises TextChangedError if a text that is read again is not the one that was added.
        """
        content = self._rows.content
        by_rank, elected = self._elect(content)
        pairs = self._contents.candidates(by_rank)
        low, high = by_rank[pairs.low], by_rank[pairs.high]
        known, inter, union = self._known.find(low, high)
        new = np.flatnonzero(~known)
        lengths = self._contents.lengths
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
            table=self._table(np.flatnonzero(content != FORGOTTEN), stands, exact, near, share),
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

    def matches(self, source: Any, *, column: str | None = None, id: str | None = None) -> pa.Table:
        """Which rows of `source` are duplicates of a row that is here: of a benchmark, say. Nothing is added.

        `source`: as for `add`, its text in `column` (by default of the same name as here). Gives one row per pair that is
        found: `row` (position in `source`, or with `id` the value of that column), `match` (the id here), `kind` (exact |
        near), `inter` and `union` (near only); by position, then by the rank of the match. A key that more than `cap` texts
        hold leads to the `best` best-ranked of them. Memory: 16 bytes per band and text here, and a batch of `source`.
        """
        content = self._rows.content
        by_rank, elected = self._elect(content)
        ordinal_of = np.full(len(self._contents), -1, np.int64)
        ordinal_of[by_rank] = np.arange(len(by_rank))
        lengths = self._contents.lengths
        matcher = Matcher(
            index=self._contents.index(by_rank),
            row_of=elected[by_rank],
            rows=len(content),
            lengths_of=lambda rows: lengths[content[rows]],
            read=lambda rows: self._read(rows, content),
            sets_of=self._sets,
            threshold=self.threshold,
            group_bytes=self._group_bytes,
        )
        parts: list[pa.Table] = []
        done = 0
        for rows in open_source(source, Columns(column or self._columns.text, id))[0]:
            documents = as_documents(rows.texts)
            same = np.full(len(documents), -1, np.int64)
            for at, digest in _digests(documents, rows.texts.is_valid().to_numpy(zero_copy_only=False)):
                number = self._contents.find(digest)
                same[at] = -1 if number is None else ordinal_of[number]
            sketches = self._sketch(documents)
            keyed = np.flatnonzero(sketches.counts > 0)
            found = matcher.match(rows.texts, same, keyed, self._contents.keys_of(sketches))
            kinds = pa.DictionaryArray.from_arrays(pa.array(found.exact.astype(np.int8)), ["near", "exact"])
            parts.append(
                pa.table(
                    {
                        "row": pa.array(found.row + done)
                        if rows.ids is None
                        else rows.ids.take(pa.array(found.row)),
                        "match": self._rows.names(elected[by_rank[found.ordinal]]),
                        "kind": kinds.cast(pa.string()),
                        "inter": pa.array(found.inter, mask=found.exact),
                        "union": pa.array(found.union, mask=found.exact),
                    }
                )
            )
            done += len(documents)
        return pa.concat_tables(parts) if parts else NO_MATCHES

    def _elect(self, content: I64s) -> tuple[I64s, I64s]:
        """The texts, best-ranked first; and for each text the row that stands for it (-1: there is none)."""
        order = self._rows.with_text(content)
        ranked, first = np.unique(content[order], return_index=True)
        elected = np.full(len(self._contents), -1, np.int64)
        elected[ranked] = order[first]
        return ranked[np.argsort(first)], elected

    def _sketch(self, documents: Documents) -> Sketches:
        return sketch(documents, operators=self._operators, method=self._method)

    def _sets(self, texts: Any) -> ShingleSets:
        return shingle_sets(texts, operators=self._operators)

    def _read(self, rows: I64s, content: I64s) -> Any:
        """The texts of ascending rows."""
        if self._texts is None:
            return self._rows.read(rows)
        ids = self._rows.names(rows)
        texts = self._texts(ids)
        if len(texts) != len(rows):
            raise DedupError(f"texts was asked for {len(rows)} texts and gave {len(texts)}")
        if isinstance(texts, pa.ChunkedArray):
            texts = texts.combine_chunks()
        documents = as_documents(texts)
        for at, digest in _digests(documents, np.ones(len(rows), np.bool_)):
            if digest != self._contents.digest(content[rows[at]]):
                raise TextChangedError(
                    f"the text of {ids[at].as_py()!r} is not the one that was added: it has changed or gone"
                )
        return texts.cast(pa.large_binary())

    def _table(self, rows: I64s, stands: I64s, exact: Bools, near: Bools, share: I64s) -> pa.Table:
        """The columns of `Duplicates.table`. `stands`: row -> row; `share`: inter and union."""
        kept = ~exact & ~near
        kind = np.where(kept, 0, np.where(near, 2, 1)).astype(np.int8)[rows]
        kinds = pa.DictionaryArray.from_arrays(pa.array(kind), pa.array(["unique", "exact", "near"]))
        return pa.table(
            {
                "id": self._rows.names(rows),
                "kind": kinds.cast(pa.string()),
                "duplicate_of": self._rows.names(stands[rows], mask=kept[rows]),
                "cluster": self._rows.names(stands[stands][rows]),
                "kept": pa.array(kept[rows]),
                "inter": pa.array(share[0][rows], mask=~near[rows]),
                "union": pa.array(share[1][rows], mask=~near[rows]),
            }
        )


def deduplicate(data: Any, column: str = "content", **options: Any) -> Any:
    """The rows of `data` that stay: without exact copies and near-duplicates.

    `data`: a pyarrow Table, RecordBatch or array of texts, or a Hugging Face `datasets.Dataset`; the answer
    is of the same kind. Further options: those of `Deduplicator`.
    """
    arrow = isinstance(data, pa.Table | pa.RecordBatch | pa.Array | pa.ChunkedArray)
    if not arrow and not (hasattr(data, "with_format") and hasattr(data, "select")):
        raise DedupError(
            f"deduplicate takes a pyarrow table or array or a Hugging Face dataset, not "
            f"{type(data).__name__}: use Deduplicator"
        )
    dedup = Deduplicator(column=column, **options)
    dedup.add(data)
    kept = dedup.finish().kept
    if arrow:
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
