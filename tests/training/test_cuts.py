"""Steps of pre-tokenisers that gigatoken does not know: cut here, the same pieces and ids as with `tokenizers`."""

import functools
import itertools
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex
from tokenizers import pre_tokenizers as known

from training.tokens import cuts, encoder
from training.tokens.encoder import Gigatoken, difference, pieces_of
from training.tokens.tokenizer import CodeTokenizer, train

TEXTS = [f"def f_{n}(x):\n\treturn  x + {n * 37}  # it's '\u00e9{n}' \u4e2d\u6587\r\n" for n in range(300)]


def split(expression):
    return known.Split(Regex(expression), "isolated")


STEPS = {
    "line ends": split("[\r\n]"),
    "letters": split(r"\s?\p{L}+"),
    "signs": split(r"\s?\p{P}+"),
    "more signs": split(r"\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"),
    "CJK": split("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"),
    "blanks at the end": split(r"\s+$"),
    "blanks": split(r"\s+"),
    "number": split(r"\p{N}"),
    "digits": known.Digits(individual_digits=True),
    "numbers": known.Digits(individual_digits=False),
}
FAMILIES = {
    "StarCoder": ([STEPS["digits"]], True),
    "DeepSeek-Coder": (
        [STEPS[name] for name in ("line ends", "letters", "signs", "CJK", "digits")],
        False,
    ),
    "DeepSeek-V2": (
        [
            STEPS[name]
            for name in ("line ends", "letters", "more signs", "blanks at the end", "CJK", "digits")
        ],
        False,
    ),
}
TEXT = st.text(max_size=30) | st.text(
    "aZ1\u0664\u216b '.\u2026$=\t\u3000\u0301\u4e2d\u3042\U0001f642\U0001d7d9", max_size=30
)


def described(step) -> dict:
    return json.loads(step.__getstate__())


@functools.cache
def step(name) -> cuts.Step:
    made = cuts.step_of(described(STEPS[name]))
    assert made is not None
    return made


@settings(deadline=None, max_examples=200)
@given(st.lists(TEXT, max_size=4), st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=4))
def test_pieces_are_those_of_the_library(texts, names):
    if "blanks at the end" in names:  # for the library, a piece ends at each line end in it
        names = ["line ends", *names]
    pieces = pieces_of(pa.array(["before", *texts], pa.large_string()).slice(1))
    bounds, firsts = cuts.cut(pieces.buffer, pieces.bounds, [step(name) for name in names])
    found = [bytes(pieces.buffer[a:b]).decode() for a, b in itertools.pairwise(bounds)]
    whole = known.Sequence([STEPS[name] for name in names])
    wanted = [[part for part, _ in whole.pre_tokenize_str(text)] for text in texts]
    assert [found[a:b] for a, b in itertools.pairwise(firsts)] == wanted


@functools.cache
def of_family(name) -> CodeTokenizer:
    steps, split_at_last = FAMILIES[name]
    last = known.ByteLevel(add_prefix_space=False, use_regex=split_at_last)
    tree = json.loads(train(TEXTS, 500).data)
    return CodeTokenizer(
        json.dumps({**tree, "pre_tokenizer": described(known.Sequence([*steps, last]))}).encode()
    )


@functools.cache
def fast(name) -> Gigatoken:
    return Gigatoken(of_family(name))


@pytest.mark.parametrize("family", FAMILIES)
def test_tokenizers_of_code_models_are_encoded_fast(family):
    """Breach: two megabytes a second for the families that code models have."""
    lines: list[str] = []
    chosen = encoder.choose(of_family(family), lines.append)  # the hostile texts have been compared
    assert (chosen.name, lines) == ("gigatoken", [])


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=40)
@given(st.lists(TEXT | st.sampled_from(TEXTS), max_size=5))
def test_ids_are_those_of_the_library(family, texts):
    tokenizer, pieces = of_family(family), pieces_of(pa.array(texts, pa.large_string()))
    assert difference(fast(family), tokenizer, pieces) is None
    ids, lengths = fast(family).encode(pieces)
    for text, own in zip(texts, np.split(ids, np.cumsum(lengths)[:-1]), strict=True) if texts else ():
        assert tokenizer.decode(own) == text


@pytest.mark.parametrize(
    "other",
    [
        known.Split(Regex(r"\p{L}+"), "removed"),
        known.Split(Regex(r"\p{L}+"), "merged_with_next"),
        known.Split(Regex(r"\p{L}+"), "isolated", invert=True),
        known.Split("a", "isolated"),
        split(r"\p{L}+|\p{N}"),
        split(r"\p{N}{1,3}"),
        split(r"\p{N}$"),
        split("[[:alpha:]]+"),
        split("[^a]+"),
        split(r"\p{C}+"),
        known.Whitespace(),
    ],
    ids=str,
)
def test_other_steps_are_not_done(other):
    assert cuts.step_of(described(other)) is None
    steps = known.Sequence([STEPS["digits"], other, known.ByteLevel(use_regex=False)])
    tree = {**json.loads(train(TEXTS, 300).plain), "pre_tokenizer": described(steps)}
    assert [len(form.steps) for form in cuts.forms(json.dumps(tree))] == [0, 1]
