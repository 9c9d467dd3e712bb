"""The books of a release: what its ledger adds up to, and the gate that they must pass before anything is released."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from manifests.facts import StageTotals, Totals
from pipeline.engine.runner import Done
from pipeline.errors import GateError
from pipeline.stages.census import Counted
from pipeline.tables import STAGES


def totals_of(ledger: Done) -> Totals:
    """What a closed ledger adds up to: found, kept, dropped by reason, and by stage."""
    total: Counter[str] = Counter()
    for facts in ledger.facts:
        total.update(facts["totals"])
    found, kept = total.pop("found", 0), total.pop("kept", 0)
    dropped = dict(sorted(total.items()))
    return Totals(found=found, kept=kept, dropped=dropped, stages=tuple(_stages(found, dropped)))


def _stages(found: int, dropped: Mapping[str, int]) -> Iterator[StageTotals]:
    """The totals by stage of the decision. Each occurrence has one reason, and each reason one stage."""
    for name, reasons in STAGES.items():
        here = {reason: amount for reason, amount in dropped.items() if reason.split(".")[0] in reasons}
        left = found - sum(here.values())
        yield StageTotals(name=name, entered=found, left=left, dropped=here)
        found = left


def conservation_gate(ledger: Done, counted: Counted, totals: Totals) -> None:
    """Every occurrence has exactly one decision, and an independent walk finds the same number of them.

    Raises GateError where not, and where nothing was kept.
    """
    undecided = [place for facts in ledger.facts for place in facts["undecided"]]
    if undecided:
        raise GateError(
            f"conservation: an occurrence has no decision, or two: {undecided[0]}; this is a defect, please report it"
        )
    added = totals.kept + sum(totals.dropped.values())
    if added != totals.found:
        raise GateError(
            f"conservation: kept + dropped = {added:,}, but {totals.found:,} occurrences were listed"
        )
    if counted.found != totals.found:
        raise GateError(
            f"conservation: an independent walk of the archive finds {counted.found:,} occurrences"
            f" below {counted.resolved:,} roots, the ledger has {totals.found:,}; nothing was released"
        )
    if totals.kept == 0:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in Counter(totals.dropped).most_common(5))
        raise GateError(
            f"no file was kept of {totals.found:,} found ({reasons or 'the archive is empty'}); nothing was released"
        )
