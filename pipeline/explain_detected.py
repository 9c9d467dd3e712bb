"""What the annotators said of a content, and of the directory that it lies in: the evidence behind a decision.

Of findings only kinds, rules and numbers are told, never where they are or what they say: a quotation ends before one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.content.shown import escape
from pipeline.content.signal_schema import SCHEMA
from pipeline.engine.point import scalar
from pipeline.records import Record
from pipeline.tables import ESTIMATED

_QUOTED = 160  # bytes of a benchmark's text in a file, at most


def detected(record: Record, sha256: str, limit: int) -> dict[str, Any]:
    """Everything by annotator; null where one was never asked, because the decision had been taken before.

    Keys: `encoding`, `undecoded`, `header` (the license that the file states of itself), `header_detections` (expression,
    detector, rule, score, start, end: bytes of the file's text in UTF-8), `header_open` (start, end, text: what it says of
    licenses and nobody understood), `signals`, `languages` (one for each class of names that the content has), `code` (the
    signals that need the language, for each language), `notebook` (how the text was converted), `quality` (every test that
    fails), `findings`, `spared` (what was found and left, with the reason), `benchmarks`, `shingles`, `candidates`.
    """
    texts = record.annotations("text", "sha256", sha256).to_pylist()
    text = texts[0] if texts else None
    measured = record.annotations("signals", "sha256", sha256).to_pylist()
    signals = measured[0] if measured else None
    header = header_of(record, sha256)
    languages = _languages(record, sha256)
    code = _code(record, sha256)
    scope = _scope(record, sha256)
    released, sketched = (
        [row for row in record.annotations(name, "sha256", sha256).to_pylist() if row.get("scope") == scope]
        for name in ("released", "sketch")
    )
    return {
        "encoding": text and text["encoding"],
        "undecoded": text and text["undecoded"],
        "header": header and header["expression"],
        "header_detections": header and header["detections"],
        "header_open": header and header["open"],
        "signals": signals and {name: signals[name] for name in SCHEMA.names},
        "languages": languages,
        "code": code,
        "notebook": released[0].get("notebook") if released else None,
        "quality": _quality(record, signals, languages, code)
        if text and text["undecoded"] is None and signals
        else None,
        "findings": _findings(released[0]["findings"]) if released else None,
        "spared": _spared(released[0]) if released else None,
        "benchmarks": _benchmarks(record, sha256, released[0]["findings"] if released else None, limit),
        "released_bytes": released[0]["released_bytes"] if released else None,
        "content_sha256": released[0]["content_sha256"] if released else None,
        "shingles": sketched[0]["shingles"] if sketched else None,
        "candidates": _candidates(record, sha256, limit),
    }


def header_of(record: Record, sha256: str) -> dict[str, Any] | None:
    """What a file states of its license in its header, as recorded, ScanCode's answer with it; None: never asked."""
    found = record.annotations("header", "sha256", sha256).to_pylist()
    if not found:
        return None
    from licensing.detection import Detection
    from licensing.headers import answered, from_row

    header = from_row(found[0])
    if header.notice is not None:
        notice = hashlib.sha256(header.notice.encode()).hexdigest()
        for answer in record.annotations("header_notices", "notice", notice).to_pylist():
            header = answered(header, [Detection(**one) for one in answer["detections"]])
    left = None
    if header.notice is not None:
        from pipeline.shown_text import safe_texts, with_holders

        left = {
            "start": header.notice_start,
            "end": header.notice_end,
            "text": safe_texts([header.notice], with_holders())[0],
        }
    detections = [asdict(detection) for detection in header.detections]
    return {"expression": header.expression, "detections": detections, "open": left}


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


def _scope(record: Record, sha256: str) -> str | None:
    """By which settings the release redacts a content: pipeline.stages.scopes."""
    if "scopes" in record.facts["folders"]:
        for row in record.rows("scopes", "scopes", "sha256", sha256, ["sha256", "scope"]).to_pylist():
            return str(row["scope"])
    scope: str | None = record.facts.get("scope")
    return scope


def _spared(released: dict[str, Any]) -> list[dict[str, Any]]:
    """What was found and left, counted by kind, rule and why: the allow-list, a pragma, or since it is no secret."""
    counted = Counter[tuple[str, str, str]]()
    for one in released.get("spared") or ():
        counted[one["kind"], one["rule"], one["why"]] += 1
    for one in released.get("explained") or ():
        counted[one["kind"], one["rule"], one["why"]] += one["findings"]
    return [
        {"kind": kind, "rule": rule, "why": why, "count": n}
        for (kind, rule, why), n in sorted(counted.items())
    ]


def _findings(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    counted = Counter((one["kind"], one["rule"]) for one in findings)
    return [{"kind": kind, "rule": rule, "count": n} for (kind, rule), n in sorted(counted.items())]


def _benchmarks(
    record: Record, sha256: str, findings: list[dict[str, Any]] | None, limit: int
) -> list[dict[str, Any]] | None:
    """Texts of benchmarks in the content, the largest share first; null where none was looked for.

    `start`, `end`: bytes of the text in UTF-8, notebooks converted, secrets in it. `quote`: how it begins there, escaped; null
    unless all findings are known.
    """
    known = record.annotations("contamination", "sha256", sha256).to_pylist()
    if not known:
        return None
    matches: list[dict[str, Any]] = known[0]["matches"][:limit]
    bodies = record.annotations("bodies", "sha256", sha256) if matches and findings is not None else None
    text = b""
    if bodies is not None and bodies.num_rows:
        from pipeline.content.text import text_of

        form = record.facts["config"]["quality"]["notebooks"]
        text = (
            text_of(bodies["body"].combine_chunks().cast(pa.large_binary()), form)["text"][0].as_py() or b""
        )
    told = []
    for match in matches:
        start, end = match["start"], min(match["end"], match["start"] + _QUOTED)
        stops = [one["start"] for one in findings or () if one["end"] > start]
        quote = text[start : min([end, *stops])].decode("utf-8", "ignore")
        told.append({**match, "quote": escape(quote.encode()) or None})
    return told


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
