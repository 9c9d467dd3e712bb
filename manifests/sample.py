"""Which shards to open where opening all of them takes too long.

A sample is a function of the seed and the shards' paths: the shards with the smallest SHA-256 of both. Whoever
altered a copy must not know the seed beforehand, so a seed is drawn anew for each verification unless one is to be
repeated.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from manifests.errors import ReleaseError
from manifests.facts import ShardFacts

_SIZE = re.compile(r"([0-9]{1,9})|([0-9]{1,3}(?:\.[0-9]{1,6})?)%")
_T = TypeVar("_T", bound=ShardFacts)


@dataclass(frozen=True)
class Sample:
    """A number of shards, or a share of them, drawn by a seed."""

    size: str
    """`20`, or `5%` (rounded up); at least one shard is drawn."""
    seed: str

    def __post_init__(self) -> None:
        match = _SIZE.fullmatch(self.size)
        if match is None or float(match[1] or match[2]) <= 0 or float(match[2] or 0) > 100:
            raise ReleaseError(
                f"{self.size[:40]!a} is no sample: give a number of shards such as 20, or a share such as 5%"
            )

    def of(self, shards: Sequence[_T]) -> list[_T]:
        """Return the shards that are drawn, in their order."""
        count = (
            -int(-len(shards) * float(self.size[:-1]) // 100) if self.size.endswith("%") else int(self.size)
        )
        drawn = set(sorted((self._place(shard.path), shard.path) for shard in shards)[: max(1, count)])
        return [shard for shard in shards if (self._place(shard.path), shard.path) in drawn]

    def _place(self, path: str) -> bytes:
        return hashlib.sha256(f"{self.seed}\0{path}".encode()).digest()
