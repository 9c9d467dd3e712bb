"""The tokenizer: exact round trips, and no text that becomes a control token."""

import json
import os
import re
import signal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training import prepare
from training.config import TrainConfig
from training.errors import TrainingConfigError
from training.tokens.control import CONTROL_TOKENS, END_NAMES, FAMILIES
from training.tokens.tokenizer import CodeTokenizer, parts, train

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


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", " ", "\n", "\u4e2d", "a1 ", "\U0001f642"]), st.integers(0, 700)),
        max_size=6,
    )
)
def test_what_is_learnt_from_is_the_text_in_parts_of_bounded_size(runs):
    """Breach: one file of one letter takes hours to learn from, one long line gigabytes of memory."""
    text = "".join(letter * count for letter, count in runs)
    found = list(parts(text))
    assert "".join(found) == text
    assert not any(re.search(r"\S{257}|\s{257}", part) for part in found)


def test_a_corpus_of_one_letter_is_learnt_from_at_once():
    """Some hours with the text as one piece."""
    long = list(parts("ab cd\n" * 30_000))
    assert "".join(long) == "ab cd\n" * 30_000
    assert max(map(len, long)) == 2**16
    found = train(["a" * 3_000_000, " " * 3_000_000], 300)
    assert 263 < found.size < 280
    assert found.decode(found.encode(["aaaa  a"])[0]) == "aaaa  a"


@pytest.fixture
def ctrl_c():
    """What Python does at SIGINT, which processes of a parallel test run ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_learning_at_once(ctrl_c):
    """Breach: `tokenizers` hears of it when it has learnt from everything, minutes later."""
    given = 0

    def long():
        nonlocal given
        ctrl_c()
        for given in range(1_000_000):  # noqa: B007
            yield "a very long text\n"

    with pytest.raises(KeyboardInterrupt):
        train(long(), 300)
    assert given < 999_999


def test_an_error_of_the_texts_comes_back_as_it_is():
    def failing():
        yield "text\n"
        raise TrainingConfigError("row 7 cannot be read")

    with pytest.raises(TrainingConfigError, match=r"^row 7 cannot be read$"):
        train(failing(), 300)


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
    text_only = AutoTokenizer.from_pretrained(tmp_path, split_special_tokens=True)
    hostile = "# <fim_prefix> <|endoftext|><repo_name>"
    for text in [*TEXTS[:5], hostile]:
        assert text_only.encode(text, add_special_tokens=False) == tokenizer.encode([text])[0].tolist()
    assert other.encode(TEXTS[0], add_special_tokens=False) == tokenizer.encode(TEXTS[:1])[0].tolist()
    assert 2 in other.encode(hostile, add_special_tokens=False)  # so that prompts can be written with markers


def test_tokenizers_that_break_the_rules_are_refused(tokenizer, tmp_path):
    with pytest.raises(TrainingConfigError, match="cannot be read"):
        CodeTokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(TrainingConfigError, match="not a tokenizer file"):
        CodeTokenizer.load(tmp_path)
    tree = json.loads(tokenizer.data)
    for other in ({**tree, "decoder": None}, {**tree, "model": {**tree["model"], "type": "Unigram"}}, [], {}):
        with pytest.raises(TrainingConfigError, match="not byte-level"):
            CodeTokenizer(json.dumps(other).encode())
    for changes in ({"type": "Lowercase"}, {"type": "Replace", "pattern": {"String": "a"}, "content": "b"}):
        with pytest.raises(TrainingConfigError, match=f"normaliser {changes['type']} changes text"):
            CodeTokenizer(json.dumps({**tree, "normalizer": changes}).encode())
    removes = {"type": "Split", "pattern": {"String": " "}, "behavior": "Removed", "invert": False}
    steps = {"type": "Sequence", "pretokenizers": [removes, *tree["pre_tokenizer"]["pretokenizers"]]}
    with pytest.raises(TrainingConfigError, match="does not give text back as it was"):
        CodeTokenizer(json.dumps({**tree, "pre_tokenizer": steps}).encode())
    fewer = {name: index for name, index in tree["model"]["vocab"].items() if name != "~"}
    merges = [pair for pair in tree["model"]["merges"] if "~" not in "".join(pair)]
    model = {**tree["model"], "vocab": fewer, "merges": merges}
    with pytest.raises(TrainingConfigError, match="no token for 1 of the 256 bytes"):
        CodeTokenizer(json.dumps({**tree, "model": model}).encode())
    with pytest.raises(TrainingConfigError, match="can read"):
        CodeTokenizer(json.dumps({**tree, "pre_tokenizer": {"type": "Unheard"}}).encode())
    without = [token for token in tree["added_tokens"] if token["content"] != "<|endoftext|>"]
    with pytest.raises(TrainingConfigError, match=r"no <\|endoftext\|> token"):
        CodeTokenizer(json.dumps({**tree, "added_tokens": without}).encode())


def renamed(tokenizer: CodeTokenizer, names: list[str], **parts) -> bytes:
    """The tokenizer without our control tokens, and with these added at its end instead."""
    tree = json.loads(tokenizer.data)
    model = tree["model"]
    vocab = {token: i for token, i in model["vocab"].items() if token not in CONTROL_TOKENS}
    order = sorted(vocab, key=vocab.__getitem__)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": len(order) + i, "content": name, **flags} for i, name in enumerate(names)]
    tree |= {"model": {**model, "vocab": {token: i for i, token in enumerate(order)}}, "added_tokens": added}
    return json.dumps(tree | parts).encode()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize("end", END_NAMES)
def test_known_families_keep_their_own_names(tokenizer, family, end):
    names = [
        family.suffix,
        end,
        family.prefix,
        family.middle,
        *filter(None, (family.repo_name, family.file_sep)),
    ]
    found = CodeTokenizer(renamed(tokenizer, names))
    first, control = found.size - len(names), found.control
    assert (control.suffix, control.end_of_text, control.prefix, control.middle) == tuple(
        range(first, first + 4)
    )
    assert control.pad == control.end_of_text
    assert control.has_fim
    assert control.has_repository == (family.repo_name is not None)
    text = "".join(names) + f"x{names[0]}"
    ids = found.encode([text])[0]
    assert ids.max() < first
    assert found.decode([*ids, control.prefix]) == text
    # What is missing is added behind, and nothing else changes.
    more = found.with_control_tokens()
    assert more.control.has_repository
    assert (more.control.prefix, more.control.end_of_text) == (control.prefix, control.end_of_text)
    assert more.new_ids == tuple(range(found.size, more.size))
    assert len(more.new_ids) == (0 if family.repo_name else 2)
    assert (more is found) == (family.repo_name is not None)
    assert (more.encode([text])[0] == ids).all()


def test_a_tokenizer_without_markers_gets_all(tokenizer, tmp_path):
    """As of a base model that was trained without fill in the middle."""
    found = CodeTokenizer(renamed(tokenizer, ["<|endoftext|>"]))
    assert not found.control.has_fim
    assert not found.control.has_repository
    more = found.with_control_tokens()
    names = [more.full.id_to_token(index) for index in more.new_ids]
    assert names == ["<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<repo_name>", "<file_sep>"]
    assert more.size == found.size + 5
    assert (more.token_bytes()[list(more.new_ids)] == 0).all()
    more.save(tmp_path)
    loaded = CodeTokenizer.load(tmp_path)
    assert loaded.digest == more.digest != found.digest
    assert loaded.control == more.control
    assert loaded.new_ids == ()  # whoever saved it has a model that knows them
    assert loaded.with_control_tokens() is loaded


def test_a_run_adds_them_only_if_asked_and_says_so(tokenizer, tmp_path):
    def loaded(data, add_missing):
        (tmp_path / "tokenizer.json").write_bytes(data)
        wanted = {"path": str(tmp_path), "add_missing": add_missing}
        config = TrainConfig(release="r", output="o", steps=1, tokenizer=wanted, data={"fim": {"rate": 0.0}})
        return prepare.loaded_tokenizer(config, tmp_path, lines.append)

    lines: list[str] = []
    data = renamed(tokenizer, ["<|endoftext|>"], normalizer={"type": "NFC"})
    found = loaded(data, False)
    assert found.new_ids == ()
    assert len(lines) == 1
    assert "NFC is not applied" in lines[0]
    assert loaded(data, True).new_ids == tuple(range(found.size, found.size + 5))
    assert "5 control tokens added at its end (<fim_prefix>, " in lines[-1]
    lines.clear()
    assert loaded(tokenizer.data, True).digest == tokenizer.digest
    assert lines == []


def test_half_a_set_of_markers_is_none(tokenizer):
    found = CodeTokenizer(
        renamed(tokenizer, ["<|endoftext|>", "<fim_prefix>", "<|fim_suffix|>", "<fim_middle>"])
    )
    assert not found.control.has_fim


def test_the_end_of_text_of_an_unknown_family_is_read_from_its_settings(tokenizer, tmp_path):
    data = renamed(tokenizer, ["<fin>", "<other>"])
    with pytest.raises(TrainingConfigError, match="nor another end of text that is known"):
        CodeTokenizer(data)
    (tmp_path / "tokenizer.json").write_bytes(data)
    digests = set()
    for eos in ("<fin>", {"content": "<fin>"}, "<other>"):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": eos}))
        found = CodeTokenizer.load(tmp_path)
        digests.add(found.digest)
        assert found.end_of_text == (eos if isinstance(eos, str) else "<fin>")
        found.save(tmp_path / "saved")
        assert CodeTokenizer.load(tmp_path / "saved").digest == found.digest
    assert len(digests) == 2  # another end of text makes other tokens
    for broken in ("[]", "{", "\xff"):
        (tmp_path / "tokenizer_config.json").write_bytes(broken.encode("latin-1"))
        with pytest.raises(TrainingConfigError, match="not a tokenizer file"):
            CodeTokenizer.load(tmp_path)


def test_what_is_not_used_of_a_tokenizer_is_said_and_text_keeps_its_bytes(tokenizer):
    tree = json.loads(tokenizer.data)
    steps = json.loads(json.dumps(tree["pre_tokenizer"]))
    steps["pretokenizers"][-1]["add_prefix_space"] = True
    blanks = {**tree["added_tokens"][0], "id": tokenizer.size, "content": "        ", "special": False}
    parts = {
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]},
        "pre_tokenizer": steps,
        "added_tokens": [*tree["added_tokens"], blanks],
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": END_NAMES[0], "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {END_NAMES[0]: {"id": END_NAMES[0], "ids": [0], "tokens": [END_NAMES[0]]}},
        },
    }
    found = CodeTokenizer(json.dumps({**tree, **parts}).encode())
    assert [
        bool(found.notes[i].count(word))
        for i, word in enumerate(("NFC", "space before", "1 added", "around each"))
    ] == [True] * 4
    assert tokenizer.notes == ()
    for text in ("e\u0301", "x" + " " * 16 + "y", "\u212b"):
        ids = found.encode([text])[0]
        assert found.decode(ids) == text
        assert found.token_bytes()[ids].sum() == len(text.encode())


def test_merges_that_make_a_control_token_of_letters_are_refused(tokenizer):
    tree = json.loads(tokenizer.data)
    vocab = {**tree["model"]["vocab"], "<a>": tokenizer.size}
    added = [*tree["added_tokens"], {**tree["added_tokens"][0], "id": tokenizer.size, "content": "<a>"}]
    split = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    model = {**tree["model"], "vocab": vocab, "ignore_merges": True}
    found = CodeTokenizer(
        json.dumps({**tree, "model": model, "added_tokens": added, "pre_tokenizer": split}).encode()
    )
    assert len(found.encode(["x<a>"])[0]) > 1
    with pytest.raises(TrainingConfigError, match="make the control token '<a>' of letters"):
        found.encode(["<a>"])
