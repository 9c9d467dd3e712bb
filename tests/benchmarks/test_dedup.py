"""The benchmark of de-duplication: its truth, what it counts, what it draws; figures themselves are not tested."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from itertools import combinations, product
from pathlib import Path
from string import ascii_lowercase
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]


def load(name: str):
    """Load a file of benchmarks/ under its own name, as the others import it, without touching sys.path."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


corpora, join, peers = load("dedup_corpus"), load("dedup_join"), load("dedup_peers")
recall, timing, pairs = load("dedup_recall"), load("dedup_timing"), load("dedup_pairs")
program = load("dedup_bench")

documents = st.lists(
    st.lists(st.sampled_from("abcd"), max_size=14).map(lambda words: " ".join(words).encode()), max_size=12
)


def corpus_of(texts: list[bytes]):
    return corpora.Corpus(texts, [f"tree/{i}.py" for i in range(len(texts))], "made up")


def made_corpus():
    """Ninety texts, most of them edited copies, and what tests of near-duplicates stumble over."""
    draw = np.random.default_rng(1)
    words = [a + b for a, b in product(ascii_lowercase, repeat=2)][:300]  # no digits: datatrove drops them
    originals = [" ".join(draw.choice(words, 120)).encode() for _ in range(15)]
    texts = corpora.replicas(originals, 6)
    return corpus_of([*texts, b"", b"a b c", b"x " * 40, "\u6f22 \u5b57 \u306e \u6587 \u66f8".encode()])


# ------------------------------------------------------------------------------------------------- the exact join


def sets_by_hand(texts: list[bytes]) -> list[set[tuple[bytes, ...]]]:
    words = [text.split() for text in texts]
    return [{tuple(w[i : i + 5]) for i in range(len(w) - 4)} for w in words]


@given(documents, st.sampled_from([(7, 10), (1, 2), (9, 10), (1, 1)]))
@settings(deadline=None)
def test_the_join_is_brute_force(texts, threshold):
    by_hand = sets_by_hand(texts)
    found = join.similarity_join(join.shingle_sets(texts), *threshold)
    wanted = []
    for i, j in combinations(range(len(texts)), 2):
        inter, union = len(by_hand[i] & by_hand[j]), len(by_hand[i] | by_hand[j])
        if union and inter * threshold[1] >= threshold[0] * union:
            wanted.append((i, j, inter, union))
    assert list(zip(found.low, found.high, found.inter, found.union, strict=True)) == wanted


@given(documents)
@settings(deadline=None)
def test_equal_shingles_and_no_others_have_equal_numbers(texts):
    by_hand, sets = sets_by_hand(texts), join.shingle_sets(texts)
    assert sets.sizes.tolist() == [len(one) for one in by_hand]
    for i, j in combinations(range(len(texts)), 2):
        assert len(np.intersect1d(sets.of(i), sets.of(j))) == len(by_hand[i] & by_hand[j])
    held = [sum(shingle in one for one in by_hand) for shingle in set().union(*by_hand)]
    assert sorted(held) == sorted(sets.documents.tolist())


def test_a_sample_of_the_standard_library_joins_as_by_brute_force():
    texts = [path.read_bytes() for path in sorted(Path(json.__file__).parent.glob("*.py"))]
    texts = corpora.replicas([text for text in texts if corpora.is_text(text)], 4)
    sets = join.shingle_sets(texts)
    found = join.similarity_join(sets)
    tokens = [join.TOKEN.findall(text) for text in texts]
    by_hand = [{tuple(t[i : i + 5]) for i in range(len(t) - 4)} for t in tokens]
    wanted = [
        (i, j)
        for i, j in combinations(range(len(texts)), 2)
        if 10 * len(by_hand[i] & by_hand[j]) >= 7 * len(by_hand[i] | by_hand[j]) > 0
    ]
    assert wanted and list(zip(found.low, found.high, strict=True)) == wanted


# ------------------------------------------------------------------------------------- what is held against the truth


def truth(*true_pairs: tuple[int, int], count: int = 6):
    low, high = (np.asarray(column, np.int64) for column in zip(*true_pairs, strict=True))
    one = np.full(len(low), 8)
    return recall.Truth(join.TruePairs(low, high, one, one + 2), np.full(count, 9), {})


def test_a_removal_without_a_true_pair_among_the_kept_is_wrong():
    chain = truth((0, 1), (1, 2))  # 5 is like none
    removed = np.array([False, True, True, False, False, True])
    assert recall.wrongly_removed(removed, chain) == {"wrong": 2, "alone": 1}  # 2 by the chain, 5 by nothing
    assert recall.wrongly_removed(~removed, chain) == {"wrong": 2, "alone": 2}  # 0 has 1
    assert recall.left_over(removed, chain) == 0
    assert recall.left_over(np.zeros(6, np.bool_), chain) == 2


def test_components_keep_their_first():
    assert recall.components(6, [1, 4, 2], [2, 5, 4]).tolist() == [False, False, True, False, True, True]


def test_the_outcome_of_a_release_holds_against_the_join():
    corpus = made_corpus()
    found = recall.ours(corpus, recall.truth_of(corpus))
    assert found["removed"] > 60 and found["true_pairs"] > 150
    for name in (
        "removed_not_true",
        "removed_for_a_removed_file",
        "similarity_differs_from_join",
        "wrong",
        "kept_true_pairs_that_were_candidates",
        "kept_true_pairs_in_a_full_bucket",
    ):
        assert found[name] == 0, name
    assert sum(row["pairs"] for row in found["by_similarity"]) == found["true_pairs"]
    assert sum(row["pairs"] for row in found["by_shingles_of_the_smaller"]) == found["true_pairs"]


def test_looser_bands_find_more_and_none_removes_wrongly():
    corpus = made_corpus()
    rows = recall.bands_table(corpus, recall.truth_of(corpus), ((25, 10), (42, 6), (64, 4)))
    assert [row["wrong"] for row in rows] == [0, 0, 0]
    found = [row["recall"] for row in rows]
    assert found == sorted(found) and found[-1] == 1
    assert all(row["recall_candidates"] <= row["recall"] for row in rows)


def test_the_join_is_kept_for_the_same_corpus_only(tmp_path):
    corpus, file = made_corpus(), tmp_path / "truth.npz"
    first = recall.truth_of(corpus, file)
    again = recall.truth_of(corpus, file)
    assert (first.packed == again.packed).all() and first.cost == again.cost
    other = recall.truth_of(corpus_of(corpus.texts[:20]), file)
    assert len(other.sizes) == 20


# ------------------------------------------------------------------------------------------------- corpus and peers


def test_a_corpus_takes_each_text_once(tmp_path):
    tree = tmp_path / "tree"
    (tree / ".git").mkdir(parents=True)
    for name, body in {
        "b.py": b"one",
        "a.py": b"one",
        "c.rule": b"two",
        "d.bin": b"\0",
        "e.txt": b"\xff",
        "f.py": b"",
        ".git/g": b"three",
        "h.py": b"four",
    }.items():
        (tree / name).write_bytes(body)
    (tree / "link.py").symlink_to(tree / "h.py")
    corpus = corpora.read_corpus([tree], ["*.rule"])
    assert dict(zip(corpus.paths, corpus.texts, strict=True)) == {"tree/a.py": b"one", "tree/h.py": b"four"}
    corpus.write(tmp_path / "held.parquet")
    assert corpora.read_corpus([tmp_path / "held.parquet"]).texts == corpus.texts


def test_replicas_change_some_tokens_and_nothing_else():
    text = ("word " * 5000 + "\u00e9t\u00e9").encode()
    same, *copies = corpora.replicas([text], 5)
    assert same == text
    for copy in copies:
        changed = sum(a != b for a, b in zip(text.split(), copy.split(), strict=True))
        assert 0 < changed < 0.06 * 5000 and len(copy) == len(text) and corpora.is_text(copy)


def test_every_peer_has_its_row_installed_or_not(monkeypatch):
    def missing():
        raise ModuleNotFoundError("No module named 'absent'")

    absent = peers.Peer("absent", "absent", "-", "-", missing, list, lambda *_: None, lambda *_: set())
    ours = next(peer for peer in peers.PEERS if peer.name == "ours")
    monkeypatch.setattr(timing, "PEERS", (ours, absent))
    rows = timing.signatures(made_corpus().texts, chunks=2, size=10)
    assert [row["name"] for row in rows] == ["ours", "absent"]
    assert rows[0]["docs/s"] > 0 and "No module named" in rows[1]["error"]


@pytest.mark.parametrize("name", [peer.name for peer in peers.PEERS])
def test_a_peer_pairs_what_is_the_same(name):
    """Recall of an installed peer is that of its library: so that a slip in our call would show."""
    peer = next(peer for peer in peers.PEERS if peer.name == name)
    if peer.distribution and peer.version() is None:
        pytest.skip(f"{peer.distribution} is not installed")
    corpus = made_corpus()
    texts = [corpus.texts[0], corpus.texts[1], corpus.texts[0] + b" end", b"a b c", b"d e f"]
    library = peer.load()
    found = peer.pairs(library, peer.sign(library, peer.prepare(texts)))
    assert found - ({(3, 4)} if name == "gaoya" else set()) == {(0, 2)}  # to gaoya, tiny texts are alike


def test_half_of_the_documents_of_pairs_have_duplicates():
    one_group = ((i, j) for i in range(100, 140) for j in range(i + 1, 140))
    true = truth(*((i, i + 1) for i in range(0, 80, 2)), *one_group, count=200).pairs
    group = recall.groups(200, true.low.tolist(), true.high.tolist())
    chosen = program.with_duplicates(group, true, 60)
    assert len(chosen) == len(set(chosen)) == 60
    partners = {(i, j) for i, j in zip(true.low, true.high, strict=True) if i in chosen and j in chosen}
    assert len({i for pair in partners for i in pair}) >= 30
    assert sum(i < 80 for i in chosen) >= 18  # the group of 40 gave about ten
    assert program.with_duplicates(group, true, 60) == chosen


@pytest.mark.parametrize("tool", ["ours"])
def test_one_whole_run_in_a_process(tmp_path, tool):
    file = tmp_path / "held.parquet"
    made_corpus().write(file)
    found = timing.work({"task": "whole", "tool": tool, "file": str(file), "count": 0})
    assert found["removed"] > 30 and found["CPU s"] > 0


def test_growth_counts_copies_and_pairs(tmp_path):
    file = tmp_path / "held.parquet"
    made_corpus().write(file)
    one, four = (timing.work({"task": "growth", "times": n, "file": str(file), "count": 20}) for n in (1, 4))
    assert four["documents"] == 4 * one["documents"]
    assert four["candidate pairs"] > 4 * one["candidate pairs"]


# ------------------------------------------------------------------------------------------------- pairs to judge


def test_the_draw_fills_strata_and_shows_no_kept_file_twice():
    paths = [f"tree/{i}.{'py' if i // 4 % 3 else 'c'}" for i in range(400)]
    corpus = corpora.Corpus([b"int main;" for _ in paths], paths, "made up")
    found = [pairs.Removal(i, i // 4, 70 + i // 20, 100) for i in range(1, 400)]
    chosen = pairs.choose(corpus, found, 40, 5)
    assert pairs.choose(corpus, found, 40, 5) == chosen
    by_stratum = [[r for r in chosen if low <= r.inter < low + 5] for low in (70, 75, 80, 85)]
    assert [len(stratum) for stratum in by_stratum] == [10, 10, 10, 10]
    for stratum in by_stratum:
        assert len({r.kept for r in stratum}) == 10
        assert {Path(corpus.paths[r.removed]).suffix for r in stratum} == {".py", ".c"}


def test_a_diff_says_what_it_does_not_show():
    kept, removed = "\n".join(map(str, range(100))).encode(), b"new\n" + b"1\n" * 50
    lines = list(pairs.difference(kept, removed, 10))
    assert len(lines) == 12 and "100 kept, 51 removed" in lines[0] and "more lines" in lines[-1]
    assert len(pairs.lines_of(b"a;" * 300)) == 300  # a minified file


# ------------------------------------------------------------------------------------------------- the program


def test_the_file_named_like_the_package_stands_back_for_it():
    """Another benchmark imports the package; Python looks beside the script first."""
    code = "import dedup; print(dedup.SHINGLE_TOKENS, dedup.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "benchmarks")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[0] == "5" and done.stdout.strip().endswith("dedup/__init__.py")


def test_an_unknown_part_is_named(capsys):
    with pytest.raises(SystemExit):
        program.arguments_of(["growth", "speed"])
    assert "no such part: speed" in capsys.readouterr().err
    assert program.arguments_of([]).parts == list(program.PARTS)


def test_a_row_with_an_error_is_shown(capsys):
    program.table(
        "t", (("name", ""), ("docs/s", ",.0f"), ("given", "")), [{"name": "absent", "error": "gone"}]
    )
    assert "| absent | not run: gone | |" in capsys.readouterr().out


@pytest.mark.slow
def test_all_parts_run_on_a_small_folder(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for i, text in enumerate(made_corpus().texts):
        (tree / f"{i}.py").write_bytes(text)
    figures = tmp_path / "figures.json"
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "dedup.py"),
        "--corpus",
        str(tree),
        "--json",
        str(figures),
    ]
    sizes = {"chunks": 2, "chunk": 10, "pairs": 40, "whole": 40, "rounds": 1, "growth": 10}
    command += [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = SimpleNamespace(**json.loads(figures.read_text()))
    assert found.recall["ours"]["wrong"] == 0 and len(found.bands) == len(recall.SETTINGS)
    assert {row["name"] for row in found.signature} == {peer.name for peer in peers.PEERS}
