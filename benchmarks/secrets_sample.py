"""Random findings of the default corpus at `high`, to be judged by a reader; and what the judgements come to.

    python benchmarks/secrets_sample.py [DIR] [--count 300] [--megabytes N] [--show] > sample.csv
    python benchmarks/secrets_sample.py --table docs/secrets-judged.csv

Most findings in code are e-mail addresses, so the draw is by kind: each gives the same number at random, all that it
has if these are fewer. `of` tells how many findings of the kind the corpus has; the last line of the table weighs with
it. A row has kind, rule, path, line, first and last character and length of
the value, never more of it; `--show` prints the line too, with every letter and digit of findings replaced by a, A or 9
and the local parts of addresses hidden. Verdicts (true, false, doubtful) and reasons are written by hand into the
last two columns. `--table` gives the precision of each kind: true, and true or doubtful, of all judged.
"""

from __future__ import annotations

import argparse
import csv
import random
import re
import sys
import sysconfig
from collections import Counter, defaultdict
from pathlib import Path

from secrets_bench import texts

COLUMNS = ("kind", "of", "rule", "path", "line", "first", "last", "length", "verdict", "why")
VERDICTS = ("true", "false", "doubtful")


def shape(value: str) -> str:
    """Replace letters and digits: what is left is the form of a value."""
    return re.sub(r"\d", "9", re.sub(r"[^\W\d_]", lambda m: "A" if m[0].isupper() else "a", value))


def masked_line(body: bytes, start: int, end: int, others: list[tuple[int, int]], width: int = 60) -> str:
    """The line around a finding between « and », all findings in it as their shapes."""
    low = max(body.rfind(b"\n", 0, start) + 1, start - width)
    high = body.find(b"\n", end)
    high = min(len(body) if high < 0 else high, end + width)
    out = []
    at = low
    for s, e in sorted({*others, (start, end)}):
        if e <= low or s >= high:
            continue
        value = shape(body[s:e].decode("utf-8", "replace"))
        value = value if len(value) <= 80 else f"{value[:40]}…{value[-30:]}"
        out += [
            body[at : max(s, at)].decode("utf-8", "replace"),
            f"«{value}»" if s == start else f"‹{value}›",
        ]
        at = max(at, e)
    out.append(body[at:high].decode("utf-8", "replace"))
    return "".join(out).replace("\n", "⏎").strip()


def shares(sizes: dict[str, int], count: int) -> dict[str, int]:
    """Divide `count` draws among kinds as evenly as their sizes allow."""
    out = dict.fromkeys(sizes, 0)
    left = min(count, sum(sizes.values()))
    while left:
        for kind in sorted(sizes):
            if left and out[kind] < sizes[kind]:
                out[kind] += 1
                left -= 1
    return out


def sample(folder: Path, megabytes: float, count: int) -> list[tuple[dict[str, object], str]]:
    """Draw findings by kind, with a fixed seed: rows of the list, each with its masked line."""
    from pii import scan_one

    found: dict[str, list[tuple[str, bytes, tuple[int, int, str, str], list[tuple[int, int]]]]] = defaultdict(
        list
    )
    for name, body in texts(folder, megabytes):
        findings = scan_one(body)
        places = [(f[0], f[1]) for f in findings]
        for finding in findings:
            found[finding[2]].append((name, body, finding, places))
    quota = shares({kind: len(all_) for kind, all_ in found.items()}, count)
    rows = []
    for kind, all_ in sorted(found.items()):
        for name, body, (start, end, _, rule), places in random.Random(0).sample(all_, quota[kind]):
            value = body[start:end].decode("utf-8", "replace")
            row: dict[str, object] = {
                "kind": kind, "of": len(all_), "rule": rule, "path": name, "line": body.count(b"\n", 0, start) + 1,
                "first": value[0], "last": value[-1], "length": len(value), "verdict": "", "why": "",
            }  # fmt: skip
            rows.append((row, masked_line(body, start, end, places)))
    return sorted(
        rows, key=lambda x: [str(x[0][n]) for n in ("kind", "rule", "path")] + [f"{x[0]['line']:>9}"]
    )


def table(rows: list[dict[str, str]]) -> str:
    """Precision by kind as Markdown; that of all weighs each kind with its findings in the corpus."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    sizes: dict[str, int] = {}
    for row in rows:
        if row["verdict"] not in VERDICTS:
            raise ValueError(
                f"{row['path']}:{row['line']}: verdict {row['verdict']!r}: one of {', '.join(VERDICTS)}"
            )
        counts[row["kind"]][row["verdict"]] += 1
        sizes[row["kind"]] = int(row["of"])
    head = ("kind", "in the corpus", "judged", "true", "doubtful", "false", "precision", "with the doubtful")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    weighted = [0.0, 0.0]
    for kind, c in sorted(counts.items()):
        shares_ = c["true"] / c.total(), (c["true"] + c["doubtful"]) / c.total()
        weighted = [w + s * sizes[kind] for w, s in zip(weighted, shares_, strict=True)]
        cells = [
            kind,
            sizes[kind],
            c.total(),
            c["true"],
            c["doubtful"],
            c["false"],
            *(f"{s:.2f}" for s in shares_),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    total = sum(counts.values(), Counter())
    of = sum(sizes.values())
    cells = [
        "all",
        of,
        total.total(),
        total["true"],
        total["doubtful"],
        total["false"],
        *(f"{w / of:.2f}" for w in weighted),
    ]
    lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    """Draw, or count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path(sysconfig.get_path("purelib")))
    parser.add_argument("--megabytes", type=float, default=30)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--show", action="store_true", help="a last column with the masked line")
    parser.add_argument("--table", type=Path, help="of a judged list")
    args = parser.parse_args()
    if args.table:
        with args.table.open(encoding="utf-8", newline="") as file:
            print(table(list(csv.DictReader(file))))
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*COLUMNS, *(["masked"] if args.show else [])])
    for row, line in sample(args.folder, args.megabytes, args.count):
        writer.writerow([*row.values(), *([line] if args.show else [])])


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
    main()
