"""What a real export does that an obvious reading gets wrong: one origin for each, in one archive.

Aliases that loop, dangle or are too long, tags of tags, and dates in year 1 and 9999: tests/attacks.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from choosing import MIT, Chosen
from graphs import DAY, Graph, file, oid

HEAD, MAIN = b"HEAD", b"refs/heads/main"


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Chosen:
    base = tmp_path_factory.mktemp("traps")
    g = Graph()
    roots = {name: g.directory(name, [file(b"LICENSE", g.content(MIT)), file(name.encode(), g.content(name.encode()))])
             for name in ("right", "wrong")}  # fmt: skip
    right, wrong = (g.revision(name, roots[name]) for name in ("right", "wrong"))
    good, bad = (g.snapshot(n, [(HEAD, tip, "revision")]) for n, tip in (("good", right), ("bad", wrong)))
    snapshots = {
        "alias is the hex of a name": [(HEAD, MAIN.hex(), "alias"), (MAIN, right, "revision")],
        # The id of a revision is valid hex of some name, and no such branch is there: it must not be taken as an id.
        "alias is no id": [(HEAD, wrong, "alias"), (MAIN, right, "revision")],
        "alias named like an id": [
            (HEAD, wrong.encode().hex(), "alias"),
            (wrong.encode(), right, "revision"),
        ],
        "content": [(HEAD, g.content(MIT), "content"), (MAIN, right, "revision")],
        "snapshot": [(HEAD, bad, "snapshot"), (MAIN, right, "revision")],
        "dangling": [(HEAD, None, None), (MAIN, right, "revision")],
        "release": [(HEAD, g.tag(1, right, "revision"), "release"), (MAIN, wrong, "revision")],
        "release of a directory": [(HEAD, g.tag(2, roots["right"], "directory"), "release")],
        "directory": [(HEAD, roots["right"], "directory"), (MAIN, wrong, "revision")],
        "name in capitals": [(b"head", wrong, "revision"), (MAIN, right, "revision")],
        "name with a blank": [(b"HEAD ", wrong, "revision"), (MAIN, right, "revision")],
        "no usable target": [(HEAD, g.content(MIT), "content"), (MAIN, good, "snapshot")],
        "release of a content": [(HEAD, g.tag(3, g.content(MIT), "content"), "release")],
        "release not archived": [(HEAD, oid("no tag"), "release")],
    }
    for name, branches in snapshots.items():
        g.origin(name_of(name), g.snapshot(name, branches))

    g.origin(name_of("several statuses of a visit"))
    for status, days, snapshot in (
        ("created", 0, None),
        ("ongoing", 1, bad),
        ("full", 2, good),
        ("partial", 3, bad),
    ):
        g.visit(name_of("several statuses of a visit"), 1, DAY + timedelta(days=days), status, snapshot)
    g.origin(name_of("a later visit that only began"), good)
    g.visit(name_of("a later visit that only began"), 2, DAY + timedelta(days=9), "created", None)
    g.origin(name_of("a later full visit without a snapshot"), good)
    g.visit(name_of("a later full visit without a snapshot"), 2, DAY + timedelta(days=9), "full", None)
    g.origin(name_of("a later visit of a lower number"))
    g.visit(name_of("a later visit of a lower number"), 7, DAY, "full", bad)
    g.visit(name_of("a later visit of a lower number"), 3, DAY + timedelta(days=1), "full", good)
    g.origin(name_of("the highest of one date"))
    for number, snapshot in ((9, bad), (10, good)):
        g.visit(name_of("the highest of one date"), number, DAY, "full", snapshot)
    g.origin(name_of("only failed"))
    for number, status in enumerate(("failed", "not_found", "partial")):
        g.visit(name_of("only failed"), number, DAY, status, None if number else good)

    for minutes in (-720, 0, 330):
        name = f"offset {minutes}"
        tip = g.revision(name, roots["right"], 1_600_000_000, 5)
        g.rows["revision"][-1] |= {
            "date_offset": minutes,
            "committer_offset": minutes,
            "date_raw_offset_bytes": b"+0530",
        }
        g.origin(name_of(name), g.snapshot(name, [(HEAD, tip, "revision")]))
    return Chosen(g.write(base / "archive"), base / "work", {}, 4)


def name_of(what: str) -> str:
    return f"https://example.org/{what.replace(' ', '-')}"


@pytest.mark.parametrize(
    "what",
    ["alias is the hex of a name", "alias is no id", "alias named like an id", "content", "snapshot", "dangling", "release",
     "release of a directory", "directory", "name in capitals", "name with a blank", "several statuses of a visit",
     "a later visit that only began", "a later full visit without a snapshot", "a later visit of a lower number",
     "the highest of one date"],
)  # fmt: skip
def test_the_right_root(chosen: Chosen, what: str) -> None:
    """Breach: a branch, a visit or an alias is read as what it only looks like."""
    row = chosen.rows[name_of(what)]
    assert (row["directory"], row["reason"]) == (oid(("dir", "right")), None)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("no usable target", "no_usable_branch"),
        ("release of a content", "no_usable_branch"),
        ("release not archived", "release_not_archived"),
        ("only failed", "no_full_visit"),
    ],
)
def test_no_root_and_why(chosen: Chosen, what: str, reason: str) -> None:
    """Breach: an origin without a usable state vanishes, or has another reason."""
    row = chosen.rows[name_of(what)]
    assert (row["directory"], row["reason"]) == (None, reason)


@pytest.mark.parametrize("minutes", [-720, 0, 330])
def test_an_offset_does_not_move_a_date(chosen: Chosen, minutes: int) -> None:
    """Breach: a date, which is in UTC already, is shifted by the offset of its author."""
    row = chosen.rows[name_of(f"offset {minutes}")]
    assert row["revision_date"] == row["committer_date"] == 1_600_000_000_000_005
