"""Quality signals: numbers about a text that a filter profile turns into reasons (quality.py).

What each is: `signal_schema.SIGNALS`, and docs/quality.md. What measures them: one module for each concept, `signals_*.py`.
Work is linear in the text, whatever it is. Input is meant to be valid UTF-8; a byte that is not counts as a character that
has no class.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.content.buffers import buffers
from pipeline.content.generated import marked_generated
from pipeline.content.signal_schema import SCHEMA
from pipeline.content.signals_characters import LOG_BITS, count_characters
from pipeline.content.signals_encoded import find_encoded
from pipeline.content.signals_forms import has_xml_head, is_lfs_pointer
from pipeline.content.signals_lines import measure_lines
from pipeline.content.signals_phrases import count_phrases
from pipeline.content.signals_repetition import count_repeated
from pipeline.content.signals_runs import measure_runs


def signals(texts: pa.LargeBinaryArray) -> pa.Table:
    """The signals of every text (`SCHEMA`); a row of nulls for a null text."""
    texts = texts.cast(pa.large_binary())
    _, offsets, data = buffers(texts)
    missing = texts.is_null().to_numpy(zero_copy_only=False)
    columns = {
        **_of_lines(data, offsets),
        **_of_characters(data, offsets),
        "first_lines_generated": marked_generated(texts).to_numpy(zero_copy_only=False),
        "lfs_pointer": is_lfs_pointer(texts),
        "xml_head": has_xml_head(texts),
        "instruction_phrases": count_phrases(data, offsets),
    }
    arrays = [pa.array(columns[field.name], field.type, mask=missing) for field in SCHEMA]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _of_lines(data: np.ndarray, offsets: np.ndarray) -> dict[str, np.ndarray]:
    lines, repeated = measure_lines(data, offsets), count_repeated(data, offsets)
    number = lines["lines"]
    # n * sum of squares - square of the sum, in integers of Python: beyond 64 bits for a text of a few hundred megabytes.
    spread = [
        n * s - t * t
        for n, s, t in zip(
            number.tolist(), lines["squares"].tolist(), lines["in_lines"].tolist(), strict=True
        )
    ]
    return {
        "num_lines": number,
        "avg_line_length": _share(lines["in_lines"], number),
        "max_line_length": lines["longest"],
        "line_length_std": _share(np.sqrt(np.array(spread, np.float64)), number),
        "long_line_fraction": _share(lines["long"], number),
        "blank_line_fraction": _share(lines["blank"], number),
        "repeated_line_fraction": _share(repeated["repeated"], repeated["filled"]),
        "repeated_text_fraction": _share(repeated["repeated_bytes"], repeated["line_bytes"]),
        "max_indent_depth": lines["indents"],
        "max_bracket_depth": lines["brackets"],
        "num_words": repeated["words"],
        "avg_word_length": _share(repeated["in_words"], repeated["words"]),
        "unique_word_fraction": _share(repeated["different"], repeated["words"]),
        "top_word_fraction": _share(repeated["most"], repeated["words"]),
    }


def _of_characters(data: np.ndarray, offsets: np.ndarray) -> dict[str, np.ndarray]:
    counted, encoded, runs = (
        count_characters(data, offsets),
        find_encoded(data, offsets),
        measure_runs(data, offsets),
    )
    total = counted["characters"]
    return {
        "num_characters": total,
        "alpha_fraction": _share(counted["alphabetic"], total),
        "alphanum_fraction": _share(counted["alphanumeric"], total),
        "digit_fraction": _share(counted["digits"], total),
        "whitespace_fraction": _share(counted["spaces"], total),
        "punctuation_fraction": _share(counted["punctuation"], total),
        "non_ascii_fraction": _share(counted["non_ascii"], total),
        "byte_entropy": _share(counted["entropy"], (1 << LOG_BITS) * np.diff(offsets)),
        "bidi_controls": counted["bidi"],
        "invisible_characters": counted["invisible"],
        "control_characters": counted["control"],
        "max_piece_length": runs["longest_piece"],
        "encoded_fraction": _share(encoded["inside"], total),
        "longest_encoded_run": encoded["longest"],
        "base64_fraction": _share(encoded["base64"], total),
        "hex_fraction": _share(encoded["hex"], total),
        "unicode_escape_fraction": _share(encoded["unicode"], total),
        "number_list_fraction": _share(runs["in_lists"], total),
        "longest_number_list": runs["longest_list"],
    }


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return (part / np.maximum(whole, 1)).astype(np.float32)
