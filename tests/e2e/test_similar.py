"""`pipeline query --similar`: rows that share code with a text are found, measured as plain Python does, and never invented."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from manifests.reader import Release
from pipeline import similar_index
from pipeline.cli.main import app
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, IntegrityError, SourceError
from pipeline.similar import Answer, Similar
from pipeline.similar_index import index_home
from pipeline.similar_rows import Rows

CERTAIN = 20  # tokens
UNKNOWN = (
    b"the quick brown fox jumps over the lazy dog and never comes back to where nobody was waiting for it"
)


@pytest.fixture(scope="module")
def rows(made) -> list[dict[str, Any]]:
    release = Release.open(made[0].directory)
    return [row for batch in release.batches() for row in batch.to_pylist()]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("index")


@pytest.fixture(scope="module")
def similar(made, home):
    with Similar.open(made[0].directory, index=home) as opened:
        yield opened


def tokens(text: bytes) -> list[bytes]:
    return re.findall(rb"[A-Za-z0-9_\x80-\xff]+", text)


def shingles(text: bytes) -> set[tuple[bytes, ...]]:
    found = tokens(text)
    return {tuple(found[i : i + 5]) for i in range(len(found) - 4)}


def runs(text: bytes) -> set[tuple[bytes, ...]]:
    found = tokens(text)
    return {tuple(found[i : i + CERTAIN]) for i in range(len(found) - CERTAIN + 1)}


def edited(text: bytes, share: float, seed: int) -> bytes:
    rng = random.Random(seed)
    return re.sub(rb"\w+", lambda m: b"z%d" % rng.randrange(1 << 30) if rng.random() < share else m[0], text)


def command(*arguments: object, stdin: bytes = b"") -> Any:
    return CliRunner().invoke(app, ["query", *map(str, arguments)], input=stdin)


def index_folder(home: Path) -> Path:
    (folder,) = [path for path in home.iterdir() if path.is_dir()]
    return folder


# ------------------------------------------------------------------------------------------------------ what it finds


def test_every_row_finds_itself_first(similar, rows):
    """Breach: the file that was copied whole is not the first answer."""
    told = similar.find_all(row["content"] for row in rows)
    for row, answer in zip(rows, told, strict=True):
        content = row["content"].encode()
        assert answer.tokens == len(tokens(content)) and answer.shingles == len(shingles(content))
        if not answer.shingles:
            assert answer.matches == ()
            continue
        best = answer.matches[0]
        assert (best.containment, best.jaccard, best.row_containment) == (1, 1, 1)
        # Another row may have the same tokens between other punctuation; none is better.
        (held,) = [other for other in rows if other["row_id"] == best.row_id]
        assert shingles(held["content"].encode()) == shingles(content)
        assert best.run_tokens == answer.tokens
        facts = asdict(best)
        assert all(facts[name] == held[name] for name in facts.keys() & held.keys())


@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(data=st.data())
def test_what_is_told_is_what_plain_python_finds(similar, rows, data):
    """A text made of pieces of rows, edited or not: the numbers are exact, the runs are there, what must be found is found."""
    pieces = []
    for _ in range(data.draw(st.integers(0, 3))):
        lines = data.draw(st.sampled_from(rows))["content"].encode().split(b"\n")
        first = data.draw(st.integers(0, len(lines)))
        piece = b"\n".join(lines[first : first + data.draw(st.integers(1, 40))])
        pieces.append(edited(piece, data.draw(st.sampled_from([0, 0, 0.05, 0.5])), 1))
    text = b"\n".join([UNKNOWN, *pieces])
    answer = similar.find(text, least=0, limit=len(rows))
    own = shingles(text)
    by_id = {row["row_id"]: row["content"].encode() for row in rows}
    found = {match.row_id for match in answer.matches}
    assert {row_id for row_id, content in by_id.items() if runs(content) & runs(text)} <= found
    for match in answer.matches:
        content = by_id[match.row_id]
        other = shingles(content)
        shared = len(own & other)
        assert match.shared_shingles == shared > 0
        assert match.containment == shared / len(own) and match.row_containment == shared / len(other)
        assert match.jaccard == shared / len(own | other)
        assert 0 <= match.rarity <= 1 + 1e-9
        (a, b) = match.text_span, match.row_span
        assert tokens(text[a.start : a.end]) == tokens(content[b.start : b.end])
        assert len(tokens(text[a.start : a.end])) == match.run_tokens >= 5
        assert (
            a.first_line == text[: a.start].count(b"\n") + 1
            and b.last_line == content[: b.end].count(b"\n") + 1
        )
    ranks = [(0, -m.jaccard) if m.jaccard >= 0.7 else (1, -m.rarity, -m.jaccard) for m in answer.matches]
    assert ranks == sorted(ranks)
    assert answer.compared == answer.found >= len(found)


def asked(rows) -> list[bytes]:
    """Texts of all kinds."""
    longest = max(rows, key=lambda row: row["length_bytes"])["content"].encode()
    lines = longest.split(b"\n")
    return [
        longest,
        edited(longest, 0.1, 3),
        UNKNOWN + b"\n".join(lines[5:15]) + UNKNOWN,
        b"".join(row["content"].encode() for row in rows),
        UNKNOWN,
        b"",
        b"x y z 1",
        b"x " * 50_000,
        b"\xff\xfe\x00\x80 \x1b[2J" * 30,
        bytes(range(256)) * 20,
        "变量 = 变量 + 一; ".encode() * 20,
    ]


def test_the_index_and_the_texts_give_the_same_answers(made, home, rows):
    """Breach: what is found depends on whether there is an index, or on what else is asked."""
    texts = asked(rows)
    with Similar.open(made[0].directory, index=home) as with_index:
        expected = list(with_index.find_all(texts, least=0.01))
        assert [with_index.find(text, least=0.01) for text in texts] == expected
    with Similar.open(made[0].directory, use_index=False) as without:
        assert list(without.find_all(texts, least=0.01)) == expected
        assert [without.find(text, least=0.01) for text in texts[:3]] == expected[:3]
    assert expected[0].matches and expected[3].matches and not expected[4].matches


def test_too_short_or_unknown_is_told_apart(similar):
    for text, count in ((b"", 0), (b" \n\t()", 0), (b"a b c d", 4)):
        answer = similar.find(text)
        assert (answer.tokens, answer.shingles, answer.found, answer.matches) == (count, 0, 0, ())
    answer = similar.find(UNKNOWN)
    assert answer.shingles > 10 and answer.found == 0


def test_languages_limit_and_least(similar, rows):
    text = b"".join(row["content"].encode() for row in rows)
    everything = similar.find(text, least=0, limit=1000)
    for language in {row["language"] for row in rows}:
        told = similar.find(text, least=0, limit=1000, languages=[language])
        assert {m.row_id for m in told.matches} == {
            m.row_id for m in everything.matches if m.language == language
        }
    assert similar.find(text, least=0, limit=2).matches == everything.matches[:2]
    assert similar.find(text, limit=0).matches == ()
    kept = similar.find(text, least=0.02, limit=1000).matches
    assert kept == tuple(m for m in everything.matches if m.containment >= 0.02) != everything.matches
    for wrong in ({"least": 1.1}, {"least": float("nan")}, {"limit": -1}, {"languages": ["COBOL"]}):
        with pytest.raises(ConfigError):
            similar.find(text, **wrong)


def test_a_common_passage_is_bounded_and_says_less(made, monkeypatch, rows):
    """Breach: a license header outranks what was really copied, or reads the postings of every row."""
    from dedup import lookup
    from pipeline import similar as module

    monkeypatch.setattr(
        module,
        "candidates",
        lambda *arguments, **more: lookup.candidates(*arguments, **more, common=1, most=60),
    )
    text = b"".join(row["content"].encode() for row in rows)
    with Similar.open(made[0].directory, use_index=False) as opened:
        answer = opened.find(text, least=0)
    assert answer.common > 0 and answer.skipped > 0 and 0 < answer.found <= 60


# ---------------------------------------------------------------------------------------------------------- the index


def answers(directory: Path, home: Path, texts: list[bytes], log: list[str]) -> list[Answer]:
    with Similar.open(directory, index=home, log=log.append) as opened:
        return list(opened.find_all(texts, least=0.01))


@pytest.mark.parametrize("name", ["directory.u64", "checks.u32", "keys.u32", "rows.u32", "index.json"])
@pytest.mark.parametrize("how", ["flipped", "cut", "missing"])
def test_a_damaged_index_is_noticed_and_made_anew(made, home, tmp_path, rows, name, how):
    """Breach: a flipped bit on a disk hides where code comes from."""
    texts = asked(rows)
    expected = answers(made[0].directory, home, texts, [])
    copy = Path(shutil.copytree(home, tmp_path / "index"))
    file = index_folder(copy) / name
    data = bytearray(file.read_bytes())
    if how == "flipped":
        # Every bit, where one of them may be in a bin that no text asks for.
        flipped = (
            bytes(byte ^ 1 for byte in data)
            if name in ("keys.u32", "rows.u32")
            else bytes([data[0] ^ 1, *data[1:]])
        )
        file.write_bytes(flipped)
    elif how == "cut":
        file.write_bytes(data[: len(data) // 2])
    else:
        file.unlink()
    log: list[str] = []
    assert answers(made[0].directory, copy, texts, log) == expected
    assert any(line.startswith("indexed in") for line in log)
    log.clear()
    assert answers(made[0].directory, copy, texts, log) == expected and not log


def test_an_index_of_another_release_is_not_used(made, home, tmp_path, rows):
    copy = Path(shutil.copytree(home, tmp_path / "index"))
    facts = json.loads((index_folder(copy) / "index.json").read_text())
    for name, value in (("release", "0" * 64), ("window", 17), ("probe", "0" * 64), ("format", 0)):
        (index_folder(copy) / "index.json").write_text(json.dumps({**facts, name: value}))
        log: list[str] = []
        answers(made[0].directory, copy, asked(rows)[:1], log)
        assert any(line.startswith("indexed in") for line in log), name
        assert json.loads((index_folder(copy) / "index.json").read_text()) == facts


def test_made_in_pieces_it_has_the_same_bytes(made, home, tmp_path, monkeypatch):
    """Breach: what does not fit in memory at once is indexed otherwise."""
    answers(made[0].directory, home, [UNKNOWN], [])
    expected = {path.name: path.read_bytes() for path in index_folder(home).iterdir()}
    monkeypatch.setattr(similar_index, "RUN_POSTINGS", 50)
    monkeypatch.setattr("pipeline.similar_rows._BATCH_ROWS", 3)
    answers(made[0].directory, tmp_path, [UNKNOWN], [])
    assert {path.name: path.read_bytes() for path in index_folder(tmp_path).iterdir()} == expected
    assert len(expected["keys.u32"]) > 4 * 500, "one piece says nothing"


def test_what_a_killed_process_left_is_swept_and_a_failure_leaves_nothing(made, home, tmp_path, monkeypatch):
    answers(made[0].directory, home, [UNKNOWN], [])
    name = index_folder(home).name
    left = tmp_path / f"{name}.tmp-0123456789ab"
    left.mkdir()
    (left / "keys.u32").write_bytes(b"half")
    with monkeypatch.context() as broken, pytest.raises(SourceError, match="--no-index"):
        broken.setattr(
            similar_index, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        )
        answers(made[0].directory, tmp_path, [UNKNOWN], [])
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}.lock"]
    answers(made[0].directory, tmp_path, [UNKNOWN], [])
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, f"{name}.lock"]


def test_two_that_need_an_index_at_once_make_it_once(made, tmp_path):
    log: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: answers(made[0].directory, tmp_path, [UNKNOWN], log), range(4)))
    assert found[1:] == found[:-1]
    assert sum(line.startswith("indexed in") for line in log) == 1


def test_where_the_index_is_kept(monkeypatch, tmp_path):
    assert index_home(tmp_path) == tmp_path
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert index_home() == tmp_path / "cache" / "stackmill" / "similar"
    for other in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", other)
        assert index_home() == Path.home() / ".cache" / "stackmill" / "similar"


# ----------------------------------------------------------------------------------------------------------- releases


def test_a_release_without_rows_answers(made, tmp_path):
    opened = Release.open(made[0].directory)
    empty = Release(opened.directory, replace(opened.manifest, shards=(), languages={}), "0" * 64)
    for home in (tmp_path, None):
        answer = Similar(Rows(empty), home, lambda _: None).find(UNKNOWN)
        assert answer.shingles > 0 and (answer.found, answer.matches) == (0, ())


def test_a_shard_that_is_not_what_the_manifest_says_is_refused(made, home, rows, tmp_path):
    """Breach: the index says one row, the shard of somebody else's making holds another."""
    answers(made[0].directory, home, [UNKNOWN], [])
    copy = Path(shutil.copytree(made[0].directory, tmp_path / "release"))
    victim = copy / Release.open(copy).shards("C")[0].path
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    (text,) = [row["content"] for row in rows if row["language"] == "C"]
    with (
        Similar.open(copy, index=home) as opened,
        pytest.raises(IntegrityError, match=re.escape(victim.name)),
    ):
        opened.find(text)
    with pytest.raises(IntegrityError), Similar.open(copy, index=tmp_path / "new"):
        pass
    victim.unlink()
    with pytest.raises(IntegrityError, match="missing"), Similar.open(copy, index=tmp_path / "new"):
        pass


def test_of_a_release_in_a_bucket_the_candidates_shards_are_fetched(s3_bucket, made, home, rows, tmp_path):
    """Breach: one question fetches a terabyte; or the temporary folder is what a message names."""
    address = f"{s3_bucket}/releases/1.0"
    store = Store(address)
    for path in made[0].directory.rglob("*"):
        if path.is_file():
            store.put(path.relative_to(made[0].directory).as_posix(), path.read_bytes())
    (text,) = [row["content"] for row in rows if row["language"] == "C"]
    with Similar.open(made[0].directory, index=home) as opened:
        expected = opened.find(text, languages=["C"])
    with Similar.open(address, index=tmp_path) as opened:  # makes the index from the bucket
        assert opened.find(text, languages=["C"]) == expected
    store.delete(*(shard.path for shard in Release.open(made[0].directory).shards() if shard.language != "C"))
    with Similar.open(address, index=tmp_path) as opened:
        assert opened.find(text, languages=["C"]) == expected
        with pytest.raises(IntegrityError, match=r"s3://.* is missing"):
            opened.find(b"".join(row["content"].encode() for row in rows))
    (victim,) = Release.open(made[0].directory).shards("C")
    store.put(victim.path, b"not Parquet at all")
    with (
        Similar.open(address, index=tmp_path) as opened,
        pytest.raises(IntegrityError, match=r"s3://.*train-all"),
    ):
        opened.find(text, languages=["C"])


# ------------------------------------------------------------------------------------------------------- command line


def test_the_command_for_people(made, home, rows, tmp_path):
    row = max(rows, key=lambda row: row["length_bytes"])
    file = tmp_path / "new \x1b[2J.py"
    file.write_bytes(UNKNOWN + b"\n" + row["content"].encode())
    told = command(made[0].directory, "--similar", file, "--index", home)
    assert told.exit_code == 0, told.output
    for words in (
        row["origin"],
        row["path"],
        row["swhid"],
        row["license_expression"],
        "100.0% of the row is in",
        "longest run",
    ):
        assert words in told.stdout
    assert "\x1b" not in told.output and "does not tell who" in told.stdout.replace("\n", " ")
    short = command(made[0].directory, "--similar", "-", "--index", home, stdin=b"a b")
    assert short.stdout == "stdin is too short to tell: it has 2 tokens, and 5 are compared at a time\n"
    none = command(made[0].directory, "--similar", "-", "--no-index", "--least", "0.5", stdin=UNKNOWN)
    assert none.exit_code == 0 and none.stdout.startswith(
        "no row has 50% or more of stdin\nno row shares anything"
    )
    odd = command(made[0].directory, "--similar", "-", "--index", home, stdin=b"\xff\xfe" + UNKNOWN)
    assert odd.exit_code == 0 and "not UTF-8 (byte 0)" in odd.stderr


def test_the_command_for_machines(made, home, rows, tmp_path):
    row = max(rows, key=lambda row: row["length_bytes"])
    (tmp_path / "a.py").write_text(row["content"])
    arguments = [
        "--similar",
        tmp_path / "a.py",
        "--json",
        "--index",
        home,
        "--language",
        row["language"],
        "--limit",
        3,
    ]
    told = command(made[0].directory, *arguments)
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    with Similar.open(made[0].directory, index=home) as opened:
        answer = opened.find(row["content"], languages=[row["language"]], limit=3)
    assert lines == [asdict(match) for match in answer.matches] and lines[0]["row_id"] == row["row_id"]
    assert command(made[0].directory, *arguments, "--no-verify").stdout == told.stdout


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--path", "*"], "does not go with --path"),
        (["--sql", "select 1"], "does not go with --sql"),
        (["--count"], "does not go with --count"),
        (["--no-index", "--index", "x"], "does not go with --index"),
        (["--language", "COBOL"], "no language 'COBOL'"),
    ],
)
def test_what_does_not_go_together(made, home, more, words):
    told = command(
        made[0].directory, "--similar", "-", *more, *([] if "--index" in more else ["--index", home])
    )
    assert isinstance(told.exception, ConfigError) and words in str(told.exception)


def test_errors_of_files_and_folders(made, tmp_path):
    def error(*arguments: object) -> Any:
        return command(made[0].directory, *arguments, stdin=UNKNOWN).exception

    assert re.search("--similar .*No such file", str(error("--similar", tmp_path / "none.py")))
    assert isinstance(error("--similar", tmp_path), ConfigError)
    assert "go with --similar" in str(error("--no-index")) and "go with --similar" in str(
        error("--least", 0.1)
    )
    (tmp_path / "file").write_text("in the way")
    blocked = error("--similar", "-", "--index", tmp_path / "file")
    assert isinstance(blocked, SourceError) and "--no-index" in str(blocked)
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208
