"""The adapter to ScanCode: text in, detections out, from an index that is loaded once and then kept.

The index takes about 6 seconds and 1.1 GB to load; a process that has one should live long. No deadline is
ever given to ScanCode, because a time-out would make the answer depend on the machine; the text is bounded
instead.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from licensing import candidates
from licensing.detection import Detection
from licensing.expressions import UNPARSABLE, UNREAD, InvalidExpressionError, canonical

MAX_TEXT = 65_536
"""Characters of a text that are looked at."""

MAX_COMPARED = 3_000_000
"""Tokens of one text, over all rules, that are aligned with a rule."""

MAX_BLOCKS = 15_000
"""Blocks that these alignments may yield for one text.

Both bound the work on texts made to be slow (64 KiB of shuffled license words take minutes), by counting, so
that the answer is the same on any machine. The worst real license file measured, 38 licenses in 110 kB,
needs 880,069 tokens and 5,306 blocks. A text beyond either gets `expressions.UNREAD`, which no policy
permits."""

_WORD = re.compile(r"[^_\W]+\+?[^_\W]*")
"""ScanCode's words (licensedcode.tokenize.query_pattern)."""

_MAX_RULES = 8
"""Rule ids named in one detection; the rest are counted."""


class _TooMuchWork(Exception):
    """The bounds MAX_COMPARED or MAX_BLOCKS are reached."""


class _Bound:
    """Counts the alignments of one text in place of ScanCode's `match_blocks`; only between `start` and
    `stop`."""

    def __init__(self, align: Callable[..., list[Any]]) -> None:
        self._align = align
        self._counting = False
        self._compared = self._blocks = 0

    def start(self) -> None:
        self._counting = True
        self._compared = self._blocks = 0

    def stop(self) -> None:
        self._counting = False

    def __call__(self, a: Any, b: Any, a_start: int, a_end: int, *rest: Any, **named: Any) -> list[Any]:
        self._compared += a_end - a_start
        if self._counting and (self._compared > MAX_COMPARED or self._blocks > MAX_BLOCKS):
            raise _TooMuchWork
        found = self._align(a, b, a_start, a_end, *rest, **named)
        self._blocks += len(found)
        return found


class ScanCode:
    """ScanCode's license detection. Cheap to make; the first `detect` (or `load`) loads the index.

    One instance per process: the index is the library's own global.
    """

    def __init__(self) -> None:
        self._version: str | None = None
        self._detect: Any = None
        self._bound: Any = None
        self._vocabulary: tuple[Any, Any] = ((), ())

    @property
    def version(self) -> str:
        """Name and version of the detector, as it stands in evidence: "scancode 32.5.0"."""
        if self._version is None:
            names = ("scancode-toolkit", "scancode-toolkit-mini")
            found = [d.version for d in map(_distribution, names) if d is not None]
            if not found:
                raise ValueError("ScanCode is not installed: install scancode-toolkit-mini")
            self._version = f"scancode {found[0]}"
        return self._version

    def load(self) -> None:
        """Load the index now (about 6 s, 1.1 GB). Raises ValueError if ScanCode is not installed."""
        if self._detect is not None:
            return
        _ = self.version
        with warnings.catch_warnings():
            # typecode, imported by ScanCode, warns about where the system keeps libmagic: not used for texts.
            warnings.simplefilter("ignore")
            from licensedcode import cache, detection, match_set
            from licensedcode import index as matching
            from licensedcode.stopwords import STOPWORDS

            index = cache.get_index()
        # A second instance in the process finds the library as the first one left it.
        if not isinstance(matching.match_blocks_seq, _Bound):
            match_set.compute_candidates = candidates.ranked(match_set, index)
            matching.match_blocks_seq = _Bound(matching.match_blocks_seq)
        self._bound = matching.match_blocks_seq
        self._vocabulary = index.dictionary, STOPWORDS
        self._detect = detection.detect_licenses

    def detect(self, text: str) -> list[Detection]:
        """Licenses that ScanCode finds in `text`, by position. Offsets are in CHARACTERS of `text`."""
        return self.examine(text)[0]

    def examine(self, text: str) -> tuple[list[Detection], list[tuple[int, int]]]:
        """Licenses that ScanCode finds in `text`, by position, and the words that it explains with them.

        Offsets are in CHARACTERS of `text`. The words are spans, by position: all that were compared with a
        word of a rule and found equal, so what was added inside a text that is met only about is not among
        them. A detection's own offsets are those of whole lines (ScanCode counts lines). Mere clues, to which
        ScanCode itself gives no expression, are left out. Ids unknown to SPDX come as `LicenseRef-scancode-*`,
        also references to an unknown license.
        """
        text = text[:MAX_TEXT]
        if not text.strip():
            return [], []
        self.load()
        # ScanCode splits the same way (str.splitlines) and counts from 1.
        offsets = [0, *itertools.accumulate(len(line) for line in text.splitlines(keepends=True))]
        self._bound.start()
        try:
            detections = list(self._detect(query_string=text))
        except _TooMuchWork:
            return [Detection(UNREAD, self.version, "bound on work", 0.0, 0, len(text))], []
        finally:
            self._bound.stop()
        stating = [detected for detected in detections if detected.license_expression]
        found = [self._convert(detected, offsets) for detected in stating]
        found.sort(key=lambda d: (d.start, d.end, d.expression, d.rule))
        return found, self._explained(text, [match for detected in stating for match in detected.matches])

    def _explained(self, text: str, matches: Sequence[Any]) -> list[tuple[int, int]]:
        if not matches:
            return []
        known, stopwords = self._vocabulary
        # ScanCode numbers the words that it knows, in this order.
        words = [
            match.span()
            for match in _WORD.finditer(text)
            if (word := match.group().lower()) in known and word not in stopwords
        ]
        positions = sorted({position for match in matches for position in match.qspan})
        if positions[-1] >= len(words) or len(words) != len(matches[0].query.tokens):
            # A letter whose lower case is two characters: rare, and then only whole lines can be told.
            offsets = [0, *itertools.accumulate(len(line) for line in text.splitlines(keepends=True))]
            return sorted({(offsets[m.start_line - 1], offsets[m.end_line]) for m in matches})
        return [words[position] for position in positions]

    def _convert(self, detected: Any, offsets: list[int]) -> Detection:
        matches = detected.matches
        rules = list(dict.fromkeys(match.rule.identifier for match in matches))
        rule = " ".join(rules[:_MAX_RULES])
        if len(rules) > _MAX_RULES:
            rule += f" and {len(rules) - _MAX_RULES} more"
        try:
            expression = canonical(detected.license_expression_spdx)
        except InvalidExpressionError:
            expression = UNPARSABLE
        last = len(offsets) - 1
        return Detection(
            expression=expression,
            detector=self.version,
            rule=rule,
            score=min(float(match.score()) for match in matches),
            start=offsets[min(min(match.start_line for match in matches) - 1, last)],
            end=offsets[min(max(match.end_line for match in matches), last)],
        )


def _distribution(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
