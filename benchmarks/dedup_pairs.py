"""Removed files beside the files that stand for them, as diffs for a person to judge.

    python benchmarks/dedup_pairs.py DIR... [--count 200] [--seed 5] [--below 0.9] [--lines 30] [--exclude GLOB] [--table]

Of the files that near-duplicate removal drops, those whose similarity to the kept file is below `--below` are
put in strata of 0.05, and in cells of one language within a stratum; languages for data and prose are passed
over. Each stratum gets an equal part of `--count`; its cells share it in proportion to the square root of
their sizes, each drawn by the seed. No kept file is shown twice in a stratum.

Shown is a unified diff from the kept file (-) to the removed one (+), with 1 line of context, cut at `--lines`
lines of 140 characters; how many lines differ is always said. Files with lines above 400 characters are split
after ; { } and , first. (generated): a release drops that file earlier, as generated. `--table` prints rows of a
table like that of docs/near-duplicates-judged.md, without diffs.
"""

from __future__ import annotations

import argparse
import difflib
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from dedup_corpus import Corpus, read_corpus

from dedup import near_duplicates
from pipeline.content.generated import is_generated
from pipeline.content.languages import detect
from pipeline.content.names import name_class
from pipeline.content.taxonomy import LANGUAGES

KINDS = ("programming", "markup")
WIDTH, STEP, LONG_LINE = 140, 0.05, 400


@dataclass(frozen=True)
class Removal:
    """A removed file and the kept one, as positions in the corpus, with their exact similarity."""

    removed: int
    kept: int
    inter: int
    union: int

    @property
    def similarity(self) -> float:
        """Jaccard similarity of the two."""
        return self.inter / self.union


def removals(corpus: Corpus, below: float) -> list[Removal]:
    """Run near-duplicate removal; what goes with a similarity below `below`, in order of position."""
    rows = near_duplicates(corpus.array()).to_pylist()
    near = [
        Removal(row["index"], row["duplicate_of"], row["inter"], row["union"])
        for row in rows
        if row["kind"] == "near"
    ]
    return [removal for removal in near if removal.similarity < below]


def languages(corpus: Corpus) -> list[str | None]:
    """Name each file's language by the detector of a release; None unless it is for programs or markup."""
    paths = pa.array([path.encode() for path in corpus.paths], pa.binary())
    found = detect(name_class(paths), corpus.array()).to_pylist()
    return [name if name in LANGUAGES and LANGUAGES[name].kind in KINDS else None for name in found]


def generated(corpus: Corpus, chosen: list[Removal]) -> list[bool]:
    """Whether a release would have dropped the removed file before, because its name or head says generated."""
    paths = pa.array([corpus.paths[removal.removed].encode() for removal in chosen], pa.binary())
    texts = pa.array([corpus.texts[removal.removed] for removal in chosen], pa.large_binary())
    return list(is_generated(name_class(paths), texts).to_pylist())


def choose(corpus: Corpus, found: list[Removal], count: int, seed: int) -> list[Removal]:
    """Draw `count` of them, by stratum and language; ordered by similarity."""
    named = languages(corpus)
    cells: dict[int, dict[str, list[Removal]]] = defaultdict(lambda: defaultdict(list))
    for removal in found:
        name = named[removal.removed]
        if name is not None:
            cells[int(removal.similarity / STEP + 1e-9)][name].append(removal)
    draw = random.Random(seed)
    chosen: list[Removal] = []
    strata = sorted(cells)
    for number, stratum in enumerate(strata):
        quota = count // len(strata) + (number < count % len(strata))
        queue: list[tuple[float, str, Removal]] = []
        shown: set[int] = set()
        for name in sorted(cells[stratum]):
            cell = cells[stratum][name]
            draw.shuffle(cell)
            place = 0
            for removal in cell:
                if removal.kept not in shown:
                    shown.add(removal.kept)
                    queue.append(((place + 0.5) / len(cell) ** 0.5, name, removal))
                    place += 1
        queue.sort(key=lambda entry: entry[:2])
        chosen.extend(removal for _, _, removal in queue[:quota])
    return sorted(chosen, key=lambda removal: (removal.similarity, removal.removed))


def lines_of(text: bytes) -> list[str]:
    shown = text.decode().splitlines()
    if any(len(line) > LONG_LINE for line in shown):
        shown = [part for line in shown for part in re.split(r"(?<=[;{},])", line) if part]
    return shown


def difference(kept: bytes, removed: bytes, limit: int) -> Iterator[str]:
    """Yield the lines of the diff, `limit` at most, after a line that counts them."""
    diff = list(difflib.unified_diff(lines_of(kept), lines_of(removed), lineterm="", n=1))[2:]
    minus = sum(line.startswith("-") for line in diff)
    plus = sum(line.startswith("+") for line in diff)
    yield f"    lines: {len(lines_of(kept))} kept, {len(lines_of(removed))} removed; differ: -{minus} +{plus}"
    for line in diff[:limit]:
        yield "    " + (line if len(line) <= WIDTH else line[:WIDTH] + "...")
    if len(diff) > limit:
        yield f"    ({len(diff) - limit} more lines of diff)"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("places", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--below", type=float, default=0.9)
    parser.add_argument("--lines", type=int, default=30)
    parser.add_argument("--exclude", action="append", default=[], metavar="GLOB", help="paths to pass over")
    parser.add_argument("--table", action="store_true", help="rows of a Markdown table, without diffs")
    arguments = parser.parse_args()
    corpus = read_corpus(arguments.places, arguments.exclude)
    found = removals(corpus, arguments.below)
    chosen = choose(corpus, found, arguments.count, arguments.seed)
    if not arguments.table:
        print(
            f"{len(corpus):,} files; {len(found):,} removed below {arguments.below}; {len(chosen)} of them shown"
        )
    marks = generated(corpus, chosen)
    for number, (removal, mark) in enumerate(zip(chosen, marks, strict=True), 1):
        kept, removed = corpus.paths[removal.kept], corpus.paths[removal.removed]
        if arguments.table:
            print(f"| {number} | {removal.similarity:.3f} | {'g' * mark} | {removed} | {kept} |")
            continue
        print(f"\n#{number} {removal.similarity:.3f}  {removed}{' (generated)' * mark}\n    for {kept}")
        for line in difference(corpus.texts[removal.kept], corpus.texts[removal.removed], arguments.lines):
            print(line)


if __name__ == "__main__":
    main()
