"""The Arrow schemas of a release: what downloaders get, one constant per kind of file.

Column names follow The Stack v2 where it has one (`blob_id`, `content_id`, `src_encoding`, ...). All hashes
are lower-case hex strings. All offsets are byte offsets into `content` (UTF-8).
"""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 2
"""Version of the manifest and of the schemas below; readers refuse a version they do not know."""

EVIDENCE = pa.struct(
    [
        pa.field("path", pa.string(), nullable=False),  # of the license file, in the same repository
        pa.field("swhid", pa.string(), nullable=False),  # of the license file's bytes
        pa.field("expression", pa.string(), nullable=False),  # SPDX expression found there
        pa.field(
            "detector", pa.string(), nullable=False
        ),  # name and version: "scancode 32.5.0", "spdx-tag 1"
        pa.field("rule", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),  # 0..100
    ]
)

REDACTION = pa.struct(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),  # byte offsets into `content`, of the placeholder
        pa.field("end", pa.int64(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
    ]
)

DATA = pa.schema(
    [
        # identity
        pa.field(
            "row_id", pa.string(), nullable=False
        ),  # stable name of this original content in any release
        pa.field("swhid", pa.string(), nullable=False),  # of the unredacted original
        pa.field("blob_id", pa.string(), nullable=False),  # sha1 of the original: its key in the object store
        pa.field("content_id", pa.string(), nullable=False),  # sha1_git of the original
        pa.field("sha256", pa.string(), nullable=False),  # of the original
        pa.field("blake2s256", pa.string(), nullable=False),  # of the original
        # text
        pa.field("content", pa.string(), nullable=False),  # the released text
        pa.field("content_sha256", pa.string(), nullable=False),  # of the released text; unique in a release
        pa.field("length_bytes", pa.int64(), nullable=False),  # of the original
        pa.field("src_encoding", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("extension", pa.string(), nullable=False),  # lower-cased, without the dot
        # place
        pa.field("path", pa.string(), nullable=False),  # bytes that are not UTF-8 shown as \xNN
        pa.field("path_raw", pa.binary()),  # the exact bytes, only where `path` is not exact
        pa.field("origin", pa.string(), nullable=False),
        pa.field("repo_name", pa.string(), nullable=False),
        pa.field("snapshot_id", pa.string()),  # null, as branch and visit, where a revision was named
        pa.field("revision_id", pa.string()),
        pa.field("branch_name", pa.string()),
        pa.field("directory_id", pa.string(), nullable=False),  # root directory of the revision
        pa.field("visit_date", pa.timestamp("us")),  # UTC
        pa.field("revision_date", pa.timestamp("us")),  # author date, UTC
        pa.field("committer_date", pa.timestamp("us")),
        pa.field(
            "num_occurrences", pa.int64(), nullable=False
        ),  # (origin, path) pairs that hold this content
        pa.field("num_origins", pa.int64(), nullable=False),
        # license
        # "permissive"; "weak_copyleft" or "no_license" where the policy allows that
        pa.field("license_type", pa.string(), nullable=False),
        pa.field(
            "license_expression", pa.string(), nullable=False
        ),  # SPDX, of the nearest evidence; or "NONE"
        pa.field(
            "detected_licenses", pa.list_(pa.string()), nullable=False
        ),  # ids of all ancestor directories
        pa.field("license_evidence", pa.list_(EVIDENCE), nullable=False),
        # duplicates
        pa.field("cluster_id", pa.string(), nullable=False),  # row_id of the kept content (this row's own)
        pa.field("cluster_size", pa.int64(), nullable=False),  # 1 + contents dropped as its near-duplicates
        # redaction
        pa.field("redactions", pa.list_(REDACTION), nullable=False),
        # quality signals of the released text
        pa.field("is_vendor", pa.bool_(), nullable=False),
        pa.field("is_generated", pa.bool_(), nullable=False),
        pa.field("num_lines", pa.int64(), nullable=False),
        pa.field("avg_line_length", pa.float32(), nullable=False),  # characters
        pa.field("max_line_length", pa.int64(), nullable=False),  # characters
        pa.field("alpha_fraction", pa.float32(), nullable=False),
        pa.field("alphanum_fraction", pa.float32(), nullable=False),
        pa.field("encoded_fraction", pa.float32(), nullable=False),  # share inside base64 / hex / \u runs
    ]
)
"""One row per kept content, `data/<language-dir>/train-<prefix>.parquet`."""

IDS = pa.schema(
    [
        pa.field("row_id", pa.string(), nullable=False),
        pa.field("content_sha256", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),  # path of the shard in the release
        pa.field("row", pa.int64(), nullable=False),  # 0-based row in that shard
    ]
)
"""`ids.parquet`, sorted by row_id: the leaves of the release's Merkle tree."""

LARGE_IDS = pa.schema(
    [
        field.with_type(pa.large_string()) if pa.types.is_string(field.type) else field  # 64-bit offsets
        for field in IDS
    ]
)
"""`IDS` in memory: a column of 33 million hex digests no longer fits 32-bit offsets."""

CHANGES = pa.schema(
    [
        pa.field("row_id", pa.string(), nullable=False),
        pa.field("change", pa.string(), nullable=False),  # one of `manifests.changes.KINDS`
        pa.field("reason", pa.string()),  # why a row was removed; null for every other change
        pa.field("stand_in", pa.string()),  # row_id of the row that stands for a removed duplicate now
        pa.field("withdrawn_in", pa.string()),  # of a restored row: the version that had withdrawn it
        pa.field("columns", pa.list_(pa.string()), nullable=False),  # of DATA, that differ; not `content`
        pa.field("length_bytes", pa.int64(), nullable=False),  # of the original
        pa.field(
            "old_content_sha256", pa.string()
        ),  # null, as the next two, where the parent has no such row
        pa.field("old_language", pa.string()),
        pa.field("old_shard", pa.string()),  # path in the parent
        pa.field("new_content_sha256", pa.string()),  # null, as the next two, for a removed row
        pa.field("new_language", pa.string()),
        pa.field("new_shard", pa.string()),
    ]
)
"""`changes.parquet`, sorted by row_id: each row that is not the same in the release and in its parent."""
