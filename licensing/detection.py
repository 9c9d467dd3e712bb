"""The one result type of all license detectors, and its Arrow form.

Every detector says: in these bytes of the file stands this SPDX expression; found by this detector in this
version, by this rule, with this score. Nothing downstream needs to know which detector it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Detection:
    """One statement about a license that stands in a file."""

    expression: str
    """SPDX expression in canonical form (`expressions.canonical`)."""
    detector: str
    """Name and version: "spdx-tag 1", "declared 1", "rider 1", "scancode 32.5.0"."""
    rule: str
    """What matched, in the detector's own terms: a rule id, a manifest field, a phrase."""
    score: float
    """0..100: how much of the rule was found, as the detector measures it."""
    start: int
    """Byte offset of the first byte in the file."""
    end: int
    """Byte offset after the last byte."""


DETECTION = pa.struct(
    [
        pa.field("expression", pa.string(), nullable=False),
        pa.field("detector", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
    ]
)

DETECTIONS = pa.schema(
    [
        pa.field("expression", pa.string()),  # AND of the file's detections; null: nothing was detected
        pa.field("detections", pa.list_(DETECTION), nullable=False),  # by start, end, expression
    ]
)
"""What one file says about licenses: one row per file, aligned with the input of the batch functions."""
