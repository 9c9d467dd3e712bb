"""Units of bytes: all chosen rows once, and the same cache for any number of workers, also when one dies."""

import hashlib
import os
import signal
import socket
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.reader import Release
from training.config import DataConfig, EvaluationConfig, TrainConfig
from training.corpus import select
from training.corpus.sources import ReleaseSource
from training.errors import TrainingConfigError, TrainingDataError
from training.tokens import cache as caches
from training.tokens import encoder, parallel, stored
from training.tokens.tokenizer import CodeTokenizer, train


@given(
    st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=60),
    st.integers(1, 120),
)
def test_ranges_hold_every_chosen_row_once_and_are_bounded(rows, unit_bytes):
    sizes, chosen = np.array([r[0] for r in rows], np.int64), np.array([r[1] for r in rows], bool)
    some = parallel.ranges(sizes, chosen, unit_bytes)
    held = [row for first, stop in some for row in range(first, stop) if chosen[row]]
    assert held == np.flatnonzero(chosen).tolist()
    assert all(chosen[first] and chosen[stop - 1] for first, stop in some)
    for first, stop in some:
        inside = sizes[first:stop][chosen[first:stop]]
        assert inside.sum() <= unit_bytes + inside.max()
    assert parallel.ranges(sizes, chosen, 10**9)[1:] == []


@pytest.fixture(scope="module")
def tokenizer() -> CodeTokenizer:
    return train([f"def f{n}(x):\n    return x * {n}\n" for n in range(300)], 350)


class _Dying(ReleaseSource):
    """Kills the first worker process that reads texts; processes after it live."""

    def __init__(self, *arguments, mark: Path, driver: int) -> None:
        super().__init__(*arguments)
        self.mark, self.driver = mark, driver

    def texts(self, chosen, columns=("content_sha256", "language", "content")):
        if os.getpid() != self.driver and not self.mark.exists():
            self.mark.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().texts(chosen, columns)


class _Failing(ReleaseSource):
    def texts(self, chosen, columns=("content_sha256", "language", "content")):
        raise TrainingDataError("row 7 cannot be read")


def _made(source, tokenizer, folder, workers, lines=None):
    config = TrainConfig(
        release="r",
        output="o",
        steps=1,
        global_batch_tokens=2**16,
        data=DataConfig(sequence_length=256, workers=workers),
        evaluation=EvaluationConfig(fraction=0.0),
    )
    corpus = select.select([source], config)
    report = (lambda _: None) if lines is None else lines.append
    return caches.tokenised(
        corpus, "train", tokenizer, config.data, seed=0, epoch=0, cache=folder, report=report
    )


def _bytes(folder: Path) -> dict[str, str]:
    (made,) = folder.glob("tokens-*")
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in made.iterdir()
        if not file.name.startswith(".")
    }


def test_any_unit_size_gives_the_same_bytes(release, tokenizer, tmp_path, monkeypatch):
    found = []
    for unit_bytes in (2**20, 3000, 1):
        monkeypatch.setattr(parallel, "UNIT_BYTES", unit_bytes)
        source = ReleaseSource("r", Release.open(release), None)
        _made(source, tokenizer, tmp_path / str(unit_bytes), 1)
        found.append(_bytes(tmp_path / str(unit_bytes)))
    assert found[0] == found[1] == found[2]
    assert set(found[0]) == {"tokens.bin", "documents.arrow", "members.arrow", "cache.json"}


def test_ray_tasks_give_the_same_bytes_and_dead_workers_are_replaced(
    release, tokenizer, tmp_path, monkeypatch
):
    import ray
    from ray import cloudpickle

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    here = __import__("sys").modules[__name__]
    cloudpickle.register_pickle_by_value(here)
    opened = ("r", Release.open(release), None)
    _made(ReleaseSource(*opened), tokenizer, tmp_path / "one", 1)
    monkeypatch.setattr(parallel, "UNIT_BYTES", 20_000)
    mark = tmp_path / "mark"
    lines: list[str] = []
    source = _Dying(*opened, mark=mark, driver=os.getpid())
    with parallel._ray(2):  # both are run in the same Ray: it takes seconds to start
        _made(source, tokenizer, tmp_path / "two", 2, lines)
        assert mark.exists(), "no worker was killed"
        assert _bytes(tmp_path / "two") == _bytes(tmp_path / "one")
        assert not list((tmp_path / "two").rglob("unit-*"))
        with pytest.raises(TrainingDataError, match=r"^row 7 cannot be read$"):
            _made(_Failing(*opened), tokenizer, tmp_path / "three", 2)
    assert not ray.is_initialized()
    cloudpickle.unregister_pickle_by_value(here)


def test_no_cluster_is_said(release, tokenizer, tmp_path, monkeypatch):
    import ray

    def init(**settings_):
        raise ConnectionError(f"nothing at {settings_['address']}\nand more")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr(parallel, "UNIT_BYTES", 3000)
    source = ReleaseSource("r", Release.open(release), None)
    with pytest.raises(
        TrainingConfigError, match=r"nothing at 127.0.0.1:1\): unset it to tokenise on this machine"
    ):
        _made(source, tokenizer, tmp_path, 2)


def test_a_difference_ends_the_use_of_the_fast_encoder(release, tokenizer, tmp_path, monkeypatch):
    source = ReleaseSource("r", Release.open(release), None)
    _made(source, tokenizer, tmp_path / "right", 1)

    class Wrong(encoder.Gigatoken):
        def encode(self, pieces):
            ids, lengths = super().encode(pieces)
            return np.concatenate((ids[:-1], ids[:1])), lengths

    monkeypatch.setattr(encoder, "Gigatoken", Wrong)
    monkeypatch.setattr(encoder, "_why_not", {tokenizer.digest: None})
    parallel._tools.cache_clear()
    lines: list[str] = []
    _made(source, tokenizer, tmp_path / "wrong", 1, lines)
    parallel._tools.cache_clear()
    assert "gigatoken differs from the tokenizer on the document" in lines[0]
    assert _bytes(tmp_path / "wrong") == _bytes(tmp_path / "right")


def test_a_killed_process_leaves_nothing_that_counts(release, tokenizer, tmp_path):
    source = ReleaseSource("r", Release.open(release), None)
    first = _made(source, tokenizer, tmp_path, 1)
    (made,) = tmp_path.glob("tokens-*")
    made.rename(tmp_path / f"{made.name}.tmp-{socket.gethostname()}-123")
    again = _made(source, tokenizer, tmp_path, 1)
    assert again.digest == first.digest
    assert (tmp_path / made.name).is_dir()


class TestTheMark:
    """An opened cache is hashed once per start of the machine, and whenever a file of it has changed."""

    @pytest.fixture
    def opened(self, release, tokenizer, tmp_path, monkeypatch):
        monkeypatch.setattr(stored, "_SETTLED_NS", -1)
        source = ReleaseSource("r", Release.open(release), None)
        hashed: list[str] = []
        sha = stored.sha256_of
        monkeypatch.setattr(stored, "sha256_of", lambda file: (hashed.append(file.name), sha(file))[1])

        def open_():
            lines: list[str] = []
            hashed.clear()
            made = _made(source, tokenizer, tmp_path, 1, lines)
            return made, list(hashed), lines

        open_()
        return open_

    def test_later_processes_do_not_hash(self, opened):
        made, hashed, lines = opened()
        assert hashed == []
        assert lines == []
        assert hashlib.sha256(made.tokens.tobytes()).hexdigest() == made.digest

    @pytest.mark.parametrize("name", ["tokens.bin", "documents.arrow", "members.arrow", "cache.json"])
    def test_a_changed_file_is_hashed_again(self, opened, tmp_path, name):
        (file,) = tmp_path.glob(f"tokens-*/{name}")
        file.write_bytes(file.read_bytes())  # the same bytes, another time
        _, hashed, lines = opened()
        assert "tokens.bin" in hashed
        assert lines == []
        assert opened()[1] == []

    def test_a_file_that_changed_just_before_the_mark_is_hashed_again(self, opened, monkeypatch):
        monkeypatch.setattr(stored, "_SETTLED_NS", 10**15)
        assert "tokens.bin" in opened()[1]

    def test_a_mark_of_an_earlier_start_does_not_count(self, opened, tmp_path, monkeypatch):
        monkeypatch.setattr(stored, "_mark", lambda folder: folder / ".hashed-other")
        assert "tokens.bin" in opened()[1]
        monkeypatch.setattr(stored, "_mark", lambda folder: None)
        assert "tokens.bin" in opened()[1]


def test_progress_is_said(release, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(caches, "_PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr(parallel, "UNIT_BYTES", 3000)
    lines: list[str] = []
    _made(ReleaseSource("r", Release.open(release), None), tokenizer, tmp_path, 1, lines)
    assert any("MB/s" in line and "s left" in line for line in lines)
