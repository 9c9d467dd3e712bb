"""What a source file says of its own license in its first lines, over Arrow batches.

Four steps, each for what the one before leaves:

1. A gate: heads without any word of licenses are passed by at the speed of memory.
2. Tags (`tags`): `SPDX-License-Identifier:` as a statement of its own, anywhere in the head.
3. Known notices (`known`): in the comments at the start of the file (`comments`), exact occurrences of the texts of
   ScanCode's rules, whatever the comment marks and the wrapping.
4. What remains is looked through for words that only license statements have. Paragraphs with such a word are the
   file's NOTICE: nobody knows yet what it says. The caller may ask ScanCode (`ask`); a notice is given in a form
   without comment marks, wrapping and copyright lines, so that the same notice is asked once for all files that have it.

A header's expression is the AND of what was detected. What is still open after that is told (`undetermined`), never
guessed, and never silent.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from licensing import riders, tags
from licensing.comments import header_text
from licensing.detection import DETECTION, Detection
from licensing.expressions import conjunction
from licensing.text import LicenseText, read_text

HEADER_BYTES = 4_096
"""Bytes at the start of a source file in which it can speak for itself. ScanCode gives the same answer for the first
3,000 characters as for the whole file on 150 of 150 source files; see benchmarks/license_headers.py."""

HEADERS = pa.schema(
    [
        pa.field("expression", pa.string()),  # AND of the detections; null: nothing was detected
        pa.field("detections", pa.list_(DETECTION), nullable=False),  # by start, end, expression
        pa.field("notice", pa.string()),  # what is left for ScanCode, normalised; null: nothing
        pa.field("notice_start", pa.int64()),  # byte offsets in the file of what `notice` was taken from
        pa.field("notice_end", pa.int64()),
    ]
)
"""What one head says: one row per file, aligned with the input. Offsets are bytes of the body that was given."""


class Found(Protocol):
    """What a matcher of known texts found: see `licensing.known`."""

    @property
    def detections(self) -> Sequence[Detection]:
        """Known texts, by position; offsets in characters."""

    @property
    def remainder(self) -> Sequence[tuple[int, int]]:
        """What is neither part of one nor of no meaning."""


class Matcher(Protocol):
    """A table of known texts."""

    def find(self, text: str) -> Found:
        """The known texts in `text`."""


class Detector(Protocol):
    """ScanCode, or what stands for it."""

    def detect(self, text: str) -> list[Detection]:
        """Licenses in `text`."""


_GAP = r"[\s*#/;%!-]+"
"""Between two words of a phrase: a line end with comment marks is no obstacle."""

_WORDS = (
    r"licen[cs]|copying|copyleft|commercial|warrant(?:y|ies)|permi(?:ssion|tted)|redistribut|gpl|proprietary|confidential|wtfpl|\beula\b"
    rf"|public{_GAP}domain|general{_GAP}public|creative{_GAP}commons|\bcc{_GAP}by\b|\bcc0\b"
    rf"|trade{_GAP}secret|may{_GAP}not{_GAP}be"
)
"""Words of license statements. "All rights reserved" states no license, and stands in most of those that give one."""

GATE = (
    rf"(?i)(?:{_WORDS}"
    r"|\xe2\x80[\x8b-\x8f]|\xe2\x81[\xa0-\xa4]|\xc2\xad"  # characters that nobody sees may stand within a word
    r"|\A(?:\xff\xfe|\xfe\xff|[^\x00]\x00|\x00[^\x00]))"  # UTF-16
)
"""Of RE2, over bytes: a head without a match says nothing of licenses."""

_SPEAKS = re.compile(_WORDS, re.IGNORECASE)
_LOWER = re.compile(_WORDS)
_STATES = re.compile(
    rf"licen[cs]|gpl|proprietary|confidential|commercial|copyleft|\beula\b|(?:public|trade|general|creative){_GAP}"
    r"(?:domain|secret|public|commons)",
    re.IGNORECASE,
)
"""What leaves a notice open in which ScanCode finds nothing; "permitted" or "copying" are said of data, too."""
_NOT_IN_COMMENTS = ("use", "distribution")
"""Riders whose phrases ("not used", "not copied") stand in any comment on code."""

_LINE_OF_WORDS = re.compile(r"\w")
_SAYS_NOTHING = re.compile(
    r"\W*(?:copyright\b[^\n]{0,20}?(?:\(c\)|©|\d{4})|\(c\)|©|spdx-\w+:|authors?:|all rights reserved"
    r"|(?:en)?coding[:=]|-\*-|vim?:)",
    re.IGNORECASE,
)
"""Lines that are left out of a notice unless they have a word of licenses, too."""

_WRAPPED = re.compile(
    r"(?<=[\w,.;)\"'])([^\S\n]*)\n(?=[^\w\n]*copyright\s+(?:holders?|owners?|notices?|laws?|licen[cs]es?|and)\b)",
    re.IGNORECASE,
)
"""Where a line of a sentence begins like a copyright line."""

_MARKS = re.compile(r"\W*")
_RUN = re.compile(r"([^\w\s])\1{3,}")


@dataclass(frozen=True, slots=True)
class Header:
    """What one head says. Offsets are bytes of the head."""

    detections: tuple[Detection, ...] = ()
    notice: str | None = None
    """Paragraphs that say something of licenses and that no table knows, normalised: what ScanCode is to be asked."""
    notice_start: int | None = None
    notice_end: int | None = None

    @property
    def expression(self) -> str | None:
        """AND of the detections; None without any."""
        return conjunction(d.expression for d in self.detections)


_SILENT = Header()


def header_batch(bodies: pa.Array | pa.ChunkedArray, known: Matcher | None) -> pa.Table:
    """What the first HEADER_BYTES of source files say: a table in the schema HEADERS, aligned with `bodies`.

    `bodies`: any binary type, null where the bytes are missing. `known` None: only tags are read, and every other
    statement is left. What a head says depends on nothing but the head.
    """
    whole = bodies.combine_chunks() if isinstance(bodies, pa.ChunkedArray) else bodies
    heads = pc.binary_slice(whole.cast(pa.large_binary()), 0, HEADER_BYTES)
    found = [_SILENT] * len(heads)
    for row in pc.indices_nonzero(pc.fill_null(pc.match_substring_regex(heads, GATE), False)).to_pylist():
        found[row] = read_header(heads[row].as_py(), known)
    return table_of(found)


def table_of(headers: Sequence[Header]) -> pa.Table:
    """Headers as a table in the schema HEADERS."""
    columns = {
        "expression": [h.expression for h in headers],
        "detections": [[dataclasses.asdict(d) for d in h.detections] for h in headers],
        **{name: [getattr(h, name) for h in headers] for name in HEADERS.names[2:]},
    }
    return pa.table(columns, schema=HEADERS)


def read_header(head: bytes, known: Matcher | None) -> Header:
    """What one head says (at most HEADER_BYTES are read): see `header_batch`."""
    read = read_text(_whole_characters(head[:HEADER_BYTES]))
    if read is None:
        return _SILENT
    found = tags.find(read.text)
    comments = header_text(read.text)
    for tag in (tag for tag in found if tag.start < len(comments)):  # told once
        comments = comments[: tag.start] + " " * (tag.end - tag.start) + comments[tag.end :]
    speaking = _speaking(comments)
    if speaking is None:
        return _header(found, read)
    # A known text may begin or end with a paragraph that has no such word.
    first, end = speaking
    text = _WRAPPED.sub(r"\1 ", comments[first:end])
    stated: Sequence[Detection] = ()
    rest: Sequence[tuple[int, int]] = [(0, len(text))]
    if known is not None:
        told = known.find(text)
        stated, rest = told.detections, told.remainder
        if rest:
            stated = [*stated, *_restrictions(text, stated)]
    found += (dataclasses.replace(d, start=first + d.start, end=first + d.end) for d in stated)
    return _header(found, read, _open_paragraphs(comments, first, rest))


def _restrictions(text: str, stated: Sequence[Detection]) -> list[Detection]:
    """Riders in paragraphs that speak of a license: comments on code speak of models, services and evaluation, too."""
    found = [rider for rider in riders.find(text, stated) if rider.rule not in _NOT_IN_COMMENTS]
    speaking = [span for span in _paragraphs(text) if _STATES.search(text, *span)] if found else []
    return [r for r in found if any(start <= r.start < end for start, end in speaking)]


def _speaking(comments: str) -> tuple[int, int] | None:
    """From the paragraph before the first with a word of licenses to that after the last; None without any."""
    words = _spoken(comments)
    if not words:
        return None
    spans = list(_paragraphs(comments))
    first = next(n for n, (_, end) in enumerate(spans) if end > words[0])
    last = next(n for n, (_, end) in enumerate(spans) if end > words[-1])
    return spans[max(first - 1, 0)][0], spans[min(last + 1, len(spans) - 1)][1]


def _spoken(text: str) -> list[int]:
    """Where the words of licenses are in `text`."""
    lower = text.lower()
    if len(lower) == len(text):  # three times as fast as a search without regard to case
        return [word.start() for word in _LOWER.finditer(lower)]
    return [word.start() for word in _SPEAKS.finditer(text)]


def _header(found: list[Detection], read: LicenseText, left: tuple[str, int, int] | None = None) -> Header:
    placed = [dataclasses.replace(d, start=read.byte(d.start), end=read.byte(d.end)) for d in found]
    detections = tuple(sorted(placed, key=_position))
    if left is None:
        return Header(detections)
    notice, start, end = left
    return Header(detections, notice, read.byte(start), read.byte(end))


def _open_paragraphs(
    comments: str, first: int, rest: Sequence[tuple[int, int]]
) -> tuple[str, int, int] | None:
    """The paragraphs from the first to the last one in which a word of licenses stands in `rest`, normalised.

    With them go those right before and behind that speak of licenses, too: a statement may have several paragraphs.
    `rest`: spans of what is not known, counted from `first`.
    """
    words = [
        first + start + word for start, end in rest for word in _spoken(comments[first + start : first + end])
    ]
    if not words:
        return None
    spans = list(_paragraphs(comments, first))
    low = next(n for n, (_, end) in enumerate(spans) if end > words[0])
    high = next(n for n, (_, end) in enumerate(spans) if end > words[-1])
    while low > 0 and _spoken(comments[slice(*spans[low - 1])]):
        low -= 1
    while high + 1 < len(spans) and _spoken(comments[slice(*spans[high + 1])]):
        high += 1
    spans = spans[low : high + 1]
    notice = "\n\n".join(text for start, end in spans if (text := normalised(comments[start:end])))
    return (notice, spans[0][0], spans[-1][1]) if notice else None


def _paragraphs(text: str, first: int = 0) -> Iterator[tuple[int, int]]:
    """The runs of lines that have a word, by position, from `first` on."""
    start, at = None, first
    while at < len(text):
        end = text.find("\n", at) + 1 or len(text)
        if _LINE_OF_WORDS.search(text, at, end):
            start = at if start is None else start
        elif start is not None:
            yield start, at
            start = None
        at = end
    if start is not None:
        yield start, at


def _unframed(line: str) -> str:
    """A line without the marks around it; the end of a sentence or quotation stays."""
    marks = _MARKS.match(line)
    end = len(line)
    while end and not (line[end - 1].isalnum() or line[end - 1] in ".,:;)\"'>"):
        end -= 1
    return line[marks.end() if marks else 0 : end]


def normalised(paragraph: str) -> str:
    """A paragraph in one line, without comment marks, frames and copyright lines: equal for all files that have it."""
    lines = (_unframed(line) for line in paragraph.split("\n"))
    said = (line for line in lines if line and (not _SAYS_NOTHING.match(line) or _SPEAKS.search(line)))
    return " ".join(_RUN.sub(r"\1", " ".join(said)).split())


def ask(notices: Sequence[str], scancode: Detector) -> list[list[Detection]]:
    """What ScanCode finds in notices (`Header.notice`); offsets are characters of the notice."""
    return [scancode.detect(notice) for notice in notices]


def answered(header: Header, answer: Sequence[Detection]) -> Header:
    """A header with what ScanCode said of its notice in place of what was known of these paragraphs.

    ScanCode is told of paragraphs without their marks, so all it finds has the extent of the notice. Where it finds
    nothing, what was known stays; and the notice stays open if it speaks of a license.
    """
    if header.notice is None or header.notice_start is None or header.notice_end is None:
        return header
    if not answer:
        return header if _STATES.search(header.notice) else Header(header.detections)
    start, end = header.notice_start, header.notice_end
    kept = [
        d
        for d in header.detections
        if not d.detector.startswith("known ") or d.end <= start or d.start >= end
    ]
    placed = [dataclasses.replace(d, start=start, end=end) for d in answer]
    return Header(tuple(sorted([*kept, *placed], key=_position)))


def from_row(row: Mapping[str, Any]) -> Header:
    """The header that a row of HEADERS, as a dictionary, tells of."""
    return Header(
        tuple(Detection(**detection) for detection in row["detections"]),
        row["notice"],
        row["notice_start"],
        row["notice_end"],
    )


def _whole_characters(head: bytes) -> bytes:
    """Without a UTF-8 character that the bound cuts in two."""
    if len(head) < HEADER_BYTES:
        return head
    for back in range(1, 4):
        if head[-back] & 0xC0 != 0x80:
            return head[:-back] if head[-back] >= 0xC0 else head
    return head


def _position(detection: Detection) -> tuple[int, int, str, str, str]:
    return detection.start, detection.end, detection.expression, detection.detector, detection.rule
