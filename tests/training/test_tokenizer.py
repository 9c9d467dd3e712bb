"""The tokenizer: exact round trips, and no text that becomes a control token."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.errors import TrainingConfigError
from training.tokens.tokenizer import CONTROL_TOKENS, CodeTokenizer, train

TEXTS = [f"def function_{n}(value):\n    return value + {n * 37}\n\n" for n in range(200)]


@pytest.fixture(scope="module")
def tokenizer() -> CodeTokenizer:
    return train(TEXTS, 400)


@settings(deadline=None)
@given(st.text(), st.lists(st.sampled_from([*CONTROL_TOKENS, "<", "|>", " ", "x"]), max_size=8))
def test_decoding_gives_the_text_back(text, parts):
    tokenizer = _shared()
    for whole in (text, "".join(parts), text + "".join(parts)):
        ids = tokenizer.encode([whole])[0]
        assert tokenizer.decode(ids) == whole
        assert not np.isin(ids, range(len(CONTROL_TOKENS))).any()
        assert tokenizer.token_bytes()[ids].sum() == len(whole.encode())


_cache: list[CodeTokenizer] = []


def _shared() -> CodeTokenizer:
    if not _cache:
        _cache.append(train(TEXTS, 400))
    return _cache[0]


def test_text_with_control_tokens_stays_text(tokenizer):
    hostile = "".join(CONTROL_TOKENS) * 20 + "\n# <|endoftext|> " + "<fim_middle>" * 5
    # the full tokenizer would be fooled: the copy that encodes text is not
    assert 0 in tokenizer.full.encode(hostile).ids
    ids = tokenizer.encode([hostile])[0]
    assert ids.min() >= len(CONTROL_TOKENS)
    assert tokenizer.decode(ids) == hostile


def test_control_tokens_have_their_places(tokenizer):
    control = tokenizer.control
    assert (control.end_of_text, control.pad, control.prefix, control.middle, control.suffix) == (
        0,
        1,
        2,
        3,
        4,
    )
    assert control.pad != control.end_of_text
    assert (tokenizer.token_bytes()[: len(CONTROL_TOKENS)] == 0).all()
    assert (tokenizer.token_bytes()[len(CONTROL_TOKENS) :] > 0).all()


def test_the_same_texts_give_the_same_bytes(tokenizer):
    assert train(TEXTS, 400).data == tokenizer.data
    assert train(iter(TEXTS), 400).digest == tokenizer.digest
    assert train(["class A:\n    pass\n"] * 9, 400).digest != tokenizer.digest


def test_digits_stand_alone_and_indentation_is_one_token(tokenizer):
    pieces = [tokenizer.decode([i]) for i in tokenizer.encode(["    return value + 1234\n"])[0]]
    assert pieces[-5:] == ["1", "2", "3", "4", "\n"]
    assert "   " in pieces


def test_saved_and_loaded_by_us_and_by_transformers(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save(tmp_path)
    assert CodeTokenizer.load(tmp_path).digest == tokenizer.digest
    other = AutoTokenizer.from_pretrained(tmp_path)
    assert other.eos_token_id == 0
    assert other.pad_token_id == 1
    for text in TEXTS[:5]:
        assert other.encode(text, add_special_tokens=False) == tokenizer.encode([text])[0].tolist()


def test_tokenizers_that_break_the_rules_are_refused(tokenizer, tmp_path):
    with pytest.raises(TrainingConfigError, match="cannot be read"):
        CodeTokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(TrainingConfigError, match="not a tokenizer file"):
        CodeTokenizer.load(tmp_path)
    tree = json.loads(tokenizer.data)
    with pytest.raises(TrainingConfigError, match="not byte-level"):
        CodeTokenizer(json.dumps({**tree, "decoder": None}).encode())
    without = [token for token in tree["added_tokens"] if token["content"] != "<|endoftext|>"]
    with pytest.raises(TrainingConfigError, match=r"no <\|endoftext\|> token"):
        CodeTokenizer(json.dumps({**tree, "added_tokens": without}).encode())
