"""The license decisions on the rows of a release, taken again: `pipeline license replay`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from manifests.reader import Release
from pipeline.content.shown import unescape
from pipeline.engine.store import Store
from pipeline.explain_rows import Rows
from pipeline.license_explain import union_of
from pipeline.license_replay import Replay, differences, place_in
from pipeline.local_copy import manifest_of
from pipeline.records import the_record

COLUMNS = (
    "row_id", "sha256", "content_id", "origin", "path", "path_raw", "directory_id", "license_type", "license_expression",
    "detected_licenses", "license_evidence",
)  # fmt: skip


def replay_rows(
    directory: str, workdir: str, *, sample: int | None = None, policy: Path | None = None, limit: int = 20
) -> dict[str, Any]:
    """`{rows, of, evidence, same, different, differences}`; of the last at most `limit`.

    A sample is of the rows with the lowest ids, which are hashes: the same rows in every run.
    """
    with manifest_of(directory) as folder:
        rows = Rows(Release.open(folder), Store(directory))
    replay = Replay(the_record(workdir, digest=rows.release.digest), policy)
    taken = list(_rows(rows))
    total = len(taken)
    taken.sort(key=lambda row: row["row_id"])
    taken = taken[:sample]
    by_root: dict[str, list[dict[str, Any]]] = {}
    for row in taken:
        by_root.setdefault(row["directory_id"], []).append(row)
    headers = {
        sha256: replay.stated(body)
        for sha256, body in replay.bodies({row["sha256"]: row["content_id"] for row in taken})
    }
    wrong: list[dict[str, Any]] = []
    evidence = 0
    for root, here in sorted(by_root.items()):
        recorded = replay.recorded_evidence(root)
        places = {row["row_id"]: place_in(root, _path(row), recorded) for row in here}
        needed = union_of(recorded, sorted(set(places.values())))
        files = replay.detect(needed)
        evidence += len(files)
        again = replay.attribute(root, files, sorted(set(places.values())))
        for row in here:
            if found := _differences(replay, headers, row, again[places[row["row_id"]]]):
                told = {name: row[name] for name in ("row_id", "origin", "path")}
                wrong.append({**told, "differences": found})
    return {
        "release": rows.release.manifest.version,
        "digest": rows.release.digest,
        "policy": replay.policy.digest,
        "rows": len(taken),
        "of": total,
        "evidence": evidence,
        "same": len(taken) - len(wrong),
        "different": len(wrong),
        "differences": wrong[:limit],
    }


def _rows(rows: Rows) -> Iterator[dict[str, Any]]:
    for shard in rows.release.shards():
        with rows.open(shard.path) as file:
            for group in range(file.num_row_groups):
                table: pa.Table = file.read_row_group(group, columns=list(COLUMNS), use_threads=False)
                yield from table.to_pylist()


def _path(row: Mapping[str, Any]) -> bytes:
    raw: bytes | None = row["path_raw"]
    return unescape(row["path"]) if raw is None else raw


def _differences(
    replay: Replay, headers: Mapping[str, str | None], row: Mapping[str, Any], again: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What of the row is not as it comes out now: the attribution of its place, its header, and that they are permitted."""
    if row["sha256"] not in headers:
        return [{"what": "bytes", "recorded": row["content_id"], "now": None}]
    header = headers[row["sha256"]]
    if not replay.policy.states_terms(header):
        found = differences(row, again)
        if not again["permitted"]:
            found.append({"what": "permitted", "recorded": True, "now": again["sub_reason"]})
        return found
    # The header's license stands in the row, and behind its own evidence that of the directory.
    found = []
    if row["license_expression"] != header:
        found.append({"what": "license_expression", "recorded": row["license_expression"], "now": header})
    behind = [one for one in row["license_evidence"] if one not in again["license_evidence"]]
    if any(one["swhid"] != f"swh:1:cnt:{row['content_id']}" for one in behind):
        found.append(
            {
                "what": "license_evidence",
                "recorded": row["license_evidence"],
                "now": again["license_evidence"],
            }
        )
    if not replay.policy.decide(header).permitted:
        found.append({"what": "header", "recorded": None, "now": header})
    return found
