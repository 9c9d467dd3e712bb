"""License detection beside plain ScanCode, on the license-like files of real folders.

    python benchmarks/licenses.py FOLDER... [--files N] [--json FILE]

Every license-like file counts as often as it stands in the folders. Each method runs in a process of its own
over the same bytes: `scancode` (its own `detect_licenses`, as it comes, on the first 64 KiB of every file),
`cold` (our cascade with an empty cache, index load counted apart), `warm` (our cascade again, cache full). At
most N distinct files, chosen by their digests. Permitted yes/no is compared file by file, and every
disagreement is listed with what our evidence quotes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import resource
import sqlite3
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa

from licensing.cache import DetectionCache
from licensing.expressions import InvalidExpressionError, canonical, conjunction
from licensing.names import detection_class
from licensing.policy import Policy
from licensing.scancode import MAX_TEXT, ScanCode
from licensing.text import read_text

CLASSES = (b"LICENSE", b"README")


def collect(folders: list[Path], limit: int) -> tuple[list[bytes], list[bytes], list[str]]:
    """Class and bytes of every license-like file, duplicates included, and its path."""
    found = []
    for folder in folders:
        for place, _, names in os.walk(folder):
            if "licensedcode" in Path(place).parts:
                continue  # ScanCode's own rules
            classes = detection_class(
                pa.array([os.fsencode(name) for name in names], pa.binary())
            ).to_pylist()
            for name, kind in zip(names, classes, strict=True):
                path = Path(place, name)
                if kind in CLASSES and path.is_file() and not path.is_symlink():
                    body = path.read_bytes()
                    found.append((hashlib.sha256(kind + body).digest(), kind, body, str(path)))
    chosen = set(sorted({row[0] for row in found})[:limit])
    rows = sorted(row for row in found if row[0] in chosen)
    return [r[1] for r in rows], [r[2] for r in rows], [r[3] for r in rows]


def plain(names: list[bytes], bodies: list[bytes]) -> dict[str, Any]:
    """ScanCode as it comes, every file by itself; duplicates are detected once and their time counted again."""
    warnings.simplefilter("ignore")
    from licensedcode import cache
    from licensedcode.detection import detect_licenses

    begun = time.process_time()
    cache.get_index()
    load = time.process_time() - begun
    seconds, answers = [], []
    seen: dict[bytes, tuple[float, str | None]] = {}
    for body in bodies:
        key = hashlib.sha256(body).digest()
        if key not in seen:
            read = read_text(body)
            begun = time.process_time()
            text = read.text[:MAX_TEXT] if read else ""
            found = list(detect_licenses(query_string=text)) if text.strip() else []
            took = time.process_time() - begun
            seen[key] = took, _expression(d.license_expression_spdx for d in found if d.license_expression)
        seconds.append(seen[key][0])
        answers.append(seen[key][1])
    return {"load": load, "seconds": sum(seconds), "median": statistics.median(seconds), "answers": answers}


def _expression(found: Any) -> str | None:
    expressions = []
    for one in found:
        try:
            expressions.append(canonical(one))
        except InvalidExpressionError:
            expressions.append("LicenseRef-stackmill-unparsable")
    return conjunction(expressions)


def ours(names: list[bytes], bodies: list[bytes]) -> dict[str, Any]:
    """The cascade with an empty cache, then with the cache that it left."""
    warnings.simplefilter("ignore")
    scancode = ScanCode()
    begun = time.process_time()
    scancode.load()
    load = time.process_time() - begun
    kept = DetectionCache(sqlite3.connect(":memory:"), "benchmark", scancode)
    arrays = pa.array(names, pa.binary()), pa.array(bodies, pa.large_binary())
    kept.detect_batch(arrays[0].slice(0, 1), pa.array([b"x"], pa.large_binary()))  # compiles the kernels
    begun = time.process_time()
    table = kept.detect_batch(*arrays)
    cold = time.process_time() - begun
    warm = []
    for _ in range(5):
        begun = time.process_time()
        again = kept.detect_batch(*arrays)
        warm.append(time.process_time() - begun)
    assert again.equals(table)
    return {"load": load, "cold": cold, "warm": statistics.median(warm), "table": table}


def _alone(method: Any, *arguments: Any) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        result = pool.apply(_measured, (method, *arguments))
    return result


def _measured(method: Any, *arguments: Any) -> dict[str, Any]:
    result = method(*arguments)
    result["rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return result


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--files", type=int, default=1_000, help="distinct files at most")
    parser.add_argument("--licenses-only", action="store_true", help="leave out READMEs and the like")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    names, bodies, paths = collect(arguments.folders, arguments.files)
    if arguments.licenses_only:
        rows = [i for i, name in enumerate(names) if name == b"LICENSE"]
        names, bodies, paths = ([column[i] for i in rows] for column in (names, bodies, paths))
    theirs = _alone(plain, names, bodies)
    own = _alone(ours, names, bodies)
    table = own.pop("table")
    policy = Policy.load()
    disagreements = []
    for row, (path, answer) in enumerate(zip(paths, theirs.pop("answers"), strict=True)):
        expression = table["expression"][row].as_py()
        if policy.decide(expression).permitted != policy.decide(answer).permitted:
            quoted = [
                bodies[row][d["start"] : min(d["end"], d["start"] + 160)].decode("utf-8", "replace")
                for d in table["detections"][row].as_py()
                if "stackmill" in d["expression"]
            ]
            disagreements.append(
                {"path": path, "ours": expression, "scancode": answer, "evidence": quoted[:3]}
            )
    figures = {
        "files": len(names),
        "distinct": len(set(bodies)),
        "bytes": sum(map(len, bodies)),
        "scancode": theirs,
        "ours": own,
        "cold_times": theirs["seconds"] / own["cold"],
        "warm_times": theirs["seconds"] / own["warm"],
        "agreement": 1 - len(disagreements) / max(len(names), 1),
        "disagreements": disagreements,
    }
    text = json.dumps(figures, indent=1, ensure_ascii=False)
    if arguments.json:
        arguments.json.write_text(text, "utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
