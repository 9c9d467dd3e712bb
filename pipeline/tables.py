"""The Arrow schema of every table that flows through the pipeline, one constant each.

Conventions: all object ids are lower-case hex strings; names and paths are bytes and stay bytes (shown escaped);
sizes are bytes; dates are seconds or microseconds since the epoch, UTC.
"""

from __future__ import annotations

from enum import StrEnum

import pyarrow as pa

# --------------------------------------------------------------------------------------------------------------
# 1. The graph tables of a Software Heritage export, as its Parquet form has them. Readers select columns by name
#    and tolerate extra and missing nullable ones.

DATE = pa.struct([pa.field("seconds", pa.int64(), nullable=False), pa.field("microseconds", pa.uint32(), nullable=False)])
"""Commit and release dates: year 1 and year 9999 occur, so they are not Arrow timestamps."""

GRAPH: dict[str, pa.Schema] = {
    "origin": pa.schema([("id", pa.string()), ("url", pa.string())]),  # id = sha1(url)
    "origin_visit": pa.schema(
        [("origin", pa.string()), ("visit", pa.int64()), ("date", pa.timestamp("us")), ("type", pa.string())]
    ),
    "origin_visit_status": pa.schema(
        [
            ("origin", pa.string()),  # the URL
            ("visit", pa.int64()),
            ("date", pa.timestamp("us")),
            ("status", pa.string()),  # created | ongoing | partial | full | failed | not_found
            ("snapshot", pa.string()),  # null while the visit runs or when it failed
            ("type", pa.string()),
        ]
    ),
    "snapshot": pa.schema([("id", pa.string())]),
    "snapshot_branch": pa.schema(
        [
            ("snapshot_id", pa.string()),
            ("name", pa.binary()),
            ("target", pa.string()),  # an id; for an alias the hex of the branch NAME it points to
            ("target_type", pa.string()),  # content | directory | revision | release | snapshot | alias
        ]
    ),
    "release": pa.schema(
        [
            ("id", pa.string()),
            ("name", pa.binary()),
            ("message", pa.binary()),
            ("target", pa.string()),
            ("target_type", pa.string()),
            ("author", pa.binary()),  # SHA-256 of the full name, as in public exports
            ("date", DATE),
            ("date_offset", pa.int16()),
            ("date_raw_offset_bytes", pa.binary()),
            ("raw_manifest", pa.binary()),
        ]
    ),
    "revision": pa.schema(
        [
            ("id", pa.string()),
            ("message", pa.binary()),
            ("author", pa.binary()),
            ("date", DATE),
            ("date_offset", pa.int16()),
            ("date_raw_offset_bytes", pa.binary()),
            ("committer", pa.binary()),
            ("committer_date", DATE),
            ("committer_offset", pa.int16()),
            ("committer_date_raw_offset_bytes", pa.binary()),
            ("directory", pa.string()),
            ("type", pa.string()),
            ("raw_manifest", pa.binary()),
        ]
    ),
    "revision_history": pa.schema([("id", pa.string()), ("parent_id", pa.string()), ("parent_rank", pa.int32())]),
    "revision_extra_headers": pa.schema([("id", pa.string()), ("key", pa.binary()), ("value", pa.binary())]),
    "directory": pa.schema([("id", pa.string()), ("raw_manifest", pa.binary())]),
    "directory_entry": pa.schema(
        [
            ("directory_id", pa.string()),
            ("name", pa.binary()),
            ("type", pa.string()),  # file (also symlinks, perms 0o120000) | dir | rev (submodule)
            ("target", pa.string()),  # sha1_git
            ("perms", pa.int32()),
        ]
    ),
    "content": pa.schema(
        [
            ("sha1", pa.string()),  # the key in the object store
            ("sha1_git", pa.string()),
            ("sha256", pa.string()),
            ("blake2s256", pa.string()),
            ("length", pa.int64()),
            ("status", pa.string()),  # visible | hidden | ...
        ]
    ),
    "skipped_content": pa.schema(
        [
            ("sha1", pa.string()),
            ("sha1_git", pa.string()),
            ("sha256", pa.string()),
            ("blake2s256", pa.string()),
            ("length", pa.int64()),
            ("status", pa.string()),
            ("reason", pa.string()),
        ]
    ),
}
"""Table name -> schema; `<archive>/graph/<export>/parquet/<table>/*.parquet`."""

PERMS_FILE, PERMS_EXECUTABLE, PERMS_SYMLINK, PERMS_DIRECTORY, PERMS_SUBMODULE = 0o100644, 0o100755, 0o120000, 0o040000, 0o160000
"""The entry modes of git trees, as `directory_entry.perms` holds them."""


# --------------------------------------------------------------------------------------------------------------
# 2. Why an occurrence is not in the release.


class Reason(StrEnum):
    """The one reason of a dropped occurrence: the first, in this order, that applies in a wave that it reached."""

    # W0: graph tables only
    NOT_A_FILE = "not_a_file"  # symlink or submodule
    PATH_LIMIT = "path_limit"  # path too long, directory too deep, or tree too large to list
    OPTED_OUT = "opted_out"
    NOT_ARCHIVED = "not_archived"  # no content row, skipped or hidden content
    TOO_LARGE = "too_large"
    VENDORED = "vendored"
    NOT_SELECTED = "not_selected"
    # W1: license-like files and package manifests
    LICENSE = "license"
    # W2: one body per remaining content
    MISSING = "missing"
    CORRUPT = "corrupt"
    BINARY = "binary"
    UNDECODABLE = "undecodable"
    LICENSE_HEADER = "license_header"
    LANGUAGE = "language"
    GENERATED = "generated"
    QUALITY = "quality"  # always followed by ".<rule>"
    SECRETS_BUDGET = "secrets_budget"
    CONTAMINATED = "contaminated"
    # W3, W4
    EXACT_DUPLICATE = "exact_duplicate"
    NEAR_DUPLICATE = "near_duplicate"
