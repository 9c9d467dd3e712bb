"""What `Deduplicator.finish` gives: who stays, what each of the others is a copy of, and what it took."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from dedup.verify import Threshold


@dataclass(frozen=True, slots=True)
class Work:
    """What one `finish` did. Counts of pairs are of distinct pairs of distinct texts."""

    candidates: int
    """Pairs that share a band."""
    compared: int
    """Of these, pairs whose similarity was computed now; the others were known from an earlier `finish`."""
    texts_read: int
    bytes_read: int
    """Texts, and their bytes, that were read (again) to compare them."""
    hot_buckets: int
    """Band buckets above `cap`, in which texts are paired with the `best` best-ranked only."""
    pairs_not_made: int
    """Pairs that hot buckets left out."""


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The outcome. Rows are those that were added and not forgotten, in the order in which they were added."""

    table: pa.Table
    """One row per row: `id`, `kind` (unique | exact | near), `duplicate_of` (the id of the row that stands for it, null
    for unique), `cluster` (the id of the kept row of its group), `kept`, `inter` and `union` (shingles in
    common with `duplicate_of`, and of either; near only)."""
    threshold: Threshold
    without_text: int
    """Rows whose text is null: kept, never a duplicate."""
    work: Work

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def kept(self) -> pa.BooleanArray:
        """Which rows stay: a mask over the rows."""
        return self.table["kept"].combine_chunks()

    @property
    def kept_ids(self) -> pa.Array:
        """The ids of the rows that stay."""
        return self.table["id"].filter(self.table["kept"]).combine_chunks()

    @property
    def counts(self) -> dict[str, int]:
        """Rows by kind: unique, exact, near."""
        found = {row["values"]: row["counts"] for row in pc.value_counts(self.table["kind"]).to_pylist()}
        return {kind: found.get(kind, 0) for kind in ("unique", "exact", "near")}

    def clusters(self) -> Iterator[pa.Table]:
        """The groups of two rows or more, the largest first: the rows of `table` with the kept one on top."""
        rows = self.table.append_column("row", pa.array(range(len(self)), pa.int64()))
        sizes = self.table.group_by("cluster", use_threads=False).aggregate([("kept", "count")])
        grouped = sizes.filter(pc.greater(sizes["kept_count"], 1))
        members = rows.filter(pc.is_in(rows["cluster"], value_set=grouped["cluster"].combine_chunks()))
        at = pc.index_in(members["cluster"], value_set=grouped["cluster"].combine_chunks())
        members = members.append_column("size", grouped["kept_count"].take(at)).append_column("group", at)
        order = pc.sort_indices(
            members.set_column(
                members.schema.get_field_index("kept"), "kept", members["kept"].cast(pa.int8())
            ),
            sort_keys=[
                ("size", "descending"),
                ("group", "ascending"),
                ("kept", "descending"),
                ("row", "ascending"),
            ],
        )
        members = members.take(order)
        first = 0
        while first < members.num_rows:
            size = members["size"][first].as_py()
            yield members.slice(first, size).select(self.table.schema.names)
            first += size

    def summary(self) -> str:
        """A few lines for people."""
        counts = self.counts
        total = max(1, len(self))
        lines = [
            f"{len(self):,} rows: {counts['unique']:,} kept, {counts['exact']:,} exact copies "
            f"({counts['exact'] / total:.1%}), {counts['near']:,} near-duplicates ({counts['near'] / total:.1%})",
            f"threshold {self.threshold.numerator}/{self.threshold.denominator}; {self.work.candidates:,} pairs were "
            f"possible, {self.work.compared:,} compared now, the others known",
        ]
        if self.without_text:
            lines.append(f"{self.without_text:,} rows have no text (null): kept")
        if self.work.hot_buckets:
            lines.append(
                f"{self.work.hot_buckets:,} crowded buckets left out {self.work.pairs_not_made:,} pairs, and kept those "
                "with the best-ranked texts"
            )
        return "\n".join(lines)
