"""Which files of many origins go into a bounded sample: a pure function of names, sizes and bounds.

Order of preference: license-like files and package manifests at the root of an origin; the ones deeper
down; files whose extension is rare in the whole input, so that small languages survive; everything else.
Inside a class files come in the order of SHA-256(origin, path), so the sample is spread evenly over the
origins' folders, and a file that is added or removed elsewhere moves only those at the edge.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from licensing.names import license_like, manifest_like
from pipeline.errors import ConfigError

_RARE = 100  # an extension is rare when no more files than this have it
_EVIDENCE_PER_FOLDER = 25
"""License-like files and manifests of one folder that are evidence about it. Where more lie together they are
a collection, that is, data: a license detector ships 26,000 license texts in a few folders."""

_ROOT_EVIDENCE, _EVIDENCE, _RARE_EXTENSION, _REST = range(4)


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Limits of a sample; ConfigError unless all are positive.

    The default of `max_files_per_origin` lets a plain installation reach 20,000 files and keeps a package
    that ships tens of thousands of data files from filling the sample alone.
    """

    max_files: int = 24_000
    max_bytes: int = 268_435_456
    max_files_per_origin: int = 4_000
    max_file_bytes: int = 2_000_000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ConfigError(f"{name.replace('_', '-')} must be at least 1, not {value}")


class Candidate(NamedTuple):
    """One file that could be sampled; `size` in bytes."""

    origin: str
    path: bytes
    size: int


def choose(candidates: Sequence[Candidate], bounds: Bounds) -> tuple[list[int], Counter[str]]:
    """Indices of the chosen candidates, ascending, and how many each bound left out."""
    left_out: Counter[str] = Counter()
    ranked = _rank(candidates)
    by_origin: dict[str, list[tuple[int, bytes, int]]] = defaultdict(list)
    for rank, digest, index in ranked:
        if candidates[index].size > bounds.max_file_bytes:
            left_out["max_file_bytes"] += 1
        else:
            by_origin[candidates[index].origin].append((rank, digest, index))
    pool: list[tuple[int, bytes, int]] = []
    for unordered in by_origin.values():
        files, too_many = _without_license_collections(sorted(unordered), candidates)
        left_out["license_collection"] += too_many
        left_out["max_files_per_origin"] += max(0, len(files) - bounds.max_files_per_origin)
        pool += files[: bounds.max_files_per_origin]
    chosen: list[int] = []
    room = bounds.max_bytes
    for _, _, index in sorted(pool):
        if len(chosen) == bounds.max_files:
            left_out["max_files"] += 1
        elif candidates[index].size > room:  # a smaller file further on may still fit
            left_out["max_bytes"] += 1
        else:
            room -= candidates[index].size
            chosen.append(index)
    return sorted(chosen), +left_out


def _rank(candidates: Sequence[Candidate]) -> list[tuple[int, bytes, int]]:
    names = [c.path.rpartition(b"/")[2] for c in candidates]
    array = pa.array(names, pa.binary())
    evidence = pc.or_(license_like(array), manifest_like(array)).to_pylist()
    extensions = [_extension(name) for name in names]
    count = Counter(extensions)
    ranked = []
    for index, candidate in enumerate(candidates):
        if evidence[index]:
            rank = _EVIDENCE if b"/" in candidate.path else _ROOT_EVIDENCE
        else:
            rank = _RARE_EXTENSION if count[extensions[index]] <= _RARE else _REST
        origin = candidate.origin.encode("utf-8", "surrogateescape")
        ranked.append((rank, hashlib.sha256(origin + b"\x00" + candidate.path).digest(), index))
    return ranked


def _extension(name: bytes) -> bytes:
    stem, dot, extension = name.rpartition(b".")
    return extension.lower() if dot and stem else b""


def _without_license_collections(
    files: list[tuple[int, bytes, int]], candidates: Sequence[Candidate]
) -> tuple[list[tuple[int, bytes, int]], int]:
    """One origin's files without the license-like ones that are a collection, and how many those are."""
    places: Counter[bytes] = Counter()
    kept = []
    for file in files:
        if file[0] in (_ROOT_EVIDENCE, _EVIDENCE):
            folder = candidates[file[2]].path.rpartition(b"/")[0]
            places[folder] += 1
            if places[folder] > _EVIDENCE_PER_FOLDER:
                continue
        kept.append(file)
    return kept, len(files) - len(kept)
