"""Everything that must be there before the first step: release, tokenizer, tokens, packing plans, order.

Done before any process group exists (collectives time out while one rank tokenises). Several processes may
call `prepare` at once: the first one works under a file lock, the others then find its caches.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training import remembered
from training.config import SourceConfig, TrainConfig
from training.corpus import mixing
from training.corpus.select import Corpus, select
from training.corpus.sources import Report, Source, open_source
from training.errors import OutputError
from training.model import base as bases
from training.tokens import cache as caches
from training.tokens import documents as repository_documents
from training.tokens import packing, stored
from training.tokens.cache import TokenCache
from training.tokens.order import TrainingOrder
from training.tokens.packing import PackingPlan
from training.tokens.tokenizer import CodeTokenizer


@dataclass(frozen=True)
class Epoch:
    """One pass: its tokens, which documents come how often, and how they are packed.

    Attributes:
        cache: the tokens (the same object again where an epoch's tokens do not differ).
        documents: numbers of the documents in `cache` that the epoch holds, in order, with repetitions.
        plan: their packing; its document numbers are those of `cache`.
        shares: what of each source and language there is in it (see `training.corpus.mixing`); none of the held-out.
    """

    cache: TokenCache
    documents: np.ndarray
    plan: PackingPlan
    shares: tuple[mixing.Share, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """What a run works on.

    Attributes:
        corpus: sources, and which of their rows are trained on and held out.
        tokenizer: trained or loaded.
        base: folder of the model that training starts from, or None.
        epochs: as far as the run goes.
        order: which packed row is in which step.
        stream_digest: SHA-256 (hex) of the order and of all tokens: names the exact stream of batches.
        held_out: the evaluation split, each document once, or None without one.
        base_facts: of `base`, for the lineage: see `training.model.base.Base`.
    """

    corpus: Corpus
    tokenizer: CodeTokenizer
    base: Path | None
    epochs: tuple[Epoch, ...]
    order: TrainingOrder
    stream_digest: str
    held_out: Epoch | None
    base_facts: dict[str, Any] | None = None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a")
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written: {error.strerror or error}; change `data.cache`, or `output` where it is not set"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:  # some network file systems have no locks
            raise OutputError(
                f"{folder}: cannot be locked: {error.strerror or error}; set data.cache to a folder on a local disk "
                "of each machine"
            ) from error
        for stale in stored.unfinished(folder):  # of runs that were killed
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
        yield


def prepare(
    config: TrainConfig, report: Report, open_: Callable[[SourceConfig], Source] = open_source
) -> Prepared:
    """Select, tokenise and pack; whatever is in the cache is not done again.

    Raises:
        TrainingError: a subclass, for every user's mistake; the reader's own errors for a release that fails
            verification.
    """
    sources = [open_(source) for source in config.all_sources]
    with _alone(config.cache_folder):
        found = bases.resolve(config.model, config.cache_folder, report) if config.model.path else None
        corpus = select(sources, config, cache=config.cache_folder, report=report)
        _report_problems(corpus, report)
        tokenizer = _tokenizer(config, corpus, found.folder if found else None, report)
        epochs: list[Epoch] = []
        steps = 0
        while (len(epochs) < config.epochs) if config.epochs is not None else (steps < (config.steps or 0)):
            epoch = _epoch(config, corpus, tokenizer, epochs, report)
            epochs.append(epoch)
            steps += -(-epoch.plan.rows // config.rows_per_step)
        order = TrainingOrder([e.plan for e in epochs], config.seed, config.rows_per_step, config.steps)
        held_out = None
        if corpus.held_out.any():
            cache = _tokens(config, corpus, tokenizer, "held_out", 0, report)
            held_out = _packed(config, cache, np.arange(len(cache.length), dtype=np.int64))
        result = Prepared(
            corpus,
            tokenizer,
            found.folder if found else None,
            tuple(epochs),
            order,
            _stream_digest(order, epochs),
            held_out,
            found.facts if found else None,
        )
        remembered.note(config, result)
    return result


def _stream_digest(order: TrainingOrder, epochs: Sequence[Epoch]) -> str:
    stream = hashlib.sha256(order.digest().encode())
    for epoch in epochs:
        stream.update(epoch.cache.digest.encode())
    return stream.hexdigest()


def _epoch(
    config: TrainConfig,
    corpus: Corpus,
    tokenizer: CodeTokenizer,
    earlier: Sequence[Epoch],
    report: Report,
) -> Epoch:
    """The next training epoch after the `earlier` ones."""
    number, data = len(earlier), config.data
    weights = mixing.weights_of(config)
    same_tokens = bool(earlier) and data.fim.rate == 0 and data.repository.rate == 0
    if same_tokens and not (weights.sources or weights.languages):
        return earlier[0]
    cache = earlier[0].cache if same_tokens else _tokens(config, corpus, tokenizer, "train", number, report)
    first = earlier[0].cache if earlier else cache
    names = [(source.name, language) for source in corpus.sources for language in corpus.languages]
    documents, shares = mixing.mix(
        first.length if first.content_id.equals(cache.content_id) else cache.length,
        names,
        cache.source * len(corpus.languages) + cache.language,
        weights,
        seed=config.seed,
        epoch=number,
        own_lengths=cache.length,
    )
    if number == 0:
        for line in mixing.lines(shares, number):
            report(line)
    return _packed(config, cache, documents, shares)


def _tokens(  # noqa: PLR0917
    config: TrainConfig, corpus: Corpus, tokenizer: CodeTokenizer, split: str, number: int, report: Report
) -> TokenCache:
    where: dict[str, Any] = {
        "seed": config.seed,
        "epoch": number,
        "cache": config.cache_folder,
        "report": report,
    }
    files = caches.tokenised(corpus, split, tokenizer, config.data, **where)
    if split == "train" and config.data.repository.rate > 0:
        return repository_documents.with_repositories(files, corpus, tokenizer, config.data, **where)
    return files


def _packed(
    config: TrainConfig, cache: TokenCache, documents: np.ndarray, shares: tuple[mixing.Share, ...] = ()
) -> Epoch:
    data = config.data
    plan = packing.plan(
        cache.length, data.sequence_length, documents, method=data.packing, window=data.packing_window
    )
    return Epoch(cache, documents, plan, shares)


def _report_problems(corpus: Corpus, report: Report) -> None:
    """Say which lines of JSON lines cannot be used, and where the first of each kind is."""
    for source in corpus.sources:
        for problem, (count, first) in sorted(getattr(source, "problems", {}).items()):
            report(f"{source.name}: {count} lines left out: {problem} (the first is line {first})")


def _tokenizer(config: TrainConfig, corpus: Corpus, base: Path | None, report: Report) -> CodeTokenizer:
    wanted = config.tokenizer
    folder = wanted.path if wanted.path is not None else base
    if folder is not None:
        return loaded_tokenizer(config, folder, report)
    return caches.train_tokenizer(
        corpus,
        vocab_size=wanted.vocab_size,
        train_bytes=wanted.train_bytes,
        cache=config.cache_folder,
        report=report,
    )


def loaded_tokenizer(config: TrainConfig, folder: str | Path, report: Report) -> CodeTokenizer:
    """A tokenizer made elsewhere: what of it is not used is said, and what it lacks is added if that is wanted.

    Raises:
        TrainingError: it cannot be read, or lacks a token that the configured data need.
    """
    tokenizer = CodeTokenizer.load(folder)
    for note in tokenizer.notes:
        report(f"tokenizer: {note}")
    result = tokenizer.with_control_tokens() if config.tokenizer.add_missing else tokenizer
    if result.new_ids:
        names = ", ".join(str(result.full.id_to_token(index)) for index in result.new_ids)
        report(f"tokenizer: {len(result.new_ids)} control tokens added at its end ({names}), to be learnt")
    caches.check_fim(result, config.data.fim.rate)
    if config.data.repository.rate > 0:
        repository_documents.marks(result)
    return result
