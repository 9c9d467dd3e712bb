r"""The columns of the quality signals, apart from what measures them, which is slow to load.

Lengths and counts are in characters (code points) unless the column says otherwise; shares are of all characters, line ends
included, unless it says otherwise, and 0 where there is nothing to share. docs/quality.md has the definitions at length.
"""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa


class Signal(NamedTuple):
    """One column: what it is, in which unit."""

    name: str
    type: pa.DataType
    unit: str
    what: str


def _signals(*rows: tuple[str, str, str, str]) -> tuple[Signal, ...]:
    types = {"int": pa.int64(), "share": pa.float32(), "real": pa.float32(), "bool": pa.bool_()}
    return tuple(Signal(name, types[kind], unit, what) for name, kind, unit, what in rows)


SIGNALS = _signals(
    # Lines
    ("num_lines", "int", "lines", r"lines; one ends at \n, \r\n, a lone \r, or the end of the text"),
    ("avg_line_length", "real", "characters", "mean length of a line, without its end"),
    ("max_line_length", "int", "characters", "length of the longest line"),
    ("line_length_std", "real", "characters", "standard deviation of the lengths of lines"),
    ("long_line_fraction", "share", "of lines", "lines longer than 100 characters"),
    ("blank_line_fraction", "share", "of lines", "lines of nothing but white space"),
    ("repeated_line_fraction", "share", "of lines that are not blank", "equal to an earlier one, but for white space around it"),
    ("repeated_text_fraction", "share", "of the bytes of lines that are not blank", "in lines equal to an earlier one"),
    ("max_indent_depth", "int", "levels", "most indentations open at once, as Python's tokenizer counts them; at most 1,000"),
    ("max_bracket_depth", "int", "levels", "most of ([{ open at once, strings and comments included"),
    # Characters
    ("num_characters", "int", "characters", "characters (code points) of the text"),
    ("alpha_fraction", "share", "of characters", "Unicode letters"),
    ("alphanum_fraction", "share", "of characters", "Unicode letters and numbers"),
    ("digit_fraction", "share", "of characters", "0 to 9"),
    ("whitespace_fraction", "share", "of characters", r"ASCII white space: blank, \t, \n, \r, \f, \v"),
    ("punctuation_fraction", "share", "of characters", "visible ASCII that is no letter and no digit"),
    ("non_ascii_fraction", "share", "of characters", "characters above U+007F"),
    ("byte_entropy", "real", "bits a byte", "Shannon entropy of the bytes of the text in UTF-8"),
    ("bidi_controls", "int", "characters", "embeddings, overrides and isolates (U+202A-202E, U+2066-2069): Trojan Source"),
    ("invisible_characters", "int", "characters", "zero-width and other characters that are not seen"),
    ("control_characters", "int", "characters", "C0, DEL and C1 but for tab, line feed, form feed and carriage return"),
    # Words
    ("num_words", "int", "words", r"words: \w+ (Unicode letters, numbers, underscore)"),
    ("avg_word_length", "real", "characters", "mean length of a word"),
    ("unique_word_fraction", "share", "of words", "different words"),
    ("top_word_fraction", "share", "of words", "the commonest word"),
    ("max_piece_length", "int", "characters", "longest piece without ASCII white space"),
    # Data
    ("encoded_fraction", "share", "of characters", "inside a match of one of the three patterns of StarCoder2"),
    ("longest_encoded_run", "int", "characters", "longest of these matches"),
    ("base64_fraction", "share", "of characters", "inside a match of the first pattern"),
    ("hex_fraction", "share", "of characters", "inside a match of the second"),
    ("unicode_escape_fraction", "share", "of characters", "inside a match of the third"),
    ("number_list_fraction", "share", "of characters", "inside lists of numbers of at least 64 characters"),
    ("longest_number_list", "int", "characters", "longest list of numbers"),
    # What it is
    ("first_lines_generated", "bool", "yes or no", "one of the first five lines says that a tool wrote the file"),
    ("lfs_pointer", "bool", "yes or no", "the text is a pointer of Git LFS"),
    ("xml_head", "bool", "yes or no", "<?xml version= in the first 100 bytes"),
    ("instruction_phrases", "int", "phrases", "words at which a phrase begins that speaks to a language model"),
)  # fmt: skip
"""Every signal that needs no parser, in the order of the columns."""

SCHEMA = pa.schema([(signal.name, signal.type) for signal in SIGNALS])

PARSED = _signals(
    ("comment_fraction", "share", "of bytes that are not white space", "inside comments"),
    ("docstring_fraction", "share", "of bytes that are not white space", "inside strings that document"),
    ("html_visible_chars", "int", "characters", "text of an HTML page that a browser shows"),
    ("html_visible_fraction", "share", "of characters", "that text"),
    (
        "syntax_error_fraction",
        "share",
        "of bytes",
        "inside what the parser of the language could not fit together",
    ),
    ("syntax_errors", "int", "places", "where it skipped something or assumed what is missing"),
    ("functions", "int", "functions", "functions and methods"),
    ("classes", "int", "classes", "classes, structs, interfaces and the like"),
)
"""Signals that need the language of the file, and a parser; null where there is none for it."""

KNOWN = {signal.name: signal.type for signal in (*SIGNALS, *PARSED)}
"""Name and type of every signal that a rule may name."""
