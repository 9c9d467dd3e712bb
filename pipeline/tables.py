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

DATE = pa.struct(
    [pa.field("seconds", pa.int64(), nullable=False), pa.field("microseconds", pa.uint32(), nullable=False)]
)
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
    "revision_history": pa.schema(
        [("id", pa.string()), ("parent_id", pa.string()), ("parent_rank", pa.int32())]
    ),
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

PERMS_FILE, PERMS_EXECUTABLE, PERMS_SYMLINK, PERMS_DIRECTORY, PERMS_SUBMODULE = (
    0o100644,
    0o100755,
    0o120000,
    0o040000,
    0o160000,
)
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
    TOO_LARGE = "too_large"  # by the length in the graph; in W2, an object larger than that length allows
    VENDORED = "vendored"
    NOT_SELECTED = "not_selected"
    # W1: license-like files and package manifests
    LICENSE = "license"
    LICENSE_NOT_SELECTED = "license_not_selected"  # permitted, and not in select.licenses
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
    REPEATED = "repeated"  # most of it is blocks of lines that many contents hold: near_duplicates.repeated.drop_above
    # what was asked for
    OVER_CAP = "over_cap"  # beyond select.max_bytes or select.max_tokens of its language


STAGES: dict[str, tuple[Reason, ...]] = {
    "graph": (
        Reason.NOT_A_FILE, Reason.PATH_LIMIT, Reason.OPTED_OUT, Reason.NOT_ARCHIVED, Reason.TOO_LARGE, Reason.VENDORED,
        Reason.NOT_SELECTED,
    ),
    "licenses": (Reason.LICENSE, Reason.LICENSE_NOT_SELECTED),
    "contents": (
        Reason.MISSING, Reason.CORRUPT, Reason.BINARY, Reason.UNDECODABLE, Reason.LICENSE_HEADER, Reason.LANGUAGE,
        Reason.GENERATED, Reason.QUALITY, Reason.SECRETS_BUDGET, Reason.CONTAMINATED,
    ),
    "election": (Reason.EXACT_DUPLICATE,),
    "similarity": (Reason.NEAR_DUPLICATE, Reason.REPEATED),
    "selection": (Reason.OVER_CAP,),
}  # fmt: skip
"""Where the totals count a reason: the stage that gives it first. Each stage needs more than the one before."""


BEFORE_OPTOUT = (Reason.NOT_A_FILE, Reason.PATH_LIMIT)
"""An occurrence that is not a file, or cannot be listed, has no content that an opt-out could name."""

ONCE = (Reason.NEAR_DUPLICATE, Reason.REPEATED, Reason.OVER_CAP)
"""Reasons of an elected content: of its one place. The same place at the other origins of the root is an exact duplicate."""


# --------------------------------------------------------------------------------------------------------------
# 3. The graph tables as the flow reads them: bucketed, distinct, dates as integers.

ENTRY_SCHEMAS: dict[str, pa.Schema] = {
    "origin": pa.schema([("id", pa.string()), ("url", pa.string())]),
    "origin_visit_status": pa.schema(
        [
            ("origin_id", pa.string()),  # sha1 of the URL
            ("visit", pa.int64()),
            ("date", pa.timestamp("us")),
            ("status", pa.string()),
            ("snapshot", pa.string()),
        ]
    ),
    "snapshot_branch": GRAPH["snapshot_branch"],
    "release": pa.schema([("id", pa.string()), ("target", pa.string()), ("target_type", pa.string())]),
    "revision": pa.schema(
        [
            ("id", pa.string()),
            ("directory", pa.string()),
            ("date", pa.int64()),  # microseconds since the epoch
            ("committer_date", pa.int64()),
        ]
    ),
    "directory": pa.schema([("id", pa.string())]),
    "directory_entry": GRAPH["directory_entry"],
    "content": pa.schema(
        [
            ("sha1_git", pa.string()),
            ("sha1", pa.string()),
            ("sha256", pa.string()),
            ("blake2s256", pa.string()),
            ("length", pa.int64()),
            ("status", pa.string()),
        ]
    ),
    "skipped_content": pa.schema(
        [("sha1_git", pa.string()), ("length", pa.int64()), ("reason", pa.string())]
    ),
}

# --------------------------------------------------------------------------------------------------------------
# 4. Resolution: origin -> visit -> snapshot -> branch -> revision -> root directory.

LIST_ROWS = pa.schema([("origin_id", pa.string()), ("origin", pa.string()), ("reason", pa.string())])
"""Lines of the user's list of origins; `reason`: malformed_url, or null."""

NAMED_REVISIONS = pa.schema([("origin_id", pa.string()), ("origin", pa.string()), ("revision", pa.string())])
"""Origins that a file names, with the revision that it names for them; null: none."""

DATASET_CONTENTS = pa.schema([("sha1_git", pa.string())])
"""Contents that the ids of a published dataset name."""

METADATA = pa.schema(
    [
        ("origin_id", pa.string()),
        ("stars", pa.int64()),
        ("forks", pa.int64()),
        ("default_branch", pa.binary()),  # a full reference name
        ("fork_of", pa.string()),  # URL
    ]
)
"""What the user's metadata say of an origin; null: unknown."""

SELECTED = pa.schema(
    [
        ("origin_id", pa.string()),
        ("origin", pa.string()),
        ("revision", pa.string()),  # named by the user's files; null: the latest visit decides
        ("reason", pa.string()),  # malformed_url | not_in_export; null: the export has it
    ]
)
"""The origins that take part, before `origins.limit`."""

RESOLVED = pa.schema(
    [
        ("origin_id", pa.string()),
        ("origin", pa.string()),
        ("visit_date", pa.timestamp("us")),  # null, as the next two, where a revision was named
        ("snapshot", pa.string()),
        ("branch", pa.binary()),
        ("default_branch", pa.binary()),  # to be tried first; null once the branch is found
        ("target", pa.string()),  # what is to be looked up next, of the type below
        ("target_type", pa.string()),  # revision | release | directory; null once unresolvable
        ("revision", pa.string()),
        ("revision_date", pa.int64()),  # author date, microseconds since the epoch
        ("committer_date", pa.int64()),
        ("directory", pa.string()),  # the root
        ("reason", pa.string()),  # why the origin has no root; null while it may have one
        ("route", pa.string()),  # the id that decides the next bucket
    ]
)

_ON_THE_WAY = ("default_branch", "target", "target_type", "route")
STANDING = pa.schema(
    [
        *[RESOLVED.field(name) for name in RESOLVED.names if name not in _ON_THE_WAY],
        ("opted_out", pa.bool_()),
        ("is_fork", pa.bool_()),
        ("stars", pa.int64()),
        ("forks", pa.int64()),
        ("fork_of", pa.string()),  # URL
    ]
)
"""Origins with what ranks them."""

ORIGINS = pa.schema([*STANDING, ("network", pa.string())])
"""The origin ledger: one row per origin that takes part, resolved or not. `network`: see stages/networks.py."""

ARCS = pa.schema([("origin_id", pa.string()), ("other", pa.string())])
"""Connections between origins, each in both directions."""

NETWORKS = pa.schema([("network", pa.string()), ("origins", pa.int64())])
"""Fork networks, and how many origins of the ledger each has."""

EARLIEST = pa.schema(
    [
        ("sha1_git", pa.string()),
        ("sha256", pa.string()),  # null where the graph has no visible content
        ("revision_date", pa.int64()),  # author date, microseconds since the epoch
        ("origin", pa.string()),
        ("path", pa.binary()),
    ]
)
"""The earliest known occurrence of each content, whatever became of it."""

ROOTS = pa.schema(
    [
        ("root", pa.string()),
        ("origins", pa.int64()),  # how many origins have this root
        ("opted_out", pa.int64()),  # how many of them opted out
        # the best-ranked origin among those that did not opt out; null when all did
        ("origin", pa.string()),
        ("visit_date", pa.timestamp("us")),
        ("snapshot", pa.string()),
        ("branch", pa.binary()),
        ("revision", pa.string()),
        ("revision_date", pa.int64()),
        ("committer_date", pa.int64()),
        ("is_fork", pa.bool_()),
        ("stars", pa.int64()),
        ("forks", pa.int64()),
    ]
)

# --------------------------------------------------------------------------------------------------------------
# 5. The tree walk.

REACHED = pa.schema([("directory", pa.string())])
TREE_EDGES = pa.schema([("directory", pa.string()), ("target", pa.string())])
"""Directory -> subdirectory, of the whole graph; sorted by directory, as the next three."""

TREE_SIZES = pa.schema(
    [
        ("directory", pa.string()),
        ("leaves", pa.int64()),  # entries that are no directories
        ("subdirectories", pa.int64()),
        ("lost", pa.bool_()),  # without entries, and not in the graph's table of directories either
    ]
)
"""Every directory that a root leads to, with its number of entries."""

LEAVES = pa.schema(
    [("directory", pa.string()), ("name", pa.binary()), ("kind", pa.string()), ("target", pa.string())]
)
SUBDIRECTORIES = pa.schema([("directory", pa.string()), ("name", pa.binary()), ("target", pa.string())])

FRONTIER = pa.schema([("root", pa.string()), ("path", pa.binary()), ("directory", pa.string())])
"""Directories to be listed next; `path` is the directory's own, empty for the root."""

TREE_ENTRIES = pa.schema(
    [
        ("root", pa.string()),
        ("path", pa.binary()),
        (
            "kind",
            pa.string(),
        ),  # file | symlink | submodule | deep (directory below the depth limit) | lost (directory not in the graph)
        ("target", pa.string()),
    ]
)
DIRECTORIES = pa.schema([("root", pa.string()), ("path", pa.binary())])
OVERSIZED = pa.schema([("root", pa.string())])

CONTENT_COLUMNS = [
    ("sha1_git", pa.string()),
    ("sha1", pa.string()),  # null, as the next three, where the graph has no visible content
    ("sha256", pa.string()),
    ("blake2s256", pa.string()),
    ("length", pa.int64()),
]
LISTED = pa.schema(
    [
        ("root", pa.string()),
        ("path", pa.binary()),
        ("kind", pa.string()),
        *CONTENT_COLUMNS,
        ("archived", pa.string()),
        ("selected", pa.bool_()),
    ]
)
"""Entries with what the graph knows of their content; `archived`: visible | hidden | skipped | absent; `selected`:
whether `origins.dataset`, where it is given, names the content."""

ROOT_FILES = pa.schema(
    [
        ("root", pa.string()),
        ("path", pa.binary()),
        ("directory", pa.binary()),  # path of the directory that holds it, empty at the root
        ("name_class", pa.binary()),
        ("kind", pa.string()),
        *CONTENT_COLUMNS,
        ("is_vendor", pa.bool_()),
        ("reason", pa.string()),  # of wave W0, without opted_out; null: still in
    ]
)

# --------------------------------------------------------------------------------------------------------------
# 6. Bodies and annotations, keyed by content.

WANTED_LICENSES = pa.schema(
    [
        ("root", pa.string()),
        ("path", pa.binary()),
        ("directory", pa.binary()),
        ("name", pa.binary()),  # what detection needs of the base name: licensing.names.detection_class
        ("sha1_git", pa.string()),
        ("sha1", pa.string()),
        ("sha256", pa.string()),
        ("length", pa.int64()),
    ]
)
UNREAD_LICENSES = pa.schema([WANTED_LICENSES.field(n) for n in ("root", "path", "directory", "sha1_git")])
"""License-like files whose bytes are not read: symbolic links, and what is too large or not archived."""

BODIES = pa.schema([("sha256", pa.string()), ("body", pa.large_binary())])
FETCH_STATUS = pa.schema([("sha256", pa.string()), ("status", pa.string()), ("detail", pa.string())])

# --------------------------------------------------------------------------------------------------------------
# 7. Survivors of the license wave, to the end.

ELECTION_COLUMNS = [
    ("is_fork", pa.bool_()),
    ("stars", pa.int64()),
    ("forks", pa.int64()),
    ("revision_date", pa.int64()),
    ("path_components", pa.int32()),
    ("origin", pa.string()),
]
SURVIVORS = pa.schema(
    [
        ("root", pa.string()),
        ("path", pa.binary()),
        ("directory", pa.binary()),
        ("name_class", pa.binary()),
        *CONTENT_COLUMNS,
        ("is_vendor", pa.bool_()),
        ("origins", pa.int64()),  # origins of the root that did not opt out
        *ELECTION_COLUMNS,
        # Why the directory's license does not permit the file, with licenses.header_grants: its header may. Null: it does.
        ("refusal", pa.string()),
    ]
)
ESTIMATED = "~"
"""Before a similarity that is one of sketches: "~231/256", 231 of their 256 values are equal."""

DROPPED = pa.schema(
    [
        ("root", pa.string()),
        ("path", pa.binary()),
        ("sha1_git", pa.string()),  # one path may name two contents in a malformed tree
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("stand_in", pa.string()),  # sha256 of the content that is kept in its place
        ("similarity", pa.string()),  # "inter/union" of shingles, for near-duplicates; see ESTIMATED
        ("language", pa.string()),  # as far as it was asked
    ]
)
"""Why a survivor of W0 was dropped later; rows with a null reason are the kept ones."""

HEADER_EVIDENCE = pa.struct(
    [
        pa.field("expression", pa.string()),
        pa.field("detector", pa.string()),
        pa.field("rule", pa.string()),
        pa.field("score", pa.float32()),
    ]
)
_HEADER = [
    ("header", pa.string()),  # SPDX expression of the file's own header; null: it states none
    ("header_type", pa.string()),  # permissive, ...: what a row's license_type is; null with it
    ("header_evidence", pa.list_(HEADER_EVIDENCE)),  # by expression, the best detection of each; null with it
]
JUDGED = pa.schema(
    [
        *SURVIVORS,
        *_HEADER,
        ("language", pa.string()),
        ("is_generated", pa.bool_()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
ELECTED = pa.schema(
    [
        ("sha256", pa.string()),
        ("content_sha256", pa.string()),
        ("released_bytes", pa.int64()),
        ("scope", pa.string()),  # by which settings it is redacted: stages/scopes.py; null: those of the base
        ("num_occurrences", pa.int64()),
        ("num_origins", pa.int64()),
        *[(f.name, f.type) for f in SURVIVORS if f.name not in ("sha256", "origins")],
        *_HEADER,
        ("language", pa.string()),
        ("is_generated", pa.bool_()),
    ]
)
"""One row per content: its elected occurrence."""

RANKS = pa.schema([("sha256", pa.string()), ("ordinal", pa.uint64())])
BAND_KEYS = pa.schema([("key", pa.uint64()), ("content", pa.uint64())])
"""`content`: place in the election order and some bits of the SHA-256, see stages/near_pairs.py."""
CONTENT_PAIRS = pa.schema([("first", pa.uint64()), ("second", pa.uint64())])
"""Contents that share a band key, by these bits; the same numbers with the bits of the SHA-256 leading."""
NAMED_PAIRS = pa.schema(
    [
        *CONTENT_PAIRS,
        ("second_sha256", pa.string()),
        ("second_origin", pa.string()),  # where it is elected; null unless only pairs across origins count
    ]
)
PAIRS = pa.schema(
    [("low", pa.uint64()), ("high", pa.uint64()), ("low_sha256", pa.string()), ("high_sha256", pa.string())]
)
"""Candidate pairs; `low` is the better-ranked ordinal."""
CANDIDATES = pa.schema([*PAIRS, ("first", pa.string()), ("second", pa.string())])
"""The same; `first` and `second`: the two SHA-256s, the smaller one first."""
EDGES = pa.schema(
    [
        *PAIRS,
        ("inter", pa.int64()),
        ("union", pa.int64()),
        ("estimated", pa.bool_()),  # equal values of the sketches and all of them, not shingles
    ]
)
"""Compared pairs."""
REPLACED = pa.schema(
    [
        ("sha256", pa.string()),
        ("stand_in", pa.string()),
        ("reason", pa.string()),
        ("similarity", pa.string()),
    ]
)
"""Contents that another content stands for: equal released text, or near-duplicate."""

# --------------------------------------------------------------------------------------------------------------
# 8. Figures.

COUNTERS = pa.schema(
    [("section", pa.string()), ("name", pa.string()), ("rows", pa.int64()), ("amount", pa.int64())]
)
"""`name` of `section`, such as a class of size; what `amount` is depends on the section."""
