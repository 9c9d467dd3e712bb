"""The columns of the quality signals: apart from what measures them, which is slow to load."""

from __future__ import annotations

import pyarrow as pa

SCHEMA = pa.schema(
    [
        ("num_lines", pa.int64()),
        ("avg_line_length", pa.float32()),  # characters
        ("max_line_length", pa.int64()),  # characters
        ("alpha_fraction", pa.float32()),
        ("alphanum_fraction", pa.float32()),
        ("encoded_fraction", pa.float32()),
        ("longest_encoded_run", pa.int64()),  # characters
        ("first_lines_generated", pa.bool_()),  # generated.marked_generated
    ]
)
