"""The fast encoder gives the ids of the Hugging Face tokenizer or is not used."""

import json
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, normalizers, pre_tokenizers

from training.config import FimConfig
from training.corpus.fim import draw, pieces
from training.tokens import encoder
from training.tokens.assemble import DifferentTokensError, encode_documents
from training.tokens.control import CONTROL_TOKENS
from training.tokens.encoder import Gigatoken, Pieces, Reference, difference, hostile_texts, pieces_of
from training.tokens.tokenizer import CodeTokenizer, train

TEXTS = [f"def f_{n}(x):\n\treturn  x + {n * 37}  # it's '\u00e9{n}'\r\n" for n in range(300)]
_made: list[CodeTokenizer] = []


def shared() -> CodeTokenizer:
    if not _made:
        _made.append(train(TEXTS, 500))
    return _made[0]


@pytest.fixture(scope="module")
def tokenizer() -> CodeTokenizer:
    return shared()


_fast: list[Gigatoken] = []


def shared_fast() -> Gigatoken:
    if not _fast:
        _fast.append(Gigatoken(shared()))
    return _fast[0]


def other(tokenizer: CodeTokenizer, **parts) -> CodeTokenizer:
    """The same vocabulary with other parts."""
    return CodeTokenizer(json.dumps({**json.loads(tokenizer.data), **parts}).encode())


TEXT = st.text(max_size=40) | st.sampled_from(CONTROL_TOKENS) | st.text("a1 \t\r\n'\u0301\u4e2d", max_size=30)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(TEXT, max_size=4).map("".join), max_size=6))
def test_any_text_gets_the_same_ids(texts):
    tokenizer = shared()
    found = pieces_of(pa.array(texts, pa.string()))
    assert difference(shared_fast(), tokenizer, found) is None
    ids, lengths = shared_fast().encode(found)
    assert lengths.sum() == len(ids)
    for text, own in zip(texts, np.split(ids, np.cumsum(lengths)[:-1]), strict=True) if texts else ():
        assert tokenizer.decode(own) == text


def test_gigatoken_is_chosen_and_says_nothing(tokenizer):
    lines: list[str] = []
    assert encoder.choose(tokenizer, lines.append).name == "gigatoken"
    assert lines == []


@pytest.mark.slow
def test_every_character_gets_the_same_ids(tokenizer):
    fast = Gigatoken(tokenizer)
    points = [p for p in range(0x110000) if not 0xD800 <= p < 0xE000]
    for around in ("a{}b", "1{}2 {}  x.{};\n'{}\u0301{}"):
        texts = pa.array([around.replace("{}", chr(point)) for point in points], pa.large_string())
        assert difference(fast, tokenizer, pieces_of(texts)) is None


def test_why_it_is_not_used_is_said(tokenizer, monkeypatch):
    lines: list[str] = []
    threes = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    falcon = other(tokenizer, pre_tokenizer=json.loads(threes.__getstate__()))
    assert encoder.choose(falcon, lines.append).name == "tokenizers"
    assert "gigatoken does not take this tokenizer" in lines[-1]

    monkeypatch.setitem(sys.modules, "gigatoken", None)
    monkeypatch.setattr(encoder, "_why_not", {})
    assert encoder.choose(tokenizer, lines.append).name == "tokenizers"
    assert "pip install 'stackmill[train]'" in lines[-1]


def test_an_encoder_that_differs_on_the_built_in_texts_is_not_used(tokenizer, monkeypatch):
    class Wrong(Gigatoken):
        def encode(self, pieces):
            ids, lengths = super().encode(pieces)
            return np.where(ids == ids[-1], ids[0], ids), lengths

    monkeypatch.setattr(encoder, "Gigatoken", Wrong)
    monkeypatch.setattr(encoder, "_why_not", {})
    lines: list[str] = []
    assert encoder.choose(tokenizer, lines.append).name == "tokenizers"
    assert "differs from the tokenizer on the built-in text" in lines[0]


@pytest.mark.parametrize("change", ["id", "longer", "shorter"])
@pytest.mark.parametrize("at", [0, 7, 19])
def test_the_first_difference_is_found(tokenizer, change, at):
    class Wrong(Reference):
        def encode(self, pieces):
            ids, lengths = super().encode(pieces)
            start = int(lengths[:at].sum())
            if change == "id":
                ids[start] += 1
            elif change == "longer":
                ids, lengths[at] = np.insert(ids, start, 9), lengths[at] + 1
            else:
                ids, lengths[at] = np.delete(ids, start), lengths[at] - 1
            return ids, lengths

    texts = pieces_of(pa.array(TEXTS[:20]))
    assert difference(Reference(tokenizer), tokenizer, texts) is None
    assert difference(Wrong(tokenizer), tokenizer, texts) == at


def test_slices_and_both_kinds_of_strings(tokenizer):
    for kind in (pa.string(), pa.large_string()):
        part = pa.array(["no", *TEXTS[:5], "no"], kind).slice(1, 5)
        found = pieces_of(part)
        assert [found.text(i) for i in range(5)] == TEXTS[:5]
        assert difference(Gigatoken(tokenizer), tokenizer, found) is None
    assert len(pieces_of(pa.array([], pa.string()))) == 0
    with pytest.raises(TypeError, match="not nulls"):
        pieces_of(pa.array(["x", None]))


def test_it_forgets_what_it_has_seen_and_goes_on(tokenizer, monkeypatch):
    monkeypatch.setattr(encoder, "REMEMBERED_BYTES", 10)
    fast, texts = Gigatoken(tokenizer), pieces_of(pa.array(TEXTS[:3]))
    first = fast._engine
    assert (fast.encode(texts)[0] == fast.encode(texts)[0]).all()
    assert fast._engine is not first


def test_the_hostile_texts_are_what_they_should_be():
    texts = hostile_texts().to_pylist()
    everything = "".join(texts)
    assert {ord(c) >> 16 for c in everything} == set(range(17))  # all planes
    assert all(name in everything for name in CONTROL_TOKENS)
    assert all(part in everything for part in ("\r\n", "\r", "\u0301", " " * 300, "0123456789" * 40))
    assert hostile_texts() is hostile_texts()


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.text(min_size=1, max_size=80) | st.sampled_from(CONTROL_TOKENS), min_size=1, max_size=6),
    st.floats(0, 1),
    st.integers(8, 90),
    st.integers(0, 2),
)
def test_documents_are_the_pieces_between_their_markers(texts, rate, row_tokens, epoch):
    """The whole path against one written down plainly: cuts at characters, markers, and back to plain order."""
    tokenizer = shared()
    control, fim = tokenizer.control, FimConfig(rate=rate)
    names = [f"{n}" for n in range(len(texts))]
    found = encode_documents(
        tokenizer,
        shared_fast(),
        pa.array(texts),
        names,
        fim=fim,
        seed=3,
        epoch=epoch,
        row_tokens=row_tokens,
        compared=1.0,
    )
    wanted, were_cut = [], []
    for name, text in zip(names, texts, strict=True):
        cut = None
        if len(text) <= 8 * row_tokens:
            cut = draw(name, len(text), seed=3, epoch=epoch, rate=rate, spm_rate=fim.spm_rate)
        parts = [ids.tolist() for ids in tokenizer.encode(pieces(text, cut))] if cut else []
        cut = cut if cut and sum(map(len, parts)) + 4 <= row_tokens else None
        were_cut.append(cut is not None)
        if cut is None:
            ids = tokenizer.encode([text])[0].tolist()
        elif cut.order == "psm":
            ids = [control.prefix, *parts[0], control.suffix, *parts[2], control.middle, *parts[1]]
        else:
            ids = [control.prefix, control.suffix, *parts[2], control.middle, *parts[0], *parts[1]]
        wanted.append([*ids, control.end_of_text])
    assert found.tokens.tolist() == [index for ids in wanted for index in ids]
    assert found.length.tolist() == [len(ids) for ids in wanted]
    assert found.cut.tolist() == were_cut


def test_a_sample_of_the_documents_is_compared(tokenizer):
    class Wrong(Gigatoken):
        def encode(self, pieces: Pieces):
            ids, lengths = super().encode(pieces)
            ids = ids.copy()
            ids[lengths[:7].sum()] = 11
            return ids, lengths

    settings_ = {"fim": None, "seed": 0, "epoch": 0, "row_tokens": 100}
    names, texts = [f"document {n}" for n in range(20)], pa.array(TEXTS[:20])
    with pytest.raises(DifferentTokensError, match=r"^document 7$"):
        encode_documents(tokenizer, Wrong(tokenizer), texts, names, compared=1.0, **settings_)
    encode_documents(tokenizer, Wrong(tokenizer), texts, names, compared=0.0, **settings_)


def test_pre_tokenisers_of_known_families(tokenizer):
    """Qwen2 and Llama 3 go the fast way; a normaliser is left out, so that text keeps its bytes."""
    qwen = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+"
    )
    for expression in (qwen, qwen.replace(r"|\p{N}|", r"|\p{N}{1,3}|")):
        steps = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(expression), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        parts = {
            "pre_tokenizer": json.loads(steps.__getstate__()),
            "normalizer": json.loads(normalizers.NFC().__getstate__()),
        }
        made = other(tokenizer, **parts)
        assert encoder.choose(made, print).name == "gigatoken"
        assert "NFC is not applied" in made.notes[0]
        assert made.decode(made.encode(["e\u0301"])[0]) == "e\u0301"


@pytest.mark.parametrize("name", ["a", "b", "c", "d"])
def test_the_longest_document_that_is_cut_fills_a_row(tokenizer, name):
    def cut(row_tokens):
        found = encode_documents(
            tokenizer,
            shared_fast(),
            pa.array(["x = 1\n" * 20]),
            [name],
            fim=FimConfig(rate=1.0),
            seed=0,
            epoch=0,
            row_tokens=row_tokens,
        )
        return int(found.length[0]), bool(found.cut[0])

    size, was_cut = cut(1000)
    assert was_cut
    assert cut(size) == (size, True)
    assert cut(size - 1)[1] is False
