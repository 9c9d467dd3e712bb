"""Whether a path lies in code that a project carries but did not write: vendored dependencies.

Own table. A directory name is here if it holds other projects' code by convention of a tool or by its very
name. Names are case-sensitive unless written otherwise by many projects (`ThirdParty`); a file is never
vendored by its own name, only by the directories above it, so a repository that IS the dependency keeps
its files.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

DIRECTORIES = (
    # by the tool that makes them
    "bower_components",
    "jspm_packages",
    "node_modules",
    "site-packages",
    "dist-packages",
    "Godeps/_workspace",
    "Carthage/Checkouts",
    "Pods",
    "deps/npm",
    "web_modules",
    # by name
    "vendor",
    "vendors",
    "vendored",
    "_vendor",
    "_vendored",
    "_vendored_packages",
    "extern",
    "external_libs",
    "third_party",
    "third-party",
    "thirdparty",
    "ThirdParty",
    "Thirdparty",
    "Third_Party",
    "3rd_party",
    "3rd-party",
    "3rdparty",
    "3rdParty",
)
"""One directory, or several in a row."""

_PATTERN = "(^|/)(" + "|".join(re.escape(name) for name in DIRECTORIES) + ")/"


def is_vendored(paths: pa.BinaryArray | pa.LargeBinaryArray) -> pa.BooleanArray:
    """Whether one of `DIRECTORIES` is above the file; null for null. `/` separates, case counts."""
    return pc.match_substring_regex(paths, pattern=_PATTERN)
