"""Licenses against labels: license files of published packages, labelled by the packages' own metadata.

    python scripts/fetch_license_labels.py FOLDER        # fetches the texts, none of which lie in the tree
    python benchmarks/license_labels.py FOLDER [--peer] [--json]

benchmarks/license_labels.csv says of each text where it is, its SHA-256, its label (an SPDX expression), and who says so:
`License-Expression`, `License` or `classifier` of Python metadata, `license` of package.json, or the name of the file where
that is an id. A label speaks of the package, the text of itself: where label and cascade differ, the columns `judged` and `text`
say why and what the text is. They were written after the cascade's answers were seen, from the beginnings of the texts and what
was detected in them, so they favour the cascade: quote the figures against the labels.

    exact                 the ids are the same, -only and -or-later folded
    contained             every id of the label is among those found
    permissive agreement  both permitted by the policy, or neither
    false permissive      permitted, and the label is not
    ... by the text       the same against what the text is, where `judged` says that the label is something else

`--peer` runs plain ScanCode on the same texts in the same process, after the cascade.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from licensing.evidence import detect_batch
from licensing.expressions import canonical, conjunction, ids
from licensing.policy import Policy
from licensing.scancode import ScanCode
from licensing.text import read_text

LIST = Path(__file__).with_suffix(".csv")


def main() -> None:
    """Detect, compare, print."""
    parser = argparse.ArgumentParser(description="Licenses against labels.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with LIST.open(encoding="utf-8", newline="") as stream:
        listed = [one for one in csv.DictReader(stream) if (asked.folder / one["sha256"]).exists()]
    bodies = [(asked.folder / one["sha256"]).read_bytes() for one in listed]
    scancode = ScanCode()
    scancode.load()
    detect_batch(pa.array([b"LICENSE"]), pa.array([b"MIT License"]), scancode=scancode)  # loads what it needs
    found = {"cascade": _timed(bodies, lambda body: _cascade(body, scancode))}
    if asked.peer:
        found["scancode"] = _timed(bodies, lambda body: _plain(body, scancode))
    told = {name: _told(listed, answers, seconds) for name, (answers, seconds) in found.items()}
    if asked.json:
        print(json.dumps(told, indent=1))
        return
    labels = Counter(canonical(one["label"]) for one in listed)
    print(f"{len(listed)} texts, {len(labels)} labels, the most of one: {labels.most_common(1)[0]}")
    for name, one in told.items():
        figures = ", ".join(f"{key} {value}" for key, value in one.items() if key != "disagreements")
        print(f"\n{name}: {figures}")
        for line in one["disagreements"]:
            print("  " + "\n    ".join(line))


Answer = tuple[str | None, float | None]
"""Expression, and the lowest score of its detections."""


def _timed(bodies: Iterable[bytes], answer: Callable[[bytes], Answer]) -> tuple[list[Answer], float]:
    started = time.process_time()
    found = [answer(body) for body in bodies]
    return found, time.process_time() - started


def _cascade(body: bytes, scancode: ScanCode) -> Answer:
    names, bodies = pa.array([b"LICENSE"], pa.binary()), pa.array([body], pa.large_binary())
    (row,) = detect_batch(names, bodies, scancode=scancode).to_pylist()
    return row["expression"], min((one["score"] for one in row["detections"]), default=None)


def _plain(body: bytes, scancode: ScanCode) -> Answer:
    read = read_text(body)
    found = [] if read is None else scancode.detect(read.text)
    return conjunction(one.expression for one in found), min((one.score for one in found), default=None)


def _score_class(score: float | None) -> str:
    if score is None:
        return "nothing detected"
    low = max(bound for bound in (0, 50, 60, 70, 80, 90, 95, 99, 100) if score >= bound)
    return f"{low:>3} and more"


def _folded(expression: str | None) -> set[str]:
    names = [] if expression is None else ids(expression)
    return {re.sub(r"-(?:only|or-later)\b", "", name) for name in names}


def _told(listed: list[dict[str, str]], answers: list[Answer], seconds: float) -> dict[str, Any]:
    policy = Policy.load()
    counts: Counter[str] = Counter()
    by_score: dict[str, list[int]] = {}
    disagreements = []
    for one, (answer, score) in zip(listed, answers, strict=True):
        label = canonical(one["label"])
        wanted, got = _folded(label), _folded(answer)
        said, permitted = policy.decide(label).permitted, policy.decide(answer).permitted
        of_score = by_score.setdefault(_score_class(score), [0, 0])
        of_score[0] += 1
        of_score[1] += wanted == got
        counts["exact"] += wanted == got
        counts["contained"] += wanted <= got
        counts["permissive agreement"] += said == permitted
        counts["false permissive"] += permitted and not said
        read = canonical(one["text"] or label)
        right = policy.decide(read).permitted
        counts["exact by the text"] += _folded(read) == got
        counts["agreement by the text"] += right == permitted
        counts["false permissive by the text"] += permitted and not right
        if wanted != got or said != permitted:
            place = f"{one['registry']} {one['package']} {one['version']} {one['path']}"
            kind = (
                "FALSE PERMISSIVE"
                if permitted and not said
                else "differs"
                if said == permitted
                else "stricter"
            )
            disagreements.append(
                [f"{kind}: {place}", f"label {label}, found {answer}", one["judged"] or "not judged"]
            )
    names = (
        "exact", "contained", "permissive agreement", "false permissive",
        "exact by the text", "agreement by the text", "false permissive by the text",
    )  # fmt: skip
    return {
        "texts": len(listed),
        **{name: counts[name] for name in names},
        "CPU seconds": round(seconds, 2),
        "texts and exact ones by lowest score": dict(sorted(by_score.items())),
        "disagreements": sorted(disagreements),
    }


if __name__ == "__main__":
    main()
