"""SHA256SUMS of a folder that is no checkpoint: an exported or merged model, checked with `sha256sum -c`."""

from __future__ import annotations

from pathlib import Path

from manifests.checksums import sha256_file
from training.errors import CheckpointError

FILE = "SHA256SUMS"


def _files(folder: Path) -> dict[str, Path]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != FILE)
    return {path.relative_to(folder).as_posix(): path for path in sorted(found)}


def write(folder: Path) -> None:
    """List every file of a folder."""
    lines = [f"{sha256_file(path)[0]}  {name}\n" for name, path in _files(folder).items()]
    (folder / FILE).write_text("".join(lines), encoding="utf-8")


def verify(folder: Path) -> None:
    """Check every file of a folder against its list.

    Raises:
        CheckpointError: names the file that is missing, extra or altered.
    """
    try:
        lines = (folder / FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: no readable {FILE}: {error}") from error
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    present = _files(folder)
    for name in sorted(listed.keys() | present.keys()):
        if name not in present:
            raise CheckpointError(f"{folder}: {name} is missing")
        if name not in listed:
            raise CheckpointError(f"{folder}: {name} is not one of the files that were written ({FILE})")
        if sha256_file(present[name])[0] != listed[name]:
            raise CheckpointError(f"{folder}: {name} is not what was written (SHA-256 differs)")
