"""Hold what the pipeline resolves against git itself: every path, kind and id below the tip of each repository.

Usage:  python scripts/check_resolution.py [--format parquet|orc]... REPOSITORY...

Each repository is archived as `pipeline archive --git` does it; then the stages of a release (conversion, resolution, walk)
run over the graph tables, in each form, and their rows must equal `git ls-tree -r -z <tip>`. The tip is HEAD, or the first
of the branches that stand for a repository without one. The side of git uses git and the standard library only.

Exit code 0: no difference. 1: some, shown on standard error. One line of JSON for each repository on standard output.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.config import Origins
from pipeline.engine.executor import InProcess
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Runner, open_workdir
from pipeline.engine.store import Store
from pipeline.sources.archive_writer import ArchiveWriter
from pipeline.sources.from_git import add_git
from pipeline.sources.graph import FORMATS, open_export
from pipeline.stages.choose import choose
from pipeline.stages.graph import convert
from pipeline.stages.origins import settle
from pipeline.stages.resolve import resolve
from pipeline.stages.walk import walk

FALLBACKS = (
    "main",
    "master",
    "trunk",
    "develop",
)  # branches that stand for a repository whose HEAD leads nowhere
KINDS = {"100644": "file", "100755": "file", "100664": "file", "120000": "symlink", "160000": "submodule"}

Entries = set[tuple[bytes, str, str]]
"""Path, kind (file, symlink, submodule) and id of everything below a root that is not a directory."""


def oracle(repository: Path) -> Entries | None:
    """What git lists; None for a repository without a commit."""
    for name in ("HEAD", *(f"refs/heads/{branch}" for branch in FALLBACKS)):
        asked = _git(repository, "rev-parse", "--verify", "--quiet", f"{name}^{{tree}}")
        if asked.returncode == 0:
            break
    else:
        return None
    listing = _git(repository, "ls-tree", "-r", "-z", asked.stdout.decode().strip(), check=True).stdout
    found: Entries = set()
    for line in listing.split(b"\0")[:-1]:
        head, _, path = line.partition(b"\t")
        mode, _, target = head.decode().split(" ")
        found.add((path, KINDS[mode], target))
    return found


def _git(repository: Path, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[bytes]:
    line = ["git", "-c", "safe.directory=*", "-C", str(repository), *arguments]
    return subprocess.run(line, capture_output=True, check=check)


def resolved(archive: Path, workdir: Path, form: str) -> dict[str, Entries | None]:
    """Origin -> what the stages list; None for an origin without a root."""
    store, buckets = open_workdir(str(workdir), 4, default_buckets=4)
    runner = Runner(store, InProcess(), buckets, Progress(quiet=True))
    graph = convert(runner, open_export(Store(str(archive)), None, None, form=form))
    choice = choose(runner, graph["origin"], Origins(), {})
    origins, _, roots = settle(runner, resolve(runner, graph, choice, as_of=None), choice, registry=None)
    walked = walk(runner, graph, roots, max_depth=512, max_entries=1 << 40)
    below: dict[str, Entries] = {}
    for ref in walked[0]:
        for row in runner.table(ref).to_pylist():
            below.setdefault(row["root"], set()).add((row["path"], row["kind"], row["target"]))
    ledger = runner.table(origins.ref("ledger")).to_pylist()
    return {
        row["origin"]: None if row["directory"] is None else below.get(row["directory"], set())
        for row in ledger
    }


def check(repositories: Sequence[Path], forms: Sequence[str], folder: Path) -> list[dict[str, object]]:
    """Compare; one result for each repository and form: entries on both sides, and up to ten differences."""
    urls = {f"https://check.example/{number}": path for number, path in enumerate(repositories)}
    with ArchiveWriter(folder / "archive", forms=FORMATS) as writer:
        for url, path in urls.items():
            add_git(writer, path, url)
        writer.finish()
    wanted = {url: oracle(path) for url, path in urls.items()}
    results: list[dict[str, object]] = []
    for form in forms:
        found = resolved(folder / "archive", folder / f"work-{form}", form)
        for url, path in urls.items():
            ours, gits = found[url], wanted[url]
            differ = (ours or set()) ^ (gits or set())
            results.append(
                {
                    "repository": path.name,
                    "format": form,
                    "git": None if gits is None else len(gits),
                    "pipeline": None if ours is None else len(ours),
                    "differences": len(differ) + ((ours is None) != (gits is None)),
                    "examples": [repr(one) for one in sorted(differ)[:10]],
                }
            )
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's words."""
    parser = argparse.ArgumentParser(description="Hold what the pipeline resolves against git ls-tree.")
    parser.add_argument(
        "--format", action="append", choices=FORMATS, help="form of the tables; default: both"
    )
    parser.add_argument("repositories", nargs="+", type=Path, metavar="REPOSITORY")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="stackmill-check-") as folder:
        results = check(
            [path.resolve() for path in given.repositories], given.format or FORMATS, Path(folder)
        )
    for result in results:
        print(json.dumps(result))
        if result["differences"]:
            print(f"{result['repository']}: {result['differences']} differences", file=sys.stderr)
    return int(any(result["differences"] for result in results))


if __name__ == "__main__":
    sys.exit(main())
