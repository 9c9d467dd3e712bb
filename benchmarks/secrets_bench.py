"""Secrets and personal data: our scan at every sensitivity beside its peers, on the same texts, in one run.

    python benchmarks/secrets.py [DIR] [--megabytes N] [--peer-megabytes N] [--rounds N] [--only NAME ...]

Without DIR: the installed Python packages. A random choice of text files (fixed seed) up to N megabytes is read into
memory; each contestant works in a process of its own, on one core. Measured for each:

* speed: megabytes per second of CPU, median of the rounds, without start-up; ours on all of the texts and on the
  part that the peers get (`--peer-megabytes`), which are slow;
* memory: peak of its process, and what it had before the contestant was loaded (the texts in the main);
* recall on the planted set (secrets_planted.py): labels overlapped, covered wholly, to the byte, under their kind;
* share of hard negatives (secrets_negatives.py) that a finding overlaps, by class.

Then, of ours: seconds to compile the rules and to load them from the cache, in fresh processes; what `high` does with
every finding of detect-secrets in `--kept-megabytes` (found, spared with an explanation, or lost); and how many of the
files that parse no longer do when redacted (Python by `ast`, JSON, TOML, ten languages by tree-sitter).

Prints one JSON object for each, no value ever. `--table` also prints the tables of docs/secrets-measured.md.
`--misses` prints what no finding of a contestant overlaps, by kind, type and context.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from secrets_contestants import CONTESTANTS, NEUTRAL, Contestant
from secrets_draw import Document
from secrets_negatives import SEED as negatives_seed
from secrets_negatives import negatives
from secrets_planted import SEED as planted_seed
from secrets_planted import planted
from secrets_scores import flagged, kept_of_detect_secrets, recall, syntax_kept

PROGRAM = Path(__file__).parent / "secrets.py"


def texts(folder: Path, megabytes: float) -> list[tuple[str, bytes]]:
    """Distinct UTF-8 files below 1 MB, with their paths, in an order that depends on their names only."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    random.Random(0).shuffle(files)
    out: dict[bytes, str] = {}
    size = 0
    for file in files:
        if size > megabytes * 1e6:
            break
        if not 0 < file.stat().st_size < 1_000_000:
            continue
        body = file.read_bytes()
        try:
            body.decode()
        except UnicodeDecodeError:
            continue
        if b"\0" not in body and body not in out:
            out[body] = file.relative_to(folder).as_posix()
            size += len(body)
    return [(name, body) for body, name in out.items()]


def part_of(corpus: list[tuple[str, bytes]], megabytes: float) -> list[tuple[str, bytes]]:
    """Take texts from the beginning, up to about that many megabytes."""
    out: list[tuple[str, bytes]] = []
    size = 0
    for name, body in corpus:
        if size > megabytes * 1e6:
            break
        out.append((name, body))
        size += len(body)
    return out


def speed(contestant: Contestant, loaded: Any, bodies: list[bytes], rounds: int) -> dict[str, Any]:
    """Time the scan of some texts."""
    contestant.work(loaded, bodies[:20])  # what is made at the first use
    seconds = []
    for _ in range(rounds):
        begin = time.process_time()
        count = contestant.work(loaded, bodies)
        seconds.append(time.process_time() - begin)
    megabytes = sum(map(len, bodies)) / 1e6
    if count < 0:
        count = sum(len(contestant.spans(loaded, body, NEUTRAL)) for body in bodies)
    return {
        "megabytes": round(megabytes, 2),
        "megabytes_per_second": round(megabytes / statistics.median(seconds), 3),
        "spread": [round(megabytes / max(seconds), 3), round(megabytes / min(seconds), 3)],
        "findings_per_megabyte": round(count / megabytes, 2),
    }


def measured(contestant: Contestant, data: dict[str, Any], rounds: int, misses: bool) -> dict[str, Any]:
    """All figures of one contestant; runs in a process of its own."""
    out: dict[str, Any] = {
        "contestant": contestant.name,
        "version": contestant.version(),
        "note": contestant.note,
    }
    before = _peak()
    begin = time.process_time()
    loaded = contestant.load()
    out["start_seconds"] = round(time.process_time() - begin, 3)
    ours = not contestant.distribution
    part = [body for _, body in data["part"]]
    # Ours takes milliseconds for what takes the peers seconds: more rounds, for a steady figure.
    out["part"] = speed(contestant, loaded, part, rounds * 5 if ours else min(rounds, 2))
    if ours:
        out["corpus"] = speed(contestant, loaded, [body for _, body in data["corpus"]], rounds)
    out["rss_megabytes"] = {"before": before, "peak": _peak()}
    for name, score in (("planted", recall), ("negatives", flagged)):
        documents: list[Document] = data[name]
        if ours or data["everywhere"]:
            result = score(documents, lambda d: contestant.spans(loaded, d.body, d.name))
            if name == "planted":
                missed, partly = result.pop("missed"), result.pop("partly")
                if misses:
                    out["missed"] = _by_type(missed)
                    out["partly"] = _by_type(partly)
            out[name] = result
    out["process_seconds"] = round(time.process_time(), 1)
    return out


def _by_type(counts: Counter[tuple[str, str, str]]) -> list[list[object]]:
    return [[*key, count] for key, count in counts.most_common()]


def _peak() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1)


# Prints seconds to read the tables of rules, and then to make the database of all of them ready and scan a line; how many.
_READY = """
import json, time, hyperscan, pyarrow, re2, pii
from pii import Settings, scan_one
from pii.rules import rule_table
begin = time.perf_counter(), time.process_time()
rules = len(rule_table())
read = time.perf_counter(), time.process_time()
scan_one(b"x = 1", Settings(sensitivity="SENSITIVITY"))
ready = time.perf_counter(), time.process_time()
print(json.dumps([[y - x for x, y in zip(begin, read)], [y - x for x, y in zip(read, ready)], rules]))
"""


def rule_database() -> dict[str, Any]:
    """Seconds (wall, CPU) to make the rules ready with an empty cache and then with a full one, in fresh processes."""
    out: dict[str, Any] = {}
    for sensitivity in ("medium", "high"):
        with tempfile.TemporaryDirectory() as cache:
            environment = {n: v for n, v in os.environ.items() if n != "STACKMILL_CACHE"} | {
                "XDG_CACHE_HOME": cache
            }
            for state in ("compiled", "loaded"):
                command = [sys.executable, "-c", _READY.replace("SENSITIVITY", sensitivity)]
                folder = PROGRAM.parents[1]
                run = subprocess.run(
                    command, env=environment, cwd=folder, capture_output=True, text=True, check=True
                )
                read, ready, rules = json.loads(run.stdout)
                out[f"{sensitivity}, {state}"] = {
                    "read_tables": [round(x, 3) for x in read],
                    "database": [round(x, 3) for x in ready],
                }
    return {"rule_database": out, "rules": rules}


def table(results: list[dict[str, Any]]) -> str:
    """The tables of docs/secrets-measured.md."""
    head = [
        "",
        "MB/s per core",
        "beside detect-secrets",
        "findings per MB",
        "peak MB (before)",
        "recall",
        "whole span",
    ]
    lines = [_row([*head, "hard negatives flagged"]), "|---" * 8 + "|"]
    rates = {r["contestant"]: r["part"]["megabytes_per_second"] for r in results if "part" in r}
    for r in results:
        if "part" not in r:
            lines.append(_row([r["contestant"], "not installed", *[""] * 6]))
            continue
        all_texts = r.get("corpus", r["part"])
        base = rates.get("detect-secrets")
        cells = [
            f"{r['contestant']} {r['version']}".strip(),
            f"{all_texts['megabytes_per_second']:.3g}",
            f"{(ratio := rates[r['contestant']] / base):,.{0 if ratio >= 10 else 1}f}x" if base else "",
            f"{all_texts['findings_per_megabyte']:.3g}",
            f"{r['rss_megabytes']['peak']:.0f} ({r['rss_megabytes']['before']:.0f})",
        ]
        if "planted" in r:
            everything = r["planted"]["kinds"]["all"]
            cells += [
                f"{everything['recall']:.3f}",
                f"{everything['full']:.3f}",
                f"{r['negatives']['all']:.1%}",
            ]
        lines.append(_row(cells + [""] * (8 - len(cells))))
    shown = [r for r in results if "planted" in r]
    names = [r["contestant"] for r in shown]
    looks_for = {c.name: c.kinds for c in CONTESTANTS}
    lines += ["", _row(["kind (labels): recall, whole span", *names]), "|---" * (len(names) + 1) + "|"]
    for kind in sorted({k for r in shown for k in r["planted"]["kinds"]} - {"all"}):
        kinds = [r["planted"]["kinds"].get(kind) for r in shown]
        cells = [
            f"{k['recall']:.3f}, {k['full']:.3f}" if k and kind.split()[0] in looks_for[name] else "-"
            for k, name in zip(kinds, names, strict=True)
        ]
        lines.append(_row([f"{kind} ({next((k['labels'] for k in kinds if k), 0)})", *cells]))
    lines += ["", _row(["hard negatives flagged", *names]), "|---" * (len(names) + 1) + "|"]
    for class_ in sorted({c for r in shown for c in r["negatives"]} - {"all"}):
        shares = [r["negatives"].get(class_, 0) for r in shown]
        if any(shares):
            lines.append(_row([class_, *(f"{x:.0%}" for x in shares)]))
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run all contestants."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path(sysconfig.get_path("purelib")))
    parser.add_argument("--megabytes", type=float, default=30)
    parser.add_argument("--peer-megabytes", type=float, default=2)
    parser.add_argument(
        "--kept-megabytes", type=float, default=10, help="given to detect-secrets for what `high` keeps"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--snippets", type=int, default=6_000, help="planted")
    parser.add_argument("--each", type=int, default=40, help="hard negatives of each class")
    parser.add_argument(
        "--other-seed", type=int, default=0, help="added to the seeds of both sets: others of the same kind"
    )
    parser.add_argument("--only", nargs="*", help="names of contestants")
    parser.add_argument("--speed-only-for-peers", action="store_true", help="labelled sets for ours only")
    parser.add_argument("--misses", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        name, place = args.child
        contestant = next(c for c in CONTESTANTS if c.name == name)
        data = pickle.loads(Path(place).read_bytes())  # noqa: S301 (written by this program)
        print(json.dumps(measured(contestant, data, args.rounds, args.misses)))
        return
    corpus = texts(args.folder, args.megabytes)
    if not corpus:
        sys.exit(f"no UTF-8 text files below {args.folder}")
    part = part_of(corpus, args.peer_megabytes)
    data = {
        "corpus": corpus, "part": part, "everywhere": not args.speed_only_for_peers,
        "planted": planted(args.folder, planted_seed + args.other_seed, args.snippets),
        "negatives": negatives(args.folder, negatives_seed + args.other_seed, args.each),
    }  # fmt: skip
    results = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "data"
        place.write_bytes(pickle.dumps(data))
        for contestant in CONTESTANTS:
            if args.only and contestant.name not in args.only:
                continue
            if contestant.version() is None:
                result: dict[str, Any] = {
                    "contestant": contestant.name,
                    "version": None,
                    "note": "not installed",
                }
            else:
                flags = ["--rounds", str(args.rounds)] + (["--misses"] if args.misses else [])
                command = [sys.executable, str(PROGRAM), *flags, "--child", contestant.name, str(place)]
                run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                result = json.loads(run.stdout)
            results.append(result)
            print(json.dumps(result), flush=True)
    if not args.only:
        print(json.dumps(rule_database()), flush=True)
        kept_part = part_of(corpus, args.kept_megabytes)
        bodies, names = [b for _, b in kept_part], [n for n, _ in kept_part]
        for title, given in (("neutral names", [NEUTRAL] * len(names)), ("their own names", names)):
            kept = {"detect_secrets_at_high": title, **kept_of_detect_secrets(bodies, given)}
            print(json.dumps(kept), flush=True)
        for title, given in (("corpus", corpus), ("planted", [(d.name, d.body) for d in data["planted"]])):
            print(json.dumps({"syntax_kept_at_high": title, **syntax_kept(given)}), flush=True)
    if args.table:
        print(table(results))


if __name__ == "__main__":
    main()
