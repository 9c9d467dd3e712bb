"""From released text to token ids on disk: read once, tokenised once, memory-mapped after that.

A document is one row of the release (`training.tokens.assemble` says what its tokens are). Text cannot become a
control token (see `training.tokens.tokenizer`).

Documents are in the order of the release's shards and rows. A cache is named by a digest of everything that can
change its bytes: sources, chosen rows, tokenizer, FIM settings (with seed and epoch, unless no document is cut), and
the sources of the modules that turn text into tokens. Neither the encoder nor the number of workers is in it: they
cannot change a byte.

What an opened cache promises: its bytes are those that its hashes name. All are hashed when a cache is first opened
after it was made, after the machine started, or after any of its files changed; then a mark is left beside it, with
sizes, times and inode numbers, and the other processes of the machine (64 ranks would read gigabytes 64 times, one
after the other under the lock) only compare these. So every change that goes through the file system is noticed, and
damage of the disk itself at the next start of the machine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.config import DataConfig
from training.corpus import fim as fim_module
from training.corpus import select as select_module
from training.corpus.select import Corpus
from training.errors import OutputError, TrainingDataError
from training.tokens import assemble, control, encoder, parallel, sample
from training.tokens import tokenizer as tokenizer_module
from training.tokens.assemble import MAX_CHARACTERS_PER_TOKEN, DifferentTokensError, check_fim
from training.tokens.parallel import Job
from training.tokens.tokenizer import CodeTokenizer

__all__ = ["MAX_CHARACTERS_PER_TOKEN", "TokenCache", "check_fim", "tokenised", "train_tokenizer"]

COMPARED_SHARE = 0.005
"""Share of the documents that is encoded by the Hugging Face tokenizer as well: a fifth more time."""
COMPARED_BYTES = 2**20
"""At least about so many bytes are compared, however few there are in all; and at most 32 times as many."""

_FILES = ("tokens.bin", "documents.parquet", "members.parquet", "cache.json")
_PROGRESS_SECONDS = 10.0
_SETTLED_NS = 1_000_000_000
"""Times of files are no finer than some milliseconds: a file that changed this shortly before the mark is hashed."""

Report = Callable[[str], None]
"""Takes one line for the user's eyes (stderr)."""


def source_digest() -> str:
    """SHA-256 (hex) over the sources that turn text into tokens and the version of tokenizers."""
    result = hashlib.sha256(importlib.metadata.version("tokenizers").encode())
    modules = (fim_module, select_module, tokenizer_module, control, assemble, encoder, parallel, sample)
    for name in (*(module.__file__ for module in modules), __file__):
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


class writing:
    """Turns an `OSError` inside into an `OutputError` that names the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise OutputError(f"{self.folder}: cannot be written: {error.strerror or error}") from error


def train_tokenizer(
    corpus: Corpus,
    *,
    vocab_size: int,
    train_bytes: int,
    cache: Path,
    report: Report,
) -> CodeTokenizer:
    """The tokenizer learnt from about `train_bytes` of the training rows, from the cache if it is there.

    See `training.tokens.sample` for which they are.
    """
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
    chosen = sample.balanced(corpus, corpus.train, train_bytes, seed=0)
    tokenizer = tokenizer_module.train(sample.texts(corpus, chosen), vocab_size)
    temporary = cache / f"tokenizer-{key[:24]}.tmp-{os.getpid()}"
    with writing(cache):
        tokenizer.save(temporary)
        temporary.rename(folder)
    report(f"tokenizer: {tokenizer.size} entries learnt, digest {tokenizer.digest[:12]}")
    return tokenizer


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
    folder, earlier = folder_of(cache, key), found(cache, key, report)
    if earlier is not None:
        return earlier
    if fim is not None:
        check_fim(tokenizer, fim.rate)
    trusted = encoder.choose(tokenizer, report).name == encoder.Gigatoken.name
    sizes = sample.row_sizes(corpus)
    some = parallel.ranges(sizes, chosen, parallel.UNIT_BYTES)
    total = max(1, int(sizes[chosen].sum()))
    job = Job(
        tokenizer=tokenizer.data,
        end_of_text=tokenizer.end_of_text,
        fast=trusted,
        compared=min(max(COMPARED_SHARE, COMPARED_BYTES / total), 32 * COMPARED_BYTES / total),
        fim=fim,
        seed=seed,
        epoch=epoch,
        row_tokens=data.sequence_length,
    )
    with writing(cache):
        for stale in cache.glob(f"{folder.name}.tmp-*"):  # of a process that was killed
            shutil.rmtree(stale)
    temporary = cache / f"{folder.name}.tmp-{os.getpid()}"
    progress = _Progress(f"{split} tokens, epoch {epoch}", total, report)
    try:
        about = _write(job, corpus, chosen, some, data.workers, temporary, progress)
    except DifferentTokensError as error:
        report(
            f"tokenising with the slow encoder: gigatoken differs from the tokenizer on the document {error}; please "
            "report it to its authors"
        )
        slow = dataclasses.replace(job, fast=False)
        shutil.rmtree(temporary)
        temporary = cache / f"{folder.name}.tmp-{os.getpid()}-slow"  # tasks may still write to the other one
        about = _write(slow, corpus, chosen, some, data.workers, temporary, progress)
    if about is None:
        shutil.rmtree(temporary)
        raise TrainingDataError(f"no row of the {split} split has any text")
    with writing(temporary):
        write_json(temporary / "cache.json", {**about, "key": key})
        temporary.rename(folder)
    made = open_cache(folder, key)
    if made is None:
        raise OutputError(f"{folder}: the token cache does not read back as it was written")
    size = int(made.text_bytes.sum())
    report(
        f"{split} tokens, epoch {epoch}: {len(made.length)} documents, {size / 1e6:.1f} MB, "
        f"{len(made.tokens)} tokens ({size / len(made.tokens):.2f} bytes per token), {made.fim} cut for FIM"
    )
    return made


class _Progress:
    """Says every few seconds how far it is."""

    def __init__(self, what: str, total: int, report: Report) -> None:
        self.what, self.total, self.report = what, total, report
        self.started = self.said = time.monotonic()

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now - self.said >= _PROGRESS_SECONDS:
            self.said = now
            rate = done / (now - self.started)
            left = max(0.0, self.total - done) / rate
            self.report(
                f"{self.what}: {done / 1e6:,.0f} of about {self.total / 1e6:,.0f} MB, {rate / 1e6:.1f} MB/s, "
                f"{left:,.0f} s left"
            )


def _write(  # noqa: PLR0917
    job: Job,
    corpus: Corpus,
    chosen: np.ndarray,
    some: Sequence[tuple[int, int]],
    workers: int,
    folder: Path,
    progress: _Progress,
) -> dict[str, Any] | None:
    """Everything of a cache but `cache.json`, whose entries are returned; None if there is no document."""
    with writing(folder):
        folder.mkdir(parents=True)
    sha, cut, done, tables = hashlib.sha256(), 0, 0, []
    dtype = np.dtype(np.uint16)
    with writing(folder), (folder / "tokens.bin").open("wb") as file:
        for unit in parallel.encode(job, corpus, chosen, some, workers, folder):
            if len(unit.tokens):
                part = unit.tokens.data.cast("B")
                file.write(part)
                sha.update(part)
            cut, dtype = cut + unit.cut, unit.tokens.dtype
            tables.append(unit.documents)
            done += int(unit.documents["text_bytes"].to_numpy().sum())
            progress(done)
        file.flush()
        os.fsync(file.fileno())
    documents = pa.concat_tables(tables) if tables else None
    if documents is None or not documents.num_rows:
        return None
    rows = documents["row"].to_numpy()
    documents = documents.append_column("language", pa.array(corpus.language[rows]))
    documents = documents.append_column("source", pa.array(corpus.source_of(rows)))
    members = {"document": np.arange(len(rows)), "row": rows, "token": np.zeros(len(rows), np.int64)}
    with writing(folder):
        pq.write_table(documents.drop_columns(["row"]), folder / "documents.parquet")
        pq.write_table(pa.table(members), folder / "members.parquet")
        return {
            "dtype": dtype.name,
            "tokens_sha256": sha.hexdigest(),
            "documents_sha256": sha256_of(folder / "documents.parquet"),
            "members_sha256": sha256_of(folder / "members.parquet"),
            "fim": cut,
        }


def write_json(file: Path, value: dict[str, Any]) -> None:
    """Indented, with sorted keys."""
    file.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def sha256_of(file: Path) -> str:
    """SHA-256 (hex) of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def folder_of(cache: Path, key: str) -> Path:
    """Where the cache of that key lies."""
    return cache / f"tokens-{key[:24]}"


def found(cache: Path, key: str, report: Report) -> TokenCache | None:
    """The cache of that key, if it is there and sound; a damaged one is removed."""
    folder = folder_of(cache, key)
    if not folder.exists():
        return None
    earlier = open_cache(folder, key)
    if earlier is None:
        report(f"{folder}: the token cache is damaged and is made again")
        shutil.rmtree(folder)
    return earlier


def open_cache(folder: Path, key: str) -> TokenCache | None:
    """The cache in `folder`, or None if it is not complete or not what its hashes say."""
    try:
        about = json.loads((folder / "cache.json").read_bytes())
        if not _marked(folder) and not _hashes_hold(folder, about):
            return None
        if about["key"] != key:
            return None
        table, members = (pq.read_table(folder / f"{part}.parquet") for part in ("documents", "members"))
        tokens = np.memmap(folder / "tokens.bin", dtype=about["dtype"], mode="r")
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return TokenCache(
        key=key,
        digest=about["tokens_sha256"],
        tokens=tokens,
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


def _hashes_hold(folder: Path, about: dict[str, Any]) -> bool:
    """Hash all files; if they are what `cache.json` says, leave the mark of this start of this machine."""
    before = _state(folder)
    parts = {"tokens": "tokens.bin", "documents": "documents.parquet", "members": "members.parquet"}
    if any(sha256_of(folder / file) != about[f"{part}_sha256"] for part, file in parts.items()):
        return False
    mark = _mark(folder)
    with contextlib.suppress(
        OSError
    ):  # a cache that others made, and that may only be read: hashed each time
        if mark is not None:
            mark.write_text(json.dumps(before))
    return True


def _marked(folder: Path) -> bool:
    """Whether this machine has hashed these very files since it started."""
    mark = _mark(folder)
    try:
        if mark is None or json.loads(mark.read_bytes()) != (state := _state(folder)):
            return False
        return mark.stat().st_mtime_ns - max(times for _, times, _ in state) > _SETTLED_NS
    except (OSError, ValueError):
        return False


def _state(folder: Path) -> list[list[int]]:
    found = [(folder / name).stat() for name in _FILES]
    return [[stat.st_size, max(stat.st_mtime_ns, stat.st_ctime_ns), stat.st_ino] for stat in found]


def _mark(folder: Path) -> Path | None:
    """Where this machine notes that it has hashed the cache; None where it cannot be told from its last start."""
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return folder / f".hashed-{hashlib.sha256(start.encode()).hexdigest()[:16]}"
