"""From released text to token ids on disk: read once, tokenised once, memory-mapped after that.

A document is one row of the release. Its tokens are

    plain   text <|endoftext|>
    FIM     markers and pieces as in `training.fim`, then <|endoftext|>

Text cannot become a control token (see `training.tokenizer`), and the end of text is trained on. A FIM
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

from training import fim as fim_module
from training import select as select_module
from training import tokenizer as tokenizer_module
from training.config import DataConfig, FimConfig
from training.errors import OutputError, TrainingConfigError, TrainingDataError
from training.fim import Cut, draw, pieces
from training.select import ReleaseReader, Selection
from training.tokenizer import CodeTokenizer

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
        row: position of each document among the rows that the release gives for these languages (int64).
        content_id: `content_sha256` of each document.
        language: number of each document's language (int64).
        length: tokens of each document (int64); their sum is `len(tokens)`.
        text_bytes: UTF-8 bytes of each document (int64).
        fim: documents that were cut.
    """

    key: str
    digest: str
    tokens: np.ndarray
    row: np.ndarray
    content_id: list[str]
    language: np.ndarray
    length: np.ndarray
    text_bytes: np.ndarray
    fim: int


def chosen_batches(
    release: ReleaseReader, selection: Selection, chosen: np.ndarray
) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
    """(row numbers, content_sha256 + language + content) of the rows marked in `chosen`, in release order."""
    first = 0
    columns = ["content_sha256", "language", "content"]
    for batch in release.batches(columns=columns, languages=list(selection.languages)):
        mask = chosen[first : first + batch.num_rows]
        if mask.any():
            yield first + np.flatnonzero(mask), batch.filter(pa.array(mask))
        first += batch.num_rows
    if first != len(chosen):
        raise TrainingDataError(f"the release gave {first} rows where it first gave {len(chosen)}")


def train_tokenizer(
    release: ReleaseReader,
    selection: Selection,
    *,
    vocab_size: int,
    train_bytes: int,
    cache: Path,
    report: Report,
) -> CodeTokenizer:
    """The tokenizer learnt from about `train_bytes` of the training rows, from the cache if it is there."""
    key = _digest(
        {
            "manifest": release.digest,
            "rows": hashlib.sha256(np.packbits(selection.train).tobytes()).hexdigest(),
            "languages": selection.languages,
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
            sum(batch["content"].nbytes for _, batch in chosen_batches(release, selection, selection.train)),
        )
        share, credit = min(1.0, train_bytes / total), 0.0
        for _, batch in chosen_batches(release, selection, selection.train):
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
    release: ReleaseReader,
    selection: Selection,
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
    chosen = selection.train if split == "train" else selection.held_out
    key = _digest(
        {
            "manifest": release.digest,
            "tokenizer": tokenizer.digest,
            "languages": selection.languages,
            "rows": hashlib.sha256(np.packbits(chosen).tobytes()).hexdigest(),
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
    number = {name: index for index, name in enumerate(selection.languages)}
    columns: dict[str, list[Any]] = {
        "row": [],
        "content_id": [],
        "language": [],
        "length": [],
        "text_bytes": [],
    }
    sha, cut = hashlib.sha256(), 0
    with _writing(temporary), (temporary / "tokens.bin").open("wb") as file:
        for rows, batch in chosen_batches(release, selection, chosen):
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
                columns["row"].append(int(rows[index]))
                columns["content_id"].append(names[index])
                columns["language"].append(number[batch["language"][index].as_py()])
                columns["length"].append(len(ids))
                columns["text_bytes"].append(len(texts[index].encode()))
        file.flush()
        os.fsync(file.fileno())
    if not columns["row"]:
        shutil.rmtree(temporary)
        raise TrainingDataError(f"no row of the {split} split has any text")
    with _writing(temporary):
        pq.write_table(pa.table(columns), temporary / "documents.parquet")
        documents_sha = hashlib.sha256((temporary / "documents.parquet").read_bytes()).hexdigest()
        about = {
            "key": key,
            "dtype": np.dtype(kind).name,
            "tokens_sha256": sha.hexdigest(),
            "documents_sha256": documents_sha,
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


def _open_cache(folder: Path, key: str) -> TokenCache | None:
    """The cache in `folder`, or None if it is not complete or not what its hashes say."""
    try:
        about = json.loads((folder / "cache.json").read_text())
        documents = (folder / "documents.parquet").read_bytes()
        with (folder / "tokens.bin").open("rb") as file:
            tokens_sha = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, json.JSONDecodeError):
        return None
    found = (about.get("key"), about.get("documents_sha256"), about.get("tokens_sha256"))
    if found != (key, hashlib.sha256(documents).hexdigest(), tokens_sha):
        return None
    table = pq.read_table(pa.BufferReader(documents))
    return TokenCache(
        key=key,
        digest=tokens_sha,
        tokens=np.memmap(folder / "tokens.bin", dtype=about["dtype"], mode="r"),
        row=table["row"].to_numpy(),
        content_id=table["content_id"].to_pylist(),
        language=table["language"].to_numpy(),
        length=table["length"].to_numpy(),
        text_bytes=table["text_bytes"].to_numpy(),
        fim=int(about["fim"]),
    )
