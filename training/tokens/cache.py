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
from collections.abc import Callable, Iterator
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


def _digest(parts: dict[str, Any]) -> str:
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
    key = _digest(
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
    key = _digest(
        {
            "tokenizer": tokenizer.digest,
            "rows": corpus.rows_digest(chosen),
            "fim": [fim.rate, fim.spm_rate, seed, epoch, data.sequence_length] if fim else None,
            "source": source_digest(),
        }
    )
    folder = cache / f"tokens-{key[:24]}"
    if folder.exists():
        found = _open_cache(folder, key)
        if found is not None:
            return found
        report(f"{folder}: the token cache is damaged and is made again")
        shutil.rmtree(folder)
    with _writing(cache):
        temporary = cache / f"tokens-{key[:24]}.tmp-{os.getpid()}"
        temporary.mkdir(parents=True)
    kind = np.uint16 if tokenizer.size <= 2**16 else np.uint32
    columns: dict[str, list[Any]] = {
        "content_id": [],
        "language": [],
        "source": [],
        "length": [],
        "text_bytes": [],
    }
    members: dict[str, list[Any]] = {"document": [], "row": [], "token": []}
    sha, cut = hashlib.sha256(), 0
    with _writing(temporary), (temporary / "tokens.bin").open("wb") as file:
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
                part = ids.astype(kind).tobytes()
                file.write(part)
                sha.update(part)
                members["document"].append(len(columns["length"]))
                members["row"].append(int(rows[index]))
                members["token"].append(0)
                columns["content_id"].append(names[index])
                columns["language"].append(int(corpus.language[rows[index]]))
                columns["source"].append(int(sources[index]))
                columns["length"].append(len(ids))
                columns["text_bytes"].append(len(texts[index].encode()))
        file.flush()
        os.fsync(file.fileno())
    if not columns["length"]:
        shutil.rmtree(temporary)
        raise TrainingDataError(f"no row of the {split} split has any text")
    with _writing(temporary):
        pq.write_table(pa.table(columns), temporary / "documents.parquet")
        pq.write_table(pa.table(members), temporary / "members.parquet")
        about = {
            "key": key,
            "dtype": np.dtype(kind).name,
            "tokens_sha256": sha.hexdigest(),
            "documents_sha256": _sha(temporary / "documents.parquet"),
            "members_sha256": _sha(temporary / "members.parquet"),
            "fim": cut,
        }
        (temporary / "cache.json").write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")
        temporary.rename(folder)
    made = _open_cache(folder, key)
    if made is None:
        raise OutputError(f"{folder}: the token cache does not read back as it was written")
    size = sum(columns["text_bytes"])
    report(
        f"{split} tokens, epoch {epoch}: {len(made.length)} documents, {size / 1e6:.1f} MB, "
        f"{len(made.tokens)} tokens ({size / len(made.tokens):.2f} bytes per token), {cut} cut for FIM"
    )
    return made


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
    found = (
        about.get("key"),
        about.get("documents_sha256"),
        about.get("members_sha256"),
        about.get("tokens_sha256"),
    )
    if found != (key, *parts, tokens_sha):
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
