"""A token cache on disk: its files, and how an opened one is known to be sound.

    tokens.bin          ids of all documents, one after the other
    documents.arrow     a row per document
    members.arrow       a row per row of the corpus that a document is made of
    cache.json          what names the cache, and SHA-256 of the others and of itself

All but the last are mapped into memory, so that the processes of a machine share them.

What an opened cache promises: its bytes are those that its hashes name. All are hashed when a cache is first opened
after it was made, after the machine started, or after any of its files changed; then a mark is left beside it, with
sizes, times and inode numbers, and the other processes of the machine (64 ranks would read gigabytes 64 times, one
after the other under the lock) only compare these. So every change that goes through the file system is noticed, and
damage of the disk itself at the next start of the machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import feather

from manifests.checksums import sha256_file
from training.corpus.sources import Report
from training.errors import OutputError

PARTS = {"tokens": "tokens.bin", "documents": "documents.arrow", "members": "members.arrow"}
"""Files that `cache.json` has a hash of."""
ABOUT = "cache.json"

_SETTLED_NS = 1_000_000_000
"""Times of files are no finer than some milliseconds: a file that changed this shortly before the mark is hashed."""


@dataclass(frozen=True)
class TokenCache:
    """Tokens of some documents, one after the other; all arrays are memory-mapped.

    Attributes:
        key: digest that names the cache.
        digest: SHA-256 (hex) of the tokens' bytes.
        tokens: flat ids, uint16 or uint32.
        content_id: name of each document (strings): the `content_sha256` of its row.
        language: number of each document's language (int64); of several, that of the most bytes.
        source: number of each document's source (int64).
        length: tokens of each document (int64); their sum is `len(tokens)`.
        text_bytes: UTF-8 bytes of each document (int64).
        member_document, member_row, member_token: the rows of the corpus that the documents are made of, in the
            order of the tokens (int64): document, row, and offset of the row's first token in its document.
        fim: documents that were cut.
    """

    key: str
    digest: str
    tokens: np.ndarray
    content_id: pa.LargeStringArray
    language: np.ndarray
    source: np.ndarray
    length: np.ndarray
    text_bytes: np.ndarray
    member_document: np.ndarray
    member_row: np.ndarray
    member_token: np.ndarray
    fim: int


class writing:
    """Turns an `OSError` inside into an `OutputError` that names the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise OutputError(f"{self.folder}: cannot be written: {error.strerror or error}") from error


def digest_of(parts: dict[str, Any]) -> str:
    """SHA-256 (hex) of what names a cache."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def sha256_of(file: Path) -> str:
    """SHA-256 (hex) of a file."""
    return sha256_file(file)[0]


def write_table(table: pa.Table, file: Path) -> None:
    """As one uncompressed batch: what is read is memory of the file, one array for each column."""
    feather.write_feather(
        table.combine_chunks(), str(file), compression="uncompressed", chunksize=max(1, table.num_rows)
    )


def write_about(folder: Path, about: dict[str, Any]) -> None:
    """Write `cache.json`, the last of the files: these entries, hashes of the tables, and its own."""
    about = {
        **about,
        **{f"{part}_sha256": sha256_of(folder / PARTS[part]) for part in ("documents", "members")},
    }
    about["sha256"] = digest_of(about)
    (folder / ABOUT).write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")


def aside(place: Path) -> Path:
    """A new folder for what is to lie at `place`, named by this machine (see `unfinished`)."""
    made = place.parent / f"{place.name}.tmp-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    made.mkdir(parents=True)
    return made


def unfinished(cache: Path) -> Iterator[Path]:
    """What this machine has begun to write to a cache folder; under its lock: what killed processes left.

    Another machine may be at work in it, as the locks of some network file systems do not reach it.
    """
    for name in ("tokens-*", "tokenizer-*", "near-*.npy"):
        yield from cache.glob(f"{name}.tmp-{socket.gethostname()}-*")


def put(folder: Path, place: Path) -> None:
    """Put a folder of `aside` into its place; where another machine was faster, its folder stays."""
    try:
        folder.rename(place)
    except OSError:
        if not place.is_dir():
            raise
        shutil.rmtree(folder)


def folder_of(cache: Path, key: str) -> Path:
    """Where the cache of that key lies."""
    return cache / f"tokens-{key[:24]}"


def found(cache: Path, key: str, report: Report) -> TokenCache | None:
    """The cache of that key, if it is there and sound; a damaged one is removed.

    Raises:
        OutputError: it cannot be removed.
    """
    folder = folder_of(cache, key)
    if not folder.exists():
        return None
    earlier = open_cache(folder, key)
    if earlier is None:
        report(f"{folder}: the token cache is damaged and is made again")
        with writing(folder):
            shutil.rmtree(folder)
    return earlier


def open_cache(folder: Path, key: str) -> TokenCache | None:
    """The cache in `folder`, or None if it is not complete or not what its hashes say."""
    try:
        about = json.loads((folder / ABOUT).read_bytes())
        if not _marked(folder) and not _hashes_hold(folder, about):
            return None
        if about["key"] != key:
            return None
        tokens = np.memmap(folder / PARTS["tokens"], dtype=about["dtype"], mode="r")
        documents, members = (_read(folder / PARTS[part]) for part in ("documents", "members"))
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return TokenCache(
        key=key,
        digest=about["tokens_sha256"],
        tokens=tokens,
        content_id=documents.pop("content_id"),
        **{name: column.to_numpy() for name, column in documents.items()},
        **{f"member_{name}": column.to_numpy() for name, column in members.items()},
        fim=int(about["fim"]),
    )


def _read(file: Path) -> dict[str, pa.Array]:
    """The columns of a table of `write_table`, mapped into memory."""
    table = feather.read_table(str(file), memory_map=True)
    return {name: table[name].chunk(0) for name in table.column_names}


def _hashes_hold(folder: Path, about: dict[str, Any]) -> bool:
    """Hash all files; if they are what `cache.json` says, leave the mark of this start of this machine."""
    before = _state(folder)
    if about["sha256"] != digest_of({name: value for name, value in about.items() if name != "sha256"}):
        return False
    if any(sha256_of(folder / file) != about[f"{part}_sha256"] for part, file in PARTS.items()):
        return False
    mark = _mark(folder)
    # A cache that others made, and that may only be read, is hashed each time.
    with contextlib.suppress(OSError):
        if mark is not None:
            mark.write_text(json.dumps(before))
    return True


def _marked(folder: Path) -> bool:
    """Whether this machine has hashed these very files since it started."""
    mark = _mark(folder)
    try:
        if mark is None or json.loads(mark.read_bytes()) != (state := _state(folder)):
            return False
        return mark.stat().st_mtime_ns - max(times for _, times, _ in state) > _SETTLED_NS
    except (OSError, ValueError):
        return False


def _state(folder: Path) -> list[list[int]]:
    found = [(folder / name).stat() for name in (*PARTS.values(), ABOUT)]
    return [[stat.st_size, max(stat.st_mtime_ns, stat.st_ctime_ns), stat.st_ino] for stat in found]


def _mark(folder: Path) -> Path | None:
    """Where this machine notes that it has hashed the cache; None where it cannot be told from its last start."""
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return folder / f".hashed-{hashlib.sha256(start.encode()).hexdigest()[:16]}"
