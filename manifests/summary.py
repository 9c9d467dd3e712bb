"""What is in a release, in figures: from its manifest and the small columns of its shards."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from manifests.names import SIGNATURE
from manifests.reader import Release

SUMMARY_VERSION = 1
"""Version of the keys that `summarize` returns."""

SIZE_LIMITS = (1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20)
"""Upper bounds, exclusive, of the classes of file size; the last class has none."""

_COLUMNS = (
    "license_expression",
    "origin",
    "src_encoding",
    "length_bytes",
    "cluster_size",
    "redactions",
    "is_generated",
    "is_vendor",
)
_BATCH_ROWS = 65_536


def summarize(release: Release, *, top: int = 20) -> dict[str, Any]:
    """Return the figures of a release as a JSON object; equal releases have equal summaries.

    Keys: those of the manifest (`name`, `version`, `digest`, `totals`, `origins`, `languages`), `rows`,
    `text_bytes`, `download_bytes`, `shards`, and from the rows `licenses`, `encodings`, `redactions` (kind ->
    number), `redacted_rows`, `file_sizes` (original bytes), `near_duplicates_represented`, `top_origins` (the
    `top` with most rows), `origins_with_rows`. Mappings are in descending order of count, then by name.

    Page checksums are verified, file checksums are not (that is `verify_release`). Raises `ReleaseError` for
    a shard that is missing or cannot be read. Memory: one batch, and one counter per distinct origin.
    """
    licenses: Counter[str] = Counter()
    origins: Counter[str] = Counter()
    encodings: Counter[str] = Counter()
    redactions: Counter[str] = Counter()
    sizes = [0] * (len(SIZE_LIMITS) + 1)
    redacted = represented = generated = vendored = 0
    for batch in release.batches(_COLUMNS, batch_rows=_BATCH_ROWS, verify=False):
        _count(licenses, batch.column("license_expression"))
        _count(origins, batch.column("origin"))
        _count(encodings, batch.column("src_encoding"))
        spans = batch.column("redactions")
        redacted += pc.sum(pc.greater(pc.list_value_length(spans), 0)).as_py() or 0
        _count(redactions, spans.flatten().field("kind"))
        represented += (pc.sum(batch.column("cluster_size")).as_py() or 0) - batch.num_rows
        generated += pc.sum(batch.column("is_generated")).as_py() or 0
        vendored += pc.sum(batch.column("is_vendor")).as_py() or 0
        for position, number in _size_classes(batch.column("length_bytes")).items():
            sizes[position] += number
    manifest = release.manifest
    return {
        "summary_version": SUMMARY_VERSION,
        "name": manifest.name,
        "version": manifest.version,
        "digest": release.digest,
        "signed": (release.directory / SIGNATURE).is_file(),
        "rows": manifest.totals.kept,
        "text_bytes": sum(shard.text_bytes for shard in manifest.shards),
        "download_bytes": sum(shard.bytes for shard in manifest.shards),
        "shards": len(manifest.shards),
        "totals": {**manifest.totals.to_json(), "dropped": _descending(Counter(manifest.totals.dropped))},
        "origins": manifest.origins.to_json(),
        "languages": {
            language: facts.to_json()
            for language, facts in sorted(
                manifest.languages.items(), key=lambda item: (-item[1].rows, item[0])
            )
        },
        "licenses": _descending(licenses),
        "encodings": _descending(encodings),
        "redactions": _descending(redactions),
        "redacted_rows": redacted,
        "file_sizes": dict(zip(_size_names(), sizes, strict=True)),
        "near_duplicates_represented": represented,
        "generated_rows": generated,
        "vendored_rows": vendored,
        "origins_with_rows": len(origins),
        "top_origins": _descending(origins, top),
    }


def _count(counter: Counter[str], values: pa.Array) -> None:
    counts = pc.value_counts(values)
    for value, number in zip(
        counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True
    ):
        counter[value] += number


def _descending(counter: Counter[str], top: int | None = None) -> dict[str, int]:
    return dict(sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:top])


def _size_classes(lengths: pa.Array) -> Counter[int]:
    position = pa.array([0] * len(lengths), pa.int64())
    for limit in SIZE_LIMITS:
        position = pc.add(position, pc.cast(pc.greater_equal(lengths, limit), pa.int64()))
    return Counter(position.to_pylist())


def _size_names() -> list[str]:
    shown = [f"{limit >> 10} KiB" if limit < 1 << 20 else f"{limit >> 20} MiB" for limit in SIZE_LIMITS]
    between = [f"{low} to {high}" for low, high in pairwise(shown)]
    return [f"below {shown[0]}", *between, f"{shown[-1]} and above"]
