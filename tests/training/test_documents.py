"""Documents of several files: each file once and whole, names harmless, the same bytes however the files are read."""

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.reader import Release
from training import prepare as preparing
from training.config import FimConfig, RepositoryConfig, TrainConfig
from training.corpus import fim, repository, select
from training.corpus.sources import ReleaseSource
from training.errors import TrainingConfigError
from training.tokens import cache as caches
from training.tokens import documents
from training.tokens.assemble import encode_documents
from training.tokens.documents import Document, join, marks
from training.tokens.encoder import Reference
from training.tokens.tokenizer import CONTROL_TOKENS, CodeTokenizer, train

ROW = 200
LONG = 4096
"""Takes several files of the release of the tests."""


def quiet(_: str) -> None:
    """Progress that nobody reads."""


_made: list[CodeTokenizer] = []


def tokenizer_() -> CodeTokenizer:
    if not _made:
        _made.append(train([f"def f{n}(x):\n    return x * {n}\n" for n in range(300)], 350))
    return _made[0]


def file_text(ids: np.ndarray, header: str, tokenizer: CodeTokenizer) -> str:
    """The text of a file as it was, from its place in a document without separator and end of text."""
    control = tokenizer.control
    if len(ids) and ids[0] == control.prefix:
        suffix, middle = (int(np.flatnonzero(ids == token)[0]) for token in (control.suffix, control.middle))
        if suffix == 1:  # suffix-prefix-middle
            ids = np.concatenate((ids[middle + 1 :], ids[suffix + 1 : middle]))
        else:
            ids = np.concatenate((ids[1:suffix], ids[middle + 1 :], ids[suffix + 1 : middle]))
    text = tokenizer.decode(ids)
    assert text.startswith(header)
    return text.removeprefix(header)


def encoded(texts, tokenizer, fim_rate, *, row=ROW, epoch=0):
    found = encode_documents(
        tokenizer,
        Reference(tokenizer),
        pa.array(texts),
        [f"id {n}" for n in range(len(texts))],
        fim=FimConfig(rate=fim_rate) if fim_rate else None,
        seed=0,
        epoch=epoch,
        row_tokens=row,
    )
    parts = np.split(found.tokens, np.cumsum(found.length)[:-1])
    return [Document(part, [n], [0]) for n, part in enumerate(parts)]


TEXTS = st.lists(
    st.one_of(
        st.text(alphabet="ab(x)\n =é中🙂\u0301", min_size=1, max_size=80),
        st.sampled_from(CONTROL_TOKENS),
        st.just("x = 1\n" * 200),
    ),
    min_size=1,
    max_size=8,
)
NAMES = st.lists(st.sampled_from([*"ab/.\n\x00\u2028é", "<file_sep>", "<fim_prefix>"]), max_size=12).map(
    "".join
)


@settings(deadline=None, max_examples=30)
@given(
    TEXTS,
    NAMES,
    st.data(),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.booleans(),
    st.integers(24, ROW),
    st.sampled_from([1, 3]),
)
def test_each_file_is_in_one_document_once_and_whole(texts, origin, data, fim_rate, shown, row, reach):
    tokenizer = tokenizer_()
    files = encoded(texts, tokenizer, fim_rate, row=row)
    paths = data.draw(st.lists(NAMES, min_size=len(texts), max_size=len(texts)))
    made = list(join(files, origin, paths if shown else None, tokenizer, row, reach=reach))
    assert sorted(n for document in made for n in document.files) == list(range(len(texts)))
    (repo_name, file_sep), control = marks(tokenizer), tokenizer.control
    for document in made:
        ids = document.ids
        assert ids.dtype == np.uint16
        assert ids[-1] == control.end_of_text
        assert (ids == control.end_of_text).sum() == 1
        if len(ids) > row:
            assert len(document.files) == 1
        if document.offsets == [0] and ids[0] != file_sep:  # a file alone, in its own form
            assert ids.tolist() == files[document.files[0]].ids.tolist()
            assert shown or len(ids) + 1 > row
            continue
        # the marks are where they belong and nowhere else, whatever the names spell
        assert np.flatnonzero(ids == file_sep).tolist() == document.offsets
        assert np.flatnonzero(ids == repo_name).tolist() == ([0] if shown else [])
        if shown:
            assert tokenizer.decode(ids[1 : document.offsets[0]]) == repository.name_of(origin)
        ends = [*document.offsets[1:], len(ids) - 1]
        for number, first, end in zip(document.files, document.offsets, ends, strict=True):
            header = f"{repository.readable(paths[number])}\n" if shown else ""
            assert file_text(ids[first + 1 : end], header, tokenizer) == texts[number]
        assert document.files == sorted(document.files)
    if reach > 1:
        return
    # no document could have taken the next one's first file, and files keep their order
    together = [document for document in made if document.ids[document.offsets[0]] == file_sep]
    for one, other in itertools.pairwise(together):
        end = other.offsets[1] if len(other.files) > 1 else len(other.ids) - 1
        assert len(one.ids) + end - other.offsets[0] > row
        assert one.files[-1] < other.files[0]


def test_documents_are_filled_one_after_the_other():
    tokenizer = tokenizer_()
    files = encoded(["x = 1\n"] * 5, tokenizer, 0.0)
    one = len(files[0].ids)  # with its end of text: as long as with its separator
    assert [d.files for d in join(files, "", None, tokenizer, 2 * one + 1)] == [[0, 1], [2, 3], [4]]
    assert [d.files for d in join(files, "", None, tokenizer, 5 * one + 1)] == [[0, 1, 2, 3, 4]]
    assert [d.files for d in join(files, "", None, tokenizer, one)] == [[0], [1], [2], [3], [4]]
    long = encoded(["x = 1\n" * 4], tokenizer, 0.0)[0]  # fits beside none of the others
    mixed = [files[0], Document(long.ids, [5], [0]), files[1], files[2]]
    row = len(long.ids) + 1
    near, far = ([d.files for d in join(mixed, "", None, tokenizer, row, reach=n)] for n in (1, 2))
    assert near == [[0], [5], [1, 2]]
    assert far == [[0, 1, 2], [5]]
    alone = list(join(files, "", None, tokenizer, one))
    assert alone[0].ids.tolist() == files[0].ids.tolist()


def test_the_form_is_that_of_starcoder_2():
    tokenizer = tokenizer_()
    texts = ["a = 1\n", "b = 2\n"]
    plain = encoded(texts, tokenizer, 0.0)
    assert shape(plain, ["p.py", "q.py"], tokenizer) == (
        "<repo_name>own/name<file_sep>p.py\na = 1\n<file_sep>q.py\nb = 2\n<|endoftext|>"
    )
    assert shape(plain, None, tokenizer) == "<file_sep>a = 1\n<file_sep>b = 2\n<|endoftext|>"
    for order, wanted in (
        ("psm", "<fim_prefix>q.py\nb <fim_suffix>2\n<fim_middle>= "),
        ("spm", "<fim_prefix><fim_suffix>2\n<fim_middle>q.py\nb = "),
    ):
        control, encode = tokenizer.control, tokenizer.encode
        prefix, middle, suffix = encode(list(fim.pieces(texts[1], fim.Cut(order, 2, 4))))
        marks_ = ([control.prefix], [control.suffix], [control.middle], [control.end_of_text])
        first, second, third, end = (np.array(mark) for mark in marks_)
        parts = (first, prefix, second, suffix, third, middle, end)
        if order == "spm":
            parts = (first, second, suffix, third, prefix, middle, end)
        cut = [plain[0], Document(np.concatenate(parts).astype(np.uint16), [1], [0])]
        assert shape(cut, ["p.py", "q.py"], tokenizer) == (
            f"<repo_name>own/name<file_sep>p.py\na = 1\n<file_sep>{wanted}<|endoftext|>"
        )


def shape(files, paths, tokenizer) -> str:
    (document,) = join(files, "https://host/own/name", paths, tokenizer, ROW)
    return tokenizer.full.decode(document.ids.tolist(), skip_special_tokens=False)


def config_of(release: Path, folder: Path, **data) -> TrainConfig:
    return TrainConfig(
        release=str(release),
        output=str(folder),
        global_batch_tokens=LONG,
        data={"sequence_length": LONG, **data},
        epochs=2,
        micro_batch_size=1,
        evaluation={"fraction": 0.2, "near": None},
        tokenizer={"vocab_size": 400},
    )


@pytest.mark.parametrize(
    ("order", "rate", "metadata", "fim_rate"),
    [("path", 1.0, 1.0, 0.0), ("random", 0.5, 0.5, 0.5), ("dependency", 1.0, 0.0, 1.0)],
)
def test_each_row_once_an_epoch_whatever_the_settings(release, tmp_path, order, rate, metadata, fim_rate):
    settings_ = {"order": order, "rate": rate, "metadata_rate": metadata}
    config = config_of(release, tmp_path, repository=settings_, fim={"rate": fim_rate})
    prepared = preparing.prepare(config, quiet)
    corpus, tokenizer = prepared.corpus, prepared.tokenizer
    texts = {
        int(row): (text, origin, path)
        for rows, batch in corpus.texts(corpus.train, ["content", "origin", "path"])
        for row, text, origin, path in zip(rows, *(batch[c].to_pylist() for c in range(3)), strict=True)
    }
    assert len(prepared.epochs) == 2
    for number, epoch in enumerate(prepared.epochs):
        cache = epoch.cache
        assert sorted(cache.member_row.tolist()) == np.flatnonzero(corpus.train).tolist()
        assert epoch.plan.tokens == len(cache.tokens) == cache.length.sum()
        assert cache.text_bytes.sum() == sum(len(text.encode()) for text, _, _ in texts.values())
        several = 0
        starts = np.cumsum(cache.length) - cache.length
        for document, (start, length) in enumerate(zip(starts, cache.length, strict=True)):
            ids = cache.tokens[start : start + length]
            some = np.flatnonzero(cache.member_document == document)
            rows, offsets = cache.member_row[some].tolist(), cache.member_token[some].tolist()
            origins = {texts[row][1] for row in rows}
            assert len(origins) == 1
            origin = origins.pop()
            together = repository.shown_whole(origin, seed=0, epoch=number, rate=rate)
            shown = repository.with_metadata(origin, seed=0, epoch=number, rate=metadata)
            assert together or (len(rows) == 1 and offsets == [0])
            assert length <= LONG or len(rows) == 1
            several += len(rows) > 1
            marked = int(ids[offsets[0]]) == marks(tokenizer)[1]
            for row, first, end in zip(rows, offsets, [*offsets[1:], length - 1], strict=True):
                header = f"{repository.readable(texts[row][2])}\n" if marked and shown else ""
                assert file_text(ids[first + marked : end], header, tokenizer) == texts[row][0]
        assert several > 2
    differ = order == "random" or fim_rate > 0 or 0 < rate < 1
    assert (prepared.epochs[0].cache.digest != prepared.epochs[1].cache.digest) == differ
    # what is evaluated is single files, as without repository context
    assert prepared.held_out is not None
    assert len(prepared.held_out.cache.member_row) == len(prepared.held_out.cache.length)
    assert not np.isin(prepared.held_out.cache.tokens, marks(tokenizer)).any()
    # a second call finds everything
    lines: list[str] = []
    assert preparing.prepare(config, lines.append).stream_digest == prepared.stream_digest
    assert not any("files in" in line for line in lines)


class Sliced:
    """A corpus whose texts come in other batches."""

    def __init__(self, corpus: select.Corpus, size: int) -> None:
        self.corpus, self.size = corpus, size

    def __getattr__(self, name):
        return getattr(self.corpus, name)

    def texts(self, chosen, columns):
        read = [(rows, batch) for rows, batch in self.corpus.texts(chosen, columns)]
        rows = np.concatenate([rows for rows, _ in read])
        table = pa.Table.from_batches([batch for _, batch in read]).combine_chunks()
        for first in range(0, len(rows), self.size):
            yield (
                rows[first : first + self.size],
                table.slice(first, self.size).combine_chunks().to_batches()[0],
            )


def test_batches_do_not_matter(release, tmp_path):
    settings_ = RepositoryConfig(rate=0.8, order="dependency")
    config = config_of(release, tmp_path, repository=settings_.model_dump())
    corpus = select.select([ReleaseSource("r", Release.open(release), None)], config)
    cache = caches.tokenised(
        corpus, "train", tokenizer_(), config.data, seed=0, epoch=0, cache=tmp_path / "c", report=quiet
    )
    streams = [
        np.concatenate(
            [
                document.ids
                for document in documents.documents(
                    cache,
                    Sliced(corpus, size),
                    corpus.train,
                    tokenizer_(),
                    settings_,
                    seed=0,
                    epoch=0,
                    row_tokens=LONG,
                )
            ]
        ).tolist()
        for size in (1, 7, 1000)
    ]
    assert streams[0] == streams[1] == streams[2]


def test_a_tokenizer_without_the_marks_is_refused(release, tmp_path):
    data = tokenizer_().data.replace(b"<repo_name>", b"<repo_nome>")
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    (folder / "tokenizer.json").write_bytes(data)
    config = config_of(release, tmp_path / "run", repository={"rate": 0.5})
    config = config.model_copy(
        update={"tokenizer": config.tokenizer.model_copy(update={"path": str(folder)})}
    )
    with pytest.raises(
        TrainingConfigError,
        match=r"no repository tokens.*tokenizer\.add_missing: true, or data\.repository\.rate: 0",
    ):
        preparing.prepare(config, quiet)


def test_the_cache_is_named_by_the_settings(release, tmp_path):
    digests = set()
    for change in ({}, {"order": "path"}, {"metadata_rate": 1.0}, {"rate": 0.7}):
        settings_ = {"rate": 1.0, "order": "random", "metadata_rate": 0.5} | change
        config = config_of(release, tmp_path, repository=settings_)
        digests.add(preparing.prepare(config, quiet).epochs[0].cache.key)
    assert len(digests) == 4
