"""License headers of source files: our cascade against plain ScanCode on the same heads, in one run.

    python benchmarks/license_headers.py [PLACE ...] [--peer N] [--agreement N] [--rounds N] [--list FILE]

PLACE: folders or Parquet files with a column `content`; none: the archive that configs/release-local.yaml
builds from the installed distributions (24,000 files at most), each content once. The first 4,096 bytes of
every text are read. CPU time of one core, median of the rounds; loading (ScanCode's index, the table of known
texts, compiled kernels) is told apart. The peer, ScanCode through its own `detect_licenses` on the first
3,000 characters, is given the first `--peer` of all heads in an order drawn with a fixed seed, gate or no
gate: that is what a release without a cascade would pay.

Agreement: `--agreement` of the heads that the gate passes, drawn with a fixed seed, are given to both; the
question is whether the file's own statement is permitted, not permitted, or none (the default policy). Every
disagreement is listed with what both said; docs/adr/0019 has ours, judged by hand. Plain ScanCode reads code
and string literals, too, which a header is not: those differences are marked `outside`.
One JSON object per line.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from dedup_corpus import read_corpus

from licensing.comments import header_text
from licensing.detection import Detection
from licensing.expressions import InvalidExpressionError, canonical, conjunction
from licensing.headers import GATE, HEADER_BYTES, answered, ask, from_row, header_batch
from licensing.known import KnownTexts
from licensing.policy import NONE_FOUND, Policy
from licensing.scancode import ScanCode

PEER_CHARACTERS = 3_000
_BATCH = 1_000


def batches(heads: Sequence[bytes]) -> Iterator[pa.Array]:
    for start in range(0, len(heads), _BATCH):
        yield pa.array(heads[start : start + _BATCH], pa.large_binary())


def seconds(work: Callable[[], object], rounds: int) -> float:
    """CPU seconds of this process, median."""
    taken = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return statistics.median(taken)


def gate(heads: Sequence[bytes]) -> int:
    return sum(pc.sum(pc.match_substring_regex(batch, GATE)).as_py() or 0 for batch in batches(heads))


def cascade(heads: Sequence[bytes], known: KnownTexts | None, scancode: ScanCode | None) -> dict[str, int]:
    """All steps over all heads; what each had to do."""
    notices: Counter[str] = Counter()
    answers: dict[str, list[Detection]] = {}
    stated = open_ones = 0
    for batch in batches(heads):
        for row in header_batch(batch, known).to_pylist():
            if row["expression"] is None and row["notice"] is None:
                continue
            header = from_row(row)
            if header.notice is not None:
                notices[header.notice] += 1
                if scancode is not None:
                    if header.notice not in answers:
                        (answers[header.notice],) = ask([header.notice], scancode)
                    header = answered(header, answers[header.notice])
            stated += header.expression is not None
            open_ones += header.notice is not None
    return {
        "stated": stated,
        "left": notices.total(),
        "notices": len(notices),
        "undetermined": open_ones,
    }


class Peer:
    """ScanCode as its own command line calls it, without our adapter's index in front of it."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from licensedcode import cache, detection

            cache.get_index()
        self._detect = detection.detect_licenses

    def expression(self, head: bytes) -> str | None:
        """AND of all that is detected; None without any."""
        text = head.decode("utf-8", "replace")[:PEER_CHARACTERS]
        found = []
        for detected in self._detect(query_string=text) if text.strip() else ():
            if detected.license_expression:
                try:
                    found.append(canonical(detected.license_expression_spdx))
                except InvalidExpressionError:
                    found.append("LicenseRef-unparsable")
        return conjunction(found)


def verdict(expression: str | None, policy: Policy) -> str:
    decision = policy.decide(expression)
    if decision.sub_reason == NONE_FOUND:
        return "none"
    return "permitted" if decision.permitted else "not permitted"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("places", nargs="*", type=Path)
    parser.add_argument("--peer", type=int, default=150)
    parser.add_argument("--agreement", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--list", type=Path, help="write every disagreement here, as JSON lines")
    given = parser.parse_args()

    corpus = read_corpus(given.places)
    heads = [text[:HEADER_BYTES] for text in corpus.texts]
    order = random.Random(0).sample(range(len(heads)), len(heads))
    tell(of="input", source=corpus.source, files=len(heads), megabytes=round(sum(map(len, heads)) / 1e6, 1))

    started = time.process_time()
    known = KnownTexts.load()
    cascade(heads[:50], known, None)  # compiles, or loads what was compiled
    tell(of="load", what="known texts", seconds=round(time.process_time() - started, 2))
    speed("gate", heads, lambda: gate(heads), given.rounds, passed=gate(heads))
    speed("tags", heads, lambda: cascade(heads, None, None), given.rounds, **cascade(heads, None, None))
    speed(
        "tags, known", heads, lambda: cascade(heads, known, None), given.rounds, **cascade(heads, known, None)
    )

    # Before our adapter puts its index in front of ScanCode's search: the peer is ScanCode as it is.
    started = time.process_time()
    peer = Peer()
    tell(of="load", what="ScanCode", seconds=round(time.process_time() - started, 2))
    asked = [heads[row] for row in order[: given.peer]]
    slow = speed("ScanCode, plain", asked, lambda: [peer.expression(head) for head in asked], 1)
    gated = [
        row
        for row in order
        if pc.match_substring_regex(pa.array([heads[row]], pa.large_binary()), GATE)[0].as_py()
    ]
    chosen = gated[: given.agreement]
    theirs = {row: peer.expression(heads[row]) for row in chosen}

    scancode = ScanCode()
    scancode.load()
    full = speed(
        "tags, known, ScanCode",
        heads,
        lambda: cascade(heads, known, scancode),
        1,
        **cascade(heads, known, scancode),
    )
    tell(of="ratio", what="tags, known, ScanCode : ScanCode, plain", files_per_second=round(full / slow, 1))
    agreement([(corpus.paths[row], heads[row], theirs[row]) for row in chosen], known, scancode, given.list)


def agreement(
    chosen: Sequence[tuple[str, bytes, str | None]],
    known: KnownTexts,
    scancode: ScanCode,
    listed: Path | None,
) -> None:
    """Of (path, head, what plain ScanCode says) tell where ours is another verdict."""
    policy = Policy.load()
    counted: Counter[str] = Counter()
    lines = []
    for path, head, theirs in chosen:
        header = from_row(header_batch(pa.array([head], pa.large_binary()), known).to_pylist()[0])
        if header.notice is not None:
            header = answered(header, ask([header.notice], scancode)[0])
        ours, peers = verdict(header.expression, policy), verdict(theirs, policy)
        counted["same" if ours == peers else f"{ours}, ScanCode: {peers}"] += 1
        if ours == peers:
            continue
        comments = header_text(head.decode("utf-8", "replace"))
        inside = conjunction(d.expression for d in scancode.detect(comments[:PEER_CHARACTERS]))
        outside = verdict(inside, policy) == ours
        counted["of these outside of comments before code"] += outside
        one = {"path": path, "ours": header.expression, "scancode": theirs, "outside": outside,
               "undetermined": header.notice is not None, "rules": [d.rule for d in header.detections]}  # fmt: skip
        lines.append(one)
        tell(of="disagreement", **one)
    if listed is not None:
        listed.write_text("".join(json.dumps(line) + "\n" for line in lines))
    alike = counted["same"] + counted["of these outside of comments before code"]
    tell(
        of="agreement",
        heads=len(chosen),
        share_on_the_same_comments=round(alike / max(1, len(chosen)), 4),
        **counted,
    )


def speed(name: str, heads: Sequence[bytes], work: Callable[[], object], rounds: int, **more: Any) -> float:
    taken = seconds(work, rounds)
    megabytes = sum(map(len, heads)) / 1e6
    rate = len(heads) / taken
    tell(of="speed", what=name, files=len(heads), seconds=round(taken, 3), files_per_second=round(rate, 1),
         megabytes_per_second=round(megabytes / taken, 1), **more)  # fmt: skip
    return rate


def tell(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
