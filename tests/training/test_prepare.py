"""From several sources to the stream of batches: weights are met, every process sees the same, the second run does nothing."""

import copy
import fcntl
import json
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from training import remembered
from training.config import TrainConfig
from training.corpus import mixing
from training.errors import OutputError, TrainingDataError
from training.prepare import prepare


@pytest.fixture
def two(settings, tmp_path):
    """The settings of a run on a release and a file of JSON lines, with weights for both and for two languages."""
    rows = [
        {
            "text": f"def f{n}(x):\n    return x + {n}\n" * 3,
            "language": "Python",
            "origin": f"https://own.org/o{n % 7}/r",
        }
        for n in range(30)
    ]
    lines = [*map(json.dumps, rows), "{broken", json.dumps({"text": "x <- 1", "language": "R"})]
    (tmp_path / "own.jsonl").write_text("\n".join(lines))
    release = settings.pop("release")
    settings["sources"] = [
        {"name": "release", "release": release, "weight": 2.0},
        {"name": "own", "jsonl": str(tmp_path / "own.jsonl"), "weight": 1.0},
    ]
    settings["data"]["mix"] = {"languages": {"Python": 3.0, "Shell": 1.0}, "max_repeats": 50.0}
    settings["steps"] = 400
    return settings


def prepared(settings, lines=None, **more):
    values = {**copy.deepcopy(settings), **more}
    return prepare(TrainConfig.model_validate(values), (lines if lines is not None else []).append)


def test_the_mix_that_was_asked_for_is_the_mix_that_is_trained_on(two):
    lines: list[str] = []
    found = prepared(two, lines)
    assert len(found.epochs) >= 3
    assert any(line == "own: 1 lines left out: not_json (the first is line 31)" for line in lines)
    assert sum("mix of epoch 0" in line for line in lines) == 2
    for number, epoch in enumerate(found.epochs):
        counts = np.zeros((2, len(found.corpus.languages)))
        filled = epoch.plan.fill(epoch.cache.tokens, np.arange(epoch.plan.rows), 0)
        documents = filled.document[filled.document >= 0]
        np.add.at(counts, (epoch.cache.source[documents], epoch.cache.language[documents]), 1)
        longest = epoch.cache.length.max()
        for share in epoch.shares:
            source = ["release", "own"].index(share.source)
            language = found.corpus.languages.index(share.language)
            assert counts[source, language] == share.shown
            wanted = {"release Python": 0.5, "release Shell": 1 / 6, "own Python": 1 / 3}
            assert share.wanted == pytest.approx(wanted[f"{share.source} {share.language}"])
            assert not share.held_back
            # exact in the lengths of the first epoch; filling in the middle moves it by some tokens per document
            slack = longest + 4 * (share.stop - share.first)
            assert abs(share.shown - share.wanted * counts.sum()) <= slack
        assert sorted(set(epoch.documents.tolist())) == sorted(set(documents.tolist()))
        assert len(epoch.plan.document) >= len(epoch.documents)
        assert number == 0 or epoch.documents.tolist() != found.epochs[0].documents.tolist()


def test_over_the_epochs_no_document_is_forgotten(two):
    """Fill-in-the-middle changes the lengths from epoch to epoch, and still each document of a group comes equally often."""
    found = prepared(two)
    seen = Counter()
    for epoch in found.epochs:
        seen.update(epoch.documents.tolist())
    cache = found.epochs[0].cache
    assert any((epoch.cache.length != cache.length).any() for epoch in found.epochs[1:])
    group = cache.source * 100 + cache.language
    for number in set(group.tolist()):
        times = [seen[document] for document in np.flatnonzero(group == number).tolist()]
        assert max(times) - min(times) <= 1
        assert max(times) >= 1


@pytest.mark.parametrize(
    "more",
    [{"seed": 1}, {"data": {"sequence_length": 64, "mix": {"languages": {"Python": 3.0, "Shell": 1.1}}}}],
    ids=["seed", "weights"],
)
def test_seed_and_weights_are_in_the_digest_of_the_stream(two, more):
    assert prepared(two, steps=4).stream_digest == prepared(two, steps=4).stream_digest
    assert prepared(two, steps=4).stream_digest != prepared(two, steps=4, **more).stream_digest


def test_several_at_once_find_the_same(two):
    """One of them works, the others wait for it and find its caches (the lock is one of open files, not of processes)."""
    two["steps"] = 3
    reports: list[list[str]] = [[], [], []]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda lines: prepared(two, lines), reports))
    assert len({each.stream_digest for each in found}) == 1
    made = [sum("tokens, epoch" in line for line in lines) for lines in reports]
    assert sorted(made)[:2] == [0, 0] and max(made) >= 2


def test_without_weights_the_epoch_is_every_document_once(settings):
    found = prepared(settings, steps=60)
    for epoch in found.epochs:
        assert epoch.documents.tolist() == list(range(len(epoch.cache.length)))
        assert sum(share.shown for share in epoch.shares) == epoch.plan.tokens == len(epoch.cache.tokens)
        assert all(share.repeats == 1.0 for share in epoch.shares)
    assert mixing.summary(found.epochs[0].shares)["sources"]["release"]["achieved"] == 1.0


def test_a_source_that_is_held_out_whole_cannot_have_a_weight(two, tmp_path):
    (tmp_path / "own.jsonl").write_text(json.dumps({"text": "x = 1", "language": "Go"}))
    two["data"]["mix"]["languages"] = {"Python": 1.0}
    with pytest.raises(TrainingDataError, match="source 'own' has a weight and no document to train on"):
        prepared(two, steps=2)


def test_what_is_remembered_is_not_that_of_other_filters_or_of_another_tokenizer(two, tmp_path):
    """Breach: a dry run after a change says the rows and tokens of before, as exact."""
    two["steps"] = 3
    kept = TrainConfig.model_validate(two)
    found = prepare(kept, lambda _: None)
    assert remembered.recall(kept, found.corpus.sources)["train_rows"] == found.corpus.train.sum()
    changed = copy.deepcopy(two)
    changed["sources"][0]["filters"] = {"licenses": ["MIT"]}
    assert remembered.recall(TrainConfig.model_validate(changed), found.corpus.sources) is None
    found.tokenizer.save(tmp_path / "own")
    two["tokenizer"] = {"path": str(tmp_path / "own")}
    other = TrainConfig.model_validate(two)
    prepare(other, lambda _: None)
    assert remembered.recall(other, found.corpus.sources)
    with (tmp_path / "own" / "tokenizer.json").open("a") as file:
        file.write("\n")
    assert remembered.recall(other, found.corpus.sources) is None


def test_what_is_remembered_is_written_under_the_lock_and_its_failure_is_said(two, monkeypatch):
    """Breach: two runs write one temporary file at once."""
    two["steps"] = 3
    note = remembered.note

    def looked(config, result):
        with (config.cache_folder / ".lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for place in list(config.cache_folder.glob("plan-*")):
            place.unlink()
        note(config, result)
        (place,) = config.cache_folder.glob("plan-*.json")
        place.unlink()
        place.with_suffix(".tmp").mkdir()
        with pytest.raises(OutputError, match="cannot be written"):
            note(config, result)

    monkeypatch.setattr(remembered, "note", looked)
    prepared(two)


def test_what_a_killed_run_left_is_removed_and_nothing_else(settings, tmp_path):
    """Breach: gigabytes of tokens that were half written stay for ever once the configuration has changed."""
    cache = tmp_path / "cache"
    here, elsewhere = f"tmp-{socket.gethostname()}-1-aa", "tmp-another-1-aa"
    others = {"notes.tmp-1", f"tokens-00.{elsewhere}"}  # another machine may be at work
    for name in (f"tokens-00.{here}", f"tokenizer-00.{here}", *others):
        (cache / name).mkdir(parents=True)
        (cache / name / "part").write_text("x")
    (cache / f"near-00.npy.{here}").write_text("x")
    settings["data"]["cache"] = str(cache)
    prepared(settings)
    assert {path.name for path in cache.glob("*.tmp-*")} == others
