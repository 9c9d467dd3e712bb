"""What the reasons and stages of a release mean, in words for its readers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STAGES: Mapping[str, str] = {
    "graph": "Known from the archive’s graph alone",
    "licenses": "Licenses of the directory",
    "contents": "The content itself",
    "election": "One place for each content",
    "similarity": "Near-duplicates and repeated text",
    "selection": "Limits per language",
}
REASONS: Mapping[str, str] = {
    "not_a_file": "symbolic link or submodule",
    "path_limit": "path too long, or tree too deep or too large",
    "opted_out": "opted out",
    "not_archived": "the archive has no visible content",
    "too_large": "larger than the limit",
    "vendored": "third-party copy by its folder",
    "not_selected": "not among what was selected",
    "license": "no license that the policy permits",
    "license_not_selected": "permitted, but not among the licenses that were selected",
    "missing": "the object could not be found",
    "corrupt": "the object is not what its hash says",
    "binary": "not text",
    "undecodable": "text in no known encoding",
    "license_header": "its own header names a license that is not permitted",
    "language": "no known or wanted language",
    "generated": "machine-written",
    "secrets_budget": "too many secrets or personal data",
    "contaminated": "holds a benchmark’s text",
    "exact_duplicate": "same text as a kept file",
    "near_duplicate": "similar to a kept file, verified",
    "repeated": "mostly blocks of lines that many files hold",
    "over_cap": "beyond the limit for its language",
}
QUALITY: Mapping[str, str] = {
    "empty": "no line",
    "lfs_pointer": "a pointer of Git LFS, not the file",
    "long_file": "too many lines",
    "line_length": "lines are too long",
    "alphabetic": "too few letters",
    "encoded": "mostly encoded data",
    "data_like": "data of many lines",
    "html_text": "a page with hardly any text to see",
    "kind_documentation": "documentation, which this release leaves out",
    "kind_minified": "minified code, which this release leaves out",
    "kind_lock": "a lock file, which this release leaves out",
    "kind_configuration": "configuration, which this release leaves out",
    "kind_data": "data, which this release leaves out",
    "text": "plain text, other than a README or the like",
}
"""Rules of the default quality profile, and kinds of files."""


def reason(key: str) -> str:
    """Words for a reason; empty for one that has none here."""
    if key.startswith("quality."):
        return QUALITY.get(key.removeprefix("quality."), "a rule of the quality profile")
    return REASONS.get(key, "")


def class_name(one: Mapping[str, Any], *, size_of: bool) -> str:
    """A class of a histogram; with `size_of` of bytes."""
    low, high = one["from"], one["below"]
    if size_of:
        return (
            f"{_binary(low)} and more"
            if high is None
            else f"below {_binary(high)}"
            if not low
            else f"{_binary(low)} to {_binary(high)}"
        )
    if high is None:
        return f"{low:,} and more"
    return f"{low:,}" if high == low + 1 else f"{low:,} to {high - 1:,}"


def _binary(value: int) -> str:
    for unit, scale in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= scale:
            return f"{value // scale} {unit}"
    return f"{value} B"
