"""Findings that overlap, made one."""

from __future__ import annotations

from collections.abc import Iterable

from pii.matcher import Finding
from pii.rules import KINDS

_RANK = {kind: rank for rank, kind in enumerate(KINDS)}


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """Sorted, overlapping ones united over the union of their bytes.

    Kind and rule are those of the longest, then of the kind that comes first in `KINDS`, then of the rule first by name.
    """
    out: list[Finding] = []
    cluster: list[Finding] = []
    reach = -1
    for f in sorted(findings):
        if cluster and f[0] >= reach:
            out.append(_united(cluster, reach))
            cluster = []
        cluster.append(f)
        reach = max(reach, f[1]) if len(cluster) > 1 else f[1]
    if cluster:
        out.append(_united(cluster, reach))
    return out


def _united(cluster: list[Finding], reach: int) -> Finding:
    if len(cluster) == 1:
        return cluster[0]
    _, _, kind, rule = min(cluster, key=lambda f: (f[0] - f[1], _RANK[f[2]], f[3]))
    return cluster[0][0], reach, kind, rule
