"""Reading the file of `pipeline query --similar`, and writing its answer: for people, or as JSON lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from dedup.documents import MAX_DOCUMENT_BYTES
from dedup.lookup import COMMON
from dedup.shingles import SHINGLE_TOKENS
from dedup.winnow import WINDOW
from manifests.names import visible
from pipeline.errors import ConfigError
from pipeline.query_output import json_line
from pipeline.similar import Answer, Match, Span

_CERTAIN = WINDOW + SHINGLE_TOKENS - 1
_STATEMENT = f"""\
What this tells: these rows have the same runs of names, keywords and numbers as the file; white space and punctuation do
not count. Every row that shares {_CERTAIN} successive tokens with it is found, within the bounds told. It does not tell who
copied from whom, nor whether a license is kept. A row stands for its exact and near-duplicates; the near-duplicates
themselves are not in the release. Code whose names were changed throughout is not found, nor is what the release does
not have."""


def read_text(name: str) -> bytes:
    """The bytes of a file, `-` for stdin. Raises ConfigError when it cannot be read, or is larger than 1 GiB."""
    try:
        if name == "-":
            data = sys.stdin.buffer.read(MAX_DOCUMENT_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(MAX_DOCUMENT_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"--similar {visible(name)}: {reason}") from None
    if len(data) > MAX_DOCUMENT_BYTES:
        raise ConfigError(
            f"--similar {visible(name)} is larger than {MAX_DOCUMENT_BYTES:,} bytes; give parts of it"
        )
    return data


def write_json(answer: Answer, stream: TextIO) -> None:
    """One match a line, best first; the fields of `pipeline.similar.Match`."""
    stream.writelines(json_line(asdict(match)) for match in answer.matches)


def write_text(answer: Answer, name: str, least: float, stream: TextIO) -> None:
    """The matches, best first, and what they mean; control characters are escaped."""
    shown = visible(os.path.basename(name)) if name != "-" else "stdin"  # noqa: PTH119 - a name may hold anything
    if answer.shingles == 0:
        stream.write(
            f"{shown} is too short to tell: it has {answer.tokens} tokens, and {SHINGLE_TOKENS} are compared at a time\n"
        )
        return
    for number, match in enumerate(answer.matches, 1):
        stream.writelines(f"{line}\n" for line in _lines(number, match, shown))
    if not answer.matches:
        stream.write(f"no row has {least:.0%} or more of {shown}\n")
    stream.write(f"{_looked_at(answer)}\n")
    stream.write(f"\n{_STATEMENT}\n")


def notes(answer: Answer, text: bytes) -> Iterator[str]:
    """What was bounded, and what may be wrong with the file."""
    if answer.common:
        yield (
            f"{answer.common:,} of {answer.shingles:,} shingles mark more than {COMMON:,} rows each (license headers, imports):"
            f" of each, the first {COMMON:,} rows were looked at"
        )
    if answer.skipped:
        yield f"{answer.skipped:,} shingles, the most common ones, were left out: there were too many rows to look at"
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        yield (
            f"the file is not UTF-8 (byte {error.start:,}): rows are, so its letters beyond ASCII match nothing; convert it first"
        )


def _looked_at(answer: Answer) -> str:
    """How many rows had anything in common, and how many were compared."""
    if answer.found == 0:
        return "no row shares anything that was looked for"
    rows = f"{_count(answer.found, 'row')} found that {'shares' if answer.found == 1 else 'share'} five successive tokens or more"
    if answer.compared == answer.found:
        return f"{rows}, and compared"
    return f"{rows}; {answer.compared:,} compared, those that share most and those most alike"


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _lines(number: int, match: Match, name: str) -> Iterator[str]:
    yield f"{number:>2}  {visible(match.path)}"
    yield f"    {visible(match.origin)}"
    yield f"    {visible(match.license_expression)}   {visible(match.language)}   {match.swhid}"
    yield (
        f"    has {match.containment:.1%} of {name}, by rarity {match.rarity:.1%};"
        f" {match.row_containment:.1%} of the row is in {name}; Jaccard {match.jaccard:.3f}"
    )
    yield (
        f"    longest run {match.run_tokens:,} tokens: {_place(match.text_span)} of {name},"
        f" {_place(match.row_span)} of the row"
    )
    places = f"{_count(match.num_occurrences, 'place')} at {_count(match.num_origins, 'origin')}"
    near = match.cluster_size - 1
    yield (
        f"    this content stands in {places}"
        + (f"; the row also stands for {_count(near, 'near-duplicate')}" if near else "")
    )


def _place(span: Span) -> str:
    lines = (
        f"line {span.first_line:,}"
        if span.first_line == span.last_line
        else f"lines {span.first_line:,}-{span.last_line:,}"
    )
    return f"{lines} (bytes {span.start:,}-{span.end:,})"
