"""Inputs that break others: for each a stated outcome, and work that is bounded and counted."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from dedup import (
    DedupError,
    Deduplicator,
    ThresholdError,
    bucket_pairs,
    deduplicate,
    deduplicator,
    documents,
    near_duplicates,
)
from dedup.candidates import BEST, CAP
from dedup.sketch import SLOTS, Sketches
from pipeline.cli.main import app


def outcome(texts: list[Any] | pa.Array, **options: Any) -> Any:
    dedup = Deduplicator(**options)
    dedup.add(texts)
    return dedup.finish()


def kinds(texts: list[Any] | pa.Array, **options: Any) -> list[str]:
    return outcome(texts, **options).table["kind"].to_pylist()


# ------------------------------------------------------------------------------------------------ short and odd texts

SHORT = ["", " ", "\n", "a", "a b c d", "a b c e", "...", ";;;", "{}{}{}{}{}{}", "+-*/ %% ^^ && || !!"]


def test_texts_below_five_tokens_are_compared_by_their_bytes_only():
    """Breach: all tiny files look alike, and one of them stands for them all."""
    assert kinds(SHORT) == ["unique"] * len(SHORT)
    assert kinds(SHORT + SHORT) == ["unique"] * len(SHORT) + ["exact"] * len(SHORT)
    found = outcome(SHORT)
    assert found.work.candidates == found.work.texts_read == 0


def test_empty_texts_are_copies_of_each_other_and_of_nothing_else():
    found = outcome(["", b"", "x", ""])
    assert found.table["duplicate_of"].to_pylist() == [None, 0, None, 0]


def test_a_null_is_no_text():
    """Breach: of all rows without a text one is left."""
    found = outcome([None, "", None, "a", None, ""])
    assert found.table["kind"].to_pylist() == ["unique"] * 5 + ["exact"]
    assert found.without_text == 3
    assert kinds(pa.nulls(4)) == ["unique"] * 4


def test_files_of_punctuation_only_are_compared_where_it_counts():
    texts = ["+-*/ " * 40, "+-*/ " * 39, "<>{}[] " * 40, "+-*"]
    assert kinds(texts) == ["unique"] * 4
    assert kinds(texts, operators=True) == ["unique", "near", "unique", "unique"]


SCRIPTS = {
    "han": lambda i: "".join(chr(0x4E00 + (i * 37 + j * 101) % 20_000) for j in range(3)),
    "kana": lambda i: chr(0x3042 + i % 80) + chr(0x30A2 + (i * 7) % 80) + "の" * (i % 3),
    "emoji": lambda i: chr(0x1F600 + i % 70) + chr(0x1F300 + (i * 13) % 250),
    "arabic": lambda i: "".join(chr(0x0627 + i // k % 36) for k in (1, 36, 7)),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_identifiers_beyond_ascii_tell_files_apart(script):
    """Breach: bytes above 0x7F separate like blanks, and files in Chinese are all the same."""
    words = [SCRIPTS[script](i) for i in range(400)]
    texts = [" = ".join(words[start : start + 100]) for start in range(0, 300, 100)]
    assert kinds(texts) == ["unique"] * 3
    edited = texts[0].replace(words[50], "x", 1)
    assert kinds([*texts, edited]) == ["unique"] * 3 + ["near"]


def test_text_without_blanks_is_one_token():
    """Prose in Chinese without ASCII punctuation: long, one token, so only an exact copy is a duplicate."""
    prose = "".join(chr(0x4E00 + (i * 7919) % 20_000) for i in range(5000))
    assert kinds([prose, prose + "。", prose]) == ["unique", "unique", "exact"]


def test_bytes_that_are_no_utf_8_and_nul():
    rng = random.Random(4)
    noise = [rng.randbytes(3000) for _ in range(5)]
    assert kinds([*noise, noise[2]]) == ["unique"] * 5 + ["exact"]
    words = b"\0".join(b"w%d" % i for i in range(100))  # NUL separates
    assert kinds([words, words.replace(b"\0", b" "), b"\0" * 1000, b"\0" * 1001]) == [
        "unique",
        "near",
        "unique",
        "unique",
    ]


# --------------------------------------------------------------------------------------------------- large texts


def test_one_token_ten_million_times():
    found = outcome([b"x " * 10_000_000, b"x x x x x x", b"y " * 9])
    assert found.table["kind"].to_pylist() == ["unique", "near", "unique"]
    assert (found.table["inter"][1].as_py(), found.table["union"][1].as_py()) == (1, 1)  # sets, not counts


def test_minified_files_of_one_line():
    rng = random.Random(2)
    names = [f"{chr(97 + i % 26)}{i}" for i in range(3000)]
    calls = [
        f"function {rng.choice(names)}({rng.choice(names)}){{return {rng.choice(names)}+{i}}}"
        for i in range(130_000)
    ]
    script = ";".join(calls)
    assert len(script) > 5_000_000 and "\n" not in script
    changed = ";".join(calls[:1000] + ["edited()"] * 50 + calls[1050:])
    other = ";".join(f"x{rng.randrange(10**9)}()" for _ in range(100_000))
    blob = "A" * 5_000_000  # one token
    assert kinds([script, changed, other, blob, blob[1:]]) == ["unique", "near", "unique", "unique", "unique"]


def test_a_text_beyond_the_limit_is_refused_and_changes_nothing(monkeypatch):
    monkeypatch.setattr(documents, "MAX_DOCUMENT_BYTES", 1000)
    dedup = Deduplicator()
    dedup.add(["a b c"])
    with pytest.raises(DedupError, match="1,001 bytes"):
        dedup.add(["fine", "x" * 1001])
    assert len(dedup) == 1
    dedup.add(["x" * 1000])
    assert dedup.finish().counts["unique"] == 2


# ------------------------------------------------------------------------------------------------- many texts


def test_a_hundred_thousand_identical_files():
    found = outcome(pa.array([b"the very same file, again and again"] * 100_000, pa.large_binary()))
    assert found.counts == {"unique": 1, "exact": 99_999, "near": 0}
    assert found.work.candidates == 0


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_hundred_thousand_nearly_identical_files(count):
    """Breach: five billion pairs."""
    bands = 42
    body = " ".join(f"field_{i}" for i in range(30))
    found = outcome(pa.array([f"{body} id_{i}".encode() for i in range(count)], pa.large_binary()))
    assert found.counts == {"unique": 1, "exact": 0, "near": count - 1}
    most = bands * (BEST * (BEST - 1) // 2 + (count - BEST) * BEST)
    assert count <= found.work.compared <= found.work.candidates <= most // 10
    assert found.work.hot_buckets > 0
    assert found.work.texts_read == count  # each once


def forged(monkeypatch, signature_of) -> None:
    """Have every text that has shingles the signature that an attacker wants."""
    real = deduplicator.sketch

    def sketch(texts: Any, **settings: Any) -> Sketches:
        made = real(texts, **settings)
        for row in range(len(made.counts)):
            made.signatures[row] = signature_of(row)
        return made

    monkeypatch.setattr(deduplicator, "sketch", sketch)


def test_forged_band_collisions_cost_bounded_work_and_remove_nothing(monkeypatch):
    """Breach: whoever can make texts with equal band keys has others' files removed, or stops the run."""
    count = 3000
    forged(monkeypatch, lambda row: np.full(SLOTS, 7, np.uint32))
    found = outcome([" ".join(f"w{row}_{i}" for i in range(20)) for row in range(count)])
    assert found.counts["unique"] == count
    assert found.work.candidates == BEST * (BEST - 1) // 2 + (count - BEST) * BEST
    assert found.work.hot_buckets == 42


def test_a_crowd_cannot_hide_a_copy_of_the_best_ranked(monkeypatch):
    """In a crowded bucket each text is still compared with the best-ranked ones."""
    forged(monkeypatch, lambda row: np.full(SLOTS, 7, np.uint32))
    words = " ".join(f"w{i}" for i in range(100))
    crowd = [" ".join(f"x{row}_{i}" for i in range(20)) for row in range(CAP + 1)]
    assert kinds([words, *crowd, words + " more"])[-1] == "near"


def test_a_crowd_is_matched_by_its_best_ranked_only(monkeypatch):
    """Breach: a benchmark of a million like problems is compared with every row that is like them."""
    forged(monkeypatch, lambda row: np.full(SLOTS, 7, np.uint32))
    words = " ".join(f"w{i}" for i in range(100))
    for size, matches in ((CAP, CAP), (CAP + 1, BEST)):
        dedup = Deduplicator()
        dedup.add([f"{words} {row}" for row in range(size)])
        assert dedup.matches([words])["match"].to_pylist() == list(range(matches))


def test_a_bucket_at_the_cap_and_above_it():
    ordinals = np.arange(CAP + 1)
    keys = np.zeros(CAP + 1, np.uint64)
    assert len(bucket_pairs(keys[:CAP], ordinals[:CAP])) == CAP * (CAP - 1) // 2
    crowded = bucket_pairs(keys, ordinals)
    assert len(crowded) == BEST * (BEST - 1) // 2 + (CAP + 1 - BEST) * BEST
    assert crowded.stats.skipped_pairs == (CAP + 1) * CAP // 2 - len(crowded)


# --------------------------------------------------------------------------------------------- wrong arguments

THRESHOLDS = ["7", "0", "-0.7", "1.0000001", "nan", "inf", "1e999", "1e999999999", "", "x", "1/0", "0.12345678", 0, -1, 1.5,
              float("nan"), float("inf"), None, b"0.7", [0.7]]  # fmt: skip


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=lambda value: ascii(value))
def test_thresholds_out_of_range(threshold):
    for function in (Deduplicator, lambda **more: near_duplicates(pa.array([b"x"]), **more)):
        with pytest.raises(ThresholdError, match="threshold"):
            function(threshold=threshold)


@pytest.mark.parametrize(
    "options",
    [{"bands": 0}, {"rows": 0}, {"bands": 43}, {"bands": -1}, {"bands": 4.0}, {"bands": "42"}, {"rows": None},
     {"cap": 0}, {"best": 0}, {"best": 65}, {"cap": "64"}, {"group_bytes": 0}, {"prefer": "best"}, {"method": "best"}],
    ids=str,
)  # fmt: skip
def test_settings_out_of_range(options):
    with pytest.raises(DedupError, match=next(iter(options))):
        Deduplicator(**options)


SOURCES = {
    "no column": (pa.table({"text": ["a"]}), {}, "'content'.*text"),
    "column twice": (
        pa.table([pa.array(["a"]), pa.array(["b"])], names=["content", "content"]),
        {},
        "more than one",
    ),
    "numbers": (pa.table({"content": [1, 2]}), {}, "must hold text.*int64"),
    "lists": (pa.table({"content": [["a"], ["b"]]}), {}, "must hold text.*list"),
    "dictionary of numbers": (pa.array([1, 2]).dictionary_encode(), {}, "must hold text"),
    "array of numbers": (pa.array([1.5]), {}, "must hold text"),
    "a text": ("some text", {}, "not str"),
    "bytes": (b"some text", {}, "not bytes"),
    "a dict": ({"content": ["a"]}, {}, "not dict"),
    "a number": (3, {}, "not int"),
    "nothing": (None, {}, "not NoneType"),
    "iterator of texts": (iter(["a", "b"]), {}, "must give pyarrow.*not str"),
    "half a character": (["\ud800"], {}, "no Unicode"),
    "array where ids are needed": (pa.array(["a"]), {"id": "id"}, "table with the columns 'id'"),
    "no id column": (pa.table({"content": ["a"]}), {"id": "id"}, "'id'"),
    "same id twice": (pa.table({"content": ["a", "b"], "id": [1, 1]}), {"id": "id"}, "id 1 is there already"),
    "id null": (pa.table({"content": ["a", "b"], "id": [1, None]}), {"id": "id"}, "must not be null"),
    "id a float": (pa.table({"content": ["a"], "id": [1.5]}), {"id": "id"}, "cannot name rows"),
    "id a list": (pa.table({"content": ["a"], "id": [[1]]}), {"id": "id"}, "cannot name rows"),
    "rank a list": (pa.table({"content": ["a"], "r": [[1]]}), {"rank": "r"}, "have no order"),
}


@pytest.mark.parametrize("case", SOURCES)
def test_sources_that_cannot_be_read(case):
    source, options, message = SOURCES[case]
    dedup = Deduplicator(**options)
    with pytest.raises(DedupError, match=message):
        dedup.add(source)
    assert len(dedup) == 0
    assert len(dedup.finish()) == 0


def test_a_batch_is_taken_whole_or_not_at_all():
    dedup = Deduplicator(id="id", rank="rank")
    good = pa.table({"content": ["a", "b"], "id": ["1", "2"], "rank": [1, 2]})
    assert dedup.add(good) == 2
    for wrong in (
        {"content": ["c", "d"], "id": ["3", "1"], "rank": [1, 2]},  # an id that is there
        {"content": ["c", "d"], "id": [3, 4], "rank": ["x", "y"]},  # a rank of another type
    ):
        with pytest.raises(DedupError):
            dedup.add(pa.table(wrong))
    with pytest.raises(DedupError):
        dedup.add(iter([pa.table({"content": ["c"], "id": ["3"], "rank": [0]}), good]))
    assert dedup.finish().table["id"].to_pylist() == ["1", "2", "3"]
    for ids in (["1", "9"], ["9"], [None], [["1"]], "1", b"1", 1):
        with pytest.raises(DedupError, match=r"no row|ids must be"):
            dedup.forget(ids)
    assert len(dedup) == 3
    assert dedup.forget(["1", "1"]) == 1


def test_equal_ranks_leave_the_choice_to_the_order():
    """`near_duplicates` refuses them; here, where rows come one after the other, the first one stays."""
    texts = [f"{' '.join(f'w{i}' for i in range(100))} {end}" for end in "abc"]
    with pytest.raises(DedupError, match="tie"):
        near_duplicates(pa.array(texts), ranks=np.array([1, 1, 1]))
    rows = pa.table({"content": texts, "stars": pa.array([5, 5, 1], pa.int8())})
    assert deduplicate(rows, rank="stars", prefer="highest").to_pylist() == rows.slice(0, 1).to_pylist()
    assert deduplicate(rows, rank="stars").to_pylist() == rows.slice(2).to_pylist()


# ----------------------------------------------------------------------------------------------------- as files


def test_a_folder_of_such_files(tmp_path):
    words = " ".join(f"word{i}" for i in range(100))
    bodies = {
        "1-empty": b"", "2-empty": b"", "bom": b"\xef\xbb\xbf", "four": b"a b c d", "five": b"a b c e",
        "cjk-1": " ".join(SCRIPTS["han"](i) for i in range(90)).encode(),
        "cjk-2": " ".join(SCRIPTS["han"](i) for i in range(200, 290)).encode(),
        "gb": " ".join(SCRIPTS["kana"](i) for i in range(90)).encode("euc-jp"),
        "nul": b"a\0b" * 100, "noise": bytes(range(128, 256)), "dots": b"." * 100, "dashes": b"-" * 100,
        "utf-16": b"\xff\xfe" + words.encode("utf-16-le"), "utf-8": words.encode(),
        "line": b"x=1;" * 1_250_000, "token": b"z" * 5_000_000, "repeated": b"x 1 " * 500_000,
    }  # fmt: skip
    for name, body in bodies.items():
        (tmp_path / name).write_bytes(body)
    result = CliRunner().invoke(app, ["scan", "duplicates", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    found = {record["path"]: record for record in map(json.loads, result.stdout.splitlines())}
    assert set(found) == set(bodies) - {"nul", "noise"}
    assert {name: record["duplicate_of"] for name, record in found.items() if not record["kept"]} == {
        "2-empty": "1-empty",
        "bom": "1-empty",
        "utf-8": "utf-16",
        "repeated": "line",
    }
