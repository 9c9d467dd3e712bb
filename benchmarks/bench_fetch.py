"""Fetching content objects side by side with other clients: objects per second of client CPU, verification included.

    python benchmarks/bench_fetch.py [DIR] [--objects 3000] [--in-flight 16] [--rounds 3] [--swift] [--json]

DIR: any folder with source code, the installed packages by default; its files of 1 B to 1 MiB are packed as objects. A
static server on loopback (object_server.py) answers from a process of its own, so that its work is not counted; with
`--swift` it is OpenStack Swift with signed requests instead, which is what bounds the wall time then.

Each client runs in a process of its own, in turns; medians over the rounds. Every client inflates every object and
checks its sha1, sha256 and length with the same function. CPU is user and system time of the client's process while it
fetches; imports, client and first request come before. `peak` is the process's peak memory above that before the work.

- ours: what a fetching task does, up to the verified bytes (pace, retry loop, batches)
- ours, stored: the whole stage, into a work directory on disk
- boto3, urllib3, pyarrow.fs: a pool of as many threads, one client for all, no retry loop around the body
- verification alone: inflating and hashing from memory, one thread; no client can be faster
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from pipeline.sources.contents import OK, Contents, Wanted, unpack

LARGEST = 1 << 20
BUCKET = "archive"
HERE = Path(__file__).resolve().parent
RATE = 1_000_000  # no bound: the client is measured, not its manners


# -------------------------------------------------------------------------------------------------------- objects


def write_objects(source: Path, folder: Path, count: int) -> list[Wanted]:
    """Pack up to `count` distinct files as objects below folder/content, in the order of their sha256."""
    wanted: dict[str, Wanted] = {}
    (folder / "content").mkdir(parents=True)
    for directory, folders, names in os.walk(source):
        folders.sort()
        for name in sorted(names):
            path = Path(directory, name)
            if len(wanted) == count:
                break
            if path.suffix == ".pyc" or path.is_symlink() or not 0 < path.stat().st_size <= LARGEST:
                continue
            body = path.read_bytes()
            sha1 = hashlib.sha1(body, usedforsecurity=False).hexdigest()
            wanted[sha1] = Wanted(sha1, hashlib.sha256(body).hexdigest(), len(body))
            (folder / "content" / sha1).write_bytes(gzip.compress(body, mtime=0))
    return sorted(wanted.values(), key=lambda one: one.sha256)


@contextmanager
def server(folder: Path, *, swift: bool) -> Iterator[dict[str, str]]:
    """A server with the objects; what a client needs in its environment."""
    program = (
        [str(HERE.parent / "tests" / "s3_server.py")]
        if swift
        else [str(HERE / "object_server.py"), str(folder)]
    )
    with subprocess.Popen(
        [sys.executable, *program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        line = process.stdout.readline().strip()
        if not swift:
            yield {"AWS_ENDPOINT_URL": line, "ANONYMOUS": "1"}
        else:
            told = json.loads(line)
            names = {"AWS_ENDPOINT_URL": "endpoint", "AWS_ACCESS_KEY_ID": "access_key",
                     "AWS_SECRET_ACCESS_KEY": "secret_key", "AWS_REGION": "region",
                     "AWS_DEFAULT_REGION": "region"}  # fmt: skip
            environment = {name: told[key] for name, key in names.items()}
            os.environ.update(environment)
            upload(folder)
            yield environment
        process.stdin.close()


def upload(folder: Path) -> None:
    import obstore
    from obstore.store import S3Store

    boto3_client(4).create_bucket(Bucket=BUCKET)
    store = S3Store(
        BUCKET, endpoint=os.environ["AWS_ENDPOINT_URL"], virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )  # fmt: skip
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(
            lambda p: obstore.put(store, f"content/{p.name}", p), (folder / "content").iterdir()
        ):
            pass


# -------------------------------------------------------------------------------------------------------- clients

Client = Callable[[list[Wanted]], int]  # fetches all, returns how many were right


def pooled(get: Callable[[str], bytes], in_flight: int) -> Client:
    """The obvious program: a pool of threads, get and check."""

    def check(one: Wanted) -> bool:
        return len(unpack(one, get(f"content/{one.sha1}"))) == one.length

    def run(wanted: list[Wanted]) -> int:
        with ThreadPoolExecutor(in_flight) as pool:
            return sum(pool.map(check, wanted))

    return run


def boto3_client(in_flight: int):
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    signature = {"signature_version": UNSIGNED} if "ANONYMOUS" in os.environ else {}
    config = Config(max_pool_connections=in_flight, s3={"addressing_style": "path"}, **signature)
    return boto3.client("s3", region_name="us-east-1", config=config)


def with_boto3(in_flight: int) -> Client:
    client = boto3_client(in_flight)
    return pooled(lambda key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read(), in_flight)


def with_urllib3(in_flight: int) -> Client:
    import urllib3

    url = os.environ["AWS_ENDPOINT_URL"]
    pool = urllib3.PoolManager(maxsize=in_flight)
    return pooled(lambda key: pool.request("GET", f"{url}/{BUCKET}/{key}").data, in_flight)


def with_pyarrow(in_flight: int) -> Client:
    from pyarrow import fs

    url = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    anonymous = "ANONYMOUS" in os.environ
    files = fs.S3FileSystem(
        endpoint_override=url.netloc, scheme=url.scheme, region="us-east-1", anonymous=anonymous
    )

    def get(key: str) -> bytes:
        with files.open_input_stream(f"{BUCKET}/{key}") as stream:
            return stream.read()

    return pooled(get, in_flight)


def ours(in_flight: int) -> Client:
    from pipeline.engine.store import Store
    from pipeline.sources.downloads import download
    from pipeline.sources.pace import Pace
    from pipeline.stages.fetch import IN_HAND_BYTES, IN_HAND_OBJECTS

    pace = Pace(RATE, in_flight)
    contents = Contents(Store(f"s3://{BUCKET}", "ANONYMOUS" in os.environ), pace)

    def run(wanted: list[Wanted]) -> int:
        batches = download(
            contents.fetch,
            wanted,
            in_flight=lambda: pace.in_flight,
            most=in_flight,
            batch_objects=IN_HAND_OBJECTS // 2,
            batch_bytes=IN_HAND_BYTES // 2,
        )
        return sum(one.status == OK for batch in batches for one in batch)

    return run


def ours_stored(in_flight: int) -> Client:
    import pyarrow as pa

    from pipeline.engine.stage import Task
    from pipeline.engine.store import Store
    from pipeline.stages.fetch import BODIES_OF, fetch_bodies

    class Given(Task):
        wanted: pa.Table

        def read(self, name: str, columns: list[str] | None = None) -> pa.Table:
            return self.wanted

    def run(wanted: list[Wanted]) -> int:
        names = ("sha256", "sha1", "length")
        with tempfile.TemporaryDirectory() as work:
            task = Given(
                store=Store(work), unit="0", bucket=0, buckets=1, item=None, scratch=Path(work), memory="1GB",
                config={"stores": {"bodies": BODIES_OF.key()}}, refs={}, folder="stages/fetch",
                extra={"content": f"s3://{BUCKET}", "anonymous": "ANONYMOUS" in os.environ, "rate": RATE,
                       "in_flight": in_flight, "failures": 1, "incomplete": False},
            )  # fmt: skip
            task.wanted = pa.table({name: [getattr(one, name) for one in wanted] for name in names})
            return fetch_bodies(task)["status"]["status"].to_pylist().count(OK)

    return run


CLIENTS: dict[str, Callable[[int], Client]] = {
    "ours": ours,
    "ours, stored": ours_stored,
    "boto3": with_boto3,
    "urllib3": with_urllib3,
    "pyarrow.fs": with_pyarrow,
}
UNSIGNED_ONLY = ("urllib3",)


# ------------------------------------------------------------------------------------------------------ measuring


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def once(name: str, folder: Path, in_flight: int) -> dict[str, float]:
    """One client over all objects, in this process."""
    wanted = [Wanted(**row) for row in json.loads((folder / "wanted.json").read_text())]
    client = CLIENTS[name](in_flight)
    client(wanted[:20])
    before, started, memory = cpu_seconds(), time.perf_counter(), psutil.Process().memory_info().rss
    right = client(wanted)
    wall, cpu = time.perf_counter() - started, cpu_seconds() - before
    assert right == len(wanted), f"{name}: {right} of {len(wanted)} objects"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "per_cpu_s": len(wanted) / cpu,
        "per_s": len(wanted) / wall,
        "peak_mb": max(0, peak - memory) / 1e6,
        "process_mb": peak / 1e6,
    }


def verification(wanted: list[Wanted], folder: Path) -> dict[str, float]:
    """Objects per CPU second of inflating and hashing alone, and CPU microseconds of each part."""
    import zlib

    packed = [(folder / "content" / one.sha1).read_bytes() for one in wanted]
    bodies = [gzip.decompress(p) for p in packed]

    def timed(work: Callable[[], object]) -> float:
        found = []
        for _ in range(3):
            before = cpu_seconds()
            work()
            found.append((cpu_seconds() - before) / len(wanted))
        return statistics.median(found)

    whole = timed(lambda: [unpack(one, p) for one, p in zip(wanted, packed, strict=True)])
    return {
        "per_cpu_s": 1 / whole,
        "inflate_us": 1e6 * timed(lambda: [zlib.decompressobj(31).decompress(p) for p in packed]),
        "sha1_us": 1e6 * timed(lambda: [hashlib.sha1(b, usedforsecurity=False).hexdigest() for b in bodies]),
        "sha256_us": 1e6 * timed(lambda: [hashlib.sha256(b).hexdigest() for b in bodies]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", nargs="?", type=Path, default=Path(sysconfig.get_path("purelib")))
    parser.add_argument("--objects", type=int, default=3_000)
    parser.add_argument("--in-flight", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--swift", action="store_true", help="OpenStack Swift instead of the static server")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=CLIENTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(once(arguments.only, arguments.folder, arguments.in_flight)))
        return
    names = [name for name in CLIENTS if not (arguments.swift and name in UNSIGNED_ONLY)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        wanted = write_objects(arguments.directory, folder / BUCKET, arguments.objects)
        if not wanted:
            parser.error(f"no files of at most {LARGEST} bytes under {arguments.directory}")
        (folder / "wanted.json").write_text(json.dumps([vars(one) for one in wanted]))
        (folder / "content").symlink_to(folder / BUCKET / "content")
        packed = sum((folder / "content" / one.sha1).stat().st_size for one in wanted)
        alone = verification(wanted, folder)
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        with server(folder / BUCKET, swift=arguments.swift) as environment:
            for _ in range(arguments.rounds):
                for name in names:
                    command = [sys.executable, __file__, "--only", name, "--folder", str(folder),
                               "--in-flight", str(arguments.in_flight)]  # fmt: skip
                    done = subprocess.run(
                        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, check=True
                    )
                    runs[name].append(json.loads(done.stdout))
    result = {
        name: {key: statistics.median(run[key] for run in found) for key in found[0]}
        for name, found in runs.items()
    }
    ratio = result["ours"]["per_cpu_s"] / result["boto3"]["per_cpu_s"]
    raw = sum(one.length for one in wanted)
    if arguments.json:
        print(json.dumps({"objects": len(wanted), "packed_bytes": packed, "bytes": raw, "clients": result,
                          "verification": alone, "ratio": ratio}))  # fmt: skip
        return
    kind = "Swift, signed" if arguments.swift else "a static server, unsigned"
    print(f"{len(wanted):,} objects of {packed / len(wanted) / 1e3:.1f} kB, {raw / len(wanted) / 1e3:.1f} kB inflated;"
          f" {kind}; {arguments.in_flight} in flight; {arguments.rounds} rounds")  # fmt: skip
    print(f"{'':14}{'objects/CPU s':>15}{'objects/s':>12}{'peak MB':>10}{'process MB':>12}")
    for name, row in result.items():
        print(
            f"{name:14}{row['per_cpu_s']:15,.0f}{row['per_s']:12,.0f}{row['peak_mb']:10,.0f}{row['process_mb']:12,.0f}"
        )
    ours_us = 1e6 / result["ours"]["per_cpu_s"]
    parts = {"inflate": alone["inflate_us"], "sha1": alone["sha1_us"], "sha256": alone["sha256_us"]}
    shares = ", ".join(f"{name} {100 * us / ours_us:.0f}%" for name, us in parts.items())
    print(
        f"verification alone: {alone['per_cpu_s']:,.0f} objects/CPU s; of ours that is: {shares}; the rest is HTTP and Python"
    )
    print(f"ours / boto3: {ratio:.1f} x objects per CPU second")


if __name__ == "__main__":
    main()
