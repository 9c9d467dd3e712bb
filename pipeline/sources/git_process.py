"""Running git on repositories that nobody vouches for.

A repository's own configuration can name programs for git to run and servers for it to ask. Every call here
reads objects and refs only, and shuts these doors: no system or user configuration, no environment of the
caller's git, no hooks, no file-system monitor, no pager, no transport at all (a partial clone must not fetch
what is missing), no prompts, no replaced objects. The repository is named by `--git-dir`, so git does not
look for one in the folders above.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from pipeline.errors import ConfigError, SourceError

_OPTIONS = (
    *("-c", "core.fsmonitor=false"),
    *("-c", f"core.hooksPath={os.devnull}"),
    *("-c", "core.commitGraph=false"),  # a cache that a hostile repository can fill with other parents
    *("-c", "protocol.allow=never"),
    *("-c", "safe.directory=*"),  # repositories of another user: the doors that this check guards are shut
)
_MESSAGE_BYTES = 4_000


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return kept | {
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_GRAFT_FILE": os.devnull,
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_PAGER": "cat",
    }


class Repository:
    """One repository on disk, bare or not. ConfigError when there is none at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        inner = path / ".git"
        self._git_dir = inner if inner.exists() else path
        if not path.is_dir():
            raise ConfigError(f"--git {path}: no such folder")
        if inner.is_file():  # a linked work tree or a submodule: the file names the folder
            return
        if not ((self._git_dir / "HEAD").exists() and (self._git_dir / "objects").is_dir()):
            raise ConfigError(
                f"--git {path}: not a git repository (neither it nor its .git has HEAD and objects)"
            )

    def command(self, *arguments: str) -> list[str]:
        """The command line of a git call on this repository."""
        return ["git", f"--git-dir={self._git_dir}", *_OPTIONS, *arguments]

    def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        absent_ok: bool = False,
        warnings: list[bytes] | None = None,
    ) -> bytes | None:
        """The output of a git call; None if it fails with exit status 1 and that is `absent_ok`.

        What git says on stderr is added to `warnings`, line by line.
        """
        try:
            done = subprocess.run(
                self.command(*arguments),
                capture_output=True,
                env=_environment(),
                check=False,
                input=stdin,
            )
        except OSError as error:
            raise SourceError(f"git cannot be run ({error.strerror or error}); install git") from error
        if done.returncode == 1 and absent_ok:
            return None
        if done.returncode != 0:
            raise self.failure(arguments[0], done.stderr)
        if warnings is not None:
            warnings += done.stderr.splitlines()
        return done.stdout

    def local_objects(self) -> frozenset[str] | None:
        """The ids of all objects of a partial clone, None for any other repository.

        An older git that is asked for an object which a partial clone lacks, and may not fetch it, ends.
        """
        if self.run("config", "--local", "--get-regexp", r"\.promisor$", absent_ok=True) is None:
            return None
        listed = self.run("cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
        assert listed is not None
        return frozenset(listed.decode("ascii").split())

    def failure(self, what: str, stderr: bytes) -> SourceError:
        """The error for a git call that failed: the last line that git wrote, and what to do."""
        lines = [line for line in stderr.decode("utf-8", "backslashreplace").splitlines() if line.strip()]
        said = lines[-1].strip() if lines else "no message"
        return SourceError(f"--git {self.path}: git {what} failed: {said}; check it with: git fsck")


class ObjectReader:
    """`git cat-file --batch`: many objects of one repository through one process, in the order asked for."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._local = repository.local_objects()
        self._stderr_tail = bytearray()
        try:
            self._process = subprocess.Popen(
                repository.command("cat-file", "--batch"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
            )
        except OSError as error:
            raise SourceError(f"git cannot be run ({error.strerror or error}); install git") from error
        self._drain = threading.Thread(target=self._keep_stderr, daemon=True)
        self._drain.start()

    def _keep_stderr(self) -> None:
        stream = self._process.stderr
        assert stream is not None
        while chunk := stream.read1(1 << 16):  # type: ignore[attr-defined]  # a pipe is a BufferedReader
            self._stderr_tail += chunk
            del self._stderr_tail[:-_MESSAGE_BYTES]

    def read(self, object_ids: Iterable[str]) -> Iterator[tuple[str, str, int, IO[bytes]]]:
        """(id, git type or "missing", size in bytes, stream) of each object.

        Exactly `size` bytes must be taken from the stream before the next object is asked for. The ids are
        written by a thread of their own: git's answers and our questions never wait for each other.
        """
        wanted = list(object_ids)
        asked = [i for i in wanted if i in self._local] if self._local is not None else wanted
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None

        def ask() -> None:
            try:
                stdin.write("".join(f"{object_id}\n" for object_id in asked).encode("ascii"))
                stdin.flush()
            except OSError:  # git has died: the reader below finds the end of its output and says why
                pass

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        for object_id in wanted:
            if self._local is not None and object_id not in self._local:
                yield object_id, "missing", 0, stdout
                continue
            answer = stdout.readline().split()
            if len(answer) == 2 and answer[1] == b"missing":
                yield object_id, "missing", 0, stdout
            elif len(answer) == 3 and answer[0].decode("ascii") == object_id:
                size = int(answer[2])
                yield object_id, answer[1].decode("ascii"), size, stdout
                if stdout.read(1) != b"\n":
                    raise self._died(object_id)
            else:
                raise self._died(object_id)
        asking.join()

    def bodies(self, object_ids: Iterable[str]) -> Iterator[tuple[str, str, bytes]]:
        """(id, git type or "missing", bytes) of each object, for objects that fit in memory."""
        for object_id, kind, size, stream in self.read(object_ids):
            body = stream.read(size)
            if len(body) != size:
                raise self._died(object_id)
            yield object_id, kind, body

    def check_missing(self) -> None:
        """To be called when all answers were read and some were "missing".

        git gives the same answer for an object that it cannot unpack, but complains of that one on stderr.
        SourceError if it did.
        """
        stdin = self._process.stdin
        assert stdin is not None
        stdin.close()
        self._process.wait()
        self._drain.join()
        complaints = [line for line in bytes(self._stderr_tail).splitlines() if line.startswith(b"error: ")]
        if complaints:
            raise self._repository.failure("cat-file", complaints[0])

    def _died(self, object_id: str) -> SourceError:
        self._process.kill()
        self._process.wait()
        self._drain.join()
        return self._repository.failure(f"cat-file of object {object_id}", bytes(self._stderr_tail))

    def __enter__(self) -> ObjectReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._drain.join()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
