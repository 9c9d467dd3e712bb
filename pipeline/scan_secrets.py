"""`pipeline scan secrets`: what a release would find in the files of a folder, with places that people and code hosts read.

Values leave this module in no form but two that are asked for: a released line (`FileFindings.context`) and a digest.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from pii.redact import replace
from pii.scan import scan
from pii.settings import Policy, Settings
from pipeline.content.decode import decode_batch
from pipeline.content.languages import language_of_tree
from pipeline.scan import Folder

_CONTEXT = 160  # bytes of a released line that are shown, half of them in front of the finding

#: Findings of somebody else in some texts: a model's (pii.scan.scan, `also`).
Detect = Callable[[pa.Array], pa.Table]


@dataclass(frozen=True)
class Found:
    """One finding: byte offsets in the file's text as UTF-8. `spared`: why it is left as it is; null: it would be redacted."""

    start: int
    end: int
    kind: str
    rule: str
    spared: str | None
    pragma: bool


@dataclass(frozen=True)
class FileFindings:
    """What was found in one file, in the order of the text; never empty."""

    path: bytes
    text: bytes
    encoding: str
    found: tuple[Found, ...]

    @cached_property
    def _line_starts(self) -> list[int]:
        starts, at = [0], self.text.find(b"\n")
        while at >= 0:
            starts.append(at + 1)
            at = self.text.find(b"\n", at + 1)
        return starts

    def line_and_column(self, offset: int) -> tuple[int, int]:
        """Line and column of a byte offset, both from 1; columns count characters."""
        line = bisect_right(self._line_starts, offset)
        begin = self._line_starts[line - 1]
        return line, len(self.text[begin:offset].decode("utf-8", "replace")) + 1

    def digest(self, one: Found) -> str:
        """SHA-256 (hex) of a value, for allow-lists. Who knows what a value may be can try."""
        return hashlib.sha256(self.text[one.start : one.end]).hexdigest()

    @cached_property
    def _masked(self) -> tuple[bytes, list[tuple[int, int]]]:
        """The text with every finding replaced, spared ones too, and where the replacement of each stands."""
        spans: list[tuple[int, int, str, str]] = []
        index: list[int] = []
        for one in self.found:
            if spans and one.start < spans[-1][1]:  # a spared finding may overlap another spared one
                start, end, kind, rule = spans[-1]
                spans[-1] = (start, max(end, one.end), kind, rule)
            else:
                spans.append((one.start, one.end, one.kind, one.rule))
            index.append(len(spans) - 1)
        masked, places = replace(self.text, spans)
        return masked, [(places[i].released_start, places[i].released_end) for i in index]

    def context(self, number: int) -> str:
        """The line of a finding, or the part around it, as released: every finding in it replaced, spared ones too."""
        masked, places = self._masked
        start, end = places[number]
        low = max(masked.rfind(b"\n", 0, start) + 1, start - _CONTEXT // 2)
        stop = masked.find(b"\n", start)
        high = min(stop if stop >= 0 else len(masked), max(end, start + _CONTEXT // 2))
        line = masked[low:high].decode("utf-8", "replace").strip()
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def scan_secrets(
    folder: Folder, policy: Policy | None = None, *, detect: Detect | None = None
) -> Iterator[FileFindings]:
    """The files of a folder in which something is found, in byte order of their paths.

    `policy`: the default one looks for everything at the default sensitivity. `detect`: findings of a model, merged.
    """
    policy = policy or Policy()
    languages = (
        (
            None if one["language"] is None else str(one["language"])
            for one in language_of_tree(folder.paths, folder.read)
        )
        if policy.needs_places
        else None
    )
    everywhere = policy.settings_for()
    for paths, bodies in folder.batches():
        decoded = decode_batch(bodies)
        texts = decoded["text"].combine_chunks()
        also = detect(texts) if detect else None
        if languages is None:
            table = scan(texts, everywhere, also=also)
        else:
            table = pa.concat_tables(
                _one_text(texts, doc, policy.settings_for([language], [path]), also)
                for doc, (path, language) in enumerate(zip(paths, languages, strict=False))
            )
        yield from _by_file(paths, texts, decoded["encoding"].to_pylist(), table)


def _one_text(texts: pa.Array, doc: int, settings: Settings, also: pa.Table | None) -> pa.Table:
    here = None
    if also is not None:
        here = also.filter(pc.equal(also["doc"], doc))
        here = here.set_column(0, "doc", pa.array([0] * here.num_rows, pa.int64()))
    table = scan(texts.slice(doc, 1), settings, also=here)
    return table.set_column(0, table.schema.field("doc"), pa.array([doc] * table.num_rows, pa.int64()))


def _by_file(
    paths: list[bytes], texts: pa.Array, encodings: list[str], table: pa.Table
) -> Iterator[FileFindings]:
    rows: dict[int, list[Found]] = {}
    for row in table.to_pylist():
        rows.setdefault(row.pop("doc"), []).append(Found(**row))
    for doc, found in rows.items():
        text = texts[doc].as_buffer().to_pybytes()
        yield FileFindings(paths[doc], text, encodings[doc], tuple(found))
