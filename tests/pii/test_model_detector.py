"""The model-based detector: bytes, windows and batches exactly; labels declared; merged with the rules."""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_tagger import arbitrary, bytes_tokenizer, knowing, save, words_tokenizer

from pii import Allow, Settings, redact_batch, scan
from pii.model_detector import (
    MODEL_FINDINGS,
    BadModel,
    ModelUnavailable,
    TokenClassifier,
    _label,
    load_detector,
)

LABELS = ["O", "B-PER", "I-PER", "B-MAIL", "I-MAIL"]
WORDS = {"ann": "B-PER", "lee": "I-PER", "jose": "B-PER", "tel": "B-MAIL"}
TOKENIZER = words_tokenizer([*WORDS, "is", "here", "x"])
KINDS_OF = {"PER": "name", "MAIL": "email"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("models") / "tiny", knowing(TOKENIZER, LABELS, WORDS), TOKENIZER)


def classifier(model=None, tokenizer=TOKENIZER, labels=None, **more):
    model = model if model is not None else knowing(TOKENIZER, LABELS, WORDS)
    return TokenClassifier(model, tokenizer, name="t", digest="0" * 64, labels=labels or KINDS_OF, **more)


def found(detector, *texts):
    table = detector.detect(pa.array(texts, pa.large_string()))
    assert table.schema == MODEL_FINDINGS
    return [
        (r["doc"], texts[r["doc"]].encode()[r["start"] : r["end"]].decode(), r["kind"])
        for r in table.to_pylist()
    ]


RANDOM = arbitrary(bytes_tokenizer(), ["O", "B-A", "I-A", "L-A", "U-B", "C"])
ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=60)


def random_detector(**more):
    return classifier(
        RANDOM, bytes_tokenizer(), {"A": "name", "B": "phone", "C": None}, threshold=0.3, **{"window": 24, "overlap": 9} | more
    )  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(st.lists(st.one_of(st.none(), ANY_TEXT), max_size=6), st.integers(1, 5))
def test_findings_are_those_of_each_text_alone(texts, rows):
    """Breach: what else is scanned, in which order and how many at once, changes a finding; or a span cuts a character."""
    detector = random_detector(batch_tokens=32 * rows)
    whole = detector.detect(pa.array(texts, pa.large_string())).to_pylist()
    alone = []
    for doc in reversed(range(len(texts))):
        rows_of = detector.detect(pa.array([texts[doc]], pa.large_string())).to_pylist()
        alone = [{**r, "doc": doc} for r in rows_of] + alone
    assert whole == alone
    at = (0, 0)
    for r in whole:
        assert at <= (r["doc"], r["start"]) and r["start"] < r["end"]
        at = (r["doc"], r["end"])
        held = texts[r["doc"]].encode()[r["start"] : r["end"]].decode()  # whole characters
        assert held == held.strip() and held


def test_the_random_model_finds_something():
    text = "".join(chr(c) for c in range(33, 600))
    assert {r["kind"] for r in random_detector().detect(pa.array([text])).to_pylist()} == {"name", "phone"}


def test_spans_are_bytes_of_the_text_as_it_is():
    assert found(classifier(), "Ann Lee is José.", None, "", "漢字 😀 ANN") == [
        (0, "Ann Lee", "name"), (0, "José", "name"), (3, "ANN", "name"),
    ]  # fmt: skip
    body = b"\xff\xfe ann \x80 jose"
    rows = classifier().detect(pa.array([body], pa.large_binary())).to_pylist()
    assert [body[row["start"] : row["end"]] for row in rows] == [b"ann", b"jose"]


@pytest.mark.parametrize("overlap", [0, 1, 4, 7])
@pytest.mark.parametrize("words", [1, 14, 15, 29, 60])
def test_windows_lose_and_cut_nothing(words, overlap):
    """An entity of two tokens at every place of a text of many windows; each token is judged once."""
    windowed = classifier(window=16, overlap=overlap)
    lines = []
    for at in range(words):
        line = ["x"] * words
        line[at : at + 2] = ["ann", "lee"]
        lines.append(" ".join(line))
    assert found(windowed, *lines) == [(i, "ann lee", "name") for i in range(words)]
    windows = list(windowed._windows(0, words))
    assert [t for w in windows for t in range(w.low, w.high)] == list(range(words))
    for w in windows:  # what is judged is not at an edge, unless the text ends there
        assert w.first == 0 or w.low - w.first >= overlap // 2
        assert w.last == words or w.last - w.high == overlap // 2


def test_a_long_text_is_cut_behind_line_breaks(monkeypatch):
    from pii import model_detector

    text = "".join(f"é{'x ' * (i % 40)}\nann lee\n" for i in range(100))
    whole = found(classifier(), text)
    monkeypatch.setattr(model_detector, "PIECE", 100)
    monkeypatch.setattr(model_detector, "GROUP", 300)
    assert found(classifier(), text) == whole and len(whole) == 100
    monkeypatch.setattr(
        model_detector, "PIECE", 3
    )  # lines longer than a piece: cut anywhere, and offsets hold
    assert {t for _, t, _ in found(classifier(), "漢ann漢 ann")} <= {"ann"}


@pytest.mark.parametrize(
    "labels, expected",
    [
        ("B-A I-A O I-A B-A B-A", [(0, 2, "A"), (3, 4, "A"), (4, 5, "A"), (5, 6, "A")]),
        ("B-A I-B I-B", [(0, 1, "A"), (1, 3, "B")]),
        ("B-A I-A L-A L-A U-A U-A", [(0, 3, "A"), (3, 4, "A"), (4, 5, "A"), (5, 6, "A")]),
        ("B-A E-A S-A", [(0, 2, "A"), (2, 3, "A")]),
        ("A A O A B B_C", [(0, 2, "A"), (3, 4, "A"), (4, 5, "B"), (5, 6, "C")]),
        ("O O", []),
    ],
    ids=["bio", "two entities", "bilou", "bioes", "plain", "none"],
)
def test_labels_make_entities(labels, expected):
    names = labels.split()
    detector = classifier()
    detector._classes = [_label(n) for n in names]
    assert list(detector._runs(np.arange(len(names)))) == expected


def test_labels_must_be_declared_all_and_only(folder):
    with pytest.raises(BadModel, match=r"no kind is declared for its labels MAIL, PER"):
        load_detector(folder, labels={})
    with pytest.raises(BadModel, match=r"it has no labels LOC; it has MAIL, PER"):
        load_detector(folder, labels={**KINDS_OF, "LOC": None})
    with pytest.raises(BadModel, match=r"unknown kinds person"):
        load_detector(folder, labels={**KINDS_OF, "PER": "person"})
    assert found(load_detector(folder, labels={**KINDS_OF, "PER": None}), "ann tel") == [(0, "tel", "email")]


def test_threshold_is_the_mean_of_the_tokens():
    unsure = knowing(TOKENIZER, LABELS, WORDS, sure=1.0)
    probability = float(np.exp(1) / (np.exp(1) + 4))
    sure = {t: found(classifier(unsure, threshold=t), "ann lee") for t in (0.1, 0.9)}
    assert sure[0.1] == [(0, "ann lee", "name")] and sure[0.9] == [] and 0.1 < probability < 0.9


def test_the_digest_is_that_of_the_files(folder, tmp_path):
    one = load_detector(folder, labels=KINDS_OF)
    assert one.rule == f"model/tiny@{one.digest[:12]}" and one.record()["digest"] == one.digest
    assert load_detector(folder, labels=KINDS_OF, name="a b/c").rule == f"model/a-b-c@{one.digest[:12]}"
    other = save(tmp_path / "tiny", knowing(TOKENIZER, LABELS, WORDS, sure=9.0), TOKENIZER)
    assert load_detector(other, labels=KINDS_OF).digest != one.digest
    (Path(other) / "README.md").write_text("not part of the model")
    again = load_detector(other, labels=KINDS_OF)
    assert load_detector(other, labels=KINDS_OF).record() == again.record()
    json.dumps(again.record())


def test_what_cannot_be_loaded_is_named(folder, tmp_path, monkeypatch):
    (tmp_path / "pytorch_model.bin").write_bytes(b"never opened")
    with pytest.raises(BadModel, match="no weights in"):
        load_detector(str(tmp_path), labels={})
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(BadModel, match="cannot load it"):
        load_detector(str(tmp_path), labels={})
    with pytest.raises(BadModel, match="no device"):
        load_detector(folder, labels=KINDS_OF, device="cuda:77")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BadModel, match="no such folder"):
        load_detector("nobody/nothing", labels={})
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelUnavailable, match=r"extra `train`.*transformers"):
        load_detector(folder, labels=KINDS_OF)


def test_findings_are_merged_with_those_of_the_rules():
    """Breach: the settings do not hold for what a model finds."""
    mail = "bob@uni" + "-x.org"
    texts = pa.array([f"# ann lee <{mail}>\nx = 1\n", "ann", None, "'<NAME_1>' 'jose'"], pa.large_string())
    detector = classifier()
    said = detector.detect(texts)
    assert (
        detector.rule not in scan(texts, Settings(), also=said)["rule"].to_pylist()
    )  # names are off unless asked for
    on = Settings(kinds=(("name", "high"),))
    table = scan(texts, on, also=said)
    released, redactions = redact_batch(texts, table)
    assert released.to_pylist() == [
        "# <NAME_1> <<EMAIL_1>>\nx = 1\n",
        "NAME_1",
        None,
        "'<NAME_1>' '<NAME_1>'",
    ]
    assert [m["rule"] for m in redactions[0].as_py()] == [detector.rule, "email"]
    assert scan(released, on, also=detector.detect(released)).num_rows == 0
    allow = Settings(kinds=(("name", "high"),), allow=(Allow(reason="known", rules=(detector.rule,)),))
    assert scan(texts, allow, also=said)["spared"].to_pylist() == [
        "allowed: known",
        None,
        *["allowed: known"] * 2,
    ]
