"""Tokenising in units of about as many bytes, in this process or as Ray tasks; the same bytes either way.

A unit is a range of rows, cut by the bytes of their text, so that one long shard is many units and a worker is never
left alone with it. Units are fixed by the data alone: how many workers there are changes who encodes a unit, not what
is in it. A task takes numbers and returns numbers; texts are read by the worker from the source, and tokens go to a
file in the cache's folder, which has to be the same for all nodes of a cluster (as the release has to).

Memory of a worker: a batch of rows, a unit's tokens, and what gigatoken remembers. A worker that dies is replaced and
its unit is done again (Ray does that three times); no more units are under way than there are workers, twice.
"""

from __future__ import annotations

import functools
import logging
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import feather

from training.config import FimConfig
from training.corpus.select import Corpus
from training.errors import OutputError, TrainingConfigError, TrainingDataError
from training.tokens import encoder
from training.tokens.assemble import encode_documents, token_type
from training.tokens.encoder import Encoder
from training.tokens.tokenizer import CodeTokenizer

UNIT_BYTES = 64 * 2**20
"""Text of a unit: half a second of work for the fast encoder, half a minute for the slow one."""

_OBJECT_STORE_BYTES = 256 * 2**20
_RETRIES = 3


@dataclass(frozen=True)
class Job:
    """What is done to every unit; small enough to be sent with each.

    Attributes:
        tokenizer: bytes of the `tokenizer.json`.
        end_of_text: name of its end of text.
        fast: use gigatoken, which has passed the built-in texts.
        compared: share of the documents that are compared with the Hugging Face tokenizer.
        fim, seed, epoch, row_tokens: see `assemble.encode_documents`.
    """

    tokenizer: bytes
    end_of_text: str
    fast: bool
    compared: float
    fim: FimConfig | None
    seed: int
    epoch: int
    row_tokens: int


@dataclass(frozen=True)
class Unit:
    """A unit, encoded.

    Attributes:
        tokens: of its documents, one after the other.
        documents: a row per document: content_id, row, length, text_bytes.
        cut: documents that were cut for FIM.
    """

    tokens: np.ndarray
    documents: pa.Table
    cut: int


def ranges(sizes: np.ndarray, chosen: np.ndarray, unit_bytes: int) -> list[tuple[int, int]]:
    """Ranges (first, stop) of rows that hold all chosen ones, each with about `unit_bytes` of text, at least one row.

    Args:
        sizes: bytes of each row.
        chosen: rows that are encoded (bool per row).
        unit_bytes: a range ends with the row that reaches so many.
    """
    rows = np.flatnonzero(chosen)
    if not len(rows):
        return []
    total = np.cumsum(sizes[rows].astype(np.int64))
    unit = (total - sizes[rows]) // unit_bytes
    starts = np.flatnonzero(np.diff(unit, prepend=-1))
    stops = [*starts[1:], len(rows)]
    return [(int(rows[a]), int(rows[b - 1]) + 1) for a, b in zip(starts, stops, strict=True)]


@functools.lru_cache(maxsize=1)
def _tools(data: bytes, end_of_text: str, fast: bool) -> tuple[CodeTokenizer, Encoder]:
    """A process keeps the engine from unit to unit: what it has seen makes it faster."""
    return encoder.made(data, end_of_text, fast)


def encode_unit(job: Job, corpus: Corpus, chosen: np.ndarray, first: int, stop: int) -> Unit:
    """Encode the chosen rows of a range; rows without text are left out.

    Raises:
        DifferentTokensError: the fast encoder cannot be trusted.
    """
    tokenizer, engine = _tools(job.tokenizer, job.end_of_text, job.fast)
    mine = np.zeros_like(chosen)
    mine[first:stop] = chosen[first:stop]
    tokens: list[np.ndarray] = [np.zeros(0, token_type(tokenizer))]
    tables: list[pa.Table] = []
    cut = 0
    for numbers, batch in corpus.texts(mine):
        size = pc.binary_length(batch["content"]).to_numpy(zero_copy_only=False)
        texts, names = batch["content"], batch["content_sha256"]
        some = np.nan_to_num(size).astype(np.int64) > 0
        rows = numbers
        if not some.all():
            mask = pa.array(some)
            texts, names, rows, size = texts.filter(mask), names.filter(mask), numbers[some], size[some]
        found = encode_documents(
            tokenizer,
            engine,
            texts,
            names.to_pylist(),
            fim=job.fim,
            seed=job.seed,
            epoch=job.epoch,
            row_tokens=job.row_tokens,
            compared=job.compared if job.fast else 0.0,
        )
        tokens.append(found.tokens)
        cut += int(found.cut.sum())
        columns = {
            "content_id": names.cast(pa.string()),
            "row": pa.array(rows.astype(np.int64)),
            "length": pa.array(found.length),
            "text_bytes": pa.array(size.astype(np.int64)),
        }
        tables.append(pa.table(columns))
    return Unit(np.concatenate(tokens), pa.concat_tables(tables) if tables else _no_documents(), cut)


def _no_documents() -> pa.Table:
    numbers = pa.array([], pa.int64())
    return pa.table(
        {"content_id": pa.array([], pa.string()), "row": numbers, "length": numbers, "text_bytes": numbers}
    )


def encode(  # noqa: PLR0917
    job: Job,
    corpus: Corpus,
    chosen: np.ndarray,
    some: Sequence[tuple[int, int]],
    workers: int,
    folder: Path,
) -> Iterator[Unit]:
    """The units of these ranges, in their order.

    Args:
        job: what is done.
        corpus: where the rows are read.
        chosen: rows to encode (bool per row).
        some: ranges, of `ranges`.
        workers: 1 works in this process; more are Ray tasks.
        folder: where tasks leave their tokens until they are taken.
    """
    if workers == 1 or len(some) == 1:
        for first, stop in some:
            yield encode_unit(job, corpus, chosen, first, stop)
        return
    with _ray(workers) as ray:
        yield from _tasks(ray, job, corpus, chosen, some, workers, folder)


def _tasks(  # noqa: PLR0917
    ray: Any,
    job: Job,
    corpus: Corpus,
    chosen: np.ndarray,
    some: Sequence[tuple[int, int]],
    workers: int,
    folder: Path,
) -> Iterator[Unit]:
    task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_to_files)
    shared, waiting = ray.put((job, corpus, chosen)), deque(enumerate(some))
    running: deque[tuple[int, tuple[int, int], Any]] = deque()
    while waiting or running:
        while waiting and len(running) < 2 * workers:
            number, (first, stop) = waiting.popleft()
            reference = task.remote(shared, first, stop, str(folder / f"unit-{number}"))
            running.append((number, (first, stop), reference))
        number, (first, stop), reference = running.popleft()
        try:
            cut, dtype, size = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except ray.exceptions.RayError as error:
            raise TrainingDataError(
                f"tokenising rows {first} to {stop - 1}: a worker died {_RETRIES + 1} times ({error}); set fewer "
                "data.workers if it ran out of memory"
            ) from error
        yield _from_files(folder / f"unit-{number}", cut, dtype, size)


def _to_files(
    shared: tuple[Job, Corpus, np.ndarray], first: int, stop: int, place: str
) -> tuple[int, str, int]:
    """One unit, in a worker: (documents cut, type of the tokens, bytes written)."""
    job, corpus, chosen = shared
    unit = encode_unit(job, corpus, chosen, first, stop)
    own = f"{place}.{os.getpid()}"
    try:
        with Path(f"{own}.tokens").open("wb") as file:
            file.write(unit.tokens.data.cast("B") if len(unit.tokens) else b"")
        feather.write_feather(unit.documents, f"{own}.documents", compression="lz4")
        for part in ("documents", "tokens"):
            Path(f"{own}.{part}").rename(f"{place}.{part}")
    except OSError as error:
        raise OutputError(
            f"{place}: cannot be written: {error.strerror or error}; data.cache has to be a folder that all nodes see"
        ) from error
    return unit.cut, unit.tokens.dtype.name, unit.tokens.nbytes


def _from_files(place: Path, cut: int, dtype: str, size: int) -> Unit:
    try:
        tokens = np.fromfile(f"{place}.tokens", dtype=dtype)
        documents = feather.read_table(f"{place}.documents", memory_map=False)
        for part in ("documents", "tokens"):
            Path(f"{place}.{part}").unlink()
    except OSError as error:
        raise OutputError(
            f"{place}: what a worker wrote cannot be read here ({error}); data.cache has to be a folder that all nodes see"
        ) from error
    if tokens.nbytes != size:
        raise OutputError(f"{place}: a worker wrote {size} bytes, and there are {tokens.nbytes}")
    return Unit(tokens, documents, cut)


@contextmanager
def _ray(workers: int) -> Iterator[Any]:
    """Ray: the one that this process has joined, else the cluster of RAY_ADDRESS, else one on this machine."""
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray

    if ray.is_initialized():
        yield ray
        return
    address = os.environ.get("RAY_ADDRESS")
    if address:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise TrainingConfigError(
                f"no Ray cluster at RAY_ADDRESS={address} ({str(error).partition(chr(10))[0]}): unset it to tokenise on "
                "this machine, or set data.workers: 1"
            ) from error
    else:
        ray.init(
            address="local",
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=_OBJECT_STORE_BYTES,
        )
    try:
        yield ray
    finally:
        ray.shutdown()
