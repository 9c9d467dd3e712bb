"""Why a file may be used, or may not: file -> detections -> attribution -> decision, as recorded and taken once more.

The words for people are in `license_words.py`; the keys of the answer are described in docs/license-explain.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from licensing.quotes import quote
from pipeline.content.shown import escape, unescape
from pipeline.engine.point import scalar
from pipeline.errors import ConfigError
from pipeline.explain_ids import origin_id
from pipeline.license_replay import File, Replay, differences, place_in, relevant
from pipeline.records import Record

NOT_HELD = "its bytes were not read: a link that leads to no license file, too large, or not archived"


def explain_license(
    record: Record, origin: str, path: str | None, *, policy: Path | None = None, limit: int = 20
) -> dict[str, Any]:
    """The story of the license of a file, or of a folder and those below it, as plain data; its keys are stable.

    Raises ConfigError for an origin or a path that the archive does not have.
    """
    replay = Replay(record, policy)
    known = record.rows("origins", "ledger", "origin_id", origin_id(origin)).to_pylist()
    if not known:
        raise ConfigError(f"{origin} is not an origin of the archive that this release was made from")
    one, root = known[0], known[0]["directory"]
    if root is None:
        raise ConfigError(f"{origin} could not be read: {one['reason']}")
    evidence = replay.recorded_evidence(root)
    files, places = _places(record, root, path, evidence)
    needed = union_of(evidence, places[:limit])
    found = replay.detect(needed)
    again = replay.attribute(root, found, places[:limit])
    story = {
        "origin": one["origin"],
        "revision": one["revision"],
        "root": root,
        "path": path,
        "release": record.version,
        "digest": record.digest,
        "policy": {
            "recorded": replay.recorded_policy,
            "used": replay.policy.digest,
            "same": replay.same_policy,
        },
        "files": [_file(record, replay, row) for row in files[:limit]],
        "places": [
            _place(replay.recorded_attribution(root, place), again[place], place) for place in places[:limit]
        ],
        "found": len(places),
        "evidence": [_evidence(one) for one in found],
    }
    parts = [*story["places"], *(file["header"] for file in story["files"] if file["header"])]
    story["same"] = replay.same_policy and all(part["same"] for part in parts)
    return story


def _places(
    record: Record, root: str, path: str | None, evidence: pa.Table
) -> tuple[list[dict[str, Any]], list[bytes]]:
    """The files at a path (none for a folder), and the places where their licenses are asked for."""
    ledger = record.rows("ledger", "ledger", "root", root)
    if path is None:
        names = [b""]
    else:
        names = list(dict.fromkeys((unescape(path), path.encode(errors="surrogateescape"))))
        for name in names:
            rows = ledger.filter(pc.equal(ledger["path"], scalar(name)))
            if rows.num_rows:
                return rows.to_pylist(), [place_in(root, name, evidence)]
    attributed = set(record.rows("attributions", "attributions", "root", root, ["dir"])["dir"].to_pylist())
    for name in names:
        folder = name.rstrip(b"/")
        below = sorted(d for d in attributed if not d.startswith(b"/") and _within(d, folder))
        if below:
            return [], below
    raise ConfigError(f"{path!r}: no file or folder with files whose license was asked for")


def _within(directory: bytes, folder: bytes) -> bool:
    return not folder or directory == folder or directory.startswith(folder + b"/")


def union_of(evidence: pa.Table, places: Iterable[bytes]) -> pa.Table:
    """The evidence that bears on any of the places, each file once, by path."""
    tables = [relevant(evidence, place) for place in places]
    table = pa.concat_tables(tables) if tables else evidence.slice(0, 0)
    rows = {(row["path"], row["dir"]): row for row in table.to_pylist()}
    return pa.Table.from_pylist([rows[key] for key in sorted(rows)], schema=evidence.schema)


def _file(record: Record, replay: Replay, row: Mapping[str, Any]) -> dict[str, Any]:
    header = None
    recorded = record.annotations("header", "sha256", row["sha256"]) if row["sha256"] else pa.table({})
    if recorded.num_rows:
        then, body = recorded["expression"][0].as_py(), replay.body(row["sha1_git"])
        again = None if body is None else replay.header(body)[0].expression
        now = None if body is None else replay.stated(body)
        decision = replay.policy.decide(now)
        header = {
            "recorded": then,
            "now": now,
            "permitted": now is None or decision.permitted,
            "reason": None if now is None else decision.sub_reason,
            "same": body is not None and then == again,
        }
    return {
        "path": escape(row["path"]),
        "swhid": f"swh:1:cnt:{row['sha1_git']}",
        "kind": row["kind"],
        "decision": "kept" if row["reason"] is None else "dropped",
        "reason": row["reason"],
        "detail": row["detail"],
        "header": header,
    }


def _place(recorded: dict[str, Any] | None, again: dict[str, Any], place: bytes) -> dict[str, Any]:
    changed = [] if recorded is None else differences(recorded, again)
    return {
        "place": escape(place),
        "recorded": _attribution(recorded),
        "now": _attribution(again),
        "differences": changed,
        # Where nothing was recorded nothing was asked: a file that had left the flow before.
        "same": not changed,
    }


def _attribution(row: dict[str, Any] | None) -> dict[str, Any] | None:
    if row is None:
        return None
    names = ("license_expression", "permitted", "sub_reason", "license_type", "detected_licenses")
    return {
        **{name: row[name] for name in names},
        "by": list(dict.fromkeys(one["path"] for one in row["license_evidence"])),
    }


def _evidence(file: File) -> dict[str, Any]:
    from pipeline.shown_text import masked, with_holders  # loads the scan

    body = file.body
    shown = None if body is None else masked(body, with_holders())
    return {
        "path": escape(file.recorded["path"]),
        "swhid": f"swh:1:cnt:{file.recorded['sha1_git']}",
        "place": escape(file.recorded["dir"]),
        "bytes": None if body is None else len(body),
        "note": NOT_HELD if body is None else None,
        "expression": file.again["expression"],
        "recorded": file.recorded["expression"],
        "same": file.same,
        "detections": [
            {**one, "quote": [] if shown is None else quote(shown, one["start"], one["end"])}
            for one in file.again["detections"]
        ],
    }
