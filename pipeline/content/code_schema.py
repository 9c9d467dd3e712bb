"""The columns of the signals that need the language: apart from what measures them, which is slow to load."""

from __future__ import annotations

import pyarrow as pa

COMMENTS = pa.schema(
    [
        ("comment_fraction", pa.float32()),  # of bytes that are not white space
        ("docstring_fraction", pa.float32()),  # likewise; null in languages without such strings
    ]
)
"""Both null where the language's comments are not known, or the text is blank."""

HTML = pa.schema(
    [
        ("html_visible_chars", pa.int64()),
        ("html_visible_fraction", pa.float32()),  # of all characters; null for an empty text
    ]
)
"""Both null for what is not HTML."""

SYNTAX = pa.schema(
    [
        ("syntax_error_fraction", pa.float32()),  # of bytes
        ("syntax_errors", pa.int64()),
        ("functions", pa.int64()),
        ("classes", pa.int64()),
        ("not_parsed", pa.string()),  # off | too_large | too_complex; null: parsed, or there is no parser
    ]
)
"""All null where there is no parser for the language."""

SCHEMA = pa.schema([*COMMENTS, *HTML, *SYNTAX])

NUMBERS = tuple(field.name for field in SCHEMA if not pa.types.is_string(field.type))
"""What a filter profile can ask for."""
