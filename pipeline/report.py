"""The files of a release that show its figures: `stats.json` and `report.html`, from the stage `figures`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from manifests import canonical
from manifests.manifest import Manifest
from manifests.report.page import render_report
from manifests.statistics import build_stats
from manifests.summary import STATS_FILE

REPORT_FILE = "report.html"


def report_makers(
    figures: Mapping[str, Any], parent: Manifest | None = None
) -> Mapping[str, Callable[[Manifest], bytes]]:
    """What makes the two files from the draft of the manifest; for `finish_release`.

    `figures` are those of the stage `figures`, and `duplication` (pipeline.duplication); `parent` is the manifest of the
    release that this one is compared with.
    """

    def stats(draft: Manifest) -> bytes:
        return canonical.dumps(
            build_stats(
                draft,
                figures["rows"],
                near=figures["near"],
                duplication=figures["duplication"],
                unknown_licenses=figures["unknown_licenses"],
                secrets=figures["secrets"],
                parent=parent,
            )
        )

    return {
        STATS_FILE: stats,
        REPORT_FILE: lambda draft: render_report(canonical.load(stats(draft))),
    }
