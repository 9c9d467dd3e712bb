"""The two models: whole numbers, the same answer in any batch and on any machine, and never more than they are asked."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.content import classifier, guesslang
from pipeline.content.languages import BY, decide
from pipeline.content.taxonomy import LANGUAGES

DATA = Path(classifier.__file__).parent / "data"

PYTHON = b"""
import os
import sys
from collections import Counter, namedtuple

Cat = namedtuple("Cat", ["name", "age"])


class Bowl(object):
    @property
    def empty(self):
        return not self.food

    def __init__(self, size=None, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.size = size
        self.food = Counter()

    def fill(self, kind, amount=1):
        if amount > self.size:
            raise ValueError(f"too much: {amount}")
        self.food[kind] += amount
        return self


def main(argv=None):
    bowl = Bowl(10)
    for name in argv or sys.argv[1:]:
        bowl.fill(name)
    with open(os.path.join(os.getcwd(), "fed")) as lines:
        names = [line.strip() for line in lines if line is not None]
    try:
        return dict(zip(names, range(len(names))))
    except (KeyError, TypeError) as error:
        raise SystemExit(1) from error
    finally:
        assert isinstance(bowl.food, dict), "no food"


if __name__ == "__main__":
    main()
"""
SHELL = b"""
set -eu
for cat in "$@"; do
    if [ -z "$cat" ]; then
        echo "no cat" >&2
        exit 1
    fi
    case "$cat" in
        tom) food=fish ;;
        *) food=$(cat /etc/food | grep "$cat" | cut -d: -f2) ;;
    esac
    printf '%s %s\\n' "$cat" "$food" >> "${TMPDIR:-/tmp}/fed"
done
while read -r line; do
    export LAST="$line"
done < "${TMPDIR:-/tmp}/fed"
"""
PROSE = b"""
Of all the animals that live with people the cat is the one that seems to do so of its own accord. It comes when it is
hungry, sleeps where it is warm, and leaves when it has had enough of both. Nobody has ever trained one to fetch a
stick, nor found out what it does at night (though many have tried). In the morning it is back, asks for breakfast, and
looks as if nothing had happened; if you ask for more than that, get a dog. There are about 370 million of them.
"""
TABLE = b"name,age,weight\n" + b"".join(b"cat%d,%d,%d.5\n" % (n, n % 17, n % 6) for n in range(200))
LOG = b"".join(b"2026-11-29T10:%02d:00Z INFO feeder: cat %d fed (fish)\n" % (n % 60, n) for n in range(100))
TEXTS = (PYTHON, SHELL, PROSE, TABLE, LOG, b"", b"a", b"\xff" * 100)

BODIES = st.one_of(st.sampled_from(TEXTS), st.binary(max_size=300), st.text(max_size=100).map(str.encode))


def heads(*texts: bytes) -> pa.LargeBinaryArray:
    return pa.array(texts, pa.large_binary())


# --------------------------------------------------------------------------------------------------------
# The classifier


def test_the_tables():
    rows, close, wide = classifier.tables()
    assert (
        list(rows) == sorted(rows)
        and set(rows) <= set(LANGUAGES)
        and list(rows.values()) == list(range(len(rows)))
    )
    assert len(rows) == 591
    for table in (close, wide):
        assert table.dtype == np.int8 and table.shape == (classifier.BUCKETS, len(rows))
        assert (table > 0).any(axis=0).all(), "no language without a token that speaks for it"
    assert (DATA / "language-classifier.npz").stat().st_size < 2_000_000
    assert "Permission is hereby granted" in (DATA / "language-classifier.LICENSE").read_text()


def test_examples():
    assert classifier.among(heads(PYTHON, SHELL), ["Perl", "Python", "Ruby", "Shell"]).tolist() == [
        "Python",
        "Shell",
    ]
    assert classifier.most_likely(heads(PYTHON, b"x = 1")).tolist() == ["Python", None]


def test_it_says_nothing_where_it_knows_nothing():
    assert classifier.among(heads(PYTHON), ["Python"]).tolist() == [None]
    assert classifier.among(heads(PYTHON), ["Python", "no language"]).tolist() == [None]
    assert classifier.among(heads(b"", b"(", b"1 2 3" * 100), ["C", "C++"]).tolist() == [None] * 3
    assert classifier.among(heads(), ["C", "C++"]).tolist() == [] == classifier.most_likely(heads()).tolist()


@given(st.lists(BODIES, max_size=5), st.integers(0, 5))
def test_does_not_depend_on_the_batch(bodies, cut):
    names = ["C", "Perl", "Python", "Shell"]
    for answer in (lambda some: classifier.among(some, names), classifier.most_likely, guesslang.guesses):
        whole = answer(heads(*bodies)).tolist()
        assert answer(heads(*bodies[:cut])).tolist() + answer(heads(*bodies[cut:])).tolist() == whole
        assert answer(heads(b"x", *bodies)[1:]).tolist() == whole


def tokens_of(text: bytes) -> int:
    counts = np.zeros(classifier.BUCKETS, np.int32)
    tokens = classifier.token_counts(np.frombuffer(text, np.uint8), 0, len(text), counts)
    assert counts.sum() == tokens
    return tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", 0),
        (b"a b", 2),
        (b"if x == 10: y()", 7),  # the number is nothing
        (b"'a b c' \"d e\"", 0),
        (b"'a b c", 0),
        (b"'a\\' b' c", 1),
        (b"# a comment", 1),
        (b"#define X", 2),
        (b"a /* b c */ d", 3),
        (b"a /* b c", 5),  # not closed: no comment
        (b"f(*args, **kwargs)", 8),
        (b"<!-- a b --> c", 2),
        (b"@a $b .c", 3),
        (b"======", 2),
        ("é ü".encode(), 2),
    ],
)
def test_tokens(text, expected):
    assert tokens_of(text) == expected


def test_tokens_are_told_apart_by_case_and_by_sixteen_bytes():
    def counts(text: bytes) -> bytes:
        found = np.zeros(classifier.BUCKETS, np.int32)
        classifier.token_counts(np.frombuffer(text, np.uint8), 0, len(text), found)
        return found.tobytes()

    assert counts(b"End") != counts(b"end") and counts(b"a  b\t\nc") == counts(b"a b c")
    assert counts(b"a" * 16) == counts(b"a" * 40) != counts(b"a" * 15)


@given(st.binary(max_size=200))
@settings(max_examples=400)
def test_tokens_of_anything(text):
    assert 0 <= tokens_of(text) <= len(text)


@pytest.mark.parametrize("piece", [b"'", b'"', b"/*", b"(*", b"a", b"\\", b"{-", b"\x80", b"@", b"1"])
def test_hostile_texts_take_linear_time(piece):
    assert tokens_of(piece * 1_000_000) <= len(piece) * 1_000_000


# --------------------------------------------------------------------------------------------------------
# guesslang


def in_floats(text: bytes) -> np.ndarray:
    """The model as it was published, in floating point."""
    with np.load(DATA / "guesslang.npz", allow_pickle=False) as model:
        data = np.frombuffer(text[: guesslang.HEAD_BYTES], np.uint8).astype(np.int64)
        counts = np.bincount(model["H"][(data[:-1] << 8) | data[1:]], minlength=guesslang.BUCKETS).astype(
            float
        )
        values = (counts @ model[guesslang._DNN]) / max(1, counts.sum())
        for layer in ("hiddenlayer_0", "hiddenlayer_1"):
            values = np.maximum(values @ model[f"dnn__{layer}__kernel"] + model[f"dnn__{layer}__bias"], 0)
        deep = values @ model["dnn__logits__kernel"] + model["dnn__logits__bias"]
        wide = (
            counts @ model["linear__linear_model__content__weights"]
            + model["linear__linear_model__bias_weights"]
        )
    return deep + wide


def test_the_model_is_the_published_one():
    assert hashlib.sha256((DATA / "guesslang.npz").read_bytes()).hexdigest() == (
        "567e45fb6ad3824c9aa08e9f2737fbfc3db5bad6de70bb35819bbde9c46572b7"
    )
    assert "Permission is hereby granted" in (DATA / "guesslang.LICENSE").read_text()
    labels = guesslang.weights().labels
    assert set(labels) == set(guesslang.LANGUAGES) and set(guesslang.LANGUAGES.values()) <= set(LANGUAGES)
    for text in TEXTS:
        exact, found = in_floats(text), guesslang.scores(heads(text))[0]
        assert np.abs(found / 2**16 - exact).max() < 0.1
        assert found.argmax() == exact.argmax()


def test_scores_are_the_same_bits_everywhere():
    scores = guesslang.scores(heads(*TEXTS))
    assert scores.dtype == np.int64
    assert (
        hashlib.sha256(scores.astype("<i8").tobytes()).hexdigest()
        == "2140f444bf2bf84e525e93701d99c0a9cf3823e011b8c14572de0b2bba3ebcf3"
    )


def test_only_the_head_counts():
    head = (PYTHON * 30)[: guesslang.HEAD_BYTES]
    assert np.array_equal(guesslang.scores(heads(head + SHELL)), guesslang.scores(heads(head)))


# --------------------------------------------------------------------------------------------------------
# Both in the cascade


def decided(name: bytes, *texts: bytes) -> list[tuple[str | None, str]]:
    found = decide(pa.array([name] * len(texts), pa.binary()), heads(*texts))
    return list(zip(found.language.to_pylist(), found.by.to_pylist(), strict=True))


def test_texts_without_a_name():
    assert decided(b"", PYTHON) == [("Python", "model")]
    assert decided(b"", SHELL) == [(None, "nothing")]  # a relative of Shell is as likely
    assert decided(b".qqq", PYTHON) == [("Python", "model")]


def test_prose_and_data_stay_unknown():
    assert decided(b"", PROSE, TABLE, LOG, b"", b"x = 1\n") == [(None, "nothing")] * 5
    assert decided(b"", b'{"a": [1, 2, {"b": null}]}\n' * 50, b"[a]\nb = 1\n" * 50) == [(None, "nothing")] * 2


def test_a_model_is_not_asked_where_a_name_or_a_rule_decides():
    assert decided(b".rs", PYTHON) == [("Rust", "usual")]  # settled
    assert decided(b".java", PYTHON) == [("Java", "name")]
    assert decided(b".v", PYTHON + b"\nendmodule\n") == [("Verilog", "rule")]
    assert decided(b"", b"#!/bin/sh\n" + PYTHON) == [("Shell", "shebang")]


def test_the_classifier_decides_among_the_candidates_of_a_name():
    perl = b"sub feed {\n  my ($self, %food) = @_;\n  return $self->{bowl}{$food{kind}} // die;\n}\n" * 3
    found = decided(b".cgi", perl.replace(b"my ", b"local "), PYTHON.replace(b"import sys\nfrom", b"with"))
    assert found[0] == ("Perl", "classifier")
    assert all(language in ("Perl", "Python", "Shell") for language, _ in found)
    # `.inc` says little: a candidate must be likelier than all other languages.
    assert decided(b".inc", PROSE) == [(None, "nothing")]


@given(st.sampled_from([b"", b".h", b".inc", b".py", b".m", b".cgi", b"Makefile", b".t"]), BODIES)
def test_every_answer_has_its_step(name, text):
    ((language, by),) = decided(name, text)
    assert by in BY and (language is None) == (by == "nothing")
