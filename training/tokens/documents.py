"""Documents of several files: repository context, put together from files that are already tokens.

`training.tokens.cache` makes one document of each file. Here the files of a repository that is shown as whole become
documents like StarCoder 2's (Lozhkov et al. 2024, arXiv 2402.19173, section 5.1),

    <repo_name> name  then for each file  <file_sep> path\\n code  and at the end  <|endoftext|>
    with a cut file   <file_sep> <fim_prefix> path\\n prefix <fim_suffix> suffix <fim_middle> middle
                      <file_sep> <fim_prefix> <fim_suffix> suffix <fim_middle> path\\n prefix middle

or the same without `<repo_name>`, name and paths. Name and path are encoded as text, so nothing in them is a control
token; the path stands at the head of the prefix and is never cut. Files are cut for FIM as they would be alone.

A document ends before the file that would not fit into its row, and the next one begins with the name again. Where
files come in random order, one that does not fit is put into another of up to `REACH` documents that are not full
yet, the earliest that takes it: rows are fuller then. A file that does not fit into a row even alone is a document of
its own, as without repository context. So a document is cut over two rows only if a single file is longer than a row,
and each file is in exactly one document.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from training.config import DataConfig, RepositoryConfig
from training.corpus import imports, repository
from training.corpus.select import Corpus
from training.corpus.sources import Report
from training.errors import TrainingConfigError
from training.tokens import stored
from training.tokens.stored import TokenCache
from training.tokens.tokenizer import CodeTokenizer
from training.tokens.writer import Writer


def marks(tokenizer: CodeTokenizer) -> tuple[int, int]:
    """Ids of a tokenizer's marks for a repository's name and for the beginning of a file.

    Raises:
        TrainingConfigError: it has none; says which setting to change.
    """
    control = tokenizer.control
    if control.repo_name is None or control.file_sep is None:
        raise TrainingConfigError(
            "the tokenizer has no repository tokens (such as <repo_name>, <file_sep>); set "
            "tokenizer.add_missing: true, or data.repository.rate: 0, or use another tokenizer"
        )
    return control.repo_name, control.file_sep


REACH = 32
"""Documents of a repository that are not full yet, in random order. In a simulation with all repositories, rows of 8,192 tokens
are filled to 95.5 % with one, 99.3 % with 8, 99.5 % with 32 or more (8,591 files of 182 repositories)."""


_WRITTEN = 4096
"""Documents that are written at once."""


@dataclass(frozen=True)
class Document:
    """Some files of the token cache in one document.

    Attributes:
        ids: of the whole document, its end of text included.
        files: documents of the cache that it is made of, in their order.
        offsets: where each of them begins in `ids`: at its `<file_sep>`, or at 0 for a file alone.
    """

    ids: np.ndarray
    files: list[int]
    offsets: list[int]

    def name(self, content_id: pa.StringArray) -> str:
        """The content id of a single file; of several a SHA-256 (hex) over theirs in order."""
        names = [content_id[index].as_py() for index in self.files]
        return (
            names[0]
            if len(names) == 1
            else hashlib.sha256("|".join(["repository", *names]).encode()).hexdigest()
        )


@dataclass
class _Repository:
    """Files of one origin: numbers in the cache, and what their order depends on."""

    origin: str
    numbers: list[int] = field(default_factory=list)
    files: list[repository.File] = field(default_factory=list)


def source_digest() -> str:
    """SHA-256 (hex) over the sources that put files together."""
    result = hashlib.sha256()
    for name in (imports.__file__, repository.__file__, __file__):
        assert name is not None
        result.update(Path(name).read_bytes())
    return result.hexdigest()


def with_repositories(
    files: TokenCache,
    corpus: Corpus,
    tokenizer: CodeTokenizer,
    data: DataConfig,
    *,
    seed: int,
    epoch: int,
    cache: Path,
    report: Report,
) -> TokenCache:
    """The token cache of the training files of one epoch with the files of some repositories put together.

    Made from `files`, which holds each training file alone, if it is not there; kept beside it.

    Raises:
        TrainingConfigError: the tokenizer has no repository tokens.
        OutputError: the cache cannot be written.
    """
    marks(tokenizer)
    key = stored.digest_of(
        {
            "files": files.key,
            "repository": data.repository.model_dump(mode="json"),
            "row": data.sequence_length,
            "draws": [seed, epoch],
            "source": source_digest(),
        }
    )
    found = stored.found(cache, key, report)
    if found is not None:
        return found
    whole = several = 0
    with Writer(cache, key) as writer:
        made_of = documents(
            files,
            corpus,
            corpus.train,
            tokenizer,
            data.repository,
            seed=seed,
            epoch=epoch,
            row_tokens=data.sequence_length,
        )
        while some := list(itertools.islice(made_of, _WRITTEN)):
            writer.add(np.concatenate([document.ids for document in some]), *_tables(some, files))
            sizes = [len(document.files) for document in some if len(document.files) > 1]
            whole, several = whole + len(sizes), several + sum(sizes)
        made = writer.done(fim=files.fim)
    report(
        f"repository context, epoch {epoch}: {several} of {len(files.length)} files in {whole} documents of "
        f"several files, {len(made.tokens) - len(files.tokens):+d} tokens"
    )
    return made


def _tables(some: Sequence[Document], files: TokenCache) -> tuple[pa.Table, pa.Table]:
    """Of some documents and of what they are made of, as `Writer.add` takes them."""
    numbers = [np.array(document.files) for document in some]
    sizes = [files.text_bytes[own] for own in numbers]
    each = zip(numbers, sizes, strict=True)
    languages = [int(np.bincount(files.language[own], weights=size).argmax()) for own, size in each]
    documents = {
        "content_id": pa.array([document.name(files.content_id) for document in some]),
        "language": pa.array(languages),
        "source": pa.array(files.source[[own[0] for own in numbers]]),
        "length": pa.array([len(document.ids) for document in some]),
        "text_bytes": pa.array([int(size.sum()) for size in sizes]),
    }
    members = {
        "document": np.repeat(np.arange(len(some)), [len(own) for own in numbers]),
        "row": files.member_row[np.concatenate(numbers)],
        "token": np.concatenate([document.offsets for document in some]),
    }
    return pa.table(documents), pa.table(members)


def documents(
    cache: TokenCache,
    corpus: Corpus,
    chosen: np.ndarray,
    tokenizer: CodeTokenizer,
    settings: RepositoryConfig,
    *,
    seed: int,
    epoch: int,
    row_tokens: int,
) -> Iterator[Document]:
    """All files of a cache as documents, those of some repositories together.

    A function of its arguments alone. Documents are in the order of the cache; a repository's come where its
    first file would.

    Args:
        cache: one document for each file.
        corpus: what the cache was made from.
        chosen: the rows of the corpus that it was made from, bool per row.
        tokenizer: that of the cache; has the repository tokens.
        settings: which repositories, in what order, with or without metadata.
        seed, epoch: of the run.
        row_tokens: tokens of a row.
    """
    marks(tokenizer)

    def shown_whole(origin: str) -> bool:
        return repository.shown_whole(origin, seed=seed, epoch=epoch, rate=settings.rate)

    grouped = _repositories(cache, corpus, chosen, shown_whole, scan=settings.order == "dependency")
    starts = np.cumsum(cache.length) - cache.length

    def alone(number: int) -> Document:
        tokens = cache.tokens[starts[number] : starts[number] + cache.length[number]]
        return Document(np.asarray(tokens), [number], [0])

    done: set[int] = set()
    for number in range(len(cache.length)):
        found = grouped.get(number)
        if found is None:
            yield alone(number)
        elif id(found) not in done:
            done.add(id(found))
            shown = repository.with_metadata(
                found.origin, seed=seed, epoch=epoch, rate=settings.metadata_rate
            )
            order = repository.arrange(found.files, settings.order, seed=seed, epoch=epoch)
            files = [alone(found.numbers[index]) for index in order]
            names = [found.files[index].path for index in order]
            reach = REACH if settings.order == "random" else 1
            yield from join(files, found.origin, names if shown else None, tokenizer, row_tokens, reach=reach)


def join(
    files: Sequence[Document],
    origin: str,
    paths: Sequence[str] | None,
    tokenizer: CodeTokenizer,
    row_tokens: int,
    *,
    reach: int = 1,
) -> Iterator[Document]:
    """The files of one repository in documents, in the order given.

    Args:
        files: each alone, with its end of text.
        origin: names the repository.
        paths: of the files; None shows neither name nor paths.
        tokenizer: for name and paths; has the repository tokens.
        row_tokens: the longest document of several files.
        reach: documents that may be begun and not full; with 1, files keep their order from document to document.
    """
    (repo_name, file_sep), kind = marks(tokenizer), files[0].ids.dtype
    head = np.array([], dtype=kind)
    headers = [head] * len(files)
    if paths is not None:
        texts = [repository.name_of(origin), *(f"{repository.readable(path)}\n" for path in paths)]
        name, *headers = (ids.astype(kind) for ids in tokenizer.encode(texts))
        head = np.concatenate((np.array([repo_name], dtype=kind), name))
    end, separator = files[0].ids[-1:], np.array([file_sep], dtype=kind)
    begun: list[_Begun] = []
    for file, header in zip(files, headers, strict=True):
        length = 1 + len(header) + len(file.ids) - 1  # with its separator, without its end of text
        if len(head) + length + 1 > row_tokens:
            yield file
            continue
        document = next((one for one in begun if one.size + length + 1 <= row_tokens), None)
        if document is None:
            if len(begun) == reach:
                fullest = max(range(reach), key=lambda index: begun[index].size)  # the first of equal ones
                yield begun.pop(fullest).ended(end)
            document = _Begun([head], len(head))
            begun.append(document)
        at = _head_of_prefix(file.ids, tokenizer)
        document.files.append(file.files[0])
        document.offsets.append(document.size)
        document.parts += [separator, file.ids[:at], header, file.ids[at:-1]]
        document.size += length
    for document in begun:
        yield document.ended(end)


@dataclass
class _Begun:
    """A document that is not full yet."""

    parts: list[np.ndarray]
    size: int
    files: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)

    def ended(self, end: np.ndarray) -> Document:
        return Document(np.concatenate([*self.parts, end]), self.files, self.offsets)


def _head_of_prefix(ids: np.ndarray, tokenizer: CodeTokenizer) -> int:
    """Where the beginning of a file's text stands in its tokens: 0 unless the file is cut."""
    control = tokenizer.control
    if control.prefix is None or len(ids) < 2 or ids[0] != control.prefix:
        return 0
    if ids[1] != control.suffix:
        return 1  # prefix-suffix-middle
    return int(np.flatnonzero(ids == control.middle)[0]) + 1


def _repositories(
    cache: TokenCache, corpus: Corpus, chosen: np.ndarray, shown_whole: Callable[[str], bool], *, scan: bool
) -> dict[int, _Repository]:
    """Number of a file in the cache -> its repository, for the files of those that are shown as whole."""
    assert len(cache.member_row) == len(cache.length), "the cache holds documents of several files"
    number_of = dict(zip(cache.member_row.tolist(), cache.member_document.tolist(), strict=True))
    columns = ["origin", "path", "language", *(["content"] if scan else [])]
    whole: dict[tuple[int, str], _Repository | None] = {}
    result: dict[int, _Repository] = {}
    for rows, batch in corpus.texts(chosen, columns):
        sources = corpus.source_of(rows)
        origins, paths, languages = (batch[name].to_pylist() for name in columns[:3])
        for index, row in enumerate(rows.tolist()):
            number, origin = number_of.get(row), origins[index] or ""
            if number is None:  # a row without text
                continue
            key = (int(sources[index]), origin)
            if key not in whole:
                whole[key] = _Repository(origin) if shown_whole(origin) else None
            found = whole[key]
            if found is None:
                continue
            path = paths[index] or ""
            text = batch["content"][index].as_py() if scan else ""
            needs = imports.packed(imports.scan(text, path, languages[index] or ""))
            found.numbers.append(number)
            found.files.append(repository.File(cache.content_id[number].as_py(), path, needs))
            result[number] = found
    return result
