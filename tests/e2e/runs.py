"""Running releases in tests: in this process, and as the command in a process of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from pipeline import config as configuration
from pipeline.config import ReleaseConfig
from pipeline.engine.executor import Executor, InProcess
from pipeline.engine.progress import Progress
from pipeline.release import Outcome, make_release


def settings(archive: Path, /, *, buckets: int | None = None, **sections: dict[str, Any]) -> dict[str, Any]:
    """Configuration data for an archive of tests: no ScanCode (slow to load), the registry beside the archive."""
    registry = archive.parent / "registry.yaml"
    data: dict[str, Any] = {
        "name": "test-release",
        "archive": {"uri": str(archive)},
        "licenses": {"scancode": False},
        "optout": {"registry": str(registry)} if registry.exists() else {},
        "emit": {"shard_bytes": 8_000},
        "engine": {} if buckets is None else {"buckets": buckets},
    }
    for name, values in sections.items():
        data[name] = {**data.get(name, {}), **values}
    return data


def parsed(archive: Path, /, *, buckets: int | None = None, **sections: dict[str, Any]) -> ReleaseConfig:
    return configuration.parse(settings(archive, buckets=buckets, **sections))


def release(
    archive: Path,
    folder: Path,
    /,
    *,
    version: str = "1.0",
    buckets: int | None = 2,
    executor: Executor | None = None,
    log: io.StringIO | None = None,
    out: str | None = None,
    workdir: str | None = None,
    **sections: dict[str, Any],
) -> Outcome:
    """`folder/out/<version>` with the work directory `folder/work`, unless these are given."""
    return make_release(
        parsed(archive, buckets=buckets, **sections),
        version=version,
        out=out or folder / "out",
        workdir=workdir or str(folder / "work"),
        executor=executor or InProcess(),
        progress=Progress(log or io.StringIO()),
    )


def command(
    archive: Path,
    folder: Path,
    /,
    *arguments: str,
    version: str = "1.0",
    buckets: int = 2,
    out: str | None = None,
    workdir: str | None = None,
    **sections: dict[str, Any],
) -> list[str]:
    """The command line of `pipeline release`, its configuration written to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "release.yaml"
    path.write_text(yaml.safe_dump(settings(archive, buckets=buckets, **sections)))
    return [
        sys.executable, "-m", "pipeline.cli.main", "release", "--config", str(path), "--version", version,
        "--out", out or str(folder / "out"), "--workdir", workdir or str(folder / "work"), *arguments,
    ]  # fmt: skip


def run(line: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line, capture_output=True, text=True, env={**os.environ, **environment}, check=False, timeout=600
    )
