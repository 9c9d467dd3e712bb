"""Texts of benchmarks in any folder, or in the rows of a finished release."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from manifests.names import MANIFEST
from manifests.reader import Release
from pipeline.content.decode import decode_batch
from pipeline.scan import Folder
from pipeline.stages.text_contamination import Benchmarks

_BATCH_ROWS = 1_000


def is_release(directory: Path) -> bool:
    """Whether the folder is one of a release, so that its rows are meant and not its files."""
    return (directory / MANIFEST).is_file() and (directory / "data").is_dir()


def in_folder(folder: Folder, benchmarks: Benchmarks) -> Iterator[Mapping[str, Any]]:
    """`{path, benchmark, item, field, share, matched, ngrams, start, end}` for each text of a benchmark in a file.

    The largest share of a file first. `start`, `end`: byte offsets in the file's text as UTF-8.
    """
    for paths, bodies in folder.batches():
        texts = decode_batch(bodies)["text"].combine_chunks().fill_null(b"")
        for path, told in zip(paths, _told(texts, benchmarks), strict=True):
            for one in told:
                yield {"path": path, **one}


def in_release(directory: Path, benchmarks: Benchmarks) -> Iterator[Mapping[str, Any]]:
    """The same of the released texts, with `origin` and `row_id` of the row. Raises ReleaseError for a damaged release."""
    columns = ["path", "origin", "row_id", "content"]
    for batch in Release.open(directory).batches(columns, batch_rows=_BATCH_ROWS):
        texts = batch["content"].cast(pa.large_string()).cast(pa.large_binary())
        rows = batch.select(columns[:3]).to_pylist()
        for row, told in zip(rows, _told(texts, benchmarks), strict=True):
            for one in told:
                yield {**row, **one}


def _told(texts: pa.Array, benchmarks: Benchmarks) -> Iterator[list[dict[str, Any]]]:
    for matches in benchmarks.index.search(texts).to_pylist():
        yield [
            {
                **{key: one[key] for key in ("benchmark", "item", "field")},
                "share": round(one["matched"] / one["ngrams"], 4),
                **{key: one[key] for key in ("matched", "ngrams", "start", "end")},
            }
            for one in matches
            if benchmarks.convicts(one)
        ]
