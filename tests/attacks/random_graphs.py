"""Random archives for Hypothesis, and the slow, obvious count of what they hold."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from graphs import DAY, MIT, Graph, oid
from hypothesis import strategies as st
from pyarrow import csv

CODE = b"import os\n\n\ndef area(width, height):\n    return width * height\n\n\nprint(area(2, 3), os.name)\n"
BODIES = (
    MIT, CODE, CODE.replace(b"area", b"surface"), b"", b"\x00\x01\x02binary", b"SPDX-License-Identifier: GPL-3.0-only\n",
    b"mail = 'someone" + b"@" + b"example.org'\n" + CODE, "naïve = 'é'\n".encode("latin-1") + CODE,
)  # fmt: skip
NAMES = (
    b"LICENSE", b"a.py", b"b.py", b"src", b"lib", b"vendor", b"caf\xe9.py", b"", b"..", b"a/b.py", b"src/a.py", b"/etc",
    b"x\n\x1b]0;y\x07.py", b"n" * 300, b"README.md",
)  # fmt: skip
BRANCHES = (b"HEAD", b"refs/heads/main", b"refs/heads/master", b"refs/heads/\xff\xfe", b"refs/heads/x", b"")
SECONDS = (
    None,
    0,
    -62_135_596_800,
    -62_135_596_801,
    253_402_300_799,
    253_402_300_800,
    1 << 62,
    -(1 << 63),
    1_600_000_000,
)
DATES = (None, DAY, DAY + timedelta(days=1), datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999))
MODES = (0o100644, 0o100755, 0o120000, 0o040000, 0o160000, 0o100664, 0, None)
NO_IDS = (None, "", "ab", "Z" * 40, "../../../../etc/passwd")


@st.composite
def graphs(draw: Any) -> Graph:
    """Up to five origins over a small pool of shared, missing and malformed objects of every kind."""
    g = Graph()
    pick = lambda values: draw(st.sampled_from(tuple(values)))  # noqa: E731
    few = lambda most, least=0: draw(st.integers(least, most))  # noqa: E731

    contents = [*NO_IDS, oid("nowhere")]
    for number, body in enumerate(BODIES):
        how = pick(
            (
                "plain",
                "plain",
                "plain",
                "hidden",
                "lost",
                "skipped",
                "twice",
                "collision",
                "broken",
                "no sha1",
                "unsigned",
                "short",
            )
        )
        override = {
            "hidden": {"status": "hidden"},
            "no sha1": {"sha1": pick(NO_IDS)},
            "short": {"length": max(0, len(body) - 1)},
            "unsigned": {"blake2s256": None, "status": None},
        }.get(how, {})
        if how == "skipped":
            contents.append(oid(number))
            g.add("skipped_content", sha1_git=oid(number), length=10**9, reason="too large")
            continue
        identity = g.content(body, b"no gzip" if how == "broken" else None, **override)
        contents.append(identity)
        if how == "lost":
            g.objects.pop(g.rows["content"][-1]["sha1"], None)
        if how == "twice":
            g.content(body, status=pick(("visible", "hidden", None)))
        if how == "collision":
            g.content(body + b"#", sha1_git=identity)

    directories = [oid(("dir", number)) for number in range(few(7, 1))]
    for number in range(len(directories)):
        entries = [
            draw(st.one_of(
                st.tuples(st.sampled_from(NAMES), st.just("file"), st.sampled_from(contents), st.sampled_from(MODES)),
                st.tuples(st.sampled_from(NAMES), st.just("dir"), st.sampled_from([*directories, *directories, oid("gone"), "x"]),
                          st.sampled_from((0o040000, 0o040755, 0o120000))),
                st.tuples(st.sampled_from([*NAMES, None]), st.sampled_from(("rev", "weird", None)),
                          st.sampled_from([oid("elsewhere"), *NO_IDS]), st.sampled_from(MODES)),
            ))
            for _ in range(few(6))
        ]  # fmt: skip
        if draw(st.booleans()):
            entries.append((b"LICENSE", "file", oid_of(g, MIT), 0o100644))
        g.directory(number, [*entries, *entries[: few(1)]], known=pick((True, True, False)))

    roots = [*directories, *directories, oid("gone"), *NO_IDS]
    revisions = [
        g.revision(number, pick(roots), pick(SECONDS), pick((0, 999_999, 2**32 - 1)))
        for number in range(few(4, 1))
    ]
    if few(3) == 0:
        g.rows["revision"].append(g.rows["revision"][0] | {"directory": pick(roots)})
    tags = [oid(("rel", number)) for number in range(4)]
    targets = [*revisions, *tags, *directories, oid("absent"), *NO_IDS]
    kinds = ("revision", "release", "directory", "content", "snapshot", None)

    def target() -> tuple[str | None, str | None]:
        """Mostly of the right type, sometimes of any."""
        one = pick(targets)
        right = "revision" if one in revisions else "release" if one in tags else "directory"
        return one, pick((right, right, right, right, pick(kinds)))

    for number in range(few(4)):
        g.tag(number, *target())
        if few(5) == 0:
            g.tag(number, *target())
    snapshots = [
        g.snapshot(number, [
            (pick([*BRANCHES, None] if few(5) == 0 else BRANCHES[:4]),
             *draw(st.one_of(st.builds(lambda name: (name.hex(), "alias"), st.sampled_from(BRANCHES)),
                             st.sampled_from((("4845 4144", "alias"), ("484541", "alias"), ("4A", "alias"), (None, "alias"))))
                   if few(2) == 0 else st.just(target())))
            for _ in range(few(5))
        ])
        for number in range(few(4, 1))
    ]  # fmt: skip
    for number in range(few(5, 1)):
        url = pick(
            (
                f"https://example.org/o{number}/r",
                f"https://example.net/ü\x1b[31m/{number}",
                f"pkg:x/'{number}",
            )
        )
        g.add("origin", id=pick((oid(url), None)), url=url)
        for _ in range(few(3)):
            g.visit(url, pick((1, 1, 2, None)), pick(DATES), pick(("full", "full", "full", "partial", "created", None)),
                    pick([*snapshots, *snapshots, oid("absent snapshot"), None, "short"]))  # fmt: skip
    for table in ("origin", "origin_visit_status", "snapshot_branch", "directory_entry", "revision"):
        rows = g.rows[table]
        g.rows[table] = [*rows, *rows[: few(2)]]  # exports repeat rows where they were merged
    return g


def oid_of(g: Graph, body: bytes) -> str:
    """The sha1_git of a body, which becomes a content of the graph if it is not one."""
    return g.content(body)


def _is_id(value: str | None) -> bool:
    return re.fullmatch("[0-9a-f]{40}", value or "") is not None


@dataclass(frozen=True)
class Chosen:
    """What a user asks for: a random `origins` section and the rows of its files."""

    prefix: str = ""
    limit: int | None = None
    forges: tuple[str, ...] = ()
    as_of: datetime | None = None
    lines: tuple[bytes, ...] | None = None
    revisions: tuple[tuple[str, str], ...] | None = None
    branches: tuple[tuple[str, str], ...] | None = None
    parquet: bool = False

    def section(self, folder: Path) -> dict[str, Any]:
        """The `origins` section of a configuration; its files are written into the folder."""
        found: dict[str, Any] = {"prefixes": [self.prefix] if self.prefix else [], "limit": self.limit}
        found |= {"forges": list(self.forges), "as_of": self.as_of and self.as_of.isoformat()}
        if self.lines is not None:
            found["list"] = str(folder / ("list.parquet" if self.parquet else "list.txt"))
            if self.parquet:
                pq.write_table(pa.table({"url": pa.array(self.lines, pa.binary())}), found["list"])
            else:
                Path(found["list"]).write_bytes(b"\r\n".join([b"# of mine", *self.lines, b""]))
        for key, column, rows in (
            ("revisions", "revision", self.revisions),
            ("metadata", "default_branch", self.branches),
        ):
            if rows is not None:
                found[key] = str(folder / (f"{key}.parquet" if self.parquet else f"{key}.csv"))
                urls, values = [row[0] for row in rows], [row[1] for row in rows]
                table = pa.table(
                    {"origin": pa.array(urls, pa.string()), column: pa.array(values, pa.string())}
                )
                if self.parquet:
                    pq.write_table(table, found[key])
                else:
                    csv.write_csv(table, found[key])
        return found


_URLS = (*(f"https://example.org/o{n}/r" for n in range(6)), *(f"pkg:x/'{n}" for n in range(6)),
         "https://example.net/ü\x1b[31m/0", "https://example.org/not/here", "HTTPS://u@Example.ORG:443/x")  # fmt: skip
_LINES = (
    b"https://\xff.example",
    b"\\xff",
    b"no url",
    b"https://example.org/" + b"x" * 3_000,
    b"7:x",
    b"x:",
    b"a b:c",
    "x:\x85".encode(),
    b"x:\0y",
    "x:\u00e9\u3000".encode(),
    b"\xef\xbb\xbfx:y",
)


@st.composite
def choices(draw: Any) -> Chosen:
    """Any of the ways to choose, none, or several at once."""
    maybe = lambda strategy: draw(st.one_of(st.none(), strategy))  # noqa: E731
    lines = st.lists(st.sampled_from((*(url.encode() for url in _URLS), *_LINES)), max_size=8)
    given = maybe(lines.map(lambda found: (*found, b"https://example.org/one/more")))
    revisions = [*(oid(("rev", n)) for n in range(5)), "swh:1:rev:" + oid(("rev", 0)), "no id", oid("absent")]
    names = [name.decode() for name in BRANCHES if b"\xff" not in name and name] + ["x", "gone", "main"]
    return Chosen(
        prefix=draw(st.sampled_from(("", "", "https://example.org/", "pkg:x/'"))),
        limit=draw(st.sampled_from((None, None, 1, 3))),
        forges=draw(st.sampled_from(((), (), ("example.org",), ("example.net", "Example.org")))),
        as_of=maybe(st.sampled_from([day for day in DATES if day is not None])),
        lines=given,
        revisions=maybe(
            st.lists(st.tuples(st.sampled_from(_URLS), st.sampled_from(revisions)), max_size=5).map(tuple)
        ),
        branches=maybe(
            st.lists(st.tuples(st.sampled_from(_URLS), st.sampled_from(names)), max_size=5).map(tuple)
        ),
        parquet=draw(st.booleans()),
    )


def _is_url(line: bytes) -> bool:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return False
    form = re.fullmatch(r"[a-zA-Z][a-zA-Z0-9.+-]*:.+", text, re.DOTALL)
    return form is not None and len(line) <= 2_048 and not re.search("[\x00-\x20\x7f-\x9f]", text)


def selected(g: Graph, chosen: Chosen) -> tuple[list[str], int]:
    """URLs that every choice names, the first `limit` by sha1; and how many lines of the list lead nowhere."""
    urls = {row["url"] for row in g.rows["origin"]}
    wanted, malformed = urls, 0
    if chosen.lines is not None:
        wanted = {line.decode() for line in chosen.lines if _is_url(line)}
        malformed = len({line for line in chosen.lines if not _is_url(line)})
    wanted = {url for url in wanted if url.startswith(chosen.prefix)}
    if chosen.forges:
        hosts = "|".join(re.escape(name) for name in chosen.forges)
        wanted = {url for url in wanted if re.match(rf"(?i)[a-z]+://([^/]*@)?({hosts})(:\d+)?(/|$)", url)}
    here = sorted(
        wanted & urls, key=lambda url: hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()
    )
    return here[: chosen.limit], malformed + len(wanted - urls)


def count(g: Graph, *, max_depth: int, max_entries: int, chosen: Chosen = Chosen()) -> Counter[str]:
    """`origins`, `resolved` and `found` of a graph, by walking every path of every origin, one after the other."""
    known_directories = {row["id"] for row in g.rows["directory"]}
    contents: dict[str, set[tuple[str, bytes, str]]] = {}
    for row in g.rows["directory_entry"]:
        if row["name"] is not None:
            kind = {"dir": "dir", "rev": "rev"}.get(row["type"]) or (
                "link" if row["perms"] == 0o120000 else "file"
            )
            contents.setdefault(row["directory_id"], set()).add((kind, row["name"], row["target"] or ""))

    def last(value: str | None) -> tuple[bool, str]:
        return value is None, value or ""

    def follow(table: str, identity: str, *columns: str) -> tuple[str | None, ...]:
        """The smallest of the rows of an object, with what is no id left out."""
        found = [
            tuple(None if column in ("target", "directory") and not _is_id(row[column]) else row[column] for column in columns)
            for row in g.rows[table] if row["id"] == identity
        ]  # fmt: skip
        return min(found, key=lambda values: [last(v) for v in values], default=tuple(None for _ in columns))

    def branch(snapshot: str, name: bytes) -> tuple[str | None, str | None]:
        found = [
            (row["target_type"], row["target"] if row["target_type"] == "alias" or _is_id(row["target"]) else None)
            for row in g.rows["snapshot_branch"] if row["snapshot_id"] == snapshot and row["name"] == name
        ]  # fmt: skip
        return min(found, key=lambda pair: (last(pair[0]), last(pair[1])), default=(None, None))

    def root_of(url: str) -> str | None:
        named = [revision.removeprefix("swh:1:rev:") for of, revision in chosen.revisions or () if of == url]
        named = sorted(filter(_is_id, named)) if _is_url(url.encode()) else []
        if named:
            return follow("revision", named[0], "directory")[0]
        visits = [row for row in g.rows["origin_visit_status"]
                  if row["origin"] == url and row["status"] == "full" and row["date"] and _is_id(row["snapshot"])]  # fmt: skip
        visits = [row for row in visits if chosen.as_of is None or row["date"] <= chosen.as_of]
        if not visits:
            return None
        # Stable sorts, least important key first.
        visits.sort(key=lambda row: row["snapshot"])
        visits.sort(key=lambda row: -1 if row["visit"] is None else row["visit"], reverse=True)
        visits.sort(key=lambda row: row["date"], reverse=True)
        snapshot = visits[0]["snapshot"]
        given = [name for of, name in chosen.branches or () if of == url and _is_url(url.encode())]
        full = [
            name if name.startswith("refs/") or name == "HEAD" else f"refs/heads/{name}" for name in given
        ]
        for name in (
            *(name.encode() for name in sorted(full)[:1]),
            b"HEAD",
            b"refs/heads/main",
            b"refs/heads/master",
            b"refs/heads/trunk",
            b"refs/heads/develop",
        ):
            kind, target = branch(snapshot, name)
            hops = 0
            while kind == "alias" and hops < 10:
                hops += 1
                if re.fullmatch("([0-9a-f][0-9a-f])+", target or "") is None:
                    kind, target = None, None
                else:
                    kind, target = branch(snapshot, bytes.fromhex(target))
            if kind in ("revision", "release", "directory") and target:
                break
        else:
            return None
        for _ in range(2):
            if kind == "release":
                kind, target = follow("release", target or "", "target_type", "target")
        if kind == "revision":
            return follow("revision", target or "", "directory")[0]
        return target if kind == "directory" else None

    def walk(root: str) -> int:
        found = visited = 0
        todo = [(root, 1)]
        while todo:
            directory, depth = todo.pop()
            entries = contents.get(directory, set()) if _is_id(directory) else set()
            if not entries and known_directories and directory not in known_directories:
                found += 1
                visited += 1
            for kind, _, target in entries:
                visited += 1
                if kind != "dir" or depth == max_depth:
                    found += 1
                else:
                    todo.append((target, depth + 1))
            if visited > max_entries:
                return 1
        return found

    total: Counter[str] = Counter()
    urls, in_vain = selected(g, chosen)
    total["origins"] = len(urls) + in_vain
    for url in urls:
        if (root := root_of(url)) is not None:
            total["resolved"] += 1
            total["found"] += walk(root)
    return total
