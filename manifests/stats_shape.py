"""The shape of `stats.json`: what each key holds, checked before anybody uses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manifests.errors import ReleaseError

COUNT, TEXT = "count", "text"
Shape = Any
"""COUNT (an integer of at least 0), TEXT, a list of one shape, a mapping of named shapes (`*`: of any name), or a tuple:
null, or the shape in it."""

_CLASSES: Shape = [{"from": COUNT, "below": (COUNT,), "rows": COUNT}]
_ROW = dict.fromkeys(("row_id", "language", "origin", "path"), TEXT) | {
    "length_bytes": COUNT,
    "num_lines": COUNT,
}
_COUNTS = {"*": COUNT}
_BOTH = {"*": {"old": COUNT, "new": COUNT}}
_ALARM = {"entered": COUNT, "dropped": COUNT}

ROW_FIGURES: Shape = {
    "original_bytes": COUNT,
    "language_licenses": ({"*": _COUNTS},),
    "encodings": _COUNTS,
    "redactions": {"*": {"spans": COUNT, "rows": COUNT}},
    "redacted_rows": COUNT,
    "generated_rows": COUNT,
    "vendored_rows": COUNT,
    "copies_represented": COUNT,
    "near_duplicates_represented": COUNT,
    "file_sizes": _CLASSES,
    "lines": _CLASSES,
    "copies": _CLASSES,
    "clusters": _CLASSES,
    "years": _COUNTS,
    "largest_clusters": [{**_ROW, "cluster_size": COUNT}],
    "most_copied": [{**_ROW, "num_occurrences": COUNT}],
    "origins_with_rows": COUNT,
    "top_origins": [{"origin": TEXT, "rows": COUNT, "bytes": COUNT}],
}
"""What anybody can count from the rows."""

_REPOSITORIES: Shape = {
    **dict.fromkeys(("found", "origins", "occurrences", "rows"), COUNT),
    "largest": [{"origin": (TEXT,), "origins": COUNT, "occurrences": COUNT, "rows": COUNT}],
}
DUPLICATION: Shape = {
    "search": (
        {
            "threshold": TEXT,
            "shortcut": ({"accept": TEXT, "reject": TEXT},),
            **dict.fromkeys(("bands", "rows", "bucket_cap", "bucket_best"), COUNT),
            **dict.fromkeys(("candidates", "hot_buckets", "hot_members", "pairs_not_made"), COUNT),
        },
    ),
    "roots": _REPOSITORIES,
    "networks": _REPOSITORIES,
    "containment": (
        {
            "least": TEXT,
            **dict.fromkeys(("contained", "candidates", "compared", "hot_hashes", "hot_holders"), COUNT),
        },
    ),
    "repeated": (
        {
            **dict.fromkeys(("lines", "bytes", "contents", "origins"), COUNT),
            "drop_above": (TEXT,),
            **dict.fromkeys(("frequent_blocks", "files", "repeated_bytes", "line_bytes"), COUNT),
            "most": [
                {
                    **dict.fromkeys(("row_id", "language", "origin", "path"), TEXT),
                    **dict.fromkeys(("line", "lines", "contents", "origins"), COUNT),
                }
            ],
        },
    ),
}
"""What the maker knows of duplicates besides `near`: docs/report.md."""

UNKNOWN_LICENSES: Shape = {
    "texts": COUNT,
    "files": COUNT,
    "shown_from": COUNT,
    "most": [
        {
            "text_digest": TEXT,
            "reason": TEXT,
            **dict.fromkeys(("contents", "files", "origins"), COUNT),
            "excerpt": (TEXT,),
        }
    ],
}
"""License-like files of the input whose text is unknown: docs/report.md."""

SECRETS: Shape = {
    "languages": {"*": _COUNTS},
    "rules": {"*": {"kind": TEXT, "spans": COUNT, "rows": COUNT}},
    "explained": _COUNTS,
    "spared": _COUNTS,
    "pragmas": COUNT,
    "rechecked": (COUNT,),
    "samples": [{"rule": TEXT, "kind": TEXT, "language": TEXT, "row_id": TEXT, "line": TEXT}],
}
MAKER_FIGURES: Shape = {
    "unknown_licenses": (UNKNOWN_LICENSES,),
    "secrets": (SECRETS,),
    "duplication": (DUPLICATION,),
    "near": (
        {
            "languages": {"*": _ALARM},
            "alarm_least": COUNT,
            "alarm_percent": COUNT,
            "language_alarms": [{"language": TEXT, **_ALARM}],
            "origin_alarms": [{"origin": TEXT, "rows": COUNT, **_ALARM}],
            "origin_alarms_without_rows": COUNT,
        },
    ),
    "comparison": (
        {
            "parent": {"name": TEXT, "version": TEXT, "digest": TEXT},
            "sums": _BOTH,
            "languages": _BOTH,
            "languages_gained": [TEXT],
            "languages_lost": [TEXT],
            "licenses": _BOTH,
            "dropped": _BOTH,
            "redactions": _BOTH,
        },
    ),
}
"""What only the maker of a release knows."""

SUMS = ("rows", "text_bytes", "download_bytes", "occurrences", "origins", "languages")
"""Keys of `comparison.sums`."""


def check_shape(where: str, value: object, shape: Shape) -> None:
    """Raise `ReleaseError` with the JSON path of the first value that is not of its shape."""
    if isinstance(shape, tuple):
        if value is not None:
            check_shape(where, value, shape[0])
    elif shape is COUNT:
        if type(value) is not int or value < 0:
            raise _wrong(where, "a count")
    elif shape is TEXT:
        if not isinstance(value, str):
            raise _wrong(where, "a text")
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise _wrong(where, "a list")
        for number, item in enumerate(value):
            check_shape(f"{where}[{number}]", item, shape[0])
    else:
        if not isinstance(value, Mapping):
            raise _wrong(where, "an object")
        if "*" in shape:
            for name, item in value.items():
                check_shape(f"{where}.{ascii(name)[:80]}", item, shape["*"])
            return
        if set(value) != set(shape):
            raise _wrong(where, f"an object with the keys {', '.join(sorted(shape))}")
        for name, part in shape.items():
            check_shape(f"{where}.{name}", value[name], part)


def _wrong(where: str, wanted: str) -> ReleaseError:
    return ReleaseError(f"stats.json, {where}: should be {wanted}")
