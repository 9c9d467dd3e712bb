"""What the de-duplication benchmarks run on: distinct texts from folders, a Parquet file or the default archive.

Taken are files of 1 B to 1 MiB that are valid UTF-8 without a NUL byte, each content once (the first path in
sorted order stands for it). Links are not followed.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

LARGEST = 1 << 20
DEFAULT_CONFIG = Path(__file__).parent.parent / "configs" / "release-local.yaml"
_SKIPPED = {".git", "__pycache__"}


@dataclass(frozen=True)
class Corpus:
    """Distinct texts and where each was found; `source` says what was read, in words."""

    texts: list[bytes]
    paths: list[str]
    source: str

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def megabytes(self) -> float:
        """Bytes of all texts, in millions."""
        return sum(map(len, self.texts)) / 1e6

    def sample(self, count: int, seed: int = 1) -> Corpus:
        """Draw `count` texts at random, all if it is 0 or there are no more; they keep their order."""
        if not 0 < count < len(self):
            return self
        chosen = sorted(random.Random(seed).sample(range(len(self)), count))
        return Corpus([self.texts[i] for i in chosen], [self.paths[i] for i in chosen], self.source)

    def write(self, path: Path) -> None:
        """Write it as a Parquet file that `read_corpus` reads, for a process of its own."""
        pq.write_table(pa.table({"content": self.array(), "path": pa.array(self.paths)}), path)

    def array(self) -> pa.Array:
        """Give the texts as the Arrow array that `dedup` reads."""
        return pa.array(self.texts, pa.large_binary())


def read_corpus(places: Sequence[Path], exclude: Sequence[str] = ()) -> Corpus:
    """Read folders and Parquet files with a column `content` or `text`; nothing named: the default archive.

    `exclude`: patterns of paths to pass over, such as `*.RULE`.
    """
    if not places:
        return default_archive()
    texts: dict[bytes, tuple[bytes, str]] = {}
    for place in places:
        found = _parquet(place) if place.is_file() else _folder(place)
        for path, body in found:
            if is_text(body) and not any(fnmatch(path, pattern) for pattern in exclude):
                texts.setdefault(hashlib.sha256(body).digest(), (body, path))
    bodies, paths = zip(*texts.values(), strict=True) if texts else ((), ())
    return Corpus(list(bodies), list(paths), ", ".join(place.name or str(place) for place in places))


def is_text(body: bytes) -> bool:
    if not 0 < len(body) <= LARGEST or b"\0" in body:
        return False
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def default_archive() -> Corpus:
    """The contents of the archive that configs/release-local.yaml builds: installed packages, 24,000 files at most.

    An archive holds each content once; it is built in a temporary folder, and names are those of its objects.
    """
    from pipeline.config import load
    from pipeline.sources.from_installed import build_installed
    from pipeline.sources.sampling import Bounds

    archive = load(DEFAULT_CONFIG).archive
    bounds = Bounds(
        max_files=archive.max_files,
        max_bytes=archive.max_bytes,
        max_files_per_origin=archive.max_files_per_origin,
    )
    with tempfile.TemporaryDirectory(prefix="bench-dedup-") as scratch:
        build_installed(Path(scratch), bounds)
        objects = sorted(path for path in Path(scratch, "content").rglob("*") if path.is_file())
        bodies = [(path.name, gzip.decompress(path.read_bytes())) for path in objects]
    texts = [(name, body) for name, body in bodies if is_text(body)]
    return Corpus([body for _, body in texts], [name for name, _ in texts], "the default archive")


def _folder(root: Path) -> Iterator[tuple[str, bytes]]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - _SKIPPED)
        for name in sorted(names):
            path = Path(folder, name)
            if not path.is_symlink() and path.is_file() and 0 < path.stat().st_size <= LARGEST:
                yield str(Path(root.name, path.relative_to(root))), path.read_bytes()


def _parquet(path: Path) -> Iterator[tuple[str, bytes]]:
    file = pq.ParquetFile(path)
    column = "content" if "content" in file.schema_arrow.names else "text"
    row = 0
    for batch in file.iter_batches(columns=[column]):
        for body in batch.column(0).cast(pa.large_binary()).to_pylist():
            yield f"{path.name}:{row}", body or b""
            row += 1


def replicas(texts: Iterable[bytes], times: int, seed: int = 0) -> list[bytes]:
    """The texts and `times` - 1 copies of each with letters changed in 0.2 to 5 % of the tokens.

    Every copy draws its own share, uniformly on a log scale, and in each chosen token one byte becomes a
    lower-case letter. A worst case: nearly every document has near-duplicates.
    """
    originals = list(texts)
    draw = np.random.default_rng(seed)
    out = list(originals)
    for _ in range(times - 1):
        out.extend(_edited(text, draw) for text in originals)
    return out


def _edited(text: bytes, draw: np.random.Generator) -> bytes:
    data = np.frombuffer(text, np.uint8).copy()
    lower = data | 32
    word = (lower - np.uint8(97) < 26) | (data - np.uint8(48) < 10) | (data == 95)
    starts = np.flatnonzero(word & ~np.concatenate(([False], word[:-1])))
    share = 0.002 * 25 ** draw.random()
    chosen = starts[draw.random(len(starts)) < share]
    data[chosen] = draw.integers(97, 123, len(chosen))  # the first byte of a token: it stays one token
    return data.tobytes()
