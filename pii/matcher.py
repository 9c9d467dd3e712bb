"""Our own rules over one text: Hyperscan says which rules occur, RE2 says where, the verifier says whether.

Hyperscan is compiled without start-of-match and with one report per rule and text (its SOM mode rejects a
quarter of such rules); without Hyperscan the rules' keywords take its place.  Both roads end in the same RE2
search, so the findings are identical.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import re2

from pii.rules import BadRule, Rule
from pii.verifiers import VERIFIERS

try:
    import hyperscan
except ImportError:  # no wheel for this platform
    hyperscan: Any = None  # type: ignore[no-redef]

#: (start, end, kind, rule): byte offsets in the text.
Finding = tuple[int, int, str, str]


# The repetition at the end of an expression: Hyperscan gets the repeated byte once, which is wider and linear.
# With the count it keeps one counter per beginning, and a repeated prefix takes the square of its length.
_TAIL = re.compile(rb"\{[1-9][0-9]*(?:,[0-9]*)?\}\Z")


class Matcher:
    """Some rules, compiled; `matcher_for` keeps one per process."""

    def __init__(self, rules: tuple[Rule, ...], *, use_hyperscan: bool | None = None) -> None:
        """Compile `rules`; `use_hyperscan` None takes it where it is installed.

        Raises:
            BadRule: a pattern that RE2 or Hyperscan does not accept, or an unknown verifier.
        """
        self.rules = rules
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1  # bytes, as Hyperscan sees them
        options.log_errors = False
        self._searches = []
        for rule in rules:
            try:
                self._searches.append(re2.compile(rule.pattern, options))
            except re2.error as error:
                raise BadRule(f"rule {rule.id}: RE2 refuses the pattern: {error}") from error
            if rule.verifier not in VERIFIERS:
                raise BadRule(f"rule {rule.id}: no verifier named {rule.verifier}")
        if use_hyperscan is None:
            use_hyperscan = hyperscan is not None
        self._database: Any = self._compile() if use_hyperscan and rules else None

    def _compile(self) -> Any:
        database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        try:
            database.compile(
                expressions=[_TAIL.sub(b"", r.pattern) for r in self.rules],
                ids=list(range(len(self.rules))),
                flags=[hyperscan.HS_FLAG_SINGLEMATCH] * len(self.rules),
            )
        except hyperscan.error as error:
            raise BadRule(f"Hyperscan refuses a pattern of the table: {error}") from error
        database.scratch = hyperscan.Scratch(database)
        return database

    def occurring(self, body: bytes) -> list[int]:
        """Positions (in `rules`) of the rules that may match in `body`, ascending; never too few."""
        if self._database is not None:
            hits: list[int] = []
            self._database.scan(body, match_event_handler=lambda rule, *_: hits.append(rule))
            return sorted(hits)
        lower = body.lower()
        return [i for i, r in enumerate(self.rules) if not r.keywords or any(k in lower for k in r.keywords)]

    def findings(self, body: bytes) -> list[Finding]:
        """Verified findings in `body`, in table order, not yet merged."""
        out: list[Finding] = []
        if not body:
            return out
        for i in self.occurring(body):
            rule, verify = self.rules[i], VERIFIERS[self.rules[i].verifier]
            search = self._searches[i]
            group = 1 if search.groups else 0
            for match in search.finditer(body):
                span = verify(body, *match.span(group))
                if span is not None and span[0] < span[1]:
                    out.append((*span, rule.kind, rule.id))
        return out


@cache
def matcher_for(rules: tuple[Rule, ...], use_hyperscan: bool | None = None) -> Matcher:
    """The compiled rules, once per process."""
    return Matcher(rules, use_hyperscan=use_hyperscan)
