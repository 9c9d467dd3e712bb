"""Archives made for tests: a small world of origins, and what must become of every file in it.

A `World` is plain Python data, each file carrying what its path and its bytes say (`early`, `late`); `write` puts it
into Software Heritage's layout, `shuffled` rewrites an archive's tables in another order. tests/e2e/expectation.py
computes from the same data, without the pipeline, what a release must hold.

Use it from another folder as this one's conftest.py does: load the file, register it in `sys.modules`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.sources import swhid
from pipeline.sources.archive_writer import ArchiveWriter
from pipeline.sources.trees import add_tree
from pipeline.tables import GRAPH, PERMS_FILE, PERMS_SUBMODULE, PERMS_SYMLINK

DAY = 86_400
NOW = 1_700_000_000  # seconds since the epoch: the visit date of all origins
AUTHOR = b"Ada Example <ada@example.org>"
WORDS = (
    "amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "haven", "inlet", "jetty", "kelp", "lagoon",
    "maple", "north", "ocean", "pine", "quartz", "reef", "sand", "tide", "umber", "vale", "wharf", "yarrow", "zephyr",
    "anchor", "bridge", "canal", "dune", "estuary", "forest", "glacier", "harbor", "island", "jungle",
)  # fmt: skip


@dataclass(frozen=True)
class File:
    """A regular file. `text` is its text in UTF-8 where that is not the body itself."""

    body: bytes
    early: str | None = None  # the reason that its path and the graph give (wave W0)
    late: str | None = None  # the reason that its bytes give (wave W2)
    text: bytes | None = None
    stored: str = "whole"  # whole | missing | corrupt: the object in the archive

    @property
    def decoded(self) -> bytes:
        return self.body if self.text is None else self.text


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: bytes


@dataclass(frozen=True)
class Submodule:
    """A submodule, at a revision of another repository."""

    revision: str


Entry = File | Link | Submodule


@dataclass(kw_only=True)
class Origin:
    """One repository: the files of its latest full visit, and older ones that must not count."""

    url: str
    files: dict[bytes, Entry] | None  # None: an origin without a usable branch
    licenses: dict[bytes, str] = field(
        default_factory=dict
    )  # directory -> SPDX expression of its LICENSE file
    date: int | None = NOW - 100 * DAY  # of the revision
    opted_out: bool = False
    older: tuple[dict[bytes, Entry], ...] = ()
    layout: str = "main"  # main | alias (HEAD -> main) | tag (HEAD -> alias -> annotated tag -> revision)

    def all_files(self) -> dict[bytes, Entry]:
        """The tree of the latest full visit, license files included."""
        notices = {
            directory + b"/LICENSE" if directory else b"LICENSE": notice(expression)
            for directory, expression in self.licenses.items()
        }
        return {**notices, **(self.files or {})}


@dataclass
class World:
    """All origins, the secrets planted in them, and the registry's entries."""

    origins: list[Origin]
    secrets: list[bytes] = field(default_factory=list)

    def registry(self) -> str:
        """The opt-out registry, in YAML."""
        lines = [f"- kind: origin\n  value: {o.url}\n" for o in self.origins if o.opted_out]
        return "".join(lines) or "[]\n"


def notice(expression: str) -> File:
    """A LICENSE file that says what holds by its SPDX tag; as a text it is not among those that are kept."""
    return File(f"SPDX-License-Identifier: {expression}\n".encode(), late="quality.text")


# ------------------------------------------------------------------------------------------------------- contents


def python(seed: object, lines: int = 24) -> bytes:
    """A Python file that looks like one and like no other: about 9 tokens a line, all drawn from the seed."""
    draw = random.Random(f"python {seed}")
    name = lambda: f"{draw.choice(WORDS)}_{draw.choice(WORDS)}{draw.randrange(100)}"  # noqa: E731
    made = [f'"""Work on {name()} and {name()} for {name()}."""', ""]
    for _ in range(lines // 3):
        a, b, c, f = name(), name(), name(), name()
        made += [
            f"def {f}({a}, {b}, {c}):",
            f"    {name()} = {a} + {b} * {c}",
            f"    return {name()}({a}, {b})",
        ]
    return "\n".join([*made, ""]).encode()


def javascript(seed: object, lines: int = 24) -> bytes:
    """The same in JavaScript."""
    draw = random.Random(f"javascript {seed}")
    name = lambda: f"{draw.choice(WORDS)}{draw.choice(WORDS).title()}{draw.randrange(100)}"  # noqa: E731
    made = []
    for _ in range(lines // 3):
        a, b, f = name(), name(), name()
        made += [
            f"function {f}({a}, {b}) {{",
            f"  const {name()} = {a} + {b} * {name()};",
            f"  return {a}; }}",
        ]
    return "\n".join([*made, ""]).encode()


def c_source(seed: object, lines: int = 24) -> bytes:
    """The same in C."""
    draw = random.Random(f"c {seed}")
    name = lambda: f"{draw.choice(WORDS)}_{draw.choice(WORDS)}{draw.randrange(100)}"  # noqa: E731
    made = ["#include <stdlib.h>"]
    for _ in range(lines // 3):
        a, b, f = name(), name(), name()
        made += [f"int {f}(int {a}, int {b}) {{", f"    int {name()} = {a} + {b} * {draw.randrange(99)};",
                 f"    return {a}; }}"]  # fmt: skip
    return "\n".join([*made, ""]).encode()


def edited(body: bytes, every: int, word: bytes, start: int = 0) -> bytes:
    """`body` with a word put in front of every so many lines' text: each takes a few shingles away."""
    lines = body.split(b"\n")
    for number in range(start, len(lines), every):
        if lines[number].strip():
            lines[number] += b"  # " + word + b"%d" % number
    return b"\n".join(lines)


def email(draw: random.Random) -> bytes:
    """An address at a domain that nobody has documented as an example."""
    name = "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=9))
    return f"{name}.{draw.choice(WORDS)}@{''.join(draw.choices('bcdfghjklm', k=8))}.com".encode()


def access_key(draw: random.Random) -> bytes:
    """Something in the form of a cloud access key."""
    return ("AK" + "IA" + "".join(draw.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", k=16))).encode()


def private_key(draw: random.Random) -> bytes:
    """A block in the form of a private key, from random bytes."""
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    rows = ["MII" + "".join(draw.choices(digits, k=61))] + [
        "".join(draw.choices(digits, k=64)) for _ in range(6)
    ]
    dashes = "-" * 5
    return "\n".join(
        [f"{dashes}BEGIN RSA PRIVATE KEY{dashes}", *rows, f"{dashes}END RSA PRIVATE KEY{dashes}"]
    ).encode()


# -------------------------------------------------------------------------------------------------------- the world


def small_world() -> World:
    """About 190 occurrences in 14 origins that meet nearly every rule of the flow at least once."""
    draw = random.Random(20261121)
    host = "https://forge.example"
    tool: dict[bytes, Entry] = {
        b"setup.py": File(python("tool setup")),
        b"README.md": File(
            b"# Tool\n\n" + b"A tool that works on tides, reefs and harbors all the same.\n" * 3
        ),
        **{b"tool/part%d.py" % n: File(python(f"tool {n}")) for n in range(9)},
        **{b"web/part%d.js" % n: File(javascript(f"tool {n}")) for n in range(5)},
        b"tool/empty.py": File(b"", late="quality.empty"),
    }
    gpl: dict[bytes, Entry] = {
        **{b"src/own%d.c" % n: File(c_source(f"gpl {n}")) for n in range(6)},
        # The oldest copy of what alice has under MIT: it may not be elected, nor shadow hers.
        b"part0.py": tool[b"tool/part0.py"],
    }
    shared_with_opted_out = {b"lib%d.py" % n: File(python(f"gina {n}")) for n in range(5)}
    chain_a = python("chain", 60)
    chain_b = edited(chain_a, 7, b"wind", 1)
    chain_c = edited(chain_b, 7, b"rain", 3)
    mail, key, pem = email(draw), access_key(draw), private_key(draw)
    other_mail = email(draw)
    with_mail = python("with mail") + b'OWNER = "%s"\n'
    secrets: dict[bytes, Entry] = {
        b"conf/a.py": File(with_mail % mail),
        b"conf/b.py": File(with_mail % other_mail),  # differs in nothing but the address
        b"conf/keys.py": File(python("keys") + b'AWS_ACCESS_KEY_ID = "%s"\n' % key),
        b"conf/tls.py": File(python("tls") + b'KEY = """\n%s\n"""\n' % pem),
        b"conf/all.js": File(javascript("all") + b"// %s %s\n" % (mail, key)),
        b"conf/clean.py": File(python("clean")),
    }
    latin = python("latin") + "# déjà vu, naïve café, über große Höhe, señor año\n".encode()
    wide = python("wide") + b"# one text in two encodings\n"
    header = b"# SPDX-License-Identifier: GPL-3.0-or-later\n"
    odd: dict[bytes, Entry] = {
        b"link.py": Link(b"real.py"),
        b"dir/dangling": Link(b"../no/such/file"),
        b"sub/module": Submodule("ab" * 20),
        b"sub/other": Submodule("cd" * 20),
        b"real.py": File(python("real")),
        b"data.bin": File(bytes(range(256)) * 8, late="binary"),
        b"image.py": File(b"\x00\x01\x02PNG" * 100, late="binary"),
        b"unknown.zzzz": File(python("unknown"), late="language"),
        b"noext": File(b"just some words\n", late="language"),
        b"made_pb2.py": File(
            b"# Generated by the protocol buffer compiler.  DO NOT EDIT!\n" + python("pb"), late="generated"
        ),
        b"empty.py": File(b"", late="quality.empty"),
        b"blank.c": File(b"", late="quality.empty"),
        b"long.py": File(b"x = [" + b"1, " * 600 + b"]\n", late="quality.line_length"),
        b"digits.py": File(b"1 2 3 4 5 6 7 8 9 0 + - * / 1 2 3\n" * 30, late="quality.alphabetic"),
        b"n\xe9e/caf\xe9.py": File(python("not utf-8")),
        b"n\xe9e/\xff\xfe\x80.js": File(javascript("not utf-8")),
        b"with space/a b.py": File(python("space")),
        b"ctl\x01/\x1b[31m.py": File(python("control")),
        b"latin.py": File(latin.decode().encode("latin-1"), text=latin),
        b"wide.py": File(wide.decode().encode("utf-16"), text=wide),
        b"wide/copy.py": File(wide),
        b"vendor/x/lib.py": File(python("vendored"), early="vendored"),
        b"node_modules/y/index.js": File(javascript("vendored"), early="vendored"),
        b"tagged.py": File(header + python("tagged"), late="license_header"),
        b"gone.py": File(python("gone"), late="missing", stored="missing"),
        b"broken.py": File(python("broken"), late="corrupt", stored="corrupt"),
        b"/".join([b"deep"] * 12) + b"/bottom.py": File(python("deep")),
        b"z/" + b"n" * 250 + b".py": File(python("long name")),
        b"dots...py": File(python("dots")),
        b"copy/real.py": File(python("real")),
    }
    mixed: dict[bytes, Entry] = {
        **{b"free/a%d.py" % n: File(python(f"mixed {n}")) for n in range(4)},
        **{b"bound/b%d.c" % n: File(c_source(f"mixed {n}")) for n in range(4)},
        b"bound/free/again.c": File(c_source("mixed again")),
    }
    near: dict[bytes, Entry] = {
        b"chain/b.py": File(chain_b),
        b"chain/c.py": File(chain_c),
        **{
            b"tool/near%d.py" % n: File(edited(tool[b"tool/part%d.py" % n].body, 9, b"moved"))
            for n in range(4)
        },  # type: ignore[union-attr]
        b"tool/exact.py": tool[b"tool/part5.py"],
        b"web/near.js": File(edited(tool[b"web/part1.js"].body, 8, b"moved")),  # type: ignore[union-attr]
        **{b"own/o%d.js" % n: File(javascript(f"near {n}")) for n in range(4)},
    }
    mit, fork = {b"": "MIT"}, {b"fork-only.py": File(python("fork only"))}
    return World(
        [
            Origin(url=f"{host}/alice/tool", files=tool, licenses=mit, date=NOW - 900 * DAY),
            Origin(url=f"{host}/bob/tool", files=tool, licenses=mit, date=NOW - 800 * DAY),
            Origin(url=f"{host}/carol/tool", files=tool, licenses=mit, date=None, layout="alias"),
            Origin(url=f"{host}/carol/tool-fork", files={**tool, **fork}, licenses=mit, date=NOW - 700 * DAY),
            Origin(url=f"{host}/dave/bound", files=gpl, licenses={b"": "GPL-3.0-only"}, date=NOW - 3000 * DAY),
            Origin(url=f"{host}/erin/silent", files={b"s%d.py" % n: File(python(f"erin {n}")) for n in range(5)}
                   | {b"part1.py": tool[b"tool/part1.py"]}, date=NOW - 2900 * DAY),
            Origin(url=f"{host}/frank/private", opted_out=True, licenses=mit, date=NOW - 2000 * DAY,
                   files={**shared_with_opted_out, b"only-frank.py": File(python("frank")), b"l": Link(b"lib0.py")}),
            # The same root as alice's, and opted out: the oldest, so it would speak for the root if it could.
            Origin(url=f"{host}/frank/tool", files=tool, licenses=mit, date=NOW - 2500 * DAY, opted_out=True),
            Origin(url=f"{host}/gina/lib", licenses={b"": "Apache-2.0"}, date=NOW - 500 * DAY,
                   files={b"deep/down/here/" + path: file for path, file in shared_with_opted_out.items()}
                   | {b"chain/a.py": File(chain_a)}),
            Origin(url=f"{host}/henry/odd", files=odd, licenses={b"": "BSD-3-Clause"}, date=NOW - 400 * DAY),
            Origin(url=f"{host}/iris/secrets", files=secrets, licenses=mit, date=NOW - 300 * DAY, layout="tag"),
            Origin(url=f"{host}/jack/near", files=near, licenses=mit, date=NOW - 200 * DAY,
                   older=({b"old%d.py" % n: File(python(f"old {n}")) for n in range(3)},
                          {b"older.py": File(python("older"))})),
            Origin(url=f"{host}/lena/empty", files=None),
            Origin(url=f"{host}/mia/mixed", files=mixed, date=NOW - 50 * DAY,
                   licenses={b"": "MIT", b"bound": "GPL-2.0-only", b"bound/free": "ISC"}),
        ],
        secrets=[mail, other_mail, key, pem.split(b"\n")[2], pem.split(b"\n")[5]],
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------------- into archives


def write(world: World, folder: Path) -> Path:
    """Write the world as an archive; returns the folder."""
    visits = []
    with ArchiveWriter(folder) as writer:
        for origin in world.origins:
            trees = [*origin.older, origin.all_files() if origin.files is not None else None]
            for number, files in enumerate(trees):
                snapshot = _snapshot(writer, origin, files)
                if number == len(trees) - 1:
                    writer.add_origin(origin.url, snapshot, seconds=NOW, visit_type="git")
                else:  # visited before; the last of these only in part, but later than the full visit
                    partial = number == len(trees) - 2
                    visits.append(
                        (origin.url, 10 + number, NOW + (DAY if partial else -DAY), partial, snapshot)
                    )
        writer.finish()
    for file in (f for o in world.origins for f in o.all_files().values() if isinstance(f, File)):
        target = folder / "content" / swhid.hash_content(file.body).sha1
        if file.stored == "missing":
            target.unlink(missing_ok=True)
        elif file.stored == "corrupt":
            target.write_bytes(target.read_bytes()[:-12])
    if visits:
        schema = GRAPH["origin_visit_status"]
        rows = [
            {"origin": url, "visit": visit, "date": seconds * 1_000_000, "status": "partial" if partial else "full",
             "snapshot": snapshot, "type": "git"}
            for url, visit, seconds, partial, snapshot in visits
        ]  # fmt: skip
        path = folder / "graph/local/parquet/origin_visit_status/origin_visit_status-00000.parquet"
        pq.write_table(pa.concat_tables([pq.read_table(path), pa.Table.from_pylist(rows, schema)]), path)
    return folder


def _snapshot(writer: ArchiveWriter, origin: Origin, files: Mapping[bytes, Entry] | None) -> str:
    if files is None:
        return writer.add_snapshot({})
    entries = {}
    for path, entry in files.items():
        if isinstance(entry, File):
            entries[path] = (PERMS_FILE, writer.add_content(entry.body).sha1_git)
        elif isinstance(entry, Link):
            entries[path] = (PERMS_SYMLINK, writer.add_content(entry.target).sha1_git)
        else:
            entries[path] = (PERMS_SUBMODULE, entry.revision)
    date = None if origin.date is None else swhid.Timestamp(seconds=origin.date)
    revision = writer.add_revision(
        swhid.Revision(
            directory=add_tree(writer, entries),
            author=None if date is None else AUTHOR,
            date=date,
            committer=AUTHOR,
            committer_date=swhid.Timestamp(seconds=NOW - DAY),
            message=origin.url.encode(),
        )
    )
    main = swhid.Branch(revision, "revision")
    if origin.layout == "main":
        return writer.add_snapshot({b"refs/heads/main": main, b"refs/heads/wip": main})
    if origin.layout == "alias":
        return writer.add_snapshot({b"HEAD": swhid.Branch(b"refs/heads/x", "alias"), b"refs/heads/x": main})
    tag = writer.add_release(swhid.Release(name=b"v1", target=revision, target_type="revision"))
    return writer.add_snapshot(
        {b"HEAD": swhid.Branch(b"refs/tags/v1", "alias"), b"refs/tags/v1": swhid.Branch(tag, "release")}
    )


def shuffled(archive: Path, folder: Path, seed: int = 1) -> Path:
    """The same archive: rows permuted, some of them twice, tables split into three files of small row groups."""
    draw = random.Random(seed)
    folder.mkdir(parents=True)
    (folder / "content").symlink_to(archive / "content")
    for path in sorted((archive / "graph/local/parquet").rglob("*.parquet")):
        table = pq.read_table(path)
        rows = [*range(table.num_rows), *draw.sample(range(table.num_rows), table.num_rows // 3)]
        draw.shuffle(rows)
        target = folder / "graph/local/parquet" / path.parent.name
        target.mkdir(parents=True)
        for part in range(3):
            piece = table.take(pa.array(rows[part::3], pa.int64()))
            pq.write_table(piece, target / f"part-{part}.parquet", row_group_size=7 + 13 * part)
    return folder


def wide_world(origins: int, files: int) -> World:
    """Many small files: the graph tables are all that grows. Bodies repeat over origins, paths and trees do not."""
    bodies = [python(f"wide {number}", 6) for number in range(50)]
    return World(
        [
            Origin(
                url=f"https://forge.example/w/{o}",
                files={
                    b"d%d/e%d/f%d_%d.py" % (f % 17, f % 5, o, f): File(bodies[f % 50]) for f in range(files)
                },
                licenses={b"": "MIT"},
                date=NOW - o * DAY,
            )
            for o in range(origins)
        ]
    )
