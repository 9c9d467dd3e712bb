"""From released text to token ids on disk: read once, tokenised once, memory-mapped after that.

A document is one row of the release. Its tokens are

    plain   text <|endoftext|>
    FIM     markers and pieces as in `training.corpus.fim`, then <|endoftext|>

Text cannot become a control token (see `training.tokens.tokenizer`), and the end of text is trained on. A FIM
document that would not fit into one row stays in plain order: split over two rows, its middle would stand
alone.

Documents are in the order of the release's shards and rows. A cache is named by a digest of everything that
can change its bytes: manifest, tokenizer, selection, FIM settings (with seed and epoch, unless no document is
cut), and the sources of this module, `fim`, `select` and `tokenizer`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.config import DataConfig, FimConfig
from training.corpus import fim as fim_module
from training.corpus import select as select_module
from training.corpus.fim import Cut, draw, pieces
from training.corpus.select import Corpus
from training.errors import OutputError, TrainingConfigError, TrainingDataError
from training.tokens import tokenizer as tokenizer_module
from training.tokens.tokenizer import CodeTokenizer

MAX_CHARACTERS_PER_TOKEN = 8
"""A document of more characters than this times the row length is not tried for FIM (code has 3 to 4)."""

Report = Callable[[str], None]
"""Takes one line for the user's eyes (stderr)."""


def source_digest() -> str:
    """SHA-256 (hex) over the sources that turn text into tokens and the version of tokenizers."""
    result = hashlib.sha256(importlib.metadata.version("tokenizers").encode())
    for name in (fim_module.__file__, select_module.__file__, tokenizer_module.__file__, __file__):
        assert name is not None
        result.update(Path(name).read_bytes())
    return result.hexdigest()


def digest_of(parts: dict[str, Any]) -> str:
    """SHA-256 (hex) of what names a cache."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class TokenCache:
    """Tokens of some documents, one after the other.

    Attributes:
        key: digest that names the cache.
        digest: SHA-256 (hex) of the tokens' bytes.
        tokens: flat ids, uint16 or uint32, memory-mapped.
        content_id: name of each document: the `content_sha256` of its row.
        language: number of each document's language (int64); of several, that of the most bytes.
        source: number of each document's source (int64).
        length: tokens of each document (int64); their sum is `len(tokens)`.
        text_bytes: UTF-8 bytes of each document (int64).
        member_document, member_row, member_token: the rows of the corpus that the documents are made of, in the
            order of the tokens (int64): document, row, and offset of the row's first token in its document.
        fim: documents that were cut.
    """

    key: str
    digest: str
    tokens: np.ndarray
    content_id: list[str]
    language: np.ndarray
    source: np.ndarray
    length: np.ndarray
    text_bytes: np.ndarray
    member_document: np.ndarray
    member_row: np.ndarray
    member_token: np.ndarray
    fim: int


def train_tokenizer(
    corpus: Corpus,
    *,
    vocab_size: int,
    train_bytes: int,
    cache: Path,
    report: Report,
) -> CodeTokenizer:
    """The tokenizer learnt from about `train_bytes` of the training rows, from the cache if it is there."""
    key = digest_of(
        {
            "rows": corpus.rows_digest(corpus.train),
            "vocab_size": vocab_size,
            "train_bytes": train_bytes,
            "source": source_digest(),
        }
    )
    folder = cache / f"tokenizer-{key[:24]}"
    if (folder / tokenizer_module.FILE).exists():
        return CodeTokenizer.load(folder)

    def texts() -> Iterator[str]:
        # Every k-th document, so that no shard (and no language) is missing from the sample.
        total = max(
            1,
            sum(batch["content"].nbytes for _, batch in corpus.texts(corpus.train)),
        )
        share, credit = min(1.0, train_bytes / total), 0.0
        for _, batch in corpus.texts(corpus.train):
            for text in batch["content"]:
                credit += share
                if credit >= 1.0:
                    credit -= 1.0
                    yield text.as_py()

    tokenizer = tokenizer_module.train(texts(), vocab_size)
    temporary = cache / f"tokenizer-{key[:24]}.tmp-{os.getpid()}"
    with _writing(cache):
        tokenizer.save(temporary)
        temporary.rename(folder)
    report(f"tokenizer: {tokenizer.size} entries learnt, digest {tokenizer.digest[:12]}")
    return tokenizer


class _writing:
    """Turns an `OSError` inside into an `OutputError` that names the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise OutputError(f"{self.folder}: cannot be written: {error.strerror or error}") from error


def check_fim(tokenizer: CodeTokenizer, rate: float) -> None:
    """Refuse FIM with a tokenizer that has no markers for it.

    Raises:
        TrainingConfigError: says which setting to change.
    """
    if rate > 0 and None in (tokenizer.control.prefix, tokenizer.control.middle, tokenizer.control.suffix):
        raise TrainingConfigError(
            "the tokenizer has no fill-in-the-middle tokens (<fim_prefix>, <fim_middle>, <fim_suffix>); "
            "set data.fim.rate: 0, or use another tokenizer"
        )


def encode_documents(
    tokenizer: CodeTokenizer,
    texts: list[str],
    content_ids: list[str],
    *,
    fim: FimConfig | None,
    seed: int,
    epoch: int,
    row_tokens: int,
) -> tuple[list[np.ndarray], int]:
    """Token ids of each document, the end of text included, and how many were cut for FIM.

    A pure function of its arguments, document by document: neighbours do not matter.
    """
    control = tokenizer.control
    cuts: list[Cut | None] = [None] * len(texts)
    if fim is not None and fim.rate > 0:
        check_fim(tokenizer, fim.rate)
        for index, (text, name) in enumerate(zip(texts, content_ids, strict=True)):
            if len(text) <= MAX_CHARACTERS_PER_TOKEN * row_tokens:
                cuts[index] = draw(
                    name, len(text), seed=seed, epoch=epoch, rate=fim.rate, spm_rate=fim.spm_rate
                )
    end = np.array([control.end_of_text])
    result: list[np.ndarray | None] = [None] * len(texts)
    cut = [index for index, found in enumerate(cuts) if found is not None]
    parts = tokenizer.encode([part for index in cut for part in pieces(texts[index], cuts[index])])  # type: ignore[arg-type]
    kept = 0
    for number, index in enumerate(cut):
        prefix, middle, suffix = parts[3 * number : 3 * number + 3]
        if len(prefix) + len(middle) + len(suffix) + 4 > row_tokens:
            continue
        first, second, third = (np.array([i]) for i in (control.prefix, control.suffix, control.middle))
        found = cuts[index]
        assert found is not None
        if found.order == "psm":
            result[index] = np.concatenate((first, prefix, second, suffix, third, middle, end))
        else:
            result[index] = np.concatenate((first, second, suffix, third, prefix, middle, end))
        kept += 1
    plain = [index for index, ids in enumerate(result) if ids is None]
    for index, ids in zip(plain, tokenizer.encode([texts[index] for index in plain]), strict=True):
        result[index] = np.concatenate((ids, end))
    return result, kept  # type: ignore[return-value]


def tokenised(
    corpus: Corpus,
    split: str,
    tokenizer: CodeTokenizer,
    data: DataConfig,
    *,
    seed: int,
    epoch: int,
    cache: Path,
    report: Report,
) -> TokenCache:
    """The token cache of one split (`train` or `held_out`) in one epoch, made if it is not there.

    Held-out documents are never cut for FIM. Documents without text are left out.

    Raises:
        TrainingDataError: the split has no text.
        OutputError: the cache cannot be written.
    """
    fim = data.fim if split == "train" and data.fim.rate > 0 else None
    chosen = corpus.train if split == "train" else corpus.held_out
    key = digest_of(
        {
            "tokenizer": tokenizer.digest,
            "rows": corpus.rows_digest(chosen),
            "fim": [fim.rate, fim.spm_rate, seed, epoch, data.sequence_length] if fim else None,
            "source": source_digest(),
        }
    )
    earlier = found(cache, key, report)
    if earlier is not None:
        return earlier
    kind = np.uint16 if tokenizer.size <= 2**16 else np.uint32
    cut = 0
    with Writer(cache, key, np.dtype(kind)) as writer:
        for rows, batch in corpus.texts(chosen):
            sources = corpus.source_of(rows)
            texts = batch["content"].to_pylist()
            some = [index for index, text in enumerate(texts) if text]
            names = batch["content_sha256"].to_pylist()
            documents, cut_here = encode_documents(
                tokenizer,
                [texts[index] for index in some],
                [names[index] for index in some],
                fim=fim,
                seed=seed,
                epoch=epoch,
                row_tokens=data.sequence_length,
            )
            cut += cut_here
            for index, ids in zip(some, documents, strict=True):
                writer.add(
                    ids,
                    content_id=names[index],
                    language=int(corpus.language[rows[index]]),
                    source=int(sources[index]),
                    text_bytes=len(texts[index].encode()),
                    rows=[int(rows[index])],
                    offsets=[0],
                )
        if not writer.documents:
            raise TrainingDataError(f"no row of the {split} split has any text")
    made = writer.done(fim=cut)
    size = int(made.text_bytes.sum())
    report(
        f"{split} tokens, epoch {epoch}: {len(made.length)} documents, {size / 1e6:.1f} MB, "
        f"{len(made.tokens)} tokens ({size / len(made.tokens):.2f} bytes per token), {cut} cut for FIM"
    )
    return made


class Writer:
    """Writes a token cache aside, document by document, and puts it into its place when it is whole.

    An error inside the `with` block removes what was written.
    """

    def __init__(self, cache: Path, key: str, kind: np.dtype[Any]) -> None:
        self.key, self.kind = key, kind
        self.folder = cache / f"tokens-{key[:24]}"
        self._temporary = cache / f"tokens-{key[:24]}.tmp-{os.getpid()}"
        self._columns: dict[str, list[Any]] = {
            name: [] for name in ("content_id", "language", "source", "length", "text_bytes")
        }
        self._members: dict[str, list[int]] = {"document": [], "row": [], "token": []}
        self._sha = hashlib.sha256()

    @property
    def documents(self) -> int:
        """Added so far."""
        return len(self._columns["length"])

    def __enter__(self) -> Writer:
        with _writing(self._temporary):
            self._temporary.mkdir(parents=True)
            self._file = (self._temporary / "tokens.bin").open("wb")
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._file.close()
        if error is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def add(
        self,
        ids: np.ndarray,
        *,
        content_id: str,
        language: int,
        source: int,
        text_bytes: int,
        rows: Sequence[int],
        offsets: Sequence[int],
    ) -> None:
        """One document, made of these rows of the corpus, whose tokens begin at these offsets."""
        part = ids.astype(self.kind, copy=False).tobytes()
        with _writing(self._temporary):
            self._file.write(part)
        self._sha.update(part)
        self._members["document"] += [self.documents] * len(rows)
        self._members["row"] += rows
        self._members["token"] += offsets
        values = (content_id, language, source, len(ids), text_bytes)
        for column, value in zip(self._columns.values(), values, strict=True):
            column.append(value)

    def done(self, *, fim: int) -> TokenCache:
        """The cache, in its place and read back; `fim` files of it were cut."""
        with _writing(self._temporary):
            with (self._temporary / "tokens.bin").open("rb") as file:
                os.fsync(file.fileno())
            pq.write_table(pa.table(self._columns), self._temporary / "documents.parquet")
            pq.write_table(pa.table(self._members), self._temporary / "members.parquet")
            about = {
                "key": self.key,
                "dtype": self.kind.name,
                "tokens_sha256": self._sha.hexdigest(),
                "documents_sha256": _sha(self._temporary / "documents.parquet"),
                "members_sha256": _sha(self._temporary / "members.parquet"),
                "fim": fim,
            }
            (self._temporary / "cache.json").write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")
            self._temporary.rename(self.folder)
        made = _open_cache(self.folder, self.key)
        if made is None:
            raise OutputError(f"{self.folder}: the token cache does not read back as it was written")
        return made


def found(cache: Path, key: str, report: Report) -> TokenCache | None:
    """The cache of that key, if it is there and sound; a damaged one is removed."""
    folder = cache / f"tokens-{key[:24]}"
    if not folder.exists():
        return None
    earlier = _open_cache(folder, key)
    if earlier is None:
        report(f"{folder}: the token cache is damaged and is made again")
        shutil.rmtree(folder)
    return earlier


def _sha(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _open_cache(folder: Path, key: str) -> TokenCache | None:
    """The cache in `folder`, or None if it is not complete or not what its hashes say."""
    try:
        about = json.loads((folder / "cache.json").read_text())
        tokens_sha = _sha(folder / "tokens.bin")
        parts = [_sha(folder / f"{part}.parquet") for part in ("documents", "members")]
    except (OSError, json.JSONDecodeError):
        return None
    stated = (
        about.get("key"),
        about.get("documents_sha256"),
        about.get("members_sha256"),
        about.get("tokens_sha256"),
    )
    if stated != (key, *parts, tokens_sha):
        return None
    table, members = pq.read_table(folder / "documents.parquet"), pq.read_table(folder / "members.parquet")
    return TokenCache(
        key=key,
        digest=tokens_sha,
        tokens=np.memmap(folder / "tokens.bin", dtype=about["dtype"], mode="r"),
        content_id=table["content_id"].to_pylist(),
        language=table["language"].to_numpy(),
        source=table["source"].to_numpy(),
        length=table["length"].to_numpy(),
        text_bytes=table["text_bytes"].to_numpy(),
        member_document=members["document"].to_numpy(),
        member_row=members["row"].to_numpy(),
        member_token=members["token"].to_numpy(),
        fim=int(about["fim"]),
    )
