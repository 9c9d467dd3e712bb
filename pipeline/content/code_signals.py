"""Signals that need to know the language: comments, documentation, what HTML shows, what a parser finds (`code_schema`)."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.content.code_schema import SCHEMA, SYNTAX
from pipeline.content.comment_syntax import SYNTAX as COMMENTED
from pipeline.content.comments import comment_shares
from pipeline.content.html import HTML_LANGUAGES, visible_text
from pipeline.content.syntax import GRAMMARS, syntax

MEASURED = frozenset(COMMENTED) | HTML_LANGUAGES | frozenset(GRAMMARS)
"""Languages of which at least one signal is known."""


def code_signals(languages: pa.StringArray, texts: pa.LargeBinaryArray, *, parsers: bool) -> pa.Table:
    """The signals of every text (`SCHEMA`). No nulls among the texts. Without `parsers` nothing is parsed."""
    shares = comment_shares(languages, texts)
    shown = _visible(languages, texts)
    if parsers:
        parsed = syntax(languages, texts)
    else:
        has_parser = pc.is_in(languages, value_set=pa.array(sorted(GRAMMARS)))
        off = pc.if_else(has_parser, pa.scalar("off"), pa.scalar(None, pa.string()))
        nulls = [pa.nulls(len(texts), field.type) for field in SYNTAX if field.name != "not_parsed"]
        parsed = pa.table([*nulls, off], schema=SYNTAX)
    return pa.table([*shares.columns, *shown.columns, *parsed.columns], schema=SCHEMA)


def _visible(languages: pa.StringArray, texts: pa.LargeBinaryArray) -> pa.Table:
    concerned = pc.is_in(languages, value_set=pa.array(sorted(HTML_LANGUAGES)))
    measured = visible_text(texts.filter(concerned))
    rows = pc.if_else(concerned, pc.subtract(pc.cumulative_sum(concerned.cast(pa.int64())), 1), None)
    return measured.take(rows)
