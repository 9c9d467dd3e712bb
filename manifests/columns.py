"""What each column of a row means: the words of the card and of the Croissant description."""

from __future__ import annotations

from collections.abc import Mapping

COLUMNS: Mapping[str, str] = {
    "row_id": "Stable name of this original content in any release; also of contents that were withdrawn.",
    "swhid": "SWHID of the original content, before redaction.",
    "blob_id": "SHA-1 of the original: its key in Software Heritage's object store.",
    "content_id": "sha1_git of the original, as git and the SWHID have it.",
    "sha256": "SHA-256 of the original.",
    "blake2s256": "BLAKE2s-256 of the original.",
    "content": "The released text: decoded to UTF-8 and redacted.",
    "content_sha256": "SHA-256 of the released text; unique in a release.",
    "length_bytes": "Bytes of the original.",
    "src_encoding": "Encoding of the original.",
    "language": "Programming language, by its name in GitHub Linguist.",
    "extension": "Extension of the file name in lower case, without the dot.",
    "path": "Path in the repository; bytes that are not UTF-8 are shown as \\xNN.",
    "path_raw": "The exact bytes of the path, only where `path` does not show them exactly.",
    "origin": "URL of the repository that was elected among all that hold this content.",
    "repo_name": "Name of the repository, from its URL.",
    "snapshot_id": "Snapshot of the repository; null where a revision was named instead.",
    "revision_id": "Revision (commit) that was taken.",
    "branch_name": "Branch of that revision; null where a revision was named instead.",
    "directory_id": "Root directory of that revision.",
    "visit_date": "When the archive visited the repository, UTC.",
    "revision_date": "Author date of the revision, UTC.",
    "committer_date": "Committer date of the revision, UTC.",
    "num_occurrences": "Number of (repository, path) pairs that hold this content.",
    "num_origins": "Number of repositories that hold this content.",
    "license_type": "`permissive`; `weak_copyleft` or `no_license` where the policy of the release allows that.",
    "license_expression": "SPDX expression of the nearest evidence.",
    "detected_licenses": "SPDX ids found in the directories above the file.",
    "license_evidence": "The license files that decided: path, SWHID, expression, detector, rule and score.",
    "cluster_id": "row_id of the file that stands for this group of near-duplicates: this row's own.",
    "cluster_size": "1 and the number of contents that were dropped as its near-duplicates.",
    "redactions": "What was replaced in `content`: kind, first and last byte offset, rule.",
    "is_vendor": "Whether the path is one of third-party copies.",
    "is_generated": "Whether the file looks machine-written.",
    "num_lines": "Lines of the released text.",
    "avg_line_length": "Mean characters of a line.",
    "max_line_length": "Characters of the longest line.",
    "alpha_fraction": "Share of letters among the characters.",
    "alphanum_fraction": "Share of letters and digits among the characters.",
    "encoded_fraction": "Share of characters inside runs of base64, hexadecimal or \\u escapes.",
}
"""Column of `manifests.schema.DATA` -> one sentence."""

EVIDENCE_PARTS: Mapping[str, str] = {
    "path": "Path of the license file, in the same repository.",
    "swhid": "SWHID of the license file's bytes.",
    "expression": "SPDX expression found there.",
    "detector": "Name and version of the detector.",
    "rule": "The detector's rule.",
    "score": "The detector's score, 0 to 100.",
}

REDACTION_PARTS: Mapping[str, str] = {
    "kind": "Kind of secret or personal datum.",
    "start": "First byte of the placeholder in the UTF-8 of `content`.",
    "end": "First byte behind the placeholder.",
    "rule": "The rule that found it.",
}

PARTS: Mapping[str, Mapping[str, str]] = {"license_evidence": EVIDENCE_PARTS, "redactions": REDACTION_PARTS}
"""Column that holds a list of structures -> field -> one sentence."""
