"""What the annotators said of a content, and of the directory that it lies in: the evidence behind a decision.

Of findings only kinds, rules and numbers are told, never where they are or what they say.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow.compute as pc

from pipeline.content.shown import escape
from pipeline.content.signal_schema import SCHEMA
from pipeline.engine.point import scalar
from pipeline.records import Record
from pipeline.tables import ESTIMATED


def detected(record: Record, sha256: str, limit: int) -> dict[str, Any]:
    """Everything by annotator; null where one was never asked, because the decision had been taken before.

    Keys: `encoding`, `undecoded`, `header` (the file's own license tag), `signals`, `languages` (one for each class of
    names that the content has), `code` (the signals that need the language, for each language), `notebook` (how the text
    was converted), `quality` (every test that fails), `findings`, `shingles`, `candidates`.
    """
    texts = record.annotations("text", "sha256", sha256).to_pylist()
    text = texts[0] if texts else None
    measured = record.annotations("signals", "sha256", sha256).to_pylist()
    signals = measured[0] if measured else None
    headers = record.annotations("header", "sha256", sha256).to_pylist()
    languages = _languages(record, sha256)
    code = _code(record, sha256)
    released = record.annotations("released", "sha256", sha256).to_pylist()
    sketched = record.annotations("sketch", "sha256", sha256, ["shingles"]).to_pylist()
    return {
        "encoding": text and text["encoding"],
        "undecoded": text and text["undecoded"],
        "header": headers[0]["header"] if headers else None,
        "signals": signals and {name: signals[name] for name in SCHEMA.names},
        "languages": languages,
        "code": code,
        "notebook": released[0].get("notebook") if released else None,
        "quality": _quality(record, signals, languages, code)
        if text and text["undecoded"] is None and signals
        else None,
        "findings": _findings(released[0]["findings"]) if released else None,
        "released_bytes": released[0]["released_bytes"] if released else None,
        "content_sha256": released[0]["content_sha256"] if released else None,
        "shingles": sketched[0]["shingles"] if sketched else None,
        "candidates": _candidates(record, sha256, limit),
    }


def _languages(record: Record, sha256: str) -> list[dict[str, Any]]:
    found = {}
    for row in record.annotations("language", "sha256", sha256).to_pylist():
        found[row["name_class"]] = {
            "name_class": escape(row["name_class"]),
            "language": row["language"],
            "by": row["by"],
            "is_generated": row["is_generated"],
        }
    return [found[name] for name in sorted(found)]


def _code(record: Record, sha256: str) -> list[dict[str, Any]]:
    rows = record.annotations("code", "sha256", sha256).to_pylist()
    rows.sort(key=lambda row: row["language"])
    return [{name: value for name, value in row.items() if name != "sha256"} for row in rows]


def _quality(
    record: Record, signals: dict[str, Any], languages: list[dict[str, Any]], code: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    from pipeline.content.profiles import load_profile
    from pipeline.content.quality import failures
    from pipeline.content.shown import unescape

    profile = load_profile(record.facts["config"]["quality"]["profile"])
    measured = {one["language"]: {**signals, **one} for one in code}
    return [
        {"language": one["language"], **failed}
        for one in languages
        for failed in failures(
            measured.get(one["language"], signals),
            one["language"],
            profile,
            name_class=unescape(one["name_class"]),
        )
    ]


def _findings(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    counted = Counter((one["kind"], one["rule"]) for one in findings)
    return [{"kind": kind, "rule": rule, "count": n} for (kind, rule), n in sorted(counted.items())]


def _candidates(record: Record, sha256: str, limit: int) -> list[dict[str, Any]]:
    """Contents that the sketches brought together with this one and that were compared with it, best first.

    Others that they brought together were not compared where that could not matter: the better-ranked one is not kept.
    """
    pairs: list[dict[str, Any]] = record.rows("index", "candidates", "sha256", sha256).to_pylist()
    pairs.sort(key=lambda pair: (-pair["inter"] / max(1, pair["union"]), pair["other"]))
    return [
        {
            "sha256": p["other"],
            "similarity": f"{ESTIMATED if p['estimated'] else ''}{p['inter']}/{p['union']}",
        }
        for p in pairs[:limit]
    ]


def licenses(record: Record, root: str, directories: list[bytes]) -> list[dict[str, Any]]:
    """What holds in some directories of a root, with the files that say so: path, SWHID, expression, detector, rule, score."""
    rows = record.rows("attributions", "attributions", "root", root)
    found = []
    for directory in dict.fromkeys(directories):
        for row in rows.filter(pc.equal(rows["dir"], scalar(directory))).to_pylist():
            found.append(
                {
                    "directory": escape(row["dir"]),
                    "expression": row["license_expression"],
                    "permitted": row["permitted"],
                    "reason": row["sub_reason"],
                    "evidence": row["license_evidence"],
                }
            )
    return found
