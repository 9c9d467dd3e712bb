"""How many buckets a new work directory gets, so that the rows of one bucket fit the memory of a task.

    buckets = the power of two at or above max over tables of rows x ROW_BYTES / task_memory, from LEAST to MAX_BUCKETS,
              but at least the power of two at or below contents / FULL, up to 8

It is chosen once, when the work directory is made, from the row counts in the footers of the export's tables.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.engine.amounts import memory_bytes
from pipeline.engine.buckets import MAX_BUCKETS
from pipeline.sources.graph import GraphExport

LEAST = 2
FULL = 16_384
"""Contents below which a bucket is hardly worth a unit of work: some sixty stages each cost about 50 ms of CPU time for every
bucket, whatever is in it. Measured on 35,000 files, an update of two origins: 31.7 s of CPU time with 8 buckets, 14.3 s
with 2. Beyond 8 buckets memory decides."""

ROW_BYTES: Mapping[str, int] = {
    # An entry is about 130 bytes in Arrow (two ids of 40 digits, a name, offsets), and a task holds up to 4 copies, but
    # only of those that current roots lead to: the raw table goes through in parts (pipeline.engine.spill). One in eight
    # is a guess on the safe side for an archive with its history.
    "directory_entry": 64,
    # A content and what is known of it is about 500 bytes at its widest (judge, elect); it has 2 occurrences or so.
    "content": 2_048,
}
"""Bytes of memory that a task holds for each row of its bucket."""


def buckets_for(rows: Mapping[str, int], task_memory: str) -> int:
    """The number of buckets for tables of so many rows."""
    memory = memory_bytes(task_memory)
    wanted = max(-(-rows.get(table, 0) * size // memory) for table, size in ROW_BYTES.items())
    full = 1 << max(1, rows.get("content", 0) // FULL).bit_length() - 1
    return min(MAX_BUCKETS, max(LEAST, min(8, full), 1 << max(0, wanted - 1).bit_length()))


def buckets_of(export: GraphExport, task_memory: str) -> int:
    """The number of buckets for an export."""
    return buckets_for({table: export.rows(table) for table in ROW_BYTES}, task_memory)
