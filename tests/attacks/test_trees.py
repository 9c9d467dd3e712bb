"""Trees that are small on disk and without end when they are walked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from graphs import Graph, Made, export_of, file, folder, link, oid, release, submodule

from pipeline.audit import census
from pipeline.errors import GateError

CODE = b"import os\n\n\ndef area(width, height):\n    return width * height\n\n\nprint(area(2, 3), os.name)\n"
LOOSE = {"quality": {"profile": "none"}, "near_duplicates": {"enabled": False}}


def _bomb(g: Graph, levels: int) -> str:
    """A directory with 2 ** levels files below it."""
    below = g.directory(("bomb", 0), [file(b"x.py", g.content(CODE + b"# x\n"))])
    for level in range(1, levels + 1):
        below = g.directory(("bomb", level), [folder(b"a", below), folder(b"b", below)])
    return below


def test_a_bomb_is_one_occurrence_and_its_neighbours_stay(tmp_path: Path) -> None:
    g = Graph()
    g.repository("https://example.org/a/bomb", [folder(b"d", _bomb(g, 60))])
    g.repository("https://example.org/a/good", [file(b"a.py", g.content(CODE))])
    made = release(g.write(tmp_path / "archive"), tmp_path, {**LOOSE, "files": {"max_entries": 2_000}})
    assert made.dropped["path_limit"] == 1
    assert made.totals["found"] == 3
    assert made.by_path["a.py"]["content"].encode() == CODE
    assert made.reasons()[b""] == "path_limit"


@pytest.mark.slow
def test_a_bomb_at_the_default_limit(tmp_path: Path) -> None:
    g = Graph()
    g.repository("https://example.org/a/bomb", [folder(b"d", _bomb(g, 60))])
    g.repository("https://example.org/a/good", [file(b"a.py", g.content(CODE))])
    made = release(g.write(tmp_path / "archive"), tmp_path, LOOSE)
    assert (made.totals["found"], made.dropped["path_limit"]) == (3, 1)


def test_only_bombs_is_a_gate_that_names_the_reason(tmp_path: Path) -> None:
    g = Graph()
    g.repository("https://example.org/a/bomb", [folder(b"d", _bomb(g, 60))])
    with pytest.raises(GateError, match=r"no file was kept of 1 found .path_limit 1\W"):
        release(g.write(tmp_path / "archive"), tmp_path, {"files": {"max_entries": 500}})
    assert not (tmp_path / "out" / "1.0").exists()


def test_the_limit_is_exact(tmp_path: Path) -> None:
    """LICENSE, a.py, d, d/b.py, d/e, d/e/c.py: six entries pass a limit of six and not one of five."""

    def graph() -> Graph:
        g = Graph()
        inner = g.directory("e", [file(b"c.py", g.content(CODE + b"# c\n"))])
        below = g.directory("d", [file(b"b.py", g.content(CODE + b"# b\n")), folder(b"e", inner)])
        g.repository("https://example.org/a/b", [file(b"a.py", g.content(CODE)), folder(b"d", below)])
        return g

    archive = graph().write(tmp_path / "archive")
    made = release(archive, tmp_path / "six", {**LOOSE, "files": {"max_entries": 6}})
    assert made.totals["found"] == 4
    with pytest.raises(GateError, match="path_limit 1"):
        release(archive, tmp_path / "five", {**LOOSE, "files": {"max_entries": 5}})


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One root with a directory that holds itself, two that hold each other, a chain below the limit, links, lost ones."""
    base = tmp_path_factory.mktemp("odd")
    g = Graph()
    code = g.content(CODE)
    itself, one, two = (oid(("dir", name)) for name in ("itself", "one", "two"))
    g.directory("itself", [folder(b"again", itself), file(b"s.py", code)])
    g.directory("one", [folder(b"two", two), file(b"1.py", code)])
    g.directory("two", [folder(b"one", one), file(b"2.py", code)])
    chain = g.directory(("chain", 0), [file(b"deep.py", code)])
    for number in range(1, 12):
        chain = g.directory(("chain", number), [folder(b"c", chain)])
    empty = g.directory("empty", [])
    twice = g.directory("twice", [file(b"t.py", code)])
    g.repository("https://example.org/a/odd", [
        file(b"a.py", code), folder(b"itself", itself), folder(b"one", one), folder(b"chain", chain), folder(b"empty", empty),
        folder(b"t1", twice), folder(b"t2", twice), folder(b"lost", oid("lost")), file(b"gone.py", oid("gone")),
        link(b"link.py", code), submodule(b"sub", oid("commit")), file(b"same", code), file(b"same", g.content(CODE + b"#\n")),
        file(b"exec.py", code, 0o100755), file(b"group.py", code, 0o100664), file(b"mode.py", code, 0),
        file(b"null.py", code, None),
    ])  # fmt: skip
    return release(g.write(base / "archive"), base, {**LOOSE, "files": {"max_depth": 6}})


def test_cycles_and_depth_end_as_path_limit(odd: Made) -> None:
    reasons = odd.reasons()
    assert reasons[b"itself/again/again/again/again/again"] == "path_limit"
    assert reasons[b"one/two/one/two/one/two"] == "path_limit"
    assert reasons[b"chain/c/c/c/c/c"] == "path_limit"
    assert odd.dropped["path_limit"] == 3


def test_links_submodules_and_lost_ones_have_their_reasons(odd: Made) -> None:
    reasons = odd.reasons()
    assert reasons[b"link.py"] == reasons[b"sub"] == "not_a_file"
    assert reasons[b"gone.py"] == reasons[b"lost"] == "not_archived"
    for mode in (b"exec.py", b"group.py", b"mode.py", b"null.py"):
        assert reasons[mode] in (None, "exact_duplicate")


def test_shared_directories_count_once_per_path(odd: Made) -> None:
    reasons = odd.reasons()
    assert {reasons[b"t1/t.py"], reasons[b"t2/t.py"]} == {"exact_duplicate"}
    assert odd.totals["found"] == odd.totals["kept"] + sum(odd.dropped.values())


def test_two_ways_to_one_path_are_two_occurrences_whatever_the_buckets(tmp_path: Path) -> None:
    """Names with a slash, and two directories of one name, reach `d/a.py` three times with the same content."""
    digests = []
    for buckets in (1, 8):
        g = Graph()
        code = g.content(CODE)
        first = g.directory("first", [file(b"a.py", code)])
        second = g.directory("second", [file(b"a.py", code), file(b"b.py", g.content(CODE + b"# b\n"))])
        entries = [
            folder(b"d", first),
            folder(b"d", second),
            folder(b"d", first, 0o040755),
            file(b"d/a.py", code),
        ]
        g.repository("https://example.org/a/b", entries)
        made = release(
            g.write(tmp_path / str(buckets) / "archive"),
            tmp_path / str(buckets),
            {**LOOSE, "engine": {"buckets": buckets}},
        )
        # LICENSE, d/a.py by two directories and by its own name, d/b.py.
        assert made.totals["found"] == 5
        assert made.dropped == {"exact_duplicate": 2}
        digests.append(made.outcome.digest)
    assert digests[0] == digests[1]


def test_aliases_and_tags_end(tmp_path: Path) -> None:
    g = Graph()
    root = g.repository("https://example.org/a/good", [file(b"a.py", g.content(CODE))])
    tip = g.revision("tip", root)
    first = g.tag(1, tip, "revision")
    second = g.tag(2, first, "release")
    third = g.tag(3, second, "release")
    head, main = b"HEAD".hex(), b"refs/heads/main".hex()
    chain = [
        (b"HEAD", b"\xff1".hex(), "alias"),
        *((b"\xff%d" % n, (b"\xff%d" % (n + 1)).hex(), "alias") for n in range(1, 20)),
    ]
    origins = {
        "loop": [(b"HEAD", main, "alias"), (b"refs/heads/main", head, "alias")],
        "self": [(b"HEAD", head, "alias")],
        "dangling": [(b"HEAD", b"refs/heads/gone".hex(), "alias")],
        "no hex": [(b"HEAD", "refs/heads/main", "alias"), (b"", tip, "revision")],
        "long": [*chain[:9], (b"\xff9", tip, "revision")],
        "too long": [*chain[:12], (b"\xff12", tip, "revision")],
        "tag": [(b"HEAD", second, "release")],
        "tag of tag of tag": [(b"HEAD", third, "release")],
        "tag of itself": [(b"HEAD", g.tag(4, oid(("rel", 4)), "release"), "release")],
        "directory": [(b"HEAD", root, "directory")],
        "fallback": [(b"HEAD", oid("gone"), "content"), (b"refs/heads/main", tip, "revision")],
        "no revision": [(b"HEAD", oid("gone"), "revision"), (b"refs/heads/main", tip, "revision")],
        "only a feature": [(b"refs/heads/feature", tip, "revision")],
        "empty": [],
    }
    for name, branches in origins.items():
        g.origin(f"https://example.org/{name}", g.snapshot(name, branches))
    g.origin("https://example.org/never visited")
    g.visit("https://example.org/failed", 1, None, "failed", None)
    g.origin("https://example.org/failed")
    archive = g.write(tmp_path / "archive")
    made = release(archive, tmp_path, LOOSE)
    told = json.loads((made.directory / "manifest.json").read_bytes())["origins"]
    assert (told["found"], told["resolved"]) == (17, 5)
    assert sum(told["unresolved"].values()) == 12
    assert told["unresolved"]["empty_repository"] == 1
    assert told["unresolved"]["no_full_visit"] == 2
    assert told["unresolved"]["revision_not_archived"] == 1
    counted = census(export_of(archive), prefixes=(), limit=None, max_depth=64, max_entries=1_000_000)
    assert (counted.origins, counted.resolved, counted.found) == (17, 5, made.totals["found"])
