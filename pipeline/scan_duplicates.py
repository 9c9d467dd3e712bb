"""Exact and near duplicates among the text files of a folder, whatever its size.

Files are read once to sketch them, and those with a possible duplicate once more to compare, so that no text is held:
memory is some 0.7 KB per file and what `dedup.deduplicator` needs while it compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dedup.deduplicator import Deduplicator
from dedup.errors import TextChangedError
from dedup.outcome import Duplicates
from pipeline.content.decode import decode_batch
from pipeline.content.shown import escape
from pipeline.errors import SourceError
from pipeline.scan import Folder, Note

Progress = Callable[[int, int], None]
"""Called with the files and bytes read so far."""


@dataclass(frozen=True, slots=True)
class Found:
    """`paths[i]` is the text file of row i of `duplicates.table`; `sizes[i]` its bytes on disk."""

    paths: list[bytes]
    sizes: list[int]
    duplicates: Duplicates
    left_out: Mapping[str, int]
    """Files that are no text, by reason: binary, undecodable, unreadable."""

    def records(self) -> Iterator[dict[str, Any]]:
        """`{path, kind, duplicate_of, cluster, kept, similarity}` per text file, in the order of paths."""
        for batch in self.duplicates.table.to_batches(max_chunksize=10_000):
            for row in batch.to_pylist():
                yield self._record(row)

    def clusters(self) -> Iterator[dict[str, Any]]:
        """`{cluster, bytes, files}` per group of two files or more, largest first; `bytes` of the kept file, which is on top."""
        for group in self.duplicates.clusters():
            files = [self._record(row) for row in group.to_pylist()]
            yield {"cluster": files[0]["path"], "bytes": self.sizes[group["id"][0].as_py()], "files": files}

    def summary(self) -> str:
        """One line for people."""
        counts = self.duplicates.counts
        kept = self.duplicates.table["kept"]
        sizes = pa.array(self.sizes, pa.int64())
        copies = pc.sum(sizes.filter(pc.invert(kept))).as_py() or 0
        limit = self.duplicates.threshold
        words = [
            f"{len(self.paths):,} text files, {sum(self.sizes) / 1e6:,.1f} MB: {counts['unique']:,} kept, "
            f"{counts['exact']:,} exact copies, {counts['near']:,} near-duplicates "
            f"(similarity {limit.numerator / limit.denominator:g} or more); the copies hold {copies / 1e6:,.1f} MB"
        ]
        words += [f"{count:,} {reason} left out" for reason, count in sorted(self.left_out.items())]
        return "; ".join(words)

    def _record(self, row: Mapping[str, Any]) -> dict[str, Any]:
        other = row["duplicate_of"]
        similarity = {"unique": None, "exact": 1.0}.get(row["kind"])
        if row["kind"] == "near":
            similarity = row["inter"] / row["union"]
        return {
            "path": self.paths[row["id"]],
            "kind": row["kind"],
            "duplicate_of": None if other is None else self.paths[other],
            "cluster": self.paths[row["cluster"]],
            "kept": row["kept"],
            "similarity": similarity,
        }


def find_duplicates(
    folder: Folder, *, threshold: str, note: Note, progress: Progress | None = None, **options: Any
) -> Found:
    """Find the duplicates of a folder's text files; of several the first path in byte order is kept.

    What is not read or not text is left out, with a note unless it is binary. `options`: those of `Deduplicator`. Raises
    SourceError if a file changes meanwhile.
    """
    paths: list[bytes] = []
    sizes: list[int] = []
    left_out = dict.fromkeys(("binary", "undecodable", "unreadable"), 0)

    def texts(ids: pa.Array) -> pa.Array:
        return decode_batch(folder.bodies([paths[i] for i in ids.to_pylist()]))["text"]

    dedup = Deduplicator(threshold=threshold, texts=texts, **options)
    done = done_bytes = 0
    for names, bodies in folder.batches():
        decoded = decode_batch(bodies)
        for name, body, reason in zip(
            names, bodies.is_valid().to_pylist(), decoded["reason"].to_pylist(), strict=True
        ):
            if not body or reason is not None:
                left_out[reason or "unreadable"] += 1
                if reason == "undecodable":
                    note(f"{escape(name)}: left out: its encoding is not known")
            else:
                paths.append(name)
                sizes.append(folder.sizes[name])
            done, done_bytes = done + 1, done_bytes + folder.sizes[name]
        column = decoded["text"].combine_chunks()
        dedup.add(column.filter(column.is_valid()))
        if progress is not None:
            progress(done, done_bytes)
    try:
        found = dedup.finish()
    except TextChangedError as error:
        raise SourceError("files changed while they were compared: run again") from error
    return Found(paths, sizes, found, {reason: count for reason, count in left_out.items() if count})
