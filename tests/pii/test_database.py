"""The cache of compiled rules decides nothing: whole or damaged, foreign, unwritable, shared by many processes."""

import dataclasses
import hashlib
import subprocess
import sys
import threading

import pytest

from pii import database as module
from pii import rule_databases
from pii.database import BadExpression, Expression, cache_folder, database, key, tried_database
from pii.matcher import Matcher
from pii.rules import rule_table
from pii.rules.examples import expand

pytest.importorskip("hyperscan")
SOME = [Expression(b"abc[0-9]", 0, 8), Expression(b"x{3}y", 7, 8)]


def hits(held, text=b"xxxy abc1 abc2"):
    out = []
    held.scan(text, lambda number, *_: out.append(number))
    return sorted(out)


@pytest.fixture
def compilations(monkeypatch):
    """How often something was compiled."""
    count = []
    real = module._compiled
    monkeypatch.setattr(module, "_compiled", lambda e: count.append(1) or real(e))
    return count


def test_compiled_once_then_loaded(tmp_path, compilations):
    for _ in range(3):
        assert hits(database(SOME, folder=tmp_path / "a" / "b")) == [0, 7]
    assert len(compilations) == 1
    (file,) = (tmp_path / "a" / "b").glob("*.db")
    assert file.stem == key(SOME) and not list(tmp_path.rglob("*.tmp"))


def test_a_trial_is_asked_once_and_kept(tmp_path):
    asked = []
    for name, count in (("one", 1), ("one", 1), ("two", 2)):
        held, said = tried_database(SOME, name, lambda d: asked.append(hits(d)) or [7], folder=tmp_path)
        assert said == [7] and hits(held) == [0, 7] and asked == [[0, 7]] * count


def test_rules_that_no_database_finds_are_searched_for_in_every_text(monkeypatch):
    monkeypatch.setenv(module.CACHE, "")
    rules = tuple(dataclasses.replace(r, id=f"my-{r.id}") for r in rule_table()[:5])
    body, _ = expand(rules[0].found[0], "github")
    expected = Matcher(rules, use_hyperscan=False).findings(body)
    monkeypatch.setattr(rule_databases, "missed_by", lambda held, of: list(range(len(of))))
    distrusting = Matcher(tuple(dataclasses.replace(r, source="other") for r in rules), use_hyperscan=True)
    assert distrusting.occurring(b"nothing").rules == [0, 1, 2, 3, 4]
    assert expected and distrusting.findings(body) == expected


def test_the_key_is_what_decides(monkeypatch):
    others = [
        SOME[:1],
        SOME[::-1],
        [Expression(b"abc[0-9]", 1, 8), SOME[1]],
        [SOME[0], SOME[1]._replace(flags=0)],
    ]
    assert len({key(e) for e in [SOME, *others]}) == 5
    before = key(SOME)
    monkeypatch.setattr(module, "_processor", lambda: "another")
    assert key(SOME) != before


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda b: b"", id="empty"),
        pytest.param(lambda b: b[:-1], id="cut"),
        pytest.param(lambda b: b[:-1] + bytes([b[-1] ^ 1]), id="flipped"),
        pytest.param(lambda b: b"another file", id="another"),
        pytest.param(lambda b: b[:22] + hashlib.sha256(b"x" * 400).digest() + b"x" * 400, id="foreign"),
    ],
)
def test_a_damaged_file_is_replaced(tmp_path, compilations, damage):
    database(SOME, folder=tmp_path)
    (file,) = tmp_path.glob("*.db")
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert hits(database(SOME, folder=tmp_path)) == [0, 7] and len(compilations) == 2
    assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path, compilations):
    (tmp_path / "file").write_bytes(b"")
    assert hits(database(SOME, folder=tmp_path / "file" / "x")) == [0, 7]
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / f"{key(SOME)}.db").mkdir()
    assert hits(database(SOME, folder=tmp_path / "taken")) == [0, 7]
    assert len(compilations) == 2 and not list(tmp_path.rglob("*.tmp"))


def test_where_the_cache_is(monkeypatch, tmp_path):
    for cache, xdg, home, expected in (
        ("/c", "/x", "/h", "/c/hyperscan"),
        ("", "/x", "/h", None),
        (None, "/x", "/h", "/x/stackmill/hyperscan"),
        (None, "relative", "/h", "/h/.cache/stackmill/hyperscan"),
        (None, "", "/h", "/h/.cache/stackmill/hyperscan"),
    ):
        for name, value in (("STACKMILL_CACHE", cache), ("XDG_CACHE_HOME", xdg), ("HOME", home)):
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)
        folder = cache_folder()
        assert (None if folder is None else str(folder)) == expected


def test_old_files_go(tmp_path):
    for number in range(module._KEPT + 4):
        database([Expression(b"a%d" % number, 0, 0)], folder=tmp_path)
    assert len(list(tmp_path.glob("*.db"))) == module._KEPT


def test_a_bad_expression_is_named(tmp_path):
    with pytest.raises(BadExpression) as error:
        database([*SOME, Expression(b"a(", 9, 0)], folder=tmp_path)
    assert error.value.position == 2 and "parenthesis" in error.value.said and not list(tmp_path.glob("*.db"))


PROCESS = """
import sys
from pathlib import Path
from pii.database import Expression, database
input()
out = []
database([Expression(b"abc[0-9]", 0, 8)], folder=Path(sys.argv[1])).scan(b"abc1", lambda number, *_: out.append(number))
print(out)
"""


def test_many_processes_at_once(tmp_path):
    command = [sys.executable, "-c", PROCESS, str(tmp_path)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for p in processes:
        p.stdin.write("\n")
        p.stdin.flush()
    assert [p.communicate()[0] for p in processes] == ["[0]\n"] * 3
    assert len(list(tmp_path.glob("*.db"))) == 1 and not list(tmp_path.glob("*.tmp"))


def test_threads_share_a_database():
    held = Matcher(rule_table(), use_hyperscan=True)
    text = b"mail bob@uni" + b"-x.org and 52." + b"95.110.1 " * 2000
    expected = held.findings(text)
    found = [[] for _ in range(4)]

    def run(out):
        for _ in range(20):
            out.append(held.findings(text))

    threads = [threading.Thread(target=run, args=(out,)) for out in found]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert expected and found == [[expected] * 20] * 4
