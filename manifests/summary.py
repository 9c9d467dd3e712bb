"""What is in a release, in figures: from its `stats.json`, or counted again from the small columns of its shards."""

from __future__ import annotations

from typing import Any

from manifests.checksums import sha256_file
from manifests.errors import ReleaseError
from manifests.names import SIGNATURE
from manifests.reader import Release, read_bounded
from manifests.row_figures import figures_of_rows
from manifests.statistics import build_stats, read_stats

SUMMARY_VERSION = 2
"""Version of the keys that `summarize` returns, beside those of `stats.json`."""

STATS_FILE = "stats.json"
MAX_STATS_BYTES = 64 << 20
"""Most bytes of a `stats.json` that are read: lists in it are bounded, and a language takes some hundred bytes."""


def summarize(release: Release, *, recount: bool = False) -> dict[str, Any]:
    """Return the figures of a release as a JSON object; equal releases have equal summaries.

    Keys: those of `stats.json` (`manifests.statistics`), and `summary_version`, `digest`, `signed` (whether there is a
    signature, not whether it holds), `counted_from` (`stats.json`, or `rows` where the release has none or with
    `recount`; then `near` and `comparison` are null: rows do not tell what they replaced).

    Raises `ReleaseError` for a `stats.json` that is not the file that the manifest lists, or one whose figures are not
    those of the manifest, and for shards that have to be read and cannot be.
    """
    listed = None if recount else release.manifest.listed().get(STATS_FILE)
    if listed is None:
        stats = build_stats(release.manifest, figures_of_rows(release))
    else:
        file = release.directory / STATS_FILE
        if file.is_symlink() or not file.is_file():
            raise ReleaseError(f"{release.directory}: {STATS_FILE} is missing or is not a plain file")
        if sha256_file(file) != (listed.sha256, listed.bytes):
            raise ReleaseError(
                f"{release.directory}: {STATS_FILE} is not the file that the manifest describes; fetch it again"
            )
        stats = read_stats(read_bounded(file, MAX_STATS_BYTES), release.manifest)
    return {
        "summary_version": SUMMARY_VERSION,
        "digest": release.digest,
        "signed": (release.directory / SIGNATURE).is_file(),
        "counted_from": "rows" if listed is None else STATS_FILE,
        **stats,
    }
