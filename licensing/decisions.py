"""What a reviewer decided about the license of single contents: the file `license-decisions.yaml`.

    - sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
      expression: MIT                     # an SPDX expression, or none, or refused
      reason: MIT with another first line
      date: 2026-03-31
      reviewer: legal                     # may be left out

A decision speaks of bytes, wherever they lie: of a license file, a package manifest or a source file. It takes the place of
everything that was detected in them.

    an expression   the content states this license; the policy judges it as it judges any other
    none            it says nothing of licenses: it is no evidence, as though the file were not there
    refused         nothing under it may be used, whatever a policy file adds

Reading is strict: a key, digest, expression or date that is wrong is an error with its line, and so is a second decision on
the same bytes.
"""

from __future__ import annotations

import datetime
import difflib
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from licensing.detection import Detection
from licensing.expressions import REFUSED, InvalidExpressionError, canonical, is_known

DETECTOR = "decision 1"
NONE_WORD, REFUSED_WORD = "none", "refused"
NO_TERMS = "NONE"
"""SPDX's word for "no license" in the detection that records the decision `none`; the file's expression is null then."""

MAX_FILE = 16 << 20
"""Bytes of a decisions file: some 60,000 decisions."""
MAX_REASON = 500

_KEYS = ("sha256", "expression", "reason", "date", "reviewer")
_REQUIRED = _KEYS[:4]


class DecisionsError(ValueError):
    """A decisions file cannot be used as given."""


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision."""

    sha256: str
    """Of the bytes, 64 hex digits."""
    expression: str
    """SPDX expression in canonical form, `none` or `refused`."""
    reason: str
    date: str
    """YYYY-MM-DD."""
    reviewer: str | None = None

    @property
    def rule(self) -> str:
        """What stands as the rule in evidence: date, reviewer, reason."""
        who = f" {self.reviewer}" if self.reviewer else ""
        return f"{self.date}{who}: {self.reason}"

    @property
    def states(self) -> str | None:
        """The expression that stands in place of what was detected; None: the content is no evidence."""
        return {NONE_WORD: None, REFUSED_WORD: REFUSED}.get(self.expression, self.expression)


@dataclass(frozen=True)
class Decisions:
    """Decisions by SHA-256. Make one with `Decisions.load`."""

    by_sha256: Mapping[str, Decided] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path | None = None) -> Decisions:
        """The decisions in a file; none without one. Raises DecisionsError with the line of what is wrong."""
        if path is None:
            return cls()
        where = f"license decisions {path}"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DecisionsError(f"{where}: cannot be read: {error.strerror or error}") from error
        if len(data) > MAX_FILE:
            raise DecisionsError(f"{where}: larger than {MAX_FILE >> 20} MiB")
        return cls({one.sha256: one for one in _read(data, where)})

    @property
    def digest(self) -> str | None:
        """SHA-256 (hex) of what they say, in whatever order and form the file has them; None where there are none."""
        if not self.by_sha256:
            return None
        listed = [asdict(one) for _, one in sorted(self.by_sha256.items())]
        return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()

    def used(self, sha256: pa.ChunkedArray | pa.Array) -> list[str]:
        """Which of the decisions speak of these contents, sorted."""
        return sorted(set(self._mine(sha256).to_pylist()))

    def apply(self, sha256: pa.ChunkedArray, found: pa.Table) -> pa.Table:
        """`found` (DETECTIONS, aligned with `sha256`) with what was decided in place of what was detected.

        The one detection of a decided content has the detector "decision 1", score 100 and no place in the file (0, 0).
        """

        def row(decided: Decided) -> dict[str, Any]:
            states = decided.states
            return {"expression": states, "detections": [_detection(decided, states or NO_TERMS)]}

        return self._replaced(sha256, found, lambda decided, _: row(decided))

    def headers(self, said: pa.Table) -> pa.Table:
        """`said` (`sha256`, `header`, and where it has them `header_detections` and `header_open`) with what was decided in
        place of what the headers of these source files say.
        """

        def row(decided: Decided, old: Mapping[str, Any]) -> dict[str, Any]:
            states = decided.states
            found = [] if states is None else [_detection(decided, states)]
            return {**old, "header": states, "header_detections": found, "header_open": None}

        return self._replaced(said["sha256"], said, row)

    def _replaced(
        self,
        sha256: pa.ChunkedArray,
        table: pa.Table,
        row: Callable[[Decided, Mapping[str, Any]], Mapping[str, Any]],
    ) -> pa.Table:
        """`table` with `row` (of the decision and the old row) in place of the rows of decided contents."""
        mine = pc.indices_nonzero(pc.is_in(sha256, value_set=self._known())).to_numpy()
        if not len(mine):
            return table
        digests, old = sha256.take(mine).to_pylist(), table.take(mine).to_pylist()
        rows = [row(self.by_sha256[digest], one) for digest, one in zip(digests, old, strict=True)]
        places = np.arange(table.num_rows)
        places[mine] = table.num_rows + np.arange(len(mine))
        return pa.concat_tables([table, pa.Table.from_pylist(rows, schema=table.schema)]).take(places)

    def _known(self) -> pa.Array:
        return pa.array(sorted(self.by_sha256), pa.string())

    def _mine(self, sha256: pa.ChunkedArray | pa.Array) -> pa.Array:
        values = sha256.combine_chunks() if isinstance(sha256, pa.ChunkedArray) else sha256
        return pc.drop_null(values.filter(pc.is_in(values, value_set=self._known())))


def _detection(decided: Decided, expression: str) -> dict[str, Any]:
    return asdict(Detection(expression, DETECTOR, decided.rule, 100.0, 0, 0))


def is_decided(detections: Sequence[Mapping[str, Any]] | None) -> bool:
    """Whether a file's detections are a reviewer's decision."""
    return bool(detections) and detections[0]["detector"] == DETECTOR  # type: ignore[index]


def is_decided_none(expression: str | None, detections: Sequence[Mapping[str, Any]] | None) -> bool:
    """Whether a reviewer decided that a file says nothing of licenses: it is no evidence, whatever its name is."""
    return expression is None and is_decided(detections)


# ------------------------------------------------------------------------------------------------------ the file


def _read(data: bytes, where: str) -> Iterable[Decided]:
    try:
        # Nodes instead of values: they know their lines, and nothing is guessed (a digest of digits, a date, `no`).
        root = yaml.compose(data.decode("utf-8"), Loader=yaml.SafeLoader)
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise DecisionsError(f"{where}: cannot be read as YAML: {error}") from error
    if root is None:
        return
    if not isinstance(root, yaml.SequenceNode):
        raise DecisionsError(f"{where}: expected a list of decisions, each with {', '.join(_REQUIRED)}")
    lines: dict[str, int] = {}
    for node in root.value:
        one, line = _decided(node, where), _line(node)
        if one.sha256 in lines:
            raise DecisionsError(
                f"{where}, line {line}: a second decision on {one.sha256}; the first is on line {lines[one.sha256]}"
            )
        lines[one.sha256] = line
        yield one


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _decided(node: yaml.Node, where: str) -> Decided:
    if not isinstance(node, yaml.MappingNode):
        raise DecisionsError(f"{where}, line {_line(node)}: expected a decision with {', '.join(_REQUIRED)}")
    values: dict[str, str] = {}
    for key, value in node.value:
        at = f"{where}, line {_line(key)}"
        name = key.value if isinstance(key, yaml.ScalarNode) else "?"
        if name not in _KEYS:
            close = difflib.get_close_matches(name, _KEYS, n=1, cutoff=0.5)
            guess = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(_KEYS)}"
            raise DecisionsError(f"{at}: unknown key {name[:80]!r}; {guess}")
        if name in values:
            raise DecisionsError(f"{at}: {name} is given twice")
        if not isinstance(value, yaml.ScalarNode) or value.tag == "tag:yaml.org,2002:null":
            raise DecisionsError(f"{at}: {name} must be a text")
        values[name] = _check(name, " ".join(value.value.split()), at)
    if missing := [name for name in _REQUIRED if name not in values]:
        raise DecisionsError(f"{where}, line {_line(node)}: {', '.join(missing)} missing")
    return Decided(**values)


def _check(name: str, value: str, at: str) -> str:
    if name == "sha256":
        if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
            raise DecisionsError(f"{at}: sha256 must be 64 hex digits (got {value[:80]!r})")
        return value.lower()
    if name == "expression":
        return _expression(value, at)
    if name == "date":
        try:
            if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
                raise ValueError
            datetime.date.fromisoformat(value)
        except ValueError:
            raise DecisionsError(f"{at}: date must be a day as YYYY-MM-DD (got {value[:80]!r})") from None
        return value
    if not value or not value.isprintable():
        raise DecisionsError(f"{at}: {name} must be a text of visible characters")
    if len(value) > MAX_REASON:
        raise DecisionsError(f"{at}: {name} is longer than {MAX_REASON} characters")
    return value


def _expression(value: str, at: str) -> str:
    if value.lower() in (NONE_WORD, REFUSED_WORD):
        return value.lower()
    try:
        if is_known(value):
            return canonical(value)
    except InvalidExpressionError:
        pass
    raise DecisionsError(
        f"{at}: expression must be an SPDX expression of known ids, such as MIT or Apache-2.0 OR MIT, or none, or refused"
        f" (got {value[:80]!r})"
    )
