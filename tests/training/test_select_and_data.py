"""What is trained on: owners held out whole, limits kept, tokens made once, hostile text harmless."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.reader import Release
from training.config import DataConfig, EvaluationConfig, FimConfig, TrainConfig
from training.corpus import select
from training.corpus.networks import owner_of
from training.corpus.sources import ReleaseSource
from training.errors import OutputError, TrainingConfigError, TrainingDataError
from training.tokens import cache as caches
from training.tokens.assemble import encode_documents
from training.tokens.encoder import Reference
from training.tokens.tokenizer import CONTROL_TOKENS, CodeTokenizer, train


def quiet(_: str) -> None:
    """Progress that nobody reads."""


def config(*, fraction=0.2, max_bytes=None, **data) -> TrainConfig:
    return TrainConfig(
        release="r",
        global_batch_tokens=2**16,
        output="o",
        steps=1,
        data=DataConfig(**{"sequence_length": 256, **data}),
        evaluation=EvaluationConfig(fraction=fraction, max_bytes=max_bytes),
    )


def corpus_of(release: Path, languages=None, **values) -> select.Corpus:
    return select.select([ReleaseSource("r", Release.open(release), languages)], config(**values))


@pytest.mark.parametrize(
    ("origin", "owner"),
    [
        ("https://github.com/Owner/repo", "github.com/owner"),
        ("https://gitlab.com/group/sub/repo.git", "gitlab.com/group"),
        ("https://someone@github.com/Owner/repo", "github.com/owner"),
        ("ssh://git@github.com/Owner/repo.git", "github.com/owner"),
        ("git@github.com:Owner/repo.git", "github.com/owner"),
        ("git@example.org:group/sub/repo.git", "example.org/group"),
        ("git@example.org:repo.git", "git@example.org:repo.git"),
        ("https://example.org:8443/owner/repo", "example.org:8443/owner"),
        ("https://example.org/project", "https://example.org/project"),
        ("pkg:pypi/requests@2.0", "pkg:pypi/requests"),
        ("pkg:npm/%40scope/name@1.0", "pkg:npm/%40scope"),
        ("pkg:pypi/requests", "pkg:pypi/requests"),
        ("not a url", "not a url"),
        ("http://[", "http://["),
        ("", ""),
    ],
)
def test_owner_of(origin, owner):
    assert owner_of(origin) == owner


def rows_of(release: Release, columns: list[str]) -> pa.Table:
    return pa.Table.from_batches(list(release.batches(columns=columns, languages=list(release.languages))))


def test_whole_owners_are_held_out(release: Path):
    opened = Release.open(release)
    chosen = corpus_of(release)
    owners = np.array([owner_of(o) for o in rows_of(opened, ["origin"])["origin"].to_pylist()])
    assert not chosen.train[chosen.held_out].any()
    assert chosen.held_out.any()
    assert not set(owners[chosen.held_out]) & set(owners[chosen.train])
    assert (chosen.train | chosen.held_out).all()
    assert chosen.left_out == {}
    assert len(set(owners[chosen.held_out])) == chosen.held_out_groups


@settings(deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=2, max_size=30), st.floats(0.01, 0.9))
def test_the_split_never_takes_everything_and_never_nothing(sizes, fraction):
    owners = [f"owner{n}" for n in range(len(sizes))]
    held, count = select._hold_out(owners, np.arange(len(sizes)), np.array(sizes), fraction)
    assert held.any()
    assert held.sum() == count
    assert not held.all() or fraction > 0.6


def test_limits_are_kept_and_each_language_is_measured(release: Path):
    opened = Release.open(release)
    bytes_ = rows_of(opened, ["length_bytes"])["length_bytes"].to_numpy()
    languages = np.array(rows_of(opened, ["language"])["language"].to_pylist())
    free = corpus_of(release)
    limited = corpus_of(release, max_train_bytes=20_000, max_bytes=3000)
    assert 10_000 < bytes_[limited.train].sum() <= 20_000
    assert not (limited.train & ~free.train).any()
    assert not (limited.held_out & ~free.held_out).any()
    assert set(languages[limited.held_out]) == set(languages[free.held_out])
    left = sum(limited.left_out.values())
    assert left == len(bytes_) - limited.train.sum() - limited.held_out.sum() > 0


def test_languages_are_checked(release: Path, make_release, tmp_path):
    assert corpus_of(release, ["Shell", "C++"]).languages == ("C++", "Shell")
    with pytest.raises(TrainingDataError, match=r"no row of language 'Pyton'; did you mean 'Python'\?"):
        corpus_of(release, ["Pyton"])
    with pytest.raises(TrainingDataError, match=r"raise data.max_train_bytes"):
        corpus_of(release, max_train_bytes=1)
    one = make_release(tmp_path, rows={"Python": 1})
    with pytest.raises(TrainingDataError, match="all rows belong to one owner"):
        corpus_of(one)
    assert corpus_of(one, fraction=0.0).train.all()


@pytest.fixture(scope="module")
def tokenizer() -> CodeTokenizer:
    return train([f"def f{n}(x):\n    return x * {n}\n" for n in range(300)], 350)


def made(release, tokenizer, folder, *, split="train", epoch=0, seed=0, lines=None, **values):
    settings_ = config(**values)
    report = quiet if lines is None else lines.append
    return caches.tokenised(
        corpus_of(release, **values),
        split,
        tokenizer,
        settings_.data,
        seed=seed,
        epoch=epoch,
        cache=folder,
        report=report,
    )


def test_tokens_are_the_released_text(release, tokenizer, tmp_path):
    cache = made(release, tokenizer, tmp_path, fim=FimConfig(rate=0.0))
    texts = rows_of(Release.open(release), ["content"])["content"].to_pylist()
    starts = np.cumsum(cache.length) - cache.length
    for row, start, length, size in zip(
        cache.member_row, starts, cache.length, cache.text_bytes, strict=True
    ):
        ids = cache.tokens[start : start + length]
        assert ids[-1] == tokenizer.control.end_of_text
        assert tokenizer.decode(ids) == texts[row]
        assert size == len(texts[row].encode()) == tokenizer.token_bytes()[ids].sum()
    assert cache.length.sum() == len(cache.tokens)
    assert cache.tokens.dtype == np.uint16


def undo(ids: np.ndarray, tokenizer: CodeTokenizer) -> str:
    """The text of a document as it was before it was cut."""
    control = tokenizer.control
    assert ids[-1] == control.end_of_text
    ids = ids[:-1]
    if ids[0] != control.prefix:
        return tokenizer.decode(ids)
    suffix, middle = (int(np.flatnonzero(ids == token)[0]) for token in (control.suffix, control.middle))
    assert sum(np.isin(ids, range(len(CONTROL_TOKENS)))) == 3
    if suffix == 1:  # SPM: the prefix comes after the middle's marker, so the order is prefix + middle there
        return tokenizer.decode(ids[middle + 1 :]) + tokenizer.decode(ids[suffix + 1 : middle])
    return (
        tokenizer.decode(ids[1:suffix])
        + tokenizer.decode(ids[middle + 1 :])
        + tokenizer.decode(ids[suffix + 1 : middle])
    )


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.text(min_size=1, max_size=60) | st.sampled_from(CONTROL_TOKENS), min_size=1, max_size=5),
    st.integers(0, 3),
)
def test_fim_documents_hold_the_whole_text(texts, epoch):
    tokenizer = _fim_tokenizer()
    names = [f"document {n}" for n in range(len(texts))]
    documents, cut = encoded(
        tokenizer, texts, names, fim=FimConfig(rate=1.0), seed=1, epoch=epoch, row_tokens=1000
    )
    assert cut == len(texts)
    for text, ids in zip(texts, documents, strict=True):
        if all(
            piece.isascii() for piece in text
        ):  # decoding a piece alone needs whole characters; ASCII has them
            assert undo(ids, tokenizer) == text
        assert tokenizer.token_bytes()[ids].sum() == len(text.encode())


def encoded(tokenizer, texts, names, **settings_):
    """Ids of each document, and how many were cut."""
    found = encode_documents(tokenizer, Reference(tokenizer), pa.array(texts), names, **settings_)
    return np.split(found.tokens, np.cumsum(found.length)[:-1]), found.cut.sum()


_fim: list[CodeTokenizer] = []


def _fim_tokenizer() -> CodeTokenizer:
    if not _fim:
        _fim.append(train(["def f(x):\n    return x\n"] * 5, 300))
    return _fim[0]


def test_documents_do_not_depend_on_their_neighbours(tokenizer):
    texts, names = ["a = 1\n" * 3, "b = 2\n" * 9, "<fim_prefix>"], ["x", "y", "z"]
    settings_ = {"fim": FimConfig(), "seed": 0, "epoch": 0, "row_tokens": 64}
    together, _ = encoded(tokenizer, texts, names, **settings_)
    for index in range(3):
        alone, _ = encoded(tokenizer, texts[index : index + 1], names[index : index + 1], **settings_)
        assert alone[0].tolist() == together[index].tolist()


def test_a_document_that_does_not_fit_into_a_row_is_not_cut(tokenizer):
    documents, cut = encoded(
        tokenizer, ["x = 1\n" * 50], ["n"], fim=FimConfig(rate=1.0), seed=0, epoch=0, row_tokens=64
    )
    assert cut == 0
    assert tokenizer.decode(documents[0]) == "x = 1\n" * 50


def test_the_cache_is_made_once_and_keyed_by_what_matters(release, tokenizer, tmp_path):
    lines: list[str] = []
    first = made(release, tokenizer, tmp_path, lines=lines)
    assert len(lines) == 1
    again = made(release, tokenizer, tmp_path, lines=lines)
    assert len(lines) == 1
    assert again.key == first.key
    assert (again.tokens == first.tokens).all()
    keys = {
        first.key,
        made(release, tokenizer, tmp_path, epoch=1).key,
        made(release, tokenizer, tmp_path, seed=1).key,
        made(release, tokenizer, tmp_path, split="held_out").key,
        made(release, tokenizer, tmp_path, fraction=0.6).key,
        made(release, train(["other"], 300), tmp_path).key,
    }
    assert len(keys) == 6
    plain = made(release, tokenizer, tmp_path, fim=FimConfig(rate=0.0))
    assert made(release, tokenizer, tmp_path, fim=FimConfig(rate=0.0), epoch=1, seed=5).key == plain.key


@pytest.mark.parametrize("name", ["tokens.bin", "documents.arrow", "members.arrow", "cache.json"])
def test_a_damaged_cache_is_made_again(release, tokenizer, tmp_path, name):
    first = made(release, tokenizer, tmp_path)
    wanted = first.tokens.copy()
    file = next(tmp_path.glob(f"tokens-*/{name}"))
    file.write_bytes(file.read_bytes()[:-3] + b"xxx")
    lines: list[str] = []
    again = made(release, tokenizer, tmp_path, lines=lines)
    assert "damaged" in lines[0]
    assert (again.tokens == wanted).all()


def test_files_full_of_control_tokens(make_release, tokenizer, tmp_path):
    hostile = ["".join(CONTROL_TOKENS) * n + f"\n# {n}\n" for n in range(1, 20)]
    folder = make_release(tmp_path, texts={"Python": hostile})
    cache = made(folder, tokenizer, tmp_path / "cache", fim=FimConfig(rate=1.0), sequence_length=4096)
    assert cache.fim == len(cache.length)
    control = np.isin(cache.tokens, range(len(CONTROL_TOKENS)))
    assert control.sum() == 4 * len(cache.length)  # three markers and the end of each, all ours


def test_empty_text_is_left_out_and_nothing_left_is_an_error(make_release, tokenizer, tmp_path):
    folder = make_release(tmp_path, texts={"Python": ["", "x = 1\n", "y = 2\n"]})
    cache = made(folder, tokenizer, tmp_path / "c", fraction=0.0)
    assert len(cache.length) == 2
    folder = make_release(tmp_path / "none", texts={"Python": [""]})
    with pytest.raises(TrainingDataError, match="has any text"):
        made(folder, tokenizer, tmp_path / "d", fraction=0.0)
    assert not list((tmp_path / "d").glob("tokens-*"))


def test_the_tokenizer_is_learnt_once_from_training_rows_only(release, tmp_path):
    chosen = corpus_of(release)
    lines: list[str] = []
    sizes = {"vocab_size": 350, "train_bytes": 20_000, "cache": tmp_path, "report": lines.append}
    first = caches.train_tokenizer(chosen, **sizes)
    assert caches.train_tokenizer(chosen, **sizes).digest == first.digest
    assert len(lines) == 1
    fewer = dataclasses.replace(chosen, train=chosen.train & (np.arange(len(chosen.train)) % 2 == 0))
    assert caches.train_tokenizer(fewer, **sizes).digest != first.digest


@pytest.mark.parametrize("change", ["another", "cut off", "gone", "torn", "settings"])
def test_a_tokenizer_in_the_cache_that_is_not_the_learnt_one_is_learnt_again(release, tmp_path, change):
    """Breach: someone edits it, or a copy of the cache is torn, and the run goes on with other tokens, or not at all."""
    chosen, lines = corpus_of(release), []
    sizes = {"vocab_size": 350, "train_bytes": 20_000, "cache": tmp_path, "report": lines.append}
    first = caches.train_tokenizer(chosen, **sizes)
    (folder,) = tmp_path.iterdir()
    file = folder / "tokenizer.json"
    if change == "another":
        file.write_bytes(train(["another text"], 300).data)
    elif change == "cut off":
        file.write_bytes(file.read_bytes()[:1000])
    elif change == "gone":
        file.unlink()
    elif change == "torn":
        (folder / "digest").unlink()
    else:
        (folder / "tokenizer_config.json").write_bytes(b"\xff")
    assert caches.train_tokenizer(chosen, **sizes).digest == first.digest
    assert "is not the one that was learnt, and is learnt again" in lines[1]
    assert file.read_bytes() == first.data
    assert list(tmp_path.iterdir()) == [folder]


def test_fim_needs_markers(tokenizer):
    without = CodeTokenizer(tokenizer.data)
    control = dataclasses.replace(tokenizer.control, middle=None)
    without.control = control
    caches.check_fim(without, 0.0)
    with pytest.raises(TrainingConfigError, match="no fill-in-the-middle tokens"):
        caches.check_fim(without, 0.5)


def test_an_altered_shard_is_noticed(release, tokenizer, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(release, copy)
    shard = next(copy.glob("data/*/*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-9] + b"123456789")
    with pytest.raises(ValueError, match="is not the file that the manifest describes"):
        made(copy, tokenizer, tmp_path / "cache")


def test_an_unwritable_cache_is_said(release, tokenizer, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        made(release, tokenizer, tmp_path / "file" / "cache")
