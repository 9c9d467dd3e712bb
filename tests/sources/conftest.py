"""Real git repositories and small fake Python environments for the tests of sources."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # graph_exports.py: the tests have no packages

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "Ada Example",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_AUTHOR_DATE": "1700000000 +0230",
    "GIT_COMMITTER_NAME": "Carl Example",
    "GIT_COMMITTER_EMAIL": "carl@example.org",
    "GIT_COMMITTER_DATE": "1700000100 -0800",
}


class GitRepository:
    """A repository that tests write with the real git."""

    def __init__(self, path: Path, *, bare: bool = False, init: bool = True) -> None:
        self.path = path
        if not init:
            return
        path.mkdir(parents=True, exist_ok=True)
        self("init", "--quiet", "--initial-branch=main", *(["--bare"] if bare else []))

    def __call__(self, *arguments: str | bytes, stdin: bytes = b"", **environment: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.path,
            input=stdin,
            capture_output=True,
            env=ENVIRONMENT | environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def write(self, name: str | bytes, body: bytes = b"", *, executable: bool = False) -> None:
        path = self.path / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        path.chmod(0o755 if executable else 0o644)

    def commit(self, message: str = "change", **environment: str) -> str:
        self("add", "--all", ".")
        self("commit", "--quiet", "--allow-empty", "-m", message, **environment)
        return self("rev-parse", "HEAD")

    def hash_object(self, kind: str, body: bytes) -> str:
        """Write any bytes as an object, also such as git itself would refuse."""
        return self("hash-object", "--literally", "-w", "-t", kind, "--stdin", stdin=body)


@pytest.fixture
def repository(tmp_path):
    return GitRepository(tmp_path / "repository")


@pytest.fixture
def make_repository(tmp_path):
    return lambda name, **options: GitRepository(tmp_path / name, **options)


class Archive:
    """What a built archive holds, as plain Python values."""

    def __init__(self, path: Path, export: str = "local") -> None:
        self.path = path
        self.tables = path / "graph" / export / "parquet"

    def table(self, name: str) -> pa.Table:
        return pq.read_table(self.tables / name / f"{name}-00000.parquet")

    def rows(self, name: str) -> list[dict]:
        return self.table(name).to_pylist()

    def by_id(self, name: str, key: str = "id") -> dict[str, dict]:
        return {row[key]: row for row in self.rows(name)}

    def branches(self, snapshot_id: str | None = None) -> dict[bytes, tuple[str, str]]:
        return {
            row["name"]: (row["target_type"], row["target"])
            for row in self.rows("snapshot_branch")
            if snapshot_id in (None, row["snapshot_id"])
        }

    def files(self, directory_id: str, base: bytes = b"") -> dict[bytes, tuple[int, str]]:
        """Path -> (mode, id) of everything below a directory."""
        found = {}
        for row in self.rows("directory_entry"):
            if row["directory_id"] == directory_id:
                path = base + row["name"]
                if row["type"] == "dir":
                    found |= self.files(row["target"], path + b"/")
                else:
                    found[path] = (row["perms"], row["target"])
        return found

    def digest(self) -> dict[str, str]:
        """Every file of the archive with the hash of its bytes."""
        return {
            str(path.relative_to(self.path)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.path.rglob("*"))
            if path.is_file()
        }


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path / "archive")


class FakeEnvironment:
    """A site-packages folder and a standard library folder."""

    def __init__(self, root: Path) -> None:
        self.site = root / "site-packages"
        self.stdlib = root / "lib" / "python3.11"
        self.site.mkdir(parents=True)
        self.stdlib.mkdir(parents=True)
        (self.stdlib / "os.py").write_bytes(b"# os\n")

    def install(
        self,
        name: str,
        version: str,
        files: dict[str, bytes],
        links: dict[str, str] | None = None,
        listed: tuple[str, ...] = (),
        info: dict[str, bytes] | None = None,
    ) -> None:
        """Write a distribution: `info` are files of its metadata folder, `listed` more lines of RECORD."""
        folder = f"{name.replace('-', '_')}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n"
        metadata += "".join(f"Project-URL: {label}, {url}\n" for label, url in (links or {}).items())
        written = files | {f"{folder}/{path}": body for path, body in (info or {}).items()}
        written[f"{folder}/METADATA"] = metadata.encode()
        written[f"{folder}/INSTALLER"] = b"pip\n"
        record = ""
        for path, body in written.items():
            target = self.site / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(body)
            checksum = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={checksum},{len(body)}\n"
        record += "".join(f"{path},,\n" for path in (*listed, f"{folder}/RECORD"))
        (self.site / folder / "RECORD").write_text(record)


@pytest.fixture
def environment(tmp_path):
    return FakeEnvironment(tmp_path / "environment")
