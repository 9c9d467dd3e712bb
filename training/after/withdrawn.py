"""Which trained rows have since been withdrawn, or are no longer in a newer release.

A list of removals is a release's `removals.jsonl`, or any file of JSON objects, one a line, each with at least one of

    row_id, swhid, content_sha256 (of the released text), sha256 (of the original), origin

and perhaps a `reason` and a `version`. A row is withdrawn if one of the line's keys names it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training.after.trace import SHOWN, STATUSES, Data, Run, of_origins, scan
from training.corpus.networks import plain
from training.errors import CheckpointError, TrainingConfigError

KEYS = ("row_id", "swhid", "content_sha256", "sha256", "origin")

MAX_LINE_BYTES = 1 << 16

UNSTATED = "unstated"
"""Reason of a line that gives none."""


def read_removals(file: Path) -> list[dict[str, str]]:
    """The lines of a list.

    Raises:
        TrainingConfigError: names the line that is not as said above.
    """
    found = []
    try:
        with file.open("rb") as stream:
            number = 0
            while line := stream.readline(MAX_LINE_BYTES + 1):
                number += 1
                if line.strip():
                    found.append(_entry(line, f"{file}, line {number:,}"))
    except OSError as error:
        raise TrainingConfigError(f"{file}: cannot be read: {error.strerror or error}") from error
    return found


def _entry(line: bytes, where: str) -> dict[str, str]:
    if len(line) > MAX_LINE_BYTES:
        raise TrainingConfigError(f"{where}: longer than {MAX_LINE_BYTES:,} bytes")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TrainingConfigError(f"{where}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise TrainingConfigError(f"{where}: not an object")
    entry = {key: value[key] for key in (*KEYS, "reason", "version") if value.get(key) is not None}
    if wrong := [key for key, text in entry.items() if not isinstance(text, str) or not text]:
        raise TrainingConfigError(f"{where}: {wrong[0]} is not a text")
    if not entry.keys() & set(KEYS):
        raise TrainingConfigError(f"{where}: names no row; give one of {', '.join(KEYS)}")
    for key in entry.keys() & {"swhid", "content_sha256", "sha256"}:
        entry[key] = entry[key].partition(";")[0].strip().lower()  # a SWHID may have qualifiers
    return entry


def _named(key: str, values: Mapping[str, Any]) -> Callable[[pa.Table], pa.ChunkedArray]:
    """A function from a table to a bool per row: whether its `key` is among the values."""
    if key == "origin":
        return of_origins(lambda origin: plain(origin) in values)
    known = pa.array(list(values), pa.string())
    return lambda table: pc.is_in(table[key], value_set=known)


def removed(runs: Sequence[Run], data: Data, entries: Sequence[dict[str, str]]) -> dict[str, Any]:
    """Rows that some run of the chain was trained on and that the list names."""
    compared = {key: plain if key == "origin" else str for key in KEYS}
    wanted = {key: {compared[key](entry[key]): entry for entry in entries if key in entry} for key in KEYS}
    wanted = {key: by_value for key, by_value in wanted.items() if by_value}
    tests = {key: _named(key, by_value) for key, by_value in wanted.items()}

    def rows_of(run: Run) -> Iterator[dict[str, Any]]:
        for source in run.lineage.sources:
            keys = [key for key in wanted if source.kind == "release" or key != "sha256"]
            columns = list(dict.fromkeys([*SHOWN, *keys]))
            for scanned in scan(source, data, columns, seen_only=True):
                hit = scanned.status == STATUSES.index("seen")
                named = np.zeros(len(hit), dtype=bool)
                for key in keys:
                    named |= tests[key](scanned.table).to_numpy(zero_copy_only=False)
                chosen = np.flatnonzero(hit & named)
                for number, row in zip(chosen.tolist(), scanned.table.take(chosen).to_pylist(), strict=True):
                    by, entry = next(
                        (key, wanted[key][value])
                        for key in keys
                        if row[key] is not None and (value := compared[key](row[key])) in wanted[key]
                    )
                    yield {
                        **{key: row[key] for key in SHOWN},
                        "source": source.name,
                        "file": scanned.path,
                        "row": number,
                        "reason": entry.get("reason", UNSTATED),
                        "version": entry.get("version"),
                        "named_by": by,
                    }

    return _report(runs, {run.generation: list(rows_of(run)) for run in runs}, {"listed": len(entries)})


def missing(runs: Sequence[Run], data: Data, newer: Path) -> dict[str, Any]:
    """Rows that some run of the chain was trained on and that a newer release does not have, or has with another text.

    The reason of a row that is gone is `withdrawn` where the newer release has its tombstone, else what its
    changes.parquet says if the release trained on is its parent, else `unstated`. A row with another text has the
    reason `other text`.

    Raises:
        CheckpointError: a file of the newer release is not what its manifest says.
    """
    from manifests.names import CHANGES_FILE, IDS_FILE, REMOVALS_FILE
    from manifests.reader import Release

    release = Release.open(newer)
    ids = pq.read_table(_checked(release, IDS_FILE), columns=["row_id", "content_sha256"])
    known = {file.path for file in release.manifest.files}
    tombstones: set[str] = set()
    if REMOVALS_FILE in known:
        tombstones = {
            entry["row_id"] for entry in read_removals(_checked(release, REMOVALS_FILE)) if "row_id" in entry
        }
    reasons: dict[str, str] = {}
    if CHANGES_FILE in known:
        changes = pq.read_table(_checked(release, CHANGES_FILE), columns=["row_id", "change", "reason"])
        gone = changes.filter(pc.equal(changes["change"], "removed"))
        reasons = dict(zip(gone["row_id"].to_pylist(), gone["reason"].to_pylist(), strict=True))
    parent = release.manifest.parent

    def rows_of(run: Run) -> Iterator[dict[str, Any]]:
        for source in run.lineage.sources:
            if source.kind != "release" or source.dataset != release.manifest.name:
                continue
            told = reasons if parent is not None and parent.digest == source.digest else {}
            for scanned in scan(source, data, list(SHOWN), seen_only=True):
                at = pc.index_in(scanned.table["row_id"], value_set=ids["row_id"].combine_chunks())
                there = pc.is_valid(at).to_numpy(zero_copy_only=False)
                text = (
                    ids["content_sha256"].take(pc.fill_null(at, 0)) if len(ids) else scanned.table["row_id"]
                )
                same = pc.equal(text, scanned.table["content_sha256"]).to_numpy(zero_copy_only=False)
                chosen = np.flatnonzero((scanned.status == STATUSES.index("seen")) & ~(there & same))
                for number, row in zip(chosen.tolist(), scanned.table.take(chosen).to_pylist(), strict=True):
                    reason = "other text"
                    if not there[number]:
                        withdrawn = row["row_id"] in tombstones
                        reason = "withdrawn" if withdrawn else told.get(row["row_id"], UNSTATED)
                    yield {
                        **row,
                        "source": source.name,
                        "file": scanned.path,
                        "row": number,
                        "reason": reason,
                    }

    against = {"version": release.manifest.version, "digest": release.digest}
    if not any(s.dataset == release.manifest.name for run in runs for s in run.lineage.sources):
        raise TrainingConfigError(
            f"{newer}: of the dataset {release.manifest.name}, which was not trained on"
        )
    return _report(runs, {run.generation: list(rows_of(run)) for run in runs}, {"against": against})


def _checked(release: Any, name: str) -> Path:
    from manifests.checksums import sha256_file

    file: Path = release.directory / name
    (facts,) = [one for one in release.manifest.files if one.path == name]
    if not file.is_file() or sha256_file(file) != (facts.sha256, facts.bytes):
        raise CheckpointError(f"{file}: missing, or not the file that the manifest describes; fetch it again")
    return file


def _report(
    runs: Sequence[Run], rows: dict[int, list[dict[str, Any]]], about: dict[str, Any]
) -> dict[str, Any]:
    """One entry per row, with the generations that were trained on it; counted once however many they are, and in
    however many sources of a run it is."""
    merged: dict[str, dict[str, Any]] = {}
    for generation, some in rows.items():
        for row in some:
            generations = merged.setdefault(row["row_id"], {**row, "generations": []})["generations"]
            if generation not in generations:
                generations.append(generation)
    found = [merged[key] for key in sorted(merged)]
    return {
        **about,
        "found": len(found),
        "by_reason": dict(sorted(Counter(row["reason"] for row in found).items())),
        "by_language": dict(sorted(Counter(row["language"] for row in found).items())),
        "by_generation": [sum(run.generation in row["generations"] for row in found) for run in runs],
        "rows": found,
    }
