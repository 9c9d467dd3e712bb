"""Synthetic archives in Software Heritage's layout, of any size and always the same for a size.

    python benchmarks/synthetic_archive.py DIR --size 1

What is drawn, and after what (docs/scale.md says where the figures come from):

- repositories: files of one log-normal (median 40, sigma 1.25), six files to a directory, directories hung below earlier
  ones at random, one repository in ten below a chain as Java's packages make it; 30 % of the origins are forks, a third
  of them with the root of another origin, the others with one changed path; three older revisions per repository, whose
  changed directories no current root reaches; one repository in eight holds a whole subtree of an earlier one;
- contents: lengths log-normal (median 1,400 bytes, sigma 1.2, at most 256 kB), of six file types and 6 % binary; 62 % of
  the slots get a new body, 10 % an edited copy of an earlier one, the others an earlier one as it is;
- a license tag in a LICENSE file at the root of 60 % of the repositories, one in six of them not permissive.

Ids of directories, revisions and snapshots are digests of their numbers, not of what they name; contents have their own
hashes. A repository costs a few milliseconds, nearly all of it hashing and packing bodies.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import zlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.sources.swhid import hash_content
from pipeline.tables import GRAPH, PERMS_DIRECTORY, PERMS_FILE, PERMS_SUBMODULE, PERMS_SYMLINK

OCCURRENCES = 32_000  # files below all roots of an archive of size 1, about
_ROWS_PER_FILE = 200_000
_NOW = datetime(2026, 6, 1)
_WORDS = (
    "index", "value", "count", "buffer", "stream", "token", "parser", "graph", "node", "edge", "table", "column",
    "record", "field", "offset", "length", "source", "target", "queue", "worker", "thread", "signal", "handler",
    "socket", "packet", "header", "cursor", "window", "frame", "color", "pixel", "vector", "matrix", "scalar",
    "angle", "order", "price", "user", "group", "owner", "access", "policy", "filter", "mapper", "reducer", "shard",
    "bucket", "segment", "chunk", "block", "page", "cache", "store", "merge", "split", "sort", "hash", "digest",
    "encode", "decode", "compress", "expand", "read", "write", "open", "close", "start", "stop", "begin", "finish",
    "commit",
)  # fmt: skip
_TEMPLATES = {
    "py": ("def {0}_{1}({2}, {3}={n}):", "    {0} = {1}.{2}({3}, {n})", "    return {0} + {1} * {n}",
           "    # {0} {1} {2} of {3}"),
    "js": ("function {0}{1}({2}, {3}) {{", "  const {0} = {1}.{2}({3}, {n});", "  return {0} + {1} * {n}; }}",
           "  // {0} {1} of {2}"),
    "c": ("static int {0}_{1}(int {2}, int {3}) {{", "    int {0} = {1} + {2} * {n};", "    return {0}({1}, {2}); }}",
          "/* {0} {1} {2} */"),
    "java": ("    private int {0}{1}(int {2}, int {3}) {{", "        int {0} = {1}.{2}({3}, {n});",
             "        return {0} * {n}; }}", "    // {0} {1}"),
    "go": ("func {0}{1}({2} int, {3} int) int {{", "\t{0} := {1}.{2}({3}, {n})", "\treturn {0} + {n}\n}}",
           "// {0} {1} {2}"),
    "md": ("## {0} {1}", "The {0} of the {1} is a {2} with {n} {3}.", "- {0}: {1} {2}", "Use {0} to {1} the {2}."),
}  # fmt: skip
_LICENSES = ("MIT", "Apache-2.0", "BSD-3-Clause", "ISC", "MIT", "GPL-3.0-only")
_LINES_PER_TYPE = 6_000
_LARGEST = 256_000  # bytes of a body


@dataclass
class Tree:
    """A repository's directories: entries (name, type, target, perms) by directory id, and the root's id."""

    root: str
    directories: dict[str, list[tuple[bytes, str, str, int]]]
    parents: dict[str, str]
    files: int  # below the root, with multiplicity


@dataclass
class Archive:
    """What grows while an archive is drawn."""

    folder: Path
    draw: random.Random
    contents: list[str] = field(default_factory=list)  # sha1_git
    kinds: list[str] = field(default_factory=list)
    content_rows: list[tuple[str, str, str, str, int, str]] = field(default_factory=list)
    bodies: dict[int, list[bytes]] = field(default_factory=dict)  # lines of the last ones, for edited copies
    entries: list[tuple[str, bytes, str, str, int]] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    bytes_unpacked: int = 0
    made: int = 0
    lines: dict[str, list[bytes]] = field(default_factory=dict)
    notices: dict[bytes, str] = field(default_factory=dict)

    def identity(self, kind: str) -> str:
        """A new id of 40 hex digits."""
        self.made += 1
        return hashlib.sha1(f"{kind} {self.made}".encode(), usedforsecurity=False).hexdigest()

    # ------------------------------------------------------------------------------------------------- contents

    def content(self, body: bytes, kind: str) -> str:
        """Write a body as an object; returns its sha1_git."""
        hashes = hash_content(body)
        self.content_rows.append(
            (hashes.sha1, hashes.sha1_git, hashes.sha256, hashes.blake2s256, len(body), "visible")
        )
        packer = zlib.compressobj(1, wbits=31)
        packed = packer.compress(body) + packer.flush()
        (self.folder / "content" / hashes.sha1).write_bytes(packed)
        self.bytes_unpacked += len(body)
        self.contents.append(hashes.sha1_git)
        self.kinds.append(kind)
        return hashes.sha1_git

    def new_content(self) -> tuple[str, str]:
        """A body that nothing else has: sha1_git and file type."""
        number = len(self.contents)
        length = min(_LARGEST, int(self.draw.lognormvariate(7.24, 1.2)) + 40)
        if self.draw.random() < 0.06:
            return self.content(self.draw.randbytes(length), "bin"), "bin"
        kind = self.draw.choice(tuple(_TEMPLATES))
        pool = self.lines[kind]
        body = [b"# %d" % number, *self.draw.choices(pool, k=max(2, length // 34))]
        if self.draw.random() < 0.03:
            body.append(b"# by ada.%d" % number + b"@" + b"example.org")
        self.bodies[number] = body
        if len(self.bodies) > 500:
            self.bodies.pop(next(iter(self.bodies)))
        return self.content(b"\n".join([*body, b""]), kind), kind

    def edited_content(self) -> tuple[str, str]:
        """An earlier body with one line changed."""
        number = self.draw.choice(tuple(self.bodies)) if self.bodies else -1
        if number < 0:
            return self.new_content()
        body, kind = list(self.bodies[number]), self.kinds[number]
        body[self.draw.randrange(len(body))] = b"# edited %d" % len(self.contents)
        return self.content(b"\n".join([*body, b""]), kind), kind

    def any_content(self) -> tuple[str, str]:
        """What a slot of a tree holds."""
        chance = self.draw.random()
        if chance < 0.62 or not self.contents:
            return self.new_content()
        if chance < 0.72:
            return self.edited_content()
        number = self.draw.randrange(len(self.contents))
        return self.contents[number], self.kinds[number]

    # ---------------------------------------------------------------------------------------------------- trees

    def tree(self, files: int, earlier: list[Tree]) -> Tree:
        """A repository's tree of so many files of its own."""
        count = max(1, files // 6)
        ids = [self.identity("directory") for _ in range(count)]
        entries: dict[str, list[tuple[bytes, str, str, int]]] = {identity: [] for identity in ids}
        parents: dict[str, str] = {}
        top = ids[0]
        if self.draw.random() < 0.1 and count > 8:  # a chain of folders with nothing else in them
            for number in range(1, 6):
                parents[ids[number]] = ids[number - 1]
            top = ids[5]
        first = 1 if top == ids[0] else 6
        for number in range(first, count):
            parents[ids[number]] = (
                ids[self.draw.randrange(first - 1, number)] if first > 1 else ids[self.draw.randrange(number)]
            )
        for number, (below, above) in enumerate(parents.items()):
            word = _WORDS[number % len(_WORDS)]
            name = f"{word}{number}" if self.draw.random() < 0.97 else f"node_modules{number}"
            entries[above].append((name.encode(), "dir", below, PERMS_DIRECTORY))
        for number in range(files):
            target, kind = self.any_content()
            name = f"{self.draw.choice(_WORDS)}_{number}.{'png' if kind == 'bin' else kind}".encode()
            perms = PERMS_SYMLINK if self.draw.random() < 0.004 else PERMS_FILE
            entries[ids[self.draw.randrange(count)]].append((name, "file", target, perms))
        found = files
        if self.draw.random() < 0.6:
            notice = f"SPDX-License-Identifier: {self.draw.choice(_LICENSES)}\n".encode()
            entries[ids[0]].append((b"LICENSE", "file", self._license(notice), PERMS_FILE))
            found += 1
        if self.draw.random() < 0.02:
            entries[ids[0]].append((b"module", "rev", self.identity("elsewhere"), PERMS_SUBMODULE))
            found += 1
        if earlier and self.draw.random() < 0.125:
            other = self.draw.choice(earlier)
            if other.files < 4 * files:
                entries[ids[0]].append((b"third", "dir", other.root, PERMS_DIRECTORY))
                found += other.files
        return Tree(ids[0], entries, parents, found)

    def _license(self, notice: bytes) -> str:
        if notice not in self.notices:
            self.notices[notice] = self.content(notice, "license")
        return self.notices[notice]

    def keep(self, tree: Tree, directories: list[str] | None = None) -> None:
        """Enter directories of a tree into the tables, all of them unless named."""
        for identity in directories if directories is not None else tree.directories:
            self.directories.append(identity)
            self.entries.extend((identity, *entry) for entry in tree.directories[identity])

    def changed(self, tree: Tree) -> Tree:
        """The tree with one new file in one directory: new ids from there up to the root, the rest is shared."""
        entries, parents = dict(tree.directories), dict(tree.parents)
        at = self.draw.choice(tuple(entries))
        target, kind = self.any_content()
        added = (f"added_{self.made}.{'png' if kind == 'bin' else kind}".encode(), "file", target, PERMS_FILE)
        fresh, old, replaced = [], at, ("", "")
        rows = [*entries[at], added]
        while True:
            identity = self.identity("directory")
            rows = [(n, t, _identity_of(replaced, x), p) for n, t, x, p in rows]
            entries[identity] = rows
            fresh.append(identity)
            if old not in parents:
                break
            replaced, old = (old, identity), parents[old]
            rows = list(entries[old])
        self.keep(Tree(identity, entries, {}, 0), fresh)
        return Tree(identity, entries, {}, tree.files + 1)


def _identity_of(replaced: tuple[str, str], target: str) -> str:
    return replaced[1] if target == replaced[0] else target


def generate(folder: Path, size: float, *, seed: int = 1) -> dict[str, float]:
    """Write an archive of `size` x OCCURRENCES files to `folder`; returns what is in it."""
    (folder / "content").mkdir(parents=True)
    archive = Archive(folder, random.Random(f"{seed} {size}"))
    for kind, templates in _TEMPLATES.items():
        pick = archive.draw.choice
        archive.lines[kind] = [
            pick(templates).format(*(pick(_WORDS) + pick(_WORDS)[:3] for _ in range(4)), n=archive.draw.randrange(10**6)).encode()
            for _ in range(_LINES_PER_TYPE)
        ]  # fmt: skip
    origins: list[tuple[str, str, str]] = []  # url, snapshot, revision
    revisions: list[tuple[str, str, int]] = []
    trees: list[Tree] = []
    found = distinct = 0
    while found < size * OCCURRENCES:
        number = len(origins)
        if trees and archive.draw.random() < 0.3:
            tree = archive.draw.choice(trees)
            if archive.draw.random() < 0.67:
                tree = archive.changed(tree)
        else:
            files = min(4_000, max(1, int(archive.draw.lognormvariate(3.69, 1.25))))
            tree = archive.tree(files, trees)
            archive.keep(tree)
            trees.append(tree)
            distinct += 1
            for age in range(1, 4):  # what history holds and no current root reaches
                revisions.append((archive.identity("revision"), archive.changed(tree).root, age))
        revision = archive.identity("revision")
        revisions.append((revision, tree.root, 0))
        origins.append(
            (
                f"https://forge.example/group{number % 97}/project{number}",
                archive.identity("snapshot"),
                revision,
            )
        )
        found += tree.files
    _write_tables(archive, origins, revisions)
    return {
        "size": size,
        "origins": len(origins),
        "occurrences": found,
        "contents": len(archive.contents),
        "unpacked_bytes": archive.bytes_unpacked,
        "directories": len(archive.directories),
        "directory_entries": len(archive.entries),
        "revisions": len(revisions),
    }


def _write_tables(
    archive: Archive, origins: list[tuple[str, str, str]], revisions: list[tuple[str, str, int]]
) -> None:
    def table(table_name: str, /, **columns: list[object]) -> None:
        schema = GRAPH[table_name]
        rows = len(next(iter(columns.values())))
        data = pa.table(
            [
                pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(rows, f.type)
                for f in schema
            ],
            schema=schema,
        )
        # As an export has them: rows in no useful order, several files.
        data = data.take(pa.array(np.random.default_rng(1).permutation(rows)))
        where = archive.folder / "graph" / "synthetic" / "parquet" / table_name
        where.mkdir(parents=True)
        for part, start in enumerate(range(0, max(1, rows), _ROWS_PER_FILE)):
            pq.write_table(data.slice(start, _ROWS_PER_FILE), where / f"{table_name}-{part:05d}.parquet",
                           compression="zstd", row_group_size=50_000)  # fmt: skip

    urls = [url for url, _, _ in origins]
    table(
        "origin", id=[hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest() for url in urls], url=urls
    )
    table("origin_visit_status", origin=urls, visit=[1] * len(urls),
          date=[_NOW - timedelta(days=i % 900) for i in range(len(urls))], status=["full"] * len(urls),
          snapshot=[snapshot for _, snapshot, _ in origins], type=["git"] * len(urls))  # fmt: skip
    table("snapshot_branch", snapshot_id=[s for _, s, _ in origins for _ in range(2)],
          name=[b"HEAD", b"refs/heads/main"] * len(origins),
          target=[x for _, _, r in origins for x in (b"refs/heads/main".hex(), r)],
          target_type=["alias", "revision"] * len(origins))  # fmt: skip
    seconds = [1_700_000_000 - 86_400 * age - 977 * i for i, (_, _, age) in enumerate(revisions)]
    dates = [{"seconds": s, "microseconds": 0} for s in seconds]
    table("revision", id=[r for r, _, _ in revisions], directory=[d for _, d, _ in revisions], date=dates, committer_date=dates,
          type=["git"] * len(revisions))  # fmt: skip
    table("directory", id=archive.directories)
    columns = zip(*archive.entries, strict=True)
    table(
        "directory_entry",
        **dict(zip(("directory_id", "name", "type", "target", "perms"), map(list, columns), strict=True)),
    )
    columns = zip(*archive.content_rows, strict=True)
    table(
        "content",
        **dict(
            zip(
                ("sha1", "sha1_git", "sha256", "blake2s256", "length", "status"),
                map(list, columns),
                strict=True,
            )
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=float, default=1)
    options = parser.parse_args()
    print(json.dumps(generate(options.folder, options.size), indent=2))


if __name__ == "__main__":
    main()
