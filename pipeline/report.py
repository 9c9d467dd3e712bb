"""The files of a release that show its figures: `stats.json` and `report.html`, from the stage `figures`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import pyarrow as pa

from manifests import canonical
from manifests.manifest import Manifest
from manifests.report.page import render_report
from manifests.statistics import build_stats
from manifests.summary import STATS_FILE

REPORT_FILE = "report.html"


def report_makers(
    figures: pa.Table, parent: Manifest | None = None
) -> Mapping[str, Callable[[Manifest], bytes]]:
    """What makes the two files from the draft of the manifest; for `finish_release`.

    `figures` is the one row of the stage `figures`; `parent` the manifest of the release that this one is compared with.
    """
    counted = json.loads(figures["figures"][0].as_py())

    def stats(draft: Manifest) -> bytes:
        return canonical.dumps(build_stats(draft, counted["rows"], near=counted["near"], parent=parent))

    return {
        STATS_FILE: stats,
        REPORT_FILE: lambda draft: render_report(canonical.load(stats(draft))),
    }
