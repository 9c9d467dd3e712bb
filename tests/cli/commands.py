"""Many runs of the real entry point for one start of Python: a child process per command, with true arguments and streams.

Where the tests run as root the commands run without the right to pass over file modes, as a user's would.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Call", "Result", "run", "run_all"]

_SERVER = """
import json, os, sys, traceback
import pipeline.release, pipeline.explain, pipeline.scan, pipeline.cli.main as main
with open(sys.argv[1]) as stream:
    calls = json.load(stream)
codes = []
for number, call in enumerate(calls):
    pid = os.fork()
    if pid == 0:
        for fd, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{sys.argv[2]}/{number}.{name}", os.O_WRONLY | os.O_CREAT, 0o600), fd)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.chdir(call["cwd"])
        os.environ.update(call["env"])
        sys.argv = ["pipeline", *call["arguments"]]
        code = 1
        try:
            main.run()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
with open(f"{sys.argv[2]}/codes.json", "w") as stream:
    json.dump(codes, stream)
"""


@dataclass(frozen=True)
class Call:
    """One command line, where it runs and what its environment adds."""

    arguments: Sequence[str]
    cwd: Path
    env: Mapping[str, str]


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: bytes
    err: bytes

    @property
    def message(self) -> str:
        """What a user reads on stderr."""
        return self.err.decode()

    @property
    def data(self) -> Any:
        """stdout as JSON."""
        return json.loads(self.out)

    def refused(self, code: int, *words: str) -> None:
        """The command ended with this code, one clean message that holds the words, and nothing on stdout."""
        assert self.code == code, (self.code, self.message)
        assert self.out == b"", self.out[:500]
        assert "Traceback" not in self.message, self.message
        assert b"\x1b" not in self.err
        for word in words:
            assert word in self.message, (word, self.message)


def modes_count() -> bool:
    """Whether the commands are bound by file modes: always for a user, for root where `setpriv` can take the right away."""
    return os.geteuid() != 0 or shutil.which("setpriv") is not None


def run_all(folder: Path, calls: Sequence[Call]) -> list[Result]:
    """Run the commands one after the other; `folder` takes their output."""
    folder.mkdir()
    spec = folder / "calls.json"
    spec.write_text(
        json.dumps([{"arguments": list(c.arguments), "cwd": str(c.cwd), "env": dict(c.env)} for c in calls])
    )
    command = [sys.executable, "-c", _SERVER, str(spec), str(folder)]
    if os.geteuid() == 0 and modes_count():
        command = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", *command]
    subprocess.run(command, check=True)
    codes = json.loads((folder / "codes.json").read_text())
    return [
        Result(code, (folder / f"{number}.out").read_bytes(), (folder / f"{number}.err").read_bytes())
        for number, code in enumerate(codes)
    ]


def run(folder: Path, cwd: Path, *commands: Sequence[str], **env: str) -> list[Result]:
    """`run_all` of commands that share a folder and an environment."""
    return run_all(folder, [Call(command, cwd, env) for command in commands])
