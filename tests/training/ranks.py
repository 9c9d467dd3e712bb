"""Processes of distributed runs that tests can watch and kill, without importing torch for each of them.

    python tests/training/ranks.py     reads one job a line on stdin, answers one line on stdout, both JSON

It imports everything once and forks the processes of a job; it never computes anything itself, so forking is safe. A
process runs `training.launch.main` with the environment that torchrun would give it. `Ranks` is the other end.

A job: `arguments` of `training.launch`, `world`, and perhaps
    kill    {rank, target: "module:name", call: n, after: bool, about: text}: SIGKILL at the n-th call of that function
            (from 0), counting those whose arguments hold the text
    patience  seconds that the others may go on when one has failed
    other   {rank, arguments}: further arguments of one process
    probe   "module file:function" of a test module, called in each process with `probe_argument` before the run
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Exit:
    """How a process ended: its exit code (negative: the signal) and what it wrote."""

    code: int
    out: str
    err: str


class Ranks:
    """Runs jobs in processes forked from one that has everything imported."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )

    def run(self, arguments: list[str], world: int = 1, **more: Any) -> list[Exit]:
        """The exits of all processes, by rank."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"arguments": arguments, "world": world, **more}) + "\n")
        self.process.stdin.flush()
        return [Exit(*each) for each in json.loads(self.process.stdout.readline())]

    def train(self, settings: dict[str, Any], world: int = 1, **more: Any) -> dict[str, Any]:
        """The result of a run that must succeed."""
        exits = self.run([configuration(settings)], world, **more)
        assert [each.code for each in exits] == [0] * world, "\n".join(each.err for each in exits)
        return json.loads(exits[0].out)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def configuration(settings: dict[str, Any]) -> str:
    """The settings as a file beside the run's output; JSON is YAML."""
    file = Path(settings["output"]).with_suffix(".yaml")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(settings))
    return str(file)


# The other end.


def _killing(kill: dict[str, Any]) -> None:
    module_name, _, dotted = kill["target"].partition(":")
    owner: Any = importlib.import_module(module_name)
    *path, name = dotted.split(".")
    for part in path:
        owner = getattr(owner, part)
    genuine, calls = getattr(owner, name), 0

    def wrapped(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        counts = kill.get("about", "") in str(arguments)
        calls += counts
        hit = counts and calls == kill["call"] + 1
        if hit and not kill.get("after"):
            os.kill(os.getpid(), signal.SIGKILL)
        result = genuine(*arguments, **named)
        if hit:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, wrapped)


def _child(job: dict[str, Any], rank: int, port: int, folder: Path) -> int:
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(folder / f"{name}{rank}", os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
    world = job["world"]
    if world > 1:
        os.environ |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(world),
            "LOCAL_WORLD_SIZE": str(world),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
    from training import launch

    if "kill" in job and job["kill"]["rank"] == rank:
        _killing(job["kill"])
    if "probe" in job:
        file_name, _, function = job["probe"].partition(":")
        spec = importlib.util.spec_from_file_location("probe", file_name)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        getattr(module, function)(rank, world, job["probe_argument"])
    other = job.get("other")
    return launch.main(job["arguments"] + (other["arguments"] if other and other["rank"] == rank else []))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(children: dict[int, int], seconds: float) -> dict[int, int]:
    """Exit code of each rank; when one fails, the others are given so long and then killed, as a launcher does."""
    codes: dict[int, int] = {}
    patience: float | None = None
    while children:
        process, status = os.waitpid(-1, os.WNOHANG)
        if process:
            rank = children.pop(process)
            codes[rank] = os.waitstatus_to_exitcode(status)
            if codes[rank] and patience is None:
                patience = time.monotonic() + (0.0 if codes[rank] < 0 else seconds)
        else:
            time.sleep(0.01)
        if patience is not None and time.monotonic() > patience:
            for left in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(left, signal.SIGKILL)
            patience = float("inf")
    return codes


def serve() -> None:
    """Import, then run one job after the other."""
    import numpy as np
    import torch
    import torch.distributed
    import torch.distributed.tensor

    from training.tokens import packing

    torch.set_num_threads(1)
    with contextlib.suppress(ImportError):
        import peft  # noqa: F401
    packing.plan(np.array([3, 9]), 4).fill(np.arange(12, dtype=np.uint16), np.array([0]), 0)  # compile once
    for line in sys.stdin:
        job = json.loads(line)
        port = _free_port()
        with tempfile.TemporaryDirectory() as name:
            folder, children = Path(name), {}
            sys.stdout.flush()
            for rank in range(job["world"]):
                child = os.fork()
                if not child:
                    code = 70
                    try:
                        code = _child(job, rank, port, folder)
                    finally:  # whatever happens, a child does not come back into this loop
                        if sys.exc_info()[0]:
                            traceback.print_exc()
                        sys.stdout.flush()
                        sys.stderr.flush()
                        os._exit(code)
                children[child] = rank
            codes = _wait(children, job.get("patience", 20.0))
            answer = [
                (codes[rank], *((folder / f"{part}{rank}").read_text() for part in ("out", "err")))
                for rank in range(job["world"])
            ]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
