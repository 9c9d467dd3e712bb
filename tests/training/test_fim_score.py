"""Fill in the middle as a metric: what is asked depends on the content alone, scores are sums, a known answer is known."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.config import TrainConfig
from training.run import evaluation, fim_score
from training.run.fim_score import cut, edit_similarity, fim_prompt, fit, levenshtein, tasks
from training.run.held_out import HeldOutDocument, some
from training.run.train import train
from training.tokens.tokenizer import train as train_tokenizer

TEXT = st.text(st.characters(codec="utf-8"), max_size=60)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["def f(x):\n    return x + 1\n"] * 3, 300)


def by_table(first, second):
    """The definition: a table of prefixes."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        above, row[0] = row[:], i
        for j, b in enumerate(second, 1):
            row[j] = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a != b))
    return row[-1]


@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_levenshtein_is_that_of_the_table(first, second):
    assert levenshtein(first, second) == by_table(first, second)


@given(TEXT, TEXT)
def test_edit_similarity_is_a_share(first, second):
    assert 0 <= edit_similarity(first, second) <= 1
    assert (edit_similarity(first, second) == 1) == (first == second)
    assert edit_similarity(first, second) == edit_similarity(second, first)


def test_levenshtein_of_long_texts():
    assert levenshtein("a" * 1000, "a" * 1000 + "b") == 1
    assert levenshtein("kitten" * 50, "sitting" * 50) == by_table("kitten" * 50, "sitting" * 50)


@given(prefix=st.integers(0, 50), suffix=st.integers(0, 50), room=st.integers(0, 80))
def test_what_fits_is_next_to_the_middle(prefix, suffix, room):
    before, after = np.arange(prefix), np.arange(100, 100 + suffix)
    a, b = fit(before, after, room)
    assert len(a) + len(b) == min(room, prefix + suffix)
    assert a.tolist() == before[prefix - len(a) :].tolist()
    assert b.tolist() == after[: len(b)].tolist()
    if prefix + suffix > room:  # half each, unless one needs less
        assert abs(len(a) - len(b)) <= 1 or len(a) == prefix or len(b) == suffix


@given(
    text=st.text("ab \n\t\N{SNOWMAN}", max_size=80), name=st.text("0123456789abcdef", min_size=4, max_size=8)
)
def test_prefix_middle_suffix_are_the_document(tokenizer, text, name):
    made, passed_over = tasks(
        [HeldOutDocument(name, "A", text)] if text else [], tokenizer, max_tokens=64, context=1000
    )
    assert len(made) + passed_over == bool(text)
    for task in made:
        assert task.middle.strip()
        control = tokenizer.control
        ids = task.prompt.tolist()
        suffix_at, middle_at = ids.index(control.suffix), ids.index(control.middle)
        assert (ids[0], middle_at) == (control.prefix, len(ids) - 1)
        prefix, suffix = tokenizer.decode(ids[1:suffix_at]), tokenizer.decode(ids[suffix_at + 1 : middle_at])
        assert prefix + task.middle + suffix == text
        # neighbours and repetitions change nothing
        again, _ = tasks(
            [HeldOutDocument("other", "B", "x = 1\n" * 9), HeldOutDocument(name, "A", text)],
            tokenizer,
            max_tokens=64,
            context=1000,
        )
        assert again[-1].middle == task.middle


def test_half_of_the_cuts_are_the_end_of_a_line():
    text = "  first line\n\n\tsecond = 2  \nthird\n"
    kinds = {"line": 0, "span": 0}
    for n in range(400):
        start, end = cut(f"{n}", text, 0, 4)
        whole = text[start:end] in ("first line", "second = 2", "third")
        kinds["line" if whole else "span"] += 1
        assert whole or 1 <= end - start <= 4
    assert 160 < kinds["line"] < 260
    assert cut("0", text, 0, 4) == cut("0", text, 0, 4)
    assert {cut(f"{n}", " \n", 0, 4) is None for n in range(50)} == {True, False}


def test_a_long_middle_is_drawn_again_and_a_long_prompt_is_cut(tokenizer):
    documents = [HeldOutDocument(f"{n:x}", "A", "abcdefgh" * 40 + "\nx = 1\n") for n in range(30)]
    made, passed_over = tasks(documents, tokenizer, max_tokens=8, context=40)
    assert len(made) == 30
    assert passed_over == 0
    assert all(len(tokenizer.encode([task.middle])[0]) <= 8 for task in made)
    assert all(len(task.prompt) <= 40 - 8 for task in made)
    assert any(len(task.prompt) == 40 - 8 - 1 for task in made)
    assert tasks(documents, tokenizer, max_tokens=64, context=66) == ([], 30)


def test_order_of_the_prompt(tokenizer):
    c, (a, b) = tokenizer.control, tokenizer.encode(["pre", "suf"])
    assert fim_prompt(tokenizer, a, b, "psm").tolist() == [c.prefix, *a, c.suffix, *b, c.middle]
    assert fim_prompt(tokenizer, a, b, "spm").tolist() == [c.prefix, c.suffix, *b, c.middle, *a]


def test_every_language_comes_before_any_comes_twice():
    documents = [HeldOutDocument(f"{n}", "AAAAABBC"[n % 8], "x") for n in range(80)]
    chosen = some(documents, 7)
    assert sorted(d.language for d in chosen) == list("AAABBCC")
    assert some(documents[::-1], 7) == chosen
    assert len(some(documents, 1000)) == 80


class Oracle(torch.nn.Module):
    """Knows every answer, but that of one language."""

    def __init__(self, tokenizer, asked):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.tokenizer = tokenizer
        self.answers = {tuple(task.prompt.tolist()): task for task in asked}


def answers(model, prompts, tokenizer, max_tokens):
    """In place of `generate`."""
    written = []
    for prompt in prompts:
        task = model.answers[tuple(prompt.tolist())]
        text = task.middle if task.language == "A" else task.middle + "b"
        written.append(tokenizer.encode([text])[0])
    return written


def test_scores_are_sums_and_the_same_for_any_number_of_processes(tokenizer, monkeypatch):
    documents = [HeldOutDocument(f"{n}", "AAB"[n % 3], f"value_{n} = {n}\n" * 3) for n in range(60)]
    asked, _ = tasks(documents, tokenizer, max_tokens=30, context=100)
    model = Oracle(tokenizer, asked)
    monkeypatch.setattr(fim_score, "generate", answers)
    report = fim_score.score(model, asked, tokenizer, 30)
    assert report["languages"]["A"] | {"documents": 0, "exact": 0, "similarity": 0} == {
        "documents": 0,
        "exact": 0,
        "similarity": 0,
        "exact_match": 1.0,
        "edit_similarity": 1.0,
    }
    assert report["languages"]["B"]["exact_match"] == 0
    assert 0 < report["languages"]["B"]["edit_similarity"] < 1
    of = report["languages"]
    assert report["all"]["documents"] == len(asked) == of["A"]["documents"] + of["B"]["documents"]
    assert report["all"]["exact_match"] == of["A"]["documents"] / len(asked)
    assert report["all"]["similarity"] == pytest.approx(of["A"]["similarity"] + of["B"]["similarity"])

    parts = []
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda sums: parts.append(sums.numpy().copy()))
    for rank in range(3):
        fim_score.score(model, asked, tokenizer, 30, rank, 3)
    together = sum(parts)
    assert together[:, 0].sum() == report["all"]["exact"]
    assert all((part.sum(axis=1) > 0).any() for part in parts)


def test_a_run_measures_it(settings, tmp_path):
    lines = []
    settings["evaluation"] |= {"fim_documents": 6, "fim_max_tokens": 10, "metric": "+fim/edit_similarity"}
    result = train(TrainConfig.model_validate({**settings, "steps": 3}), lines.append)
    fim = result["evaluation"]["fim"]
    assert fim["all"]["documents"] == 6
    assert set(fim["languages"]) == {"Python", "C++", "Shell"}
    assert 0 <= fim["all"]["edit_similarity"] <= 1
    assert any("is measured on 6 held-out documents of 3 languages" in line for line in lines)
    assert any("middle: exact" in line for line in lines)
    assert result["best"]["metric"] == "+fim/edit_similarity"
    stored = json.loads((Path(result["checkpoint"]) / "metrics.json").read_text())
    assert stored["evaluation"]["fim"] == fim


def test_a_tokenizer_without_markers_is_said(settings, tmp_path):
    from training.tokens.tokenizer import CodeTokenizer

    data = json.loads(train_tokenizer(["a b c"], 300).data)
    data["added_tokens"] = [token for token in data["added_tokens"] if "fim" not in token["content"]]
    CodeTokenizer(json.dumps(data).encode()).save(tmp_path / "bare")
    settings["evaluation"] |= {"fim_documents": 6}
    settings |= {"tokenizer": {"path": str(tmp_path / "bare")}, "steps": 1}
    settings["data"] |= {"fim": {"rate": 0.0}}
    lines = []
    result = train(TrainConfig.model_validate(settings), lines.append)
    assert "fim" not in result["evaluation"]
    assert any("not measured: the tokenizer has no tokens for it" in line for line in lines)


def test_own_evaluation_of_a_cut_model_is_not_shared_out(monkeypatch):
    """Breach: under FSDP one process generates while the others wait for its parts."""
    shares = []
    monkeypatch.setattr(evaluation, "evaluate", lambda *a, **k: (None, {}))
    monkeypatch.setattr(evaluation, "evaluation_report", lambda *a: {})
    monkeypatch.setattr(fim_score, "score", lambda *a: shares.append(a[-2:]))
    measured = evaluation.Evaluation.__new__(evaluation.Evaluation)
    from types import SimpleNamespace

    control = SimpleNamespace(pad=0)
    measured.prepared = SimpleNamespace(
        held_out=SimpleNamespace(plan=None, cache=None),
        tokenizer=SimpleNamespace(token_bytes=lambda: None, control=control),
        corpus=SimpleNamespace(languages=[]),
    )
    measured.config = SimpleNamespace(evaluation=SimpleNamespace(fim_max_tokens=3))
    measured.tasks, measured.custom = [1], {}
    measured.measure(None, 1, 1, 2, cut=True)
    measured.measure(None, 1, 1, 2, cut=False)
    assert shares == [(0, 1), (1, 2)]
