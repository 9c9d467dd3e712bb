"""Names that attack a terminal, a path or a table: recorded as they are, shown escaped, never used as a file name."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from commands import Result, modes_count, run
from graphs import Graph, file, folder, oid

CODE = b"import os\n\n\ndef area%d(width, height):\n    return width * height + %d\n\n\nprint(area%d(2, 3), os.name)\n"
TITLE = (
    b"\x1b]0;owned\x07"  # sets the title of a terminal; is no colour, so that nothing strips it on the way
)
RED = b"\x1b[31m"
CONFIG = "licenses: {scancode: false}\nengine: {buckets: 2}\nquality: {profile: none}\nnear_duplicates: {enabled: false}\n"
NAMES = [
    b"plain.py", b"caf\xe9.py", b"\xff\xfe\xfd.py", b"esc" + TITLE + b".py", b"red" + RED + b".py", b"new\nline.py",
    b"tab\tback\x08.py", b"nul\x00.py", b"bidi\xe2\x80\xaegnp.py", b"bom\xef\xbb\xbf.py", b"csi\xc2\x9b31m.py",
    b"n" * 300 + b".py",
    b"..", b"../../escaped.py", b"/absolute.py", b"a//b.py", b"./dot.py", b".", b"", b" .py", b"-rf.py", b"|pipe.py", b"<b>.py",
    b"\\x41.py", b"[red]markup.py", b"CON.py", b"a\\b.py", b"'; drop table t; --.py", b"$(touch owned).py", b"%s%n.py",
]  # fmt: skip
URL = "https://example.org/evil\x1b]0;owned\x07\x1b[31m\n\u202e/repo"
GOOD = "https://example.org/good/repo"


def _raw(data: bytes) -> list[bytes]:
    """The control bytes and invisible marks that must not reach a terminal."""
    marks = (b"\x1b", b"\x07", b"\x08", b"\x00", b"\xc2\x9b", b"\xe2\x80\xae", b"\xef\xbb\xbf")
    return [mark for mark in marks if mark in data]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    base = tmp_path_factory.mktemp("names")
    g = Graph()
    entries = [file(name, g.content(CODE % (n, n, n))) for n, name in enumerate(NAMES)]
    deep = g.directory("bottom", [file(b"deep.py", g.content(CODE % (900, 900, 900)))])
    for number in range(19):
        deep = g.directory(("deep", number), [folder(b"d" * 210, deep)])
    entries += [
        folder(b"long", deep),
        folder(b"longer" * 20, deep),
        folder(b"..", g.directory("up", [file(b"up.py", g.content(CODE % (901, 901, 901)))])),
    ]
    g.repository(URL, entries, branch=b"HEAD")
    g.repository(GOOD, [file(b"a.py", g.content(CODE % (999, 999, 999)))])
    branch = b"refs/heads/" + TITLE
    root = g.directory(
        "other root",
        [file(b"LICENSE", g.rows["content"][0]["sha1_git"]), file(b"o.py", g.content(CODE % (7, 77, 7)))],
    )
    tip = g.revision("tip", root)
    g.origin(
        "https://example.org/branch",
        g.snapshot("branch", [(b"HEAD", branch.hex(), "alias"), (branch, tip, "revision")]),
    )
    g.write(base / "archive")
    (base / "config.yaml").write_text(CONFIG)
    folder_to_scan = base / "scan"
    folder_to_scan.mkdir()
    for number, name in enumerate(NAMES):
        if name not in (b"", b".", b"..") and b"/" not in name and b"\x00" not in name and len(name) < 255:
            (folder_to_scan / name.decode("utf-8", "surrogateescape")).write_bytes(
                CODE % (number, number, number)
            )
    (folder_to_scan / "LICENSE").write_text("SPDX-License-Identifier: MIT\n")
    (folder_to_scan / "mail.py").write_text("owner = 'someone" + "@" + "corp-mail.net'\n")
    evil = folder_to_scan / ("dir" + TITLE.decode())
    evil.mkdir()
    (evil / "COPYING").write_text("SPDX-License-Identifier: MIT\n")
    (evil / "mail.py").write_text("owner = 'someone.else" + "@" + "corp-mail.net'\n")
    (evil / "twin.py").write_bytes(CODE % (0, 0, 0))
    (folder_to_scan / "dangling").symlink_to("nowhere")
    (folder_to_scan / "loop").symlink_to(".")
    (folder_to_scan / "empty").write_bytes(b"")
    (folder_to_scan / "binary.bin").write_bytes(bytes(range(256)) * 8)
    (folder_to_scan / "locked.py").write_bytes(CODE % (5, 5, 5))
    (folder_to_scan / "locked.py").chmod(0)
    (folder_to_scan / "locked_folder").mkdir()
    (folder_to_scan / "locked_folder").chmod(0)
    chain = base / "chain"
    chain.mkdir()
    _nest(chain, 1_400)
    yield base
    subprocess.run(["rm", "-rf", str(chain)], check=True)  # shutil.rmtree recurses


def _nest(folder: Path, levels: int) -> None:
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    handle = os.open("deep.py", os.O_WRONLY | os.O_CREAT, dir_fd=here)
    os.write(handle, CODE % (1, 1, 1))
    os.close(handle)
    os.close(here)


@pytest.fixture(scope="module")
def made(base: Path) -> Result:
    command = ["release", "--in-process", "--version", "1.0", "--config", "config.yaml", "--archive", "archive", "--out", "out",
               "--workdir", "work", "--json"]  # fmt: skip
    (result,) = run(base / "release", base, command)
    assert result.code == 0, result.message
    return result


def test_every_name_is_accounted_for(base: Path, made: Result) -> None:
    totals = made.data["totals"]
    assert totals["found"] == totals["kept"] + sum(totals["dropped"].values())
    assert totals["dropped"]["path_limit"] == 1  # 4,137 bytes; its neighbour of 4,021 is kept
    assert not _raw(made.err)


def test_nothing_is_written_elsewhere(base: Path, made: Result) -> None:
    assert {path.name for path in base.iterdir()} == {
        "archive", "chain", "config.yaml", "out", "release", "scan", "work",
    } | {path.name for path in base.iterdir() if path.name in ("look", "looks", "scans")}  # fmt: skip
    trees = [base / tree for tree in ("archive", "out", "work", "scan")]
    written = [name for tree in trees for _, folders, files in os.walk(tree) for name in (*folders, *files)]
    assert not [name for name in written if "escaped" in name or "absolute" in name or name == "owned"]
    assert not list(base.parent.glob("*escaped*"))
    assert not Path("/absolute.py").exists()
    assert not _raw(b"\n".join(bytes(path) for tree in ("out", "work") for path in (base / tree).rglob("*")))
    release = base / "out" / "1.0"
    for name in ("README.md", "manifest.json", "config.yaml", "SHA256SUMS"):
        assert not _raw((release / name).read_bytes()), name


def test_paths_are_kept_to_the_byte(base: Path, made: Result) -> None:
    rows = [
        row
        for part in (base / "out" / "1.0" / "data").rglob("*.parquet")
        for row in pq.read_table(part).to_pylist()
    ]
    raw = {
        row["path_raw"] if row["path_raw"] is not None else row["path"].encode()
        for row in rows
        if row["origin"] == URL
    }
    shown = [row["path"] for row in rows]
    assert {
        b"caf\xe9.py",
        b"esc" + TITLE + b".py",
        b"new\nline.py",
        b"nul\x00.py",
        b"n" * 300 + b".py",
        b"\\x41.py",
    } <= raw
    assert not _raw("\n".join(shown).encode())
    assert all("\n" not in path for path in shown)


@pytest.fixture(scope="module")
def looks(base: Path, made: Result) -> dict[str, Result]:
    """What `stats`, `verify` and `explain` say of the release, as text and as JSON; and what they refuse."""
    rows = [
        row
        for part in (base / "out" / "1.0" / "data").rglob("*.parquet")
        for row in pq.read_table(part).to_pylist()
    ]
    evil = next(row for row in rows if row["path_raw"] is not None)
    release = "out/1.0"
    work = ["--workdir", "work"]
    commands: dict[str, list[str]] = {
        "stats": ["stats", release],
        "stats json": ["stats", release, "--json"],
        "verify": ["verify", release],
        "verify json": ["verify", release, "--json"],
        "content": ["explain", release, evil["swhid"], *work],
        "content json": ["explain", release, evil["swhid"], *work, "--json"],
        "sha256": ["explain", release, evil["sha256"], *work],
        "row": ["explain", release, evil["row_id"], *work],
        "qualified": ["explain", release, evil["swhid"] + ";origin=https://example.org/x;path=/a", *work],
        "upper": ["explain", release, evil["sha256"].upper(), *work],
        "origin": ["explain", release, URL, *work],
        "origin json": ["explain", release, URL, *work, "--json", "--limit", "1000"],
        "branch": ["explain", release, "https://example.org/branch", *work],
        "path": ["explain", release, URL, evil["path"], *work],
        "good": ["explain", release, GOOD, "a.py", *work],
        "license": ["explain", release, GOOD, "LICENSE", *work, "--json"],
        "no workdir": ["explain", release, evil["swhid"], "--workdir", "elsewhere"],
        "qualified path": ["explain", release, f"{evil['swhid']};origin={URL};path=/{evil['path']}", *work],
        "ledger": ["ledger", *work, "--release", release],
        "ledger lines": ["ledger", *work, "--json"],
        "ledger origin": ["ledger", *work, "--origin", URL, "--path-prefix", "\x1b", "--language", "x\x1b'"],
        "review": [
            "review",
            "sample",
            release,
            *work,
            "--kept",
            "50",
            "--dropped",
            "500",
            "--out",
            "work/form",
        ],
        "review unfilled": ["review", "score", "work/form"],
        "review nowhere": ["review", "score", "no\x1b]0;x\x07where"],
        "ledger unknown": ["ledger", *work, "--origin", "https://example.org/\x1b]0;x\x07"],
        "unknown path": ["explain", release, GOOD, "no\x1b]0;x\x07.py", *work],
        "unknown origin": ["explain", release, "https://example.org/\x1b]0;x\x07", *work],
        "unknown content": ["explain", release, "swh:1:cnt:" + oid("never"), *work],
        "unknown sha256": ["explain", release, "0" * 64, *work],
        "unknown row": ["explain", release, "0" * 32, *work],
        "directory": ["explain", release, "swh:1:dir:" + oid("never"), *work],
        "short": ["explain", release, "swh:1:cnt:abc", *work],
        "no hex": ["explain", release, "z" * 40, *work],
        "version 2": ["explain", release, "swh:2:cnt:" + oid("never"), *work],
        "word": ["explain", release, "hello\x1b]0;x\x07", *work],
        "empty": ["explain", release, "", *work],
        "path of content": ["explain", release, evil["swhid"], "a.py", *work],
        "no release": ["explain", "nowhere", evil["swhid"], *work],
        "archive": ["explain", "archive", evil["swhid"], *work],
        "workdir is a file": ["explain", release, evil["swhid"], "--workdir", "config.yaml"],
        "limit": ["explain", release, GOOD, "--limit", "0", *work],
        "stats nowhere": ["stats", "nowhere"],
        "verify nowhere": ["verify", "nowhere"],
        "stats file": ["stats", "config.yaml"],
        "verify file": ["verify", "config.yaml"],
    }
    return dict(zip(commands, run(base / "looks", base, *commands.values()), strict=True))


GOOD_LOOKS = ["stats", "stats json", "verify", "verify json", "content", "content json", "sha256", "row", "qualified", "upper",
              "origin", "origin json", "branch", "path", "good", "license", "no workdir", "qualified path", "ledger",
              "ledger lines", "ledger origin", "review"]  # fmt: skip


@pytest.mark.parametrize("name", GOOD_LOOKS)
def test_what_is_shown_is_escaped(looks: dict[str, Result], name: str) -> None:
    result = looks[name]
    assert result.code == 0, result.message
    assert result.out and not _raw(result.out + result.err)
    assert "Traceback" not in result.message
    if name.endswith("json"):
        assert isinstance(result.data, dict)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("review unfilled", ["kept.csv, line 2", "not filled in"]), ("review nowhere", ["sample.json is missing"]),
        ("ledger unknown", ["not an origin"]), ("unknown path", ["no file"]),
        ("unknown origin", ["not an origin"]), ("unknown content", ["does not occur"]),
        ("unknown sha256", ["does not occur"]), ("unknown row", ["does not occur"]), ("directory", ["of no origin"]),
        ("short", ["40 hex digits"]), ("no hex", ["is not an id"]), ("version 2", ["is not an id"]), ("word", ["is not an id"]),
        ("empty", ["is not an id"]), ("path of content", ["origin"]), ("no release", ["nowhere"]), ("archive", ["archive"]),
        ("limit", ["limit"]), ("stats nowhere", ["nowhere"]), ("verify nowhere", ["nowhere"]), ("stats file", ["config.yaml"]),
        ("verify file", ["config.yaml"]),
    ],
)  # fmt: skip
def test_a_look_up_that_cannot_be_made(looks: dict[str, Result], name: str, words: list[str]) -> None:
    looks[name].refused(2, *words)
    assert not _raw(looks[name].err)


def test_a_work_directory_that_is_a_file(looks: dict[str, Result]) -> None:
    assert looks["workdir is a file"].code in (0, 5)
    assert "Traceback" not in looks["workdir is a file"].message


def test_the_page_of_a_review_is_escaped(base: Path, looks: dict[str, Result]) -> None:
    page = (base / "work" / "form" / "review.html").read_bytes()
    assert not _raw(page) and b"esc\\x1b]0;owned\\x07.py" in page
    assert not _raw(b"".join(path.read_bytes() for path in (base / "work" / "form").glob("*.csv")))


def test_a_story_has_one_kept_occurrence(looks: dict[str, Result]) -> None:
    story = looks["content json"].data
    assert [one["reason"] for one in story["occurrences"]].count(None) == 1
    origin = looks["origin json"].data
    assert sum(origin["totals"].values()) == origin["found"] == len(origin["files"])


# ------------------------------------------------------------------------------------------------------------ scan

KEYS = {
    "languages": {"path", "language", "by"},
    "licenses": {"path", "expression", "licenses", "permitted", "evidence"},
    "secrets": {"path", "start", "end", "kind", "rule", "line", "column", "pragma"},
    "duplicates": {"path", "kind", "duplicate_of", "cluster", "kept", "similarity"},
}
KINDS = {
    "key",
    "password",
    "private_key",
    "email",
    "ip_address",
    "credit_card",
    "phone",
    "name",
    "national_id",
}


@pytest.fixture(scope="module")
def scans(base: Path) -> dict[str, Result]:
    commands: dict[str, list[str]] = {}
    for what in KEYS:
        more = ["--no-scancode"] if what == "licenses" else []
        commands[what] = ["scan", what, "scan", *more]
        commands[f"{what} json"] = ["scan", what, "scan", "--json", *more]
        commands[f"{what} chain"] = ["scan", what, "chain", "--json", *more]
        commands[f"{what} nowhere"] = ["scan", what, "no\x1b]0;x\x07where", *more]
        commands[f"{what} file"] = ["scan", what, "config.yaml", *more]
        if what == "duplicates":
            commands["clusters"] = ["scan", what, "scan", "--clusters"]
            commands["clusters json"] = ["scan", what, "scan", "--clusters", "--json"]
        commands[f"{what} small"] = ["scan", what, "scan", "--json", "--max-bytes", "30", *more]
    commands["threshold"] = ["scan", "duplicates", "scan", "--threshold", "7"]
    commands["threshold text"] = ["scan", "duplicates", "scan", "--threshold", "much"]
    commands["policy"] = ["scan", "licenses", "scan", "--no-scancode", "--policy", "nowhere.yaml"]
    return dict(zip(commands, run(base / "scans", base, *commands.values()), strict=True))


def _lines(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.out.splitlines()]


@pytest.mark.parametrize("what", KEYS)
def test_a_scan_prints_records_with_the_agreed_keys(scans: dict[str, Result], what: str) -> None:
    result = scans[f"{what} json"]
    assert result.code == 0, result.message
    records = _lines(result)
    assert records and all(set(record) == KEYS[what] for record in records), records[:1]
    assert not _raw(result.out + result.err)
    paths = {str(record["path"]) for record in records}
    if what != "secrets":
        assert {"caf\\xe9.py", "LICENSE", "esc\\x1b]0;owned\\x07.py"} <= paths
    assert "dir\\x1b]0;owned\\x07/mail.py" in paths
    if modes_count():
        assert "locked.py" in result.message and "locked_folder" in result.message


@pytest.mark.parametrize("what", KEYS)
def test_a_scan_for_people_is_escaped(scans: dict[str, Result], what: str) -> None:
    result = scans[what]
    assert result.code == 0, result.message
    assert result.out and not _raw(result.out + result.err)
    records = _lines(scans[f"{what} json"])
    if what == "duplicates":  # people see the copies
        records = [record for record in records if not record["kept"]]
    assert len(result.out.splitlines()) == len(records)


@pytest.mark.parametrize("what", KEYS)
def test_a_folder_that_is_deep_beyond_recursion(scans: dict[str, Result], what: str) -> None:
    result = scans[f"{what} chain"]
    assert result.code == 0, result.message
    assert "Traceback" not in result.message
    if what in ("languages", "duplicates"):
        assert [str(record["path"])[-9:] for record in _lines(result)] == ["d/deep.py"]


@pytest.mark.parametrize("what", KEYS)
def test_what_cannot_be_scanned(scans: dict[str, Result], what: str) -> None:
    scans[f"{what} nowhere"].refused(2, "not a folder")
    scans[f"{what} file"].refused(2, "config.yaml", "not a folder")
    assert b"left out" in scans[f"{what} small"].err and scans[f"{what} small"].code == 0


def test_kinds_and_options(scans: dict[str, Result]) -> None:
    assert {record["kind"] for record in _lines(scans["secrets json"])} <= KINDS
    assert not _raw(scans["clusters"].out + scans["clusters json"].out)
    assert [len(group["files"]) for group in _lines(scans["clusters json"])] == [2, 2]
    scans["threshold"].refused(2, "hreshold")
    scans["threshold text"].refused(2, "hreshold")
    scans["policy"].refused(2, "nowhere.yaml")


def test_queries_of_such_names_are_safe_to_look_at(base: Path, made: Result) -> None:
    """Breach: the path of a stranger's file writes to the terminal of whoever searches, or cannot be searched for."""
    results = run(
        base / "query",
        base,
        ["query", "out/1.0", "--columns", "path,origin,branch_name,path_raw", "--limit", "100"],
        ["query", "out/1.0", "--columns", "all", "--json"],
        ["query", "out/1.0", "--sql", 'select path as "\x1b[31m", origin from rows order by all'],
        ["query", "out/1.0", "--origin", URL, "--json", "--columns", "path"],
        ["query", "out/1.0", "--language", "Pyt\x1b[31mhon"],
        ["repositories", "out/1.0", "--columns", "path,path_raw"],
        ["view", "ids", "out/1.0", "--out", "ids"],
        ["hydrate", "ids", "--content", "archive", "--out", "hydrated"],
    )
    for result in results:
        assert not _raw(result.out) and not _raw(result.err), (result.out[:300], result.message)
    assert [result.code for result in results] == [0, 0, 0, 0, 2, 0, 0, 0], [r.message for r in results]
    rows = [json.loads(line) for line in results[1].out.splitlines()]
    assert len(rows) == made.data["totals"]["kept"]
    here = [json.loads(line)["path"] for line in results[3].out.splitlines()]
    assert sorted(here) == sorted(row["path"] for row in rows if row["origin"] == URL) != []
    assert {json.loads(line)["origin"] for line in results[5].out.splitlines()} == {
        row["origin"] for row in rows
    }
