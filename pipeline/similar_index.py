"""The index of a release on disk: fingerprints -> rows, made once per release, mapped into memory, kept in a cache folder.

    <home>/<first 32 digits of the release's digest>-v<format>/
      index.json      format, parameters, release, sizes, SHA-256 of the three small files; written last
      sizes.u32       shingles and fingerprints of each row    8 bytes per row
      directory.u64   where each bin starts                    8 bytes per bin
      checks.u32      CRC-32 of each bin                       4 bytes per bin
      keys.u32        32 bits of each fingerprint, by bin      4 bytes per posting
      rows.u32        the row of each                          4 bytes per posting

Little-endian. Memory while it is made: `RUN_POSTINGS`, whatever the size of the release; what is more goes to sorted runs on
disk, which are united bin by bin. It is written under another name and renamed, so a half-written one is never opened; what
was damaged later is noticed by the CRC of the bins that a look-up reads.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from dedup.lookup import Postings, Sizes, bin_bits, bins_of, sort_postings, unite
from dedup.machine import U64, U64s
from dedup.overlap import Shingled, distinct
from dedup.shingles import SHINGLE_TOKENS
from dedup.winnow import WINDOW, WINDOWS, Fingerprints, fingerprints, winnow
from manifests.checksums import sha256_file
from pipeline.engine.store import fsync
from pipeline.errors import SourceError
from pipeline.similar_rows import Rows

FORMAT = 1
RUN_POSTINGS = 1 << 22  # about 100 bytes each until they are sorted, measured
_BYTES_PER_POSTING = 90  # of text, measured on source code: the number of bins follows from it
_SAY_SECONDS = 5.0
_NAMES = ("sizes.u32", "directory.u64", "checks.u32", "keys.u32", "rows.u32")
_SMALL = _NAMES[:3]
_PROBE = " ".join(f"token{number}" for number in range(64)).encode()

Log = Callable[[str], None]


class DamagedIndexError(Exception):
    """An index that is not what it was written as: it is to be made anew."""


def index_home(given: str | Path | None = None) -> Path:
    """The folder of all indexes: the given one, else `stackmill/similar` in XDG_CACHE_HOME, else in ~/.cache."""
    if given is not None:
        return Path(given)
    # The standard has a relative path ignored: https://specifications.freedesktop.org/basedir-spec
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache") / "stackmill" / "similar"


def release_bits(rows: Rows) -> int:
    """The number of bins, as a power of two, of an index of these rows."""
    return bin_bits(sum(shard.text_bytes for shard in rows.shards) // _BYTES_PER_POSTING)


class Index:
    """An index on disk, opened. Raises DamagedIndexError when it is none of this release, in this format."""

    def __init__(self, folder: Path, rows: Rows) -> None:
        self.folder = folder
        facts = _facts(folder)
        wanted = _parameters(rows)
        if {name: facts.get(name) for name in wanted} != wanted:
            raise DamagedIndexError(f"{folder} is of another release, or of another version of this software")
        postings, bins = facts.get("postings"), 1 << wanted["bits"]
        wanted_bytes = (8 * len(rows), 8 * (bins + 1), 4 * bins, 4 * (postings or 0), 4 * (postings or 0))
        sizes = dict(zip(_NAMES, wanted_bytes, strict=True))
        try:
            found = {name: (folder / name).stat().st_size for name in _NAMES}
            digests = {name: sha256_file(folder / name)[0] for name in _SMALL}
        except OSError as error:
            raise DamagedIndexError(f"{folder}: {error}") from error
        if found != sizes or digests != facts.get("sha256"):
            raise DamagedIndexError(f"{folder}: a file has not the bytes that were written")
        pairs, directory, checks, keys, numbers = (_mapped(folder / name) for name in _NAMES)
        self.sizes = Sizes(pairs[::2], pairs[1::2])
        self.postings = Postings(directory, keys, numbers)
        self._checks = checks
        self._checked = np.zeros(bins, np.bool_)

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def of(self, hashes: U64s) -> Postings:
        """The postings, the bins of these hashes checked. Raises DamagedIndexError."""
        bins = np.unique(bins_of(hashes, self.postings.bits))
        for number in bins[~self._checked[bins]].tolist():
            start, stop = (int(border) for border in self.postings.directory[number : number + 2])
            if (
                _crc(self.postings.keys[start:stop], self.postings.documents[start:stop])
                != self._checks[number]
            ):
                raise DamagedIndexError(f"{self.folder}: bin {number} has not the bytes that were written")
            self._checked[number] = True
        return self.postings


def open_or_build(rows: Rows, home: Path, log: Log, *, damaged: Index | None = None) -> Index:
    """The index of a release, made if there is none that can be used. Two that need it at once make it once.

    `damaged`: one that was opened and turned out to be so; it is replaced. Raises SourceError when the folder cannot be written.
    """
    folder = home / f"{rows.release.digest[:32]}-v{FORMAT}"
    if damaged is None:
        with contextlib.suppress(DamagedIndexError):
            return Index(folder, rows)
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _alone(folder.with_name(f"{folder.name}.lock")):
            if damaged is None:
                with contextlib.suppress(DamagedIndexError):
                    return Index(folder, rows)  # another process has made it meanwhile
            for left in home.glob(f"{folder.name}.tmp-*"):  # of a process that was killed
                shutil.rmtree(left)
            _build(rows, folder, log)
    except OSError as error:
        raise SourceError(
            f"the index cannot be written below {home}: {error.strerror or error}; give another folder with --index, or"
            " --no-index to read the shards for this one question"
        ) from error
    return Index(folder, rows)


def scan(rows: Rows, hashes: U64s) -> tuple[Postings, Sizes]:
    """The part of an index that these hashes meet, from the rows themselves: the same as `open_or_build` would find."""
    bits = release_bits(rows)
    wanted = distinct(hashes & _mask(bits))
    kept, numbers, sizes = [np.empty(0, np.uint64)], [np.empty(0, np.uint32)], [np.empty((0, 2), np.uint32)]
    for first, texts in rows.texts():
        found = fingerprints(texts)
        keys = found.hashes & _mask(bits)
        at = np.minimum(np.searchsorted(wanted, keys), max(0, len(wanted) - 1))
        hit = wanted[at] == keys if len(wanted) else np.zeros(len(keys), np.bool_)
        kept.append(keys[hit])
        numbers.append((found.index[hit] + first).astype(np.uint32))
        sizes.append(_sizes(found))
    of_rows = np.concatenate(sizes)
    return sort_postings(np.concatenate(kept), np.concatenate(numbers), bits), Sizes(
        of_rows[:, 0], of_rows[:, 1]
    )


def _mask(bits: int) -> np.uint64:
    """The bits of a hash that an index keeps."""
    return U64((1 << (bits + 32)) - 1)


def _sizes(found: Fingerprints) -> Any:
    """Shingles and fingerprints of each text: uint32[n, 2]."""
    marks = np.bincount(found.index, minlength=len(found.shingles))
    return np.stack((found.shingles, marks), axis=1).astype(np.uint32)


def _facts(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedIndexError(f"{folder}: {error}") from error
    if not isinstance(facts, dict) or type(facts.get("postings")) is not int:
        raise DamagedIndexError(f"{folder}: index.json is not that of an index")
    return facts


def _parameters(rows: Rows) -> dict[str, Any]:
    """What must be the same for an index to answer; `probe` changes when shingles are hashed or chosen otherwise."""
    chosen = winnow(Shingled.of(_PROBE).values)
    return {
        "format": FORMAT,
        "release": rows.release.digest,
        "rows": len(rows),
        "bits": release_bits(rows),
        "shingle_tokens": SHINGLE_TOKENS,
        "window": WINDOW,
        "windows": WINDOWS,
        "probe": hashlib.sha256(chosen.tobytes()).hexdigest(),
    }


def _mapped(path: Path) -> Any:
    """A file as an array, without reading it."""
    kind = np.dtype("<u8" if path.suffix == ".u64" else "<u4")
    if path.stat().st_size == 0:  # cannot be mapped
        return np.empty(0, kind)
    return np.memmap(path, kind, "r").view(np.ndarray)


def _crc(keys: Any, numbers: Any) -> int:
    return zlib.crc32(np.ascontiguousarray(numbers), zlib.crc32(np.ascontiguousarray(keys)))


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until nobody else makes this index."""
    with lock.open("wb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(rows: Rows, folder: Path, log: Log) -> None:
    temporary = folder.with_name(f"{folder.name}.tmp-{uuid.uuid4().hex[:12]}")
    temporary.mkdir()
    try:
        started = time.monotonic()
        text = sum(shard.text_bytes for shard in rows.shards)
        log(f"indexing {len(rows):,} rows, {text / 1e6:,.1f} MB of text, once for this release: {folder}")
        parts = list(_runs(rows, temporary, log))
        facts = _write(parts, temporary)
        del parts
        for run in temporary.glob("run-*"):
            shutil.rmtree(run)
        facts = {**_parameters(rows), **facts}
        (temporary / "index.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        for path in (*temporary.iterdir(), temporary):
            fsync(path)
        if folder.exists():  # damaged, or of another version
            aside = folder.with_name(f"{folder.name}.tmp-{uuid.uuid4().hex[:12]}")
            folder.rename(aside)
            shutil.rmtree(aside)
        temporary.rename(folder)
        fsync(folder.parent)
        size = sum(path.stat().st_size for path in folder.iterdir())
        log(f"indexed in {time.monotonic() - started:,.1f} s, {size / 1e6:,.1f} MB")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _runs(rows: Rows, temporary: Path, log: Log) -> Iterator[Postings]:
    """Sorted parts of the index, each of the rows after those of the one before; a single one stays in memory."""
    bits = release_bits(rows)
    hashes: list[U64s] = []
    numbers: list[Any] = []
    held = runs = done = 0
    said = time.monotonic()

    def part(*, last: bool) -> Postings:
        sorted_part = sort_postings(
            np.concatenate(hashes) if hashes else np.empty(0, np.uint64),
            np.concatenate(numbers) if numbers else np.empty(0, np.uint32),
            bits,
        )
        return sorted_part if last and runs == 0 else _spilled(sorted_part, temporary / f"run-{runs:04d}")

    with (temporary / "sizes.u32").open("wb") as sizes:
        for first, texts in rows.texts():
            found = fingerprints(texts)
            _sizes(found).tofile(sizes)
            if held and held + len(found.hashes) > RUN_POSTINGS:
                yield part(last=False)
                hashes, numbers, held, runs = [], [], 0, runs + 1
            hashes.append(found.hashes)
            numbers.append((found.index + first).astype(np.uint32))
            held += len(found.hashes)
            done += len(texts)
            if time.monotonic() - said > _SAY_SECONDS:
                said = time.monotonic()
                log(f"indexing: {done:,} of {len(rows):,} rows")
    yield part(last=True)


def _spilled(part: Postings, folder: Path) -> Postings:
    folder.mkdir()
    arrays = zip(
        ("directory.u64", "keys.u32", "rows.u32"), (part.directory, part.keys, part.documents), strict=True
    )
    for name, array in arrays:
        array.tofile(folder / name)
    return Postings(*(_mapped(folder / name) for name in ("directory.u64", "keys.u32", "rows.u32")))


def _write(parts: list[Postings], folder: Path) -> dict[str, Any]:
    """Unite sorted parts bin by bin into the files of an index; what index.json says of them."""
    total = np.array(parts[0].directory)
    for part in parts[1:]:
        total += part.directory
    bins = len(total) - 1
    directory, checks = np.zeros(bins + 1, np.uint64), np.zeros(bins, np.uint32)
    written = first = 0
    with (folder / "keys.u32").open("wb") as keys, (folder / "rows.u32").open("wb") as numbers:
        while first < bins:
            fits = int(np.searchsorted(total, int(total[first]) + RUN_POSTINGS, side="right")) - 1
            last = min(bins, max(first + 1, fits))
            portion = parts[0] if len(parts) == 1 and last - first == bins else unite(parts, first, last)
            portion.keys.tofile(keys)
            portion.documents.tofile(numbers)
            borders = portion.directory.astype(np.int64).tolist()
            for at, (start, stop) in enumerate(pairwise(borders), first):
                checks[at] = _crc(portion.keys[start:stop], portion.documents[start:stop])
                directory[at + 1] = written + stop
            written += borders[-1]
            first = last
    directory.tofile(folder / "directory.u64")
    checks.tofile(folder / "checks.u32")
    return {
        "postings": written,
        "sha256": {name: sha256_file(folder / name)[0] for name in _SMALL},
    }
