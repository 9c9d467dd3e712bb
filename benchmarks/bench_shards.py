"""Writing shards: rows in memory to a finished file with its checksums, against plain pyarrow with the same options.

    python benchmarks/bench_shards.py [DIR] [--megabytes N] [--rounds N] [--level N]

Without DIR: the installed Python packages.  Distinct text files (order by a fixed seed) up to N megabytes become rows as a
release has them: real hashes, an origin per package.  Each contestant writes one file of the same row groups on one thread;
its time ends when the file is on disk.

    write_shard     ours: row groups cut by rows and bytes, facts and Merkle root of the manifest, SHA-256 of the file
    pyarrow         ParquetWriter.write_table of the same row groups, the same options, and SHA-256 of the file
    zstd            the texts alone through pyarrow's zstd codec at the same level, in pieces of 1 MiB: the limit of the format

One JSON object per contestant: MB of text (10^6 bytes of `content`) per second of wall and of process time, medians of the
rounds, which alternate.  `peak_rss_mb` is that of a process of its own for each, less what the rows themselves take.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.schema import DATA
from manifests.shards import ShardForm, row_groups, sync, write_shard

CONTESTANTS = ("write_shard", "pyarrow", "zstd")


def rows(folder: Path, megabytes: float) -> pa.Table:
    """Rows of schema DATA, sorted as a shard's are: the files of one origin together."""
    files = sorted(p for p in folder.rglob("*.py") if p.is_file() and not p.is_symlink())
    random.Random(0).shuffle(files)
    found: dict[bytes, Path] = {}
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
        if body not in found:
            found[body] = file.relative_to(folder)
            size += len(body)
    made = [_row(body, path) for body, path in found.items()]
    made.sort(key=lambda row: (hashlib.sha256(row["origin"].encode()).digest(), row["row_id"]))
    return pa.Table.from_pylist(made, schema=DATA)


def _row(body: bytes, path: Path) -> dict[str, Any]:
    text, package = body.decode(), path.parts[0]
    sha256, sha1 = hashlib.sha256(body).hexdigest(), hashlib.sha1(body).hexdigest()
    git = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
    of = hashlib.sha1(package.encode()).hexdigest()
    lines = text.split("\n")
    row = {
        "row_id": sha256[:32], "swhid": f"swh:1:cnt:{git}", "blob_id": sha1, "content_id": git, "sha256": sha256,
        "blake2s256": hashlib.blake2s(body).hexdigest(), "content": text, "content_sha256": sha256,
        "length_bytes": len(body), "src_encoding": "UTF-8", "language": "Python", "extension": "py",
        "path": path.as_posix(), "path_raw": None, "origin": f"https://example.org/project/{package}",
        "repo_name": f"project/{package}", "snapshot_id": of, "revision_id": of, "branch_name": "HEAD", "directory_id": of,
        "visit_date": datetime(2025, 3, 1), "revision_date": datetime(2024, 1, 1), "committer_date": None,
        "num_occurrences": 1, "num_origins": 1, "license_type": "permissive", "license_expression": "MIT",
        "detected_licenses": ["MIT"], "cluster_id": sha256[:32], "cluster_size": 1, "redactions": [],
        "license_evidence": [{"path": "LICENSE", "swhid": f"swh:1:cnt:{of}", "expression": "MIT",
                              "detector": "scancode 32.5.0", "rule": "mit.LICENSE", "score": 100.0}],
        "is_vendor": False, "is_generated": False, "num_lines": len(lines),
        "avg_line_length": len(text) / len(lines), "max_line_length": max(map(len, lines)), "alpha_fraction": 0.6,
        "alphanum_fraction": 0.7, "encoded_fraction": 0.0,
    }  # fmt: skip
    return row


def contestant(name: str, table: pa.Table, form: ShardForm, folder: Path) -> Callable[[], int]:
    """What to measure: writes the rows, returns the bytes that came of them."""
    file = folder / "train-all.parquet"
    if name == "write_shard":
        return lambda: write_shard(table, file, path="data/Python/train-all.parquet", form=form).bytes
    if name == "pyarrow":
        groups = list(
            row_groups(table.to_batches(), max_rows=form.group_rows, max_bytes=form.group_bytes)
        )  # not timed

        def plain() -> int:
            with pq.ParquetWriter(file, DATA, **form.options()) as writer:
                for group in groups:
                    writer.write_table(group, row_group_size=group.num_rows)
            sync(file)
            with file.open("rb") as stream:
                hashlib.file_digest(stream, "sha256")
            return file.stat().st_size

        return plain
    text = pa.py_buffer(b"".join(value.as_buffer() for value in table["content"]))
    codec = pa.Codec("zstd", form.compression_level)
    return lambda: sum(codec.compress(text[at : at + (1 << 20)]).size for at in range(0, text.size, 1 << 20))


def peak_mb() -> float:
    """Peak resident memory of this program so far; what `getrusage` says outlives an exec, so that of the parent counts."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def alone(args: argparse.Namespace, rows_file: Path) -> None:
    """One contestant in this process: what it adds to the peak of the memory."""
    with pa.ipc.open_file(pa.OSFile(str(rows_file))) as reader:
        table = reader.read_all()
    with tempfile.TemporaryDirectory() as folder:
        run = contestant(args.alone, table, ShardForm(compression_level=args.level), Path(folder))
        before = peak_mb()
        run()
        print(round(peak_mb() - before, 1))


def main() -> None:
    """Print one JSON object per contestant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(sysconfig.get_path("purelib")))
    parser.add_argument("--megabytes", type=float, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--level", type=int, default=3)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    args = parser.parse_args()
    pa.set_cpu_count(1)
    if args.alone:
        alone(args, args.folder)
        return
    table = rows(args.folder, args.megabytes)
    if table.num_rows == 0:
        sys.exit(f"{args.folder} has no Python files")
    text = sum(len(value.as_buffer()) for value in table["content"])
    form = ShardForm(compression_level=args.level)
    wall: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    cpu: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    sizes = {}
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: contestant(name, table, form, Path(folder)) for name in CONTESTANTS}
        for number in range(args.rounds + 1):  # the first one warms up
            for name, run in runs.items():
                started, before = time.perf_counter(), time.process_time()
                sizes[name] = run()
                if number:
                    wall[name].append(time.perf_counter() - started)
                    cpu[name].append(time.process_time() - before)
        rows_file = Path(folder, "rows.arrow")
        with pa.ipc.new_file(rows_file, table.schema) as writer:
            writer.write_table(table)
        for name in CONTESTANTS:
            line = [sys.executable, __file__, str(rows_file), "--alone", name, "--level", str(args.level)]
            peak = subprocess.run(line, capture_output=True, text=True, check=True, env=dict(os.environ))
            print(
                json.dumps(
                    {
                        "contestant": name,
                        "rows": table.num_rows,
                        "text_mb": round(text / 1e6, 1),
                        "file_mb": round(sizes[name] / 1e6, 2),
                        "mb_per_second": round(text / 1e6 / statistics.median(wall[name]), 1),
                        "mb_per_core_second": round(text / 1e6 / statistics.median(cpu[name]), 1),
                        "peak_rss_mb": float(peak.stdout),
                        "rounds": args.rounds,
                    }
                )
            )


if __name__ == "__main__":
    main()
