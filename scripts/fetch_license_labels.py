"""Fetch the license files of benchmarks/license_labels.csv: packages by name and version, files checked by SHA-256.

    python scripts/fetch_license_labels.py FOLDER

The texts are not ours, so the tree holds only where each is and what it is. PyPI packages come by `pip download`, npm packages by
`npm pack`, Debian packages by `apt-get download`. FOLDER gets one file per text, named by its SHA-256. What is there is not
fetched again; what a registry has no more, or has with other bytes, is told, and the exit code is 1.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

LIST = Path(__file__).parents[1] / "benchmarks" / "license_labels.csv"
MAX_TEXT = 4 << 20  # bytes of a text


def main(folder: Path) -> int:
    """Fetch what is missing; returns the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    with LIST.open(encoding="utf-8", newline="") as stream:
        listed = sorted(csv.DictReader(stream), key=_package)
    failed = 0
    for (registry, package, version), group in groupby(listed, key=_package):
        wanted = [one for one in group if not (folder / one["sha256"]).exists()]
        if not wanted:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            archive = _fetched(registry, package, version, Path(scratch))
            bodies = dict(_members(archive, {one["path"] for one in wanted})) if archive else {}
        for one in wanted:
            body = bodies.get(one["path"], b"")
            if hashlib.sha256(body).hexdigest() == one["sha256"]:
                (folder / one["sha256"]).write_bytes(body)
            else:
                failed += 1
                print(f"not as listed: {registry} {package} {version} {one['path']}", file=sys.stderr)
    print(f"{len(listed) - failed} of {len(listed)} texts in {folder}")
    return 1 if failed else 0


def _package(one: dict[str, str]) -> tuple[str, str, str]:
    return one["registry"], one["package"], one["version"]


def _fetched(registry: str, package: str, version: str, scratch: Path) -> Path | None:
    """The one archive of a package; None when the registry does not give it."""
    command = {
        "pypi": [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:",
                 f"{package}=={version}"],
        "npm": ["npm", "pack", "--silent", f"{package}@{version}"],
        "debian": ["apt-get", "download", "-q", package],  # its mirrors hold the newest version only
    }[registry]  # fmt: skip
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, cwd=scratch, capture_output=True, check=False, timeout=600)
    found = sorted(scratch.iterdir())
    return found[0] if done.returncode == 0 and len(found) == 1 else None


def _members(archive: Path, paths: set[str]) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of some files of a wheel, a tarball or a Debian package."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for path in paths & set(wheel.namelist()):
                with wheel.open(path) as stream:
                    yield path, stream.read(MAX_TEXT)
        return
    if archive.suffix == ".deb":
        plain = archive.with_suffix(".tar")
        with plain.open("wb") as stream:
            subprocess.run(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=stream, check=True)
        archive = plain
    with tarfile.open(archive) as package:
        for member in package:
            if member.isfile() and member.name in paths and (stream := package.extractfile(member)):
                yield member.name, stream.read(MAX_TEXT)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
