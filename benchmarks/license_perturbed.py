"""Every license text with an SPDX id, changed as files change them: what is answered without ScanCode, and is it right?

    python benchmarks/license_perturbed.py [--scancode] [--json FILE]

The texts are those of the installed ScanCode. What does not change a license (holder, wrapping, indentation, comment marks, case)
may be left to ScanCode, but must never give another answer. What does change one (a part cut off, a sentence added) must never be
answered as the license alone. Without `--scancode` no index is loaded: this is about the table of known texts.

    right      answered, with the id of the text, or an id of the same words
    left       not answered: ScanCode would be asked
    other      answered with another id (told one by one)
    remarked   the same, with words that nobody explained in evidence
    permitted  of texts that the policy refuses, answered as something that it permits
    refused    of texts that the policy permits, answered as something that it refuses
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from licensing.evidence import detect_batch, known_batch
from licensing.expressions import REMARK, InvalidExpressionError, canonical
from licensing.policy import Policy
from licensing.scancode import ScanCode

KINDS = ("right", "remarked", "left", "other", "permitted", "refused")
RIDERS = {
    "rider: machine learning": "This software may not be used to train machine learning models.",
    "rider: field": "The software shall be used for good, not evil.",
    "rider: sale": "You may not sell this software.",
    "rider: plain": "Please tell us how you like it.",
}


def _commented(mark: str) -> Callable[[str], str]:
    return lambda text: "\n".join(f"{mark} {line}".rstrip() for line in text.splitlines())


SAME: Mapping[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "holder before it": lambda text: f"Copyright (c) 2019-2024 The Example Authors\n\n{text}",
    "wrapped at 50": lambda text: "\n\n".join(
        textwrap.fill(part, 50, break_long_words=False) for part in text.split("\n\n")
    ),
    "indented": lambda text: textwrap.indent(text, "        "),
    "comment //": _commented("//"),
    "comment #": _commented("#"),
    "comment *": lambda text: "/*\n" + _commented(" *")(text) + "\n */\n",
    "CRLF": lambda text: text.replace("\n", "\r\n"),
}
CHANGED: Mapping[str, Callable[[str], str]] = {
    "last fifth cut off": lambda text: " ".join(text.split(" ")[: len(text.split(" ")) * 4 // 5]),
    **{name: (lambda text, end=sentence: f"{text}\n\n{end}\n") for name, sentence in RIDERS.items()},
}


def texts() -> dict[str, str]:
    """SPDX id -> text."""
    from licensedcode.models import load_licenses

    found = {}
    for license_ in load_licenses(with_deprecated=False).values():
        key = license_.spdx_license_key
        if (
            key
            and not key.startswith("LicenseRef")
            and not license_.is_exception
            and len(license_.text) > 200
        ):
            found[canonical(key)] = license_.text
    return dict(sorted(found.items()))


def main() -> None:
    """Change, ask, count."""
    parser = argparse.ArgumentParser(description="License texts, changed.")
    parser.add_argument(
        "--scancode", action="store_true", help="ask ScanCode for what is left (some minutes)"
    )
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    known, policy, scancode = texts(), Policy.load(), ScanCode()
    told: dict[str, dict[str, Any]] = {}
    print(f"{len(known)} texts, {sum(policy.decide(one).permitted for one in known)} of them permitted\n")
    print(f"| change | {' | '.join(KINDS)} |\n|---{'|---' * len(KINDS)}|")
    for name, change in (SAME | CHANGED).items():
        bodies = pa.array([change(text).encode() for text in known.values()], pa.large_binary())
        names = pa.array([b"LICENSE"] * len(bodies), pa.binary())
        found, decided = known_batch(names, bodies, scancode=scancode)
        rows, answered = found.to_pylist(), decided.to_pylist()
        if asked.scancode:
            places = pa.array([place for place, done in enumerate(answered) if not done], pa.int64())
            more = detect_batch(names.take(places), bodies.take(places), scancode=scancode).to_pylist()
            for place, row in zip(places.to_pylist(), more, strict=True):
                rows[place], answered[place] = row, True
        counts, others = Counter(), []
        for spdx, row, done in zip(known, rows, answered, strict=True):
            kind = _kind(spdx, row) if done else "left"
            if kind == "other" or (kind == "right" and name in CHANGED):
                others.append((spdx, row["expression"]))
            counts[kind] += 1
            before, now = policy.decide(spdx).permitted, policy.decide(row["expression"]).permitted
            counts["permitted"] += done and now and not before
            counts["refused"] += done and before and not now
        told[name] = {**counts, "listed": others}
        print(f"| {name} | " + " | ".join(str(counts[kind]) for kind in KINDS) + " |", flush=True)
    print()
    for name, facts in told.items():
        for spdx, expression in facts["listed"]:
            print(f"{name}: {spdx} is answered as {expression}")
    if asked.json:
        asked.json.write_text(json.dumps(told, indent=1))


def _kind(spdx: str, row: Mapping[str, Any]) -> str:
    if not _same(row["expression"], spdx):
        return "other"
    return "remarked" if any(d["expression"] == REMARK for d in row["detections"]) else "right"


def _same(expression: str | None, spdx: str) -> bool:
    """Whether it is this id; the texts of -only and -or-later are the same."""
    try:
        return expression is not None and _folded(canonical(expression)) == _folded(spdx)
    except InvalidExpressionError:
        return False


def _folded(spdx: str) -> str:
    return spdx.removesuffix("-only").removesuffix("-or-later")


if __name__ == "__main__":
    main()
