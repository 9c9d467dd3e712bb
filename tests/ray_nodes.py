"""A Ray cluster of several nodes on this machine, each as far from the others as separate machines are.

The head has no CPU for units. Each worker node is its own `ray start` with its own address (127.0.0.2, ...), resources,
temporary folder, working directory, home and environment. Where the system lets us (root on Linux), it also lives in
namespaces of its own: a private tmpfs lies over the driver's temporary folder, so that a unit which leans on a file of
the driver does not find it, and killing the node takes every process of it at once. Elsewhere the folders are merely
separate ones; `isolated` says which it is.

Nothing outlives the block: nodes and head are killed with all their processes; on Linux also when the test run is killed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
RAY = str(Path(sys.executable).with_name("ray"))
MEMORY = (
    4 << 30
)  # bytes that a node says it has: two units at a time with engine.task_memory 1GB, if it had two CPUs
START_SECONDS = 90
UNSHARE = [
    "unshare",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--propagation",
    "private",
]


def can_isolate() -> bool:
    """Whether this process may make namespaces."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


@dataclass
class RayNode:
    """One `ray start` and everything below it."""

    address: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """What a power cut does: SIGKILL to all of it."""
        for one in _family(self.process):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait()


def _family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        top = psutil.Process(process.pid)
        return [top, *top.children(recursive=True)]
    return []


@dataclass
class RayNodes:
    """The cluster: `address` for drivers, which need `environment`, too (Ray's token)."""

    folder: Path
    hide: Path
    isolated: bool
    address: str = ""
    nodes: list[RayNode] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    log: Path = Path()
    _head: RayNode | None = None
    _started: int = 0
    _aws_credentials: str = ""

    def start(self, count: int, aws_credentials: str) -> None:
        """Start the head and `count` nodes with one CPU; `aws_credentials` is the text of each node's own file."""
        self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
        self.log, self._aws_credentials = self.folder / "log", aws_credentials
        port, home = _free_port(), self.folder / "head"
        home.mkdir()
        head = f"--head --port {port} --num-cpus 0 --memory {100 << 20} --include-dashboard false --temp-dir {home}"
        # A lost node is noticed after about two seconds, not after Ray's usual fifteen.
        quick = {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "3"}
        self._head = self._launch("head", _ray_start(head), home, quick)
        self.address = f"{self._wait_for_head(port)}:{port}"
        for _ in range(count):
            self.add_node()

    def add_node(self) -> None:
        """One more node with one CPU; it joins within seconds."""
        self._started += 1
        address, home = f"127.0.0.{self._started + 1}", self.folder / f"n{self._started}"
        joining = f"--address {self.address} --node-ip-address {address} --num-cpus 1 --memory {MEMORY}"
        command = self._apart(_ray_start(f"{joining} --temp-dir {home / 'ray'}"), home)
        self.nodes.append(self._launch(address, command, home, {}))

    def _apart(self, command: list[str], home: Path) -> list[str]:
        """The command in namespaces of its own, or in folders of its own where that is all we may do."""
        script = f'mkdir -p "{home}/.aws" && cd "{home}" && printf "%s" "$0" > .aws/credentials && exec "$@"'
        if self.isolated:
            hidden = [Path(tempfile.gettempdir()).resolve()]
            needed = (ROOT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve())
            if any(folder.is_relative_to(hidden[0]) for folder in needed):
                hidden = [self.folder]  # the sources lie below the temporary folder, too
            if not self.hide.is_relative_to(hidden[0]):
                hidden.append(self.hide)
            mounts = " && ".join(f'mount -t tmpfs tmpfs "{folder}"' for folder in [*hidden, Path("/dev/shm")])
            script = f"{mounts} && {script}"
        return [*(UNSHARE if self.isolated else []), "sh", "-c", script, self._aws_credentials, *command]

    def _launch(self, name: str, command: list[str], home: Path, extra: dict[str, str]) -> RayNode:
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "engine")]),
            "HOME": str(home),
            "TMPDIR": str(home),
            "LANG": "C.UTF-8",
            "RAY_worker_niceness": "0",
            "AWS_EC2_METADATA_DISABLED": "true",
            **self.environment,
            **extra,
        }
        if shutil.which("setpriv"):
            command = [
                "setpriv",
                "--pdeathsig",
                "KILL",
                *command,
            ]  # it dies with this process, whatever ends that
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=self.folder
            )
        return RayNode(name, process)

    def _wait_for_head(self, port: int) -> str:
        """The address that the head took, once its port answers there."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for line in self.log.read_text().splitlines():
                _, found, rest = line.partition("Local node IP: ")
                address = rest.strip()
                if found:
                    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1):
                        return address
            time.sleep(0.2)
        raise RuntimeError(f"the head of the Ray cluster did not start:\n{self.log.read_text()}")

    def close(self) -> None:
        """Kill what is left."""
        for node in [*self.nodes, *([self._head] if self._head else [])]:
            node.kill()


def _ray_start(options: str) -> list[str]:
    common = f"--object-store-memory {80 << 20} --disable-usage-stats --include-log-monitor false --log-color false"
    return [RAY, "start", *f"{options} {common} --min-worker-port 0 --max-worker-port 0 --block".split()]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@contextlib.contextmanager
def ray_nodes(count: int, hide: Path, aws_credentials: str = "") -> Iterator[RayNodes]:
    """A running cluster with `count` nodes of one CPU each, which may still be joining.

    `hide`: a folder of the driver that the nodes must not see, whatever else is hidden from them.
    """
    # Short, because Ray puts sockets below it and their paths may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="rn-", ignore_cleanup_errors=True) as folder:
        cluster = RayNodes(Path(folder).resolve(), hide, can_isolate())
        try:
            cluster.start(count, aws_credentials)
            yield cluster
        finally:
            cluster.close()
