"""Files of the user that stages read (a license policy, the opt-out registry, lists): kept in the work directory.

A task may run on a machine that has no such file, or another one under the same name. So the driver stores the bytes
once as `inputs/<sha256><suffix>`, hands the key to the tasks in `Stage.extra`, and they read it from the store. What the
file means for the result (the digest of its content) belongs into `Stage.config`; nothing here is part of a key.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from pipeline.engine.store import Store
from pipeline.errors import IntegrityError, SourceError

FOLDER = "inputs"
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")  # readers tell formats apart by it
_HEX = 64


def keep(store: Store, path: Path) -> str:
    """Store the file's bytes under their digest and return the key. Raises SourceError when it cannot be read."""
    sha256 = _sha256(path)
    key = f"{FOLDER}/{sha256}{path.suffix if _SUFFIX.fullmatch(path.suffix) else ''}"
    if store.stat(key) is None:
        with store.writing(key) as target:
            shutil.copyfile(path, target)
            if _sha256(target) != sha256:
                raise SourceError(f"{path} changed while it was read; run again")
    return key


def kept(store: Store, key: str, folder: Path) -> Path:
    """A local copy in `folder` of what `keep` stored. Raises IntegrityError when it is not there or not the same."""
    name = key.rsplit("/", 1)[-1]
    try:
        data = store.read(key)
    except FileNotFoundError as error:
        raise IntegrityError(f"{store.uri}/{key} is missing; run the release again") from error
    if hashlib.sha256(data).hexdigest() != name[:_HEX]:
        raise IntegrityError(f"{store.uri}/{key} is damaged; delete it and run the release again")
    copy = folder / name
    copy.write_bytes(data)
    return copy


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
