"""From released text to token ids on disk: read once, tokenised once, memory-mapped after that.

A document is one row of the release (`training.tokens.assemble` says what its tokens are). Text cannot become a
control token (see `training.tokens.tokenizer`).

Documents are in the order of the release's shards and rows. A cache is named by a digest of everything that can
change its bytes: sources, chosen rows, tokenizer, FIM settings (with seed and epoch, unless no document is cut), and
the sources of the modules that turn text into tokens. Neither the encoder nor the number of workers is in it: they
cannot change a byte.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from training.config import DataConfig
from training.corpus import fim as fim_module
from training.corpus import select as select_module
from training.corpus.select import Corpus
from training.corpus.sources import Report
from training.errors import TrainingConfigError, TrainingDataError
from training.tokens import assemble, control, encoder, parallel, sample, stored, writer
from training.tokens import tokenizer as tokenizer_module
from training.tokens.assemble import MAX_CHARACTERS_PER_TOKEN, DifferentTokensError, check_fim
from training.tokens.parallel import Job
from training.tokens.stored import TokenCache, digest_of, sha256_of, writing
from training.tokens.tokenizer import CodeTokenizer
from training.tokens.writer import Writer

__all__ = [
    "MAX_CHARACTERS_PER_TOKEN",
    "Report",
    "TokenCache",
    "check_fim",
    "sha256_of",
    "tokenised",
    "train_tokenizer",
]

COMPARED_SHARE = 0.005
"""Share of the documents that is encoded by the Hugging Face tokenizer as well: a fifth more time."""
COMPARED_BYTES = 2**20
"""At least about so many bytes are compared, however few there are in all; and at most 32 times as many."""

_PROGRESS_SECONDS = 10.0
_DIGEST = "digest"
"""File beside a tokenizer that was learnt: the digest that it must have."""


def source_digest() -> str:
    """SHA-256 (hex) over the sources that turn text into tokens and the version of tokenizers."""
    result = hashlib.sha256(importlib.metadata.version("tokenizers").encode())
    tokens = (tokenizer_module, control, assemble, encoder, parallel, sample, stored, writer)
    for name in (*(module.__file__ for module in (fim_module, select_module, *tokens)), __file__):
        assert name is not None
        result.update(Path(name).read_bytes())
    return result.hexdigest()


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
    if folder.exists():
        earlier = _learnt(folder)
        if earlier is not None:
            return earlier
        report(f"{folder}: the tokenizer is not the one that was learnt, and is learnt again")
        with writing(folder):
            shutil.rmtree(folder)
    chosen = sample.balanced(corpus, corpus.train, train_bytes, seed=0)
    tokenizer = tokenizer_module.train(sample.texts(corpus, chosen), vocab_size)
    with writing(cache):
        temporary = stored.aside(folder)
        tokenizer.save(temporary)
        (temporary / _DIGEST).write_text(tokenizer.digest)
        stored.put(temporary, folder)
    report(f"tokenizer: {tokenizer.size} entries learnt, digest {tokenizer.digest[:12]}")
    return tokenizer


def _learnt(folder: Path) -> CodeTokenizer | None:
    """The tokenizer in a folder of `train_tokenizer`, or None if it is not the one that was put there."""
    try:
        tokenizer = CodeTokenizer.load(folder)
        return tokenizer if (folder / _DIGEST).read_text() == tokenizer.digest else None
    except (OSError, ValueError, TrainingConfigError):
        return None


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
    earlier = stored.found(cache, key, report)
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
    progress = Progress(f"{split} tokens, epoch {epoch}", total, report)
    try:
        made = _write(job, corpus, chosen, some, data.workers, Writer(cache, key), progress)
    except DifferentTokensError as error:
        report(
            f"tokenising with the slow encoder: gigatoken differs from the tokenizer on the document {error}; please "
            "report it to its authors"
        )
        slow = dataclasses.replace(job, fast=False)
        made = _write(slow, corpus, chosen, some, data.workers, Writer(cache, key), progress)
    if made is None:
        raise TrainingDataError(f"no row of the {split} split has any text")
    size = int(made.text_bytes.sum())
    report(
        f"{split} tokens, epoch {epoch}: {len(made.length)} documents, {size / 1e6:.1f} MB, "
        f"{len(made.tokens)} tokens ({size / len(made.tokens):.2f} bytes per token), {made.fim} cut for FIM"
    )
    return made


class Progress:
    """Says every few seconds how far it is: call it with the bytes that are done.

    Args:
        what: is done.
        total: bytes, about.
        report: takes the lines.
    """

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
    writer: Writer,
    progress: Progress,
) -> TokenCache | None:
    """The cache, written; None if there is no document."""
    cut = done = 0
    with writer:
        for unit in parallel.encode(job, corpus, chosen, some, workers, writer.folder):
            rows = unit.documents["row"].to_numpy()
            documents = unit.documents.append_column("language", pa.array(corpus.language[rows]))
            documents = documents.append_column("source", pa.array(corpus.source_of(rows)))
            places = {"document": np.arange(len(rows)), "row": rows, "token": np.zeros(len(rows), np.int64)}
            writer.add(unit.tokens, documents, pa.table(places))
            cut += unit.cut
            done += int(documents["text_bytes"].to_numpy().sum())
            progress(done)
        return writer.done(fim=cut) if writer.documents else None
