"""Everything that must be there before the first step: release, tokenizer, tokens, packing plans, order.

Done before any process group exists (collectives time out while one rank tokenises). Several processes may
call `prepare` at once: the first one works under a file lock, the others then find its caches.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from training import checkpoint, data, packing
from training.config import TrainConfig
from training.data import Report, TokenCache
from training.errors import OutputError, TrainingConfigError
from training.order import TrainingOrder
from training.packing import PackingPlan
from training.select import ReleaseReader, Selection, select
from training.tokenizer import CodeTokenizer


@dataclass(frozen=True)
class Prepared:
    """What a run works on.

    Attributes:
        release: as opened.
        selection: which rows are trained on and held out.
        tokenizer: trained or loaded.
        base: folder of the model that training starts from, or None.
        epochs: tokens of each epoch (the same object again where an epoch's tokens do not differ).
        order: which packed row is in which step.
        stream_digest: SHA-256 (hex) of the order and of all tokens: names the exact stream of batches.
        held_out, held_out_plan: tokens and packing of the evaluation split, or None without one.
    """

    release: ReleaseReader
    selection: Selection
    tokenizer: CodeTokenizer
    base: Path | None
    epochs: tuple[TokenCache, ...]
    order: TrainingOrder
    stream_digest: str
    held_out: TokenCache | None
    held_out_plan: PackingPlan | None


def open_release(folder: str) -> ReleaseReader:
    """The release in a folder, its files checked against the manifest as they are read."""
    from manifests.reader import Release

    if not (Path(folder) / "manifest.json").is_file():
        raise TrainingConfigError(
            f"release: {folder} is not a release (it has no manifest.json); give the folder of a "
            "version, such as releases/2.1"
        )
    return Release.open(folder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror or error}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prepare(
    config: TrainConfig, report: Report, open_: Callable[[str], ReleaseReader] = open_release
) -> Prepared:
    """Select, tokenise and pack; whatever is in the cache is not done again.

    Raises:
        TrainingError: a subclass, for every user's mistake; the reader's own errors for a release that fails
            verification.
    """
    release = open_(config.release)
    base = checkpoint.model_folder(config.model.path, report) if config.model.path else None
    with _alone(config.cache_folder):
        selection = select(release, config.languages, config.data)
        tokenizer = _tokenizer(config, release, selection, base, report)
        data.check_fim(tokenizer, config.data.fim.rate)
        epochs: list[TokenCache] = []
        plans: list[PackingPlan] = []
        steps = 0
        while (len(plans) < config.epochs) if config.epochs is not None else (steps < (config.steps or 0)):
            epoch = len(plans)
            if epochs and config.data.fim.rate == 0:
                cache, plan = epochs[0], plans[0]
            else:
                cache = _tokens(
                    config, release, selection, "train", tokenizer=tokenizer, epoch=epoch, report=report
                )
                plan = packing.plan(cache.length, config.data.sequence_length)
            epochs.append(cache)
            plans.append(plan)
            steps += -(-plan.rows // config.rows_per_step)
        order = TrainingOrder(plans, config.seed, config.rows_per_step, config.steps)
        held_out = held_out_plan = None
        if selection.held_out.any():
            held_out = _tokens(
                config, release, selection, "held_out", tokenizer=tokenizer, epoch=0, report=report
            )
            held_out_plan = packing.plan(held_out.length, config.data.sequence_length)
    stream = hashlib.sha256(order.digest().encode())
    for cache in epochs:
        stream.update(cache.digest.encode())
    return Prepared(
        release, selection, tokenizer, base, tuple(epochs), order, stream.hexdigest(), held_out, held_out_plan
    )


def _tokenizer(
    config: TrainConfig, release: ReleaseReader, selection: Selection, base: Path | None, report: Report
) -> CodeTokenizer:
    if config.tokenizer.path is not None:
        return CodeTokenizer.load(config.tokenizer.path)
    if base is not None:
        return CodeTokenizer.load(base)
    wanted = config.tokenizer
    return data.train_tokenizer(
        release,
        selection,
        vocab_size=wanted.vocab_size,
        train_bytes=wanted.train_bytes,
        cache=config.cache_folder,
        report=report,
    )


def _tokens(
    config: TrainConfig,
    release: ReleaseReader,
    selection: Selection,
    split: str,
    *,
    tokenizer: CodeTokenizer,
    epoch: int,
    report: Report,
) -> TokenCache:
    return data.tokenised(
        release,
        selection,
        split,
        tokenizer,
        config.data,
        seed=config.seed,
        epoch=epoch,
        cache=config.cache_folder,
        report=report,
    )
