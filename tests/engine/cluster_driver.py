"""A driver for the tests on a Ray cluster, as a process of its own: one stage, its facts and rows as JSON on stdout.

python cluster_driver.py '{"address": ..., "workdir": ..., "stage": ..., ...}'
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import cluster_stages

from pipeline.engine import on_ray
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Runner, open_workdir
from pipeline.errors import StackmillError


def main() -> int:
    asked = json.loads(sys.argv[1])
    if version := asked.get("claim_python"):
        there = on_ray.installed(())
        on_ray.installed = lambda _: {**there, "python": version}
    progress = Progress(sys.stderr)
    executor = on_ray.OnRay(
        address=asked["address"],
        shared_disk=asked.get("shared_disk", False),
        note=progress.note,
        forward_credentials=asked.get("forward_credentials", False),
    )
    try:
        executor.prepare(asked.get("local", {}))
        store, buckets = open_workdir(asked["workdir"], None, default_buckets=2)
        runner = Runner(store, executor, buckets, progress)
        extra = {"driver_file": asked["file"], "file": runner.keep(asked["file"]), "processes": 1}
        done = runner.run(
            cluster_stages.stage(
                getattr(cluster_stages, asked["stage"]),
                extra=extra,
                heavy=asked.get("heavy", False),
                round=asked.get("round", 0),
            )
        )
        rows = runner.table(done.ref("rows"))["text"].to_pylist()
        print(json.dumps({"facts": done.facts, "rows": sorted(rows)}), file=sys.__stdout__)
    except StackmillError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    finally:
        executor.close()
    return 0


if __name__ == "__main__":
    # Ray tells of lost nodes on stdout; the command does the same (pipeline/cli/release.py).
    with contextlib.redirect_stdout(sys.stderr):
        code = main()
    sys.exit(code)
