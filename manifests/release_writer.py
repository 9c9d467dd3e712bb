"""Finishing a release: from a staging folder with shards to a release directory that verifies.

Order: `ids.parquet`, the card, `config.yaml`, `CHANGELOG.md`, then `manifest.json` over all of them, then
`SHA256SUMS` over the manifest too. A folder without `SHA256SUMS` is not finished. The bytes depend on the
arguments alone; renaming the folder to its final place is the caller's commit, or, where there is no rename,
putting `manifest.json` there last.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from manifests import names
from manifests.card import render_card
from manifests.card_facts import CardFacts
from manifests.checksums import format_sums, sha256_file
from manifests.errors import ReleaseError
from manifests.facts import Contents, Digests, FileFacts, Origins, Parent, ShardFacts, Tokenizer, Totals
from manifests.manifest import Manifest
from manifests.merkle import ids_leaf_hashes, root_of
from manifests.schema import IDS, LARGE_IDS
from manifests.shards import shard_ids, sync, write_ids

__all__ = [
    "CardFacts",
    "Contents",
    "Digests",
    "Origins",
    "Parent",
    "ShardFacts",
    "Tokenizer",
    "Totals",
    "finish_release",
]


def finish_release(
    staging: Path,
    *,
    name: str,
    version: str,
    shards: Sequence[ShardFacts],
    ids: pa.Table | Iterable[pa.Table | pa.RecordBatch] | None = None,
    totals: Totals,
    origins: Origins,
    contents: Contents,
    inputs: Mapping[str, Any],
    digests: Digests,
    opt_out_head: str,
    config_yaml: bytes,
    text: CardFacts | None = None,
    tokenizer: Tokenizer | None = None,
    parent: Parent | None = None,
    extra: Sequence[str] = (),
    makers: Mapping[str, Callable[[Manifest], bytes]] | None = None,
    shards_elsewhere: bool = False,
    section: Callable[[Manifest], str] | None = None,
    history: bytes = b"",
) -> str:
    """Write everything of a release but its shards into `staging`, and return the release's digest (hex).

    `staging` holds the files of `shards` at their paths, and those of `extra` (paths of further files to
    publish, such as `removals.jsonl`), and nothing else but what an interrupted call left. `ids` are rows of
    schema `IDS` in any order; None reads them from the shards. `makers` are further files: path -> what makes their bytes
    from a draft of the manifest, which has all figures but lists `ids.parquet` and `extra` alone as files. With
    `shards_elsewhere` the files of the shards are not in `staging` (but in an object store, say): their facts are
    trusted, and `ids` must be given. CHANGELOG.md gets what `section` makes of the draft as this version's section,
    and below it the sections of `history`, the CHANGELOG.md of the parent.

    Raises `ReleaseError` for a file that is missing, of another size than its facts say, or unexpected, and
    for ids that are not exactly the rows of the shards or not unique; `ManifestError` for figures that do not
    add up.
    """
    text = CardFacts() if text is None else text
    generated = (
        names.IDS_FILE,
        names.CARD,
        names.CONFIG_FILE,
        names.CHANGELOG,
        names.MANIFEST,
        names.CHECKSUMS,
    )
    if shards_elsewhere and ids is None:
        raise ReleaseError(f"{staging}: the ids of shards that are elsewhere must be given")
    makers = {} if makers is None else makers
    _check_staging(staging, () if shards_elsewhere else shards, extra, (*generated, *makers))
    if twice := set(makers) & {*generated, names.SIGNATURE}:
        raise ReleaseError(f"{min(twice)} is written by the release itself")
    ordered = sorted(shards, key=lambda shard: shard.path)
    table = _sorted_ids(staging, ordered, ids)
    merkle_root = root_of(ids_leaf_hashes(table)).hex()
    write_ids(table, staging / names.IDS_FILE)

    def manifest(files: list[FileFacts]) -> Manifest:
        return Manifest.build(
            name=name,
            version=version,
            shards=ordered,
            files=files,
            merkle_root=merkle_root,
            totals=totals,
            origins=origins,
            contents=contents,
            inputs=inputs,
            digests=digests,
            opt_out_head=opt_out_head,
            tokenizer=tokenizer,
            parent=parent,
        )

    ids_facts = _facts(staging, names.IDS_FILE)
    beside = [_facts(staging, path) for path in extra]
    draft = manifest(
        [ids_facts, *beside]
    )  # refuses before anything else is written; its languages go into the card
    card = render_card(draft, text)
    _write(staging / names.CARD, card)
    _write(staging / names.CONFIG_FILE, config_yaml)
    _write(staging / names.CHANGELOG, _changelog(draft, text, section, history))
    for path, make in sorted(makers.items()):
        _write(staging / names.check_path(path), make(draft))
    files = [ids_facts, *beside] + [
        _facts(staging, path) for path in (names.CARD, names.CONFIG_FILE, names.CHANGELOG, *makers)
    ]
    final = manifest(files)
    data = final.to_bytes()
    _write(staging / names.MANIFEST, data)
    _write(staging / names.CHECKSUMS, sums_of(final, data))
    return hashlib.sha256(data).hexdigest()


def sums_of(manifest: Manifest, data: bytes) -> bytes:
    """Return the SHA256SUMS that belongs to a manifest with bytes `data`: all listed files and the
    manifest."""
    digests = {path: facts.sha256 for path, facts in manifest.listed().items()}
    return format_sums({**digests, names.MANIFEST: hashlib.sha256(data).hexdigest()})


def _check_staging(
    staging: Path, shards: Sequence[ShardFacts], extra: Sequence[str], generated: tuple[str, ...]
) -> None:
    for shard in shards:
        file = staging / shard.path
        if file.is_symlink() or not file.is_file():
            raise ReleaseError(f"{staging}: the shard {shard.path} is missing")
        if (size := file.stat().st_size) != shard.bytes:
            raise ReleaseError(f"{staging}: {shard.path} has {size:,} bytes, its facts say {shard.bytes:,}")
    for path in extra:
        if path in generated or names.check_path(path) in names.UNLISTED:
            raise ReleaseError(f"{path} is written by the release itself and cannot be given")
    expected = {*(shard.path for shard in shards), *extra, *generated}
    for folder, _, files in os.walk(staging):
        for file_name in files:
            path = (Path(folder) / file_name).relative_to(staging).as_posix()
            if path not in expected:
                raise ReleaseError(f"{staging}: {ascii(path)[:200]} is not part of the release; remove it")


def _sorted_ids(
    staging: Path, shards: Sequence[ShardFacts], ids: pa.Table | Iterable[pa.Table | pa.RecordBatch] | None
) -> pa.Table:
    if ids is None:
        parts: list[pa.Table] = [shard_ids(staging / shard.path, shard.path) for shard in shards]
    elif isinstance(ids, pa.Table):
        parts = [ids]
    else:
        parts = [pa.Table.from_batches([part]) if isinstance(part, pa.RecordBatch) else part for part in ids]
    for part in parts:
        if not part.schema.equals(IDS):
            raise ReleaseError(f"ids do not have the schema of {names.IDS_FILE}: {part.schema}")
    table = pa.concat_tables(parts).cast(LARGE_IDS) if parts else LARGE_IDS.empty_table()
    table = table.combine_chunks()
    table = table.take(pc.sort_indices(table.column("row_id")))
    for column in ("row_id", "content_sha256"):
        if pc.count_distinct(table.column(column)).as_py() != table.num_rows:
            raise ReleaseError(f"two rows have the same {column}: {_repeated(table.column(column))}")
    counts = table.group_by("shard").aggregate([("row", "count"), ("row", "min"), ("row", "max")])
    found = {row["shard"]: (row["row_count"], row["row_min"], row["row_max"]) for row in counts.to_pylist()}
    wanted = {shard.path: (shard.rows, 0, shard.rows - 1) for shard in shards}
    if found != wanted:
        path = min({path for path in {*found, *wanted} if found.get(path) != wanted.get(path)})
        raise ReleaseError(
            f"ids of {path}: (rows, first, last) are {found.get(path)}, wanted {wanted.get(path)}"
        )
    return table


def _repeated(column: pa.ChunkedArray) -> str:
    counts = pc.value_counts(column)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    return ", ".join(sorted(repeated.to_pylist())[:3])


_TITLE = b"# Changelog\n\n"


def _changelog(
    draft: Manifest, text: CardFacts, section: Callable[[Manifest], str] | None, history: bytes
) -> bytes:
    parent = draft.parent
    parts = [
        f"## {draft.name} {draft.version}\n\n"
        f"- {draft.totals.kept:,} rows in {len(draft.languages):,} languages, {len(draft.shards):,} shards.\n"
        + (f"- Parent: {parent.version} (manifest {parent.digest})." if parent else "- No parent release."),
        "" if section is None else section(draft).strip("\n"),
        text.changelog.strip("\n"),
    ]
    if history and not history.startswith(_TITLE):
        raise ReleaseError(f"{names.CHANGELOG} of the parent does not begin with its title")
    mine = ("\n\n".join(part for part in parts if part) + "\n").encode("utf-8")
    return _TITLE + mine + (b"\n" + history.removeprefix(_TITLE) if history else b"")


def _write(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    sync(file)


def _facts(staging: Path, path: str) -> FileFacts:
    digest, size = sha256_file(staging / path)
    return FileFacts(path=path, sha256=digest, bytes=size)
