"""Attribution look-up: which rows of a release hold what a given text holds, with origin and license.

    from pipeline.similar import Similar

    with Similar.open("releases/2.1") as similar:
        for match in similar.find(generated_code).matches:
            print(match.containment, match.license_expression, match.origin, match.path)

A text and a row are compared by their shingles (five successive tokens, see `dedup.shingles`): the text is **contained** in
the row by the share of its distinct shingles that the row has, and **similar** to it by Jaccard similarity. Rows are found by
their fingerprints (`dedup.winnow`): one that shares a run of 20 tokens with the text is found for certain, unless the
fingerprints of the run are so common that they are not looked at (`Answer.common`, `Answer.skipped`) or there are better
ones (`Answer.compared` of `Answer.found`). The best are compared with the text exactly.

What it cannot find: code whose names were changed throughout, code translated to another language, and what is not in the
release: of exact and near-duplicates only the row that stands for them is (its `num_occurrences`, `num_origins` and
`cluster_size` say for how much).
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from dedup.documents import MAX_DOCUMENT_BYTES
from dedup.lookup import Candidates, Float64s, Postings, Sizes, candidates, rarity, spans
from dedup.overlap import Shingled, distinct, overlap, token_spans
from dedup.winnow import WINDOW
from manifests.reader import Release
from pipeline.engine.store import Store
from pipeline.errors import ConfigError
from pipeline.local_copy import is_remote, manifest_of
from pipeline.query import check_languages
from pipeline.similar_index import DamagedIndexError, Index, Log, index_home, open_or_build, scan
from pipeline.similar_rows import COLUMNS, Group, Rows

LIMIT = 10
"""Matches per text."""

LEAST = 0.1
"""Containment below which a row is no match."""

NEAR = 0.7
"""Jaccard similarity from which on a row is a near-duplicate and comes first: the usual threshold of a release."""

_COMPARED = 16  # rows, or twice the limit if that is more, that are compared for what they share
_TEXTS_AT_ONCE = 256  # of a batch; their candidates' row groups are read once


@dataclass(frozen=True, kw_only=True)
class Span:
    """A piece of a text: bytes start .. end - 1, lines first_line .. last_line (from 1)."""

    start: int
    end: int
    first_line: int
    last_line: int


@dataclass(frozen=True, kw_only=True)
class Match:
    """A row that shares something with the text."""

    row_id: str
    swhid: str
    """Of the original."""
    path: str
    origin: str
    language: str
    license_expression: str
    num_occurrences: int
    """Places in the input that hold exactly this content; the row is one of them."""
    num_origins: int
    cluster_size: int
    """1 + the near-duplicates that were dropped for this row."""
    containment: float
    """Distinct shingles of the text that the row has, as a share of those of the text."""
    row_containment: float
    """The same the other way: 1.0 when all of the row is in the text."""
    jaccard: float
    """Shared shingles as a share of those of either."""
    rarity: float
    """Containment with each shingle weighted by its rarity: what many rows have says less. Matches that are no
    near-duplicates (Jaccard 0.7) are ranked by it."""
    shared_shingles: int
    run_tokens: int
    """Tokens of the longest run that stands in both, white space and punctuation aside."""
    text_span: Span
    """Where the run is in the text."""
    row_span: Span
    """Where it is in the row's `content`."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The matches of one text, best first, and how they were found."""

    matches: tuple[Match, ...]
    tokens: int
    """Of the text."""
    shingles: int
    """Distinct ones of the text; 0 when it is too short (under 5 tokens) to tell anything."""
    found: int
    """Rows that share a fingerprint with the text, in the languages asked for."""
    compared: int
    """Of these, the rows that were compared with the text exactly: those that share most, rare things first, and those that
    seem most similar."""
    common: int
    """Shingles of the text that are a fingerprint of more than 4,096 rows; of each the first 4,096 were looked at."""
    skipped: int
    """Shingles of the text whose rows were not looked at because a million postings had been: the most common ones."""


@dataclass(frozen=True)
class _Pair:
    """A text compared with a candidate."""

    row: int
    score: float
    jaccard: float
    facts: dict[str, Any]
    shingled: Shingled


class Similar:
    """A release that can be asked. Not for use by several threads at once.

    Memory: the decoded row groups of the last look-ups (at most 0.5 GB), and the parts of the index that were read, which
    the operating system can take back.
    """

    def __init__(self, rows: Rows, home: Path | None, log: Log) -> None:
        self._rows = rows
        self._home = home
        self._log = log
        self._index: Index | None = None if home is None else open_or_build(rows, home, log)

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        address: str | Path,
        *,
        index: str | Path | None = None,
        use_index: bool = True,
        verify: bool = True,
        log: Log = lambda _: None,
    ) -> Iterator[Similar]:
        """Open the release at an address, and its index in the folder `index` (see `index_home`); the first time it is made.

        `use_index=False`: every call reads all texts of the release instead. With `verify` the checksum of a shard is held
        against the manifest before its first row is used. `log` is told what takes long. Of a release on S3 the shards
        that are needed are fetched to a temporary folder below TMPDIR. Raises ReleaseError, IntegrityError, SourceError.
        """
        with manifest_of(str(address)) as folder:
            place = Store(str(address)) if is_remote(address) else None
            rows = Rows(Release.open(folder), place, verify=verify)
            yield cls(rows, index_home(index) if use_index else None, log)

    def find(
        self, text: str | bytes, *, languages: Sequence[str] = (), limit: int = LIMIT, least: float = LEAST
    ) -> Answer:
        """The rows that share most with the text: at most `limit`, contained in them by at least `least` (0 to 1).

        A `str` is taken as UTF-8; offsets are in bytes. Raises ConfigError for a language that the release does not have, a
        text above 1 GiB, and numbers out of range; IntegrityError for a shard that is not what the manifest describes.
        """
        return next(self.find_all([text], languages=languages, limit=limit, least=least))

    def find_all(
        self,
        texts: Iterable[str | bytes],
        *,
        languages: Sequence[str] = (),
        limit: int = LIMIT,
        least: float = LEAST,
    ) -> Iterator[Answer]:
        """One answer per text, in order; as `find`, faster for many: what 256 texts need is read once.

        Without an index all texts are taken at once, and the release is read once.
        """
        if not 0 <= least <= 1:
            raise ConfigError(f"the least containment must lie between 0 and 1, not {least}")
        if not 0 <= limit <= 100_000:
            raise ConfigError(f"the limit must lie between 0 and 100,000, not {limit}")
        check_languages(self._rows.release, languages)
        ranges = self._rows.ranges(languages)
        left = iter(texts)
        while batch := list(islice(left, _TEXTS_AT_ONCE)) if self._home else list(left):
            yield from self._answers([_bytes(text) for text in batch], ranges, limit, least)

    def _answers(
        self, texts: list[bytes], ranges: list[tuple[int, int]] | None, limit: int, least: float
    ) -> Iterator[Answer]:
        shingled = [Shingled.of(text) for text in texts]
        postings, sizes = self._postings(shingled)
        best = max(_COMPARED, 2 * limit)
        found = [candidates(postings, sizes, text.distinct, best=best, within=ranges) for text in shingled]
        weights = [_weights(text, postings, len(self._rows)) for text in shingled]
        pairs = self._compared(shingled, weights, found, least)
        for number, text in enumerate(shingled):
            ranked = sorted(pairs[number], key=_rank)
            spans_of = token_spans(texts[number])
            yield Answer(
                matches=tuple(_match(texts[number], spans_of, text, pair) for pair in ranked[:limit]),
                tokens=len(spans_of[0]),
                shingles=len(text.distinct),
                found=found[number].found,
                compared=len(found[number].documents),
                common=found[number].common,
                skipped=found[number].skipped,
            )

    def _postings(self, texts: Sequence[Shingled]) -> tuple[Postings, Sizes]:
        hashes = distinct(np.concatenate([text.distinct for text in texts]))
        if self._index is None or self._home is None:
            return scan(self._rows, hashes)
        try:
            return self._index.of(hashes), self._index.sizes
        except DamagedIndexError as error:
            self._log(f"{error}; it is made anew")
            self._index = open_or_build(self._rows, self._home, self._log, damaged=self._index)
            return self._index.of(hashes), self._index.sizes

    def _compared(
        self,
        texts: Sequence[Shingled],
        weights: Sequence[Float64s],
        found: Sequence[Candidates],
        least: float,
    ) -> dict[int, list[_Pair]]:
        """Each text with its candidates, exactly; those that reach `least`. Row groups are read once, in order."""
        wanted: dict[Group, list[tuple[int, int, int]]] = defaultdict(list)
        for number, of_text in enumerate(found):
            for row in of_text.documents.tolist():
                group, local = self._rows.find(row)
                wanted[group].append((local, row, number))
        pairs: dict[int, list[_Pair]] = defaultdict(list)
        for group in sorted(wanted):
            table = self._rows.group(group)
            last, of_row = -1, None
            for local, row, number in sorted(wanted[group]):
                if of_row is None or local != last:
                    last, of_row = local, Shingled.of(table["content"][local].as_py().encode())
                text = texts[number]
                shared = text.shared(of_row)
                if len(shared) and len(shared) >= least * len(text.distinct):
                    union = len(text.distinct) + len(of_row.distinct) - len(shared)
                    # Rounded, so that the last bit of a sum decides about no rank.
                    score = round(float(weights[number][shared].sum()), 9)
                    facts = {name: table[name][local].as_py() for name in COLUMNS}
                    pairs[number].append(_Pair(row, score, len(shared) / union, facts, of_row))
        return pairs


def _rank(pair: _Pair) -> tuple[bool, float, float, int]:
    """Near-duplicates by their similarity, then the others by what they share."""
    near = pair.jaccard >= NEAR
    return not near, -pair.jaccard if near else -pair.score, -pair.jaccard, pair.row


def _weights(text: Shingled, postings: Postings, rows: int) -> Float64s:
    """The share of each distinct shingle of a text in their rarity.

    How many rows have a shingle is known of fingerprints only. But each passage of w shingles in a row has one, so a shingle
    is taken to be as common as the most common one less than w away: in a license header all are.
    """
    low, high = spans(postings, text.distinct)
    place = np.searchsorted(text.distinct, text.values)
    counts = np.pad((high - low)[place], WINDOW - 1)
    near = counts[: len(place)].copy()
    for shift in range(1, 2 * WINDOW - 1):
        np.maximum(near, counts[shift : shift + len(place)], out=near)
    common = np.zeros(len(text.distinct), np.int64)
    np.maximum.at(common, place, near)
    weight = rarity(common, rows)
    return weight / max(float(weight.sum()), 1e-9)


def _bytes(text: str | bytes) -> bytes:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > MAX_DOCUMENT_BYTES:
        raise ConfigError(
            f"the text has {len(data):,} bytes, the limit is {MAX_DOCUMENT_BYTES:,}: ask for parts of it"
        )
    return data


def _match(text: bytes, tokens: tuple[Any, Any], shingled: Shingled, pair: _Pair) -> Match:
    both = overlap(shingled, pair.shingled)
    content = pair.facts["content"].encode()
    facts = {name: value for name, value in pair.facts.items() if name != "content"}
    return Match(
        **facts,
        containment=both.shared / len(shingled.distinct),
        row_containment=both.shared / len(pair.shingled.distinct),
        jaccard=both.shared / both.union,
        rarity=pair.score,
        shared_shingles=both.shared,
        run_tokens=both.tokens,
        text_span=_span(text, tokens, both.a_token, both.tokens),
        row_span=_span(content, token_spans(content), both.b_token, both.tokens),
    )


def _span(text: bytes, tokens: tuple[Any, Any], first: int, count: int) -> Span:
    start, end = int(tokens[0][first]), int(tokens[1][first + count - 1])
    line = text.count(b"\n", 0, start) + 1
    return Span(start=start, end=end, first_line=line, last_line=line + text.count(b"\n", start, end))
