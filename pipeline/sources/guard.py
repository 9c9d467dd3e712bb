"""When to stop asking an object store: it fails, or it is the wrong one. Stopping is all that this can do.

Three rules, over the answers of one unit of work:

- more than `budget` objects could not be had for a passing reason: going on would only make more of them;
- `IN_A_ROW` such failures one after the other, without one answer in between: the store is down, or refuses everything;
- of the first `FIRST` objects that the store answered for, fewer than one in a hundred was there: the address is wrong,
  unless the user says that the archive is like that.
"""

from __future__ import annotations

from pipeline.errors import SourceError
from pipeline.sources.contents import FAILED, MISSING, Fetched

IN_A_ROW = 20
FIRST = 1_000
_PRESENT_SHARE = 0.01


class Guard:
    """Sees every outcome; raises SourceError when a rule says stop. `where`: address of the store, for messages."""

    def __init__(self, where: str, *, budget: int, incomplete: bool) -> None:
        self._where, self._budget, self._incomplete = where, budget, incomplete
        self._answered = self._missing = self._in_a_row = 0
        self.failed: list[Fetched] = []

    def look(self, outcome: Fetched) -> None:
        """Count one outcome."""
        if outcome.status == FAILED:
            self.failed.append(outcome)
            self._in_a_row += 1
            if self._in_a_row >= IN_A_ROW:
                raise SourceError(
                    f"{self._where}: {self._in_a_row} objects in a row could not be had, the last: {outcome.detail};"
                    " what was fetched is kept: check the endpoint, the credentials and the network, then run again"
                )
            if len(self.failed) > self._budget:
                raise SourceError(
                    f"{self._where}: more than {self._budget:,} objects of one unit could not be had"
                    f" (engine.fetch_failures), the last: {outcome.detail}; what was fetched is kept: run again later,"
                    " with a lower engine.fetch_rate where the store throttles"
                )
            return
        self._in_a_row = 0
        self._answered += 1
        self._missing += outcome.status == MISSING
        present = self._answered - self._missing
        if self._answered == FIRST and present < _PRESENT_SHARE * FIRST and not self._incomplete:
            raise SourceError(
                f"{self._where}: {self._missing:,} of the first {FIRST:,} objects are missing; check archive.content"
                " (objects are looked for at <archive.content>/<sha1> or <archive.uri>/content/<sha1>),"
                " or set engine.fetch_incomplete: true when the archive really lacks them"
            )
