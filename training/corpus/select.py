"""Which rows are trained on, which are held out, and which are left aside.

Held out are whole OWNERS (the account or organisation in the origin's URL), never single rows: files of one
owner quote each other, and a row-wise split would measure memory. Everything here is a function of the
release and the sizes asked for, not of the training seed, so that runs with different seeds are evaluated on
the same files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from training.config import TrainConfig
from training.corpus.sources import TEXT_COLUMNS, Source
from training.errors import TrainingDataError


def owner_of(origin: str) -> str:
    """The account that an origin belongs to, `host/account` in lower case; the origin itself without one.

    A package URL (`pkg:type/namespace/name@version`) belongs to its namespace if it has one, else it stands
    alone.
    """
    if origin.startswith("pkg:"):
        name = origin.partition("?")[0].rpartition("@")[0] or origin
        return name.rpartition("/")[0] if name.count("/") >= 2 else name
    try:
        parts = urlsplit(origin)
    except ValueError:
        return origin
    folders = [folder for folder in parts.path.split("/") if folder]
    if not parts.netloc or len(folders) < 2:
        return origin
    return f"{parts.netloc}/{folders[0]}".lower()


@dataclass(frozen=True)
class Corpus:
    """Which row of which source is for what. Rows are numbered through: the first source's, then the next one's.

    Attributes:
        sources: what the rows come from.
        first_row: number of each source's first row, and of the row after the last; `len(sources) + 1` entries.
        languages: of all sources, sorted; language numbers elsewhere point into it.
        language: number of each row's language (int64).
        train, held_out: bool per row; never both.
        left_out: rows in neither, by reason; with train and held_out they add up to all rows.
        held_out_groups: number of owners in the evaluation split.
    """

    sources: tuple[Source, ...]
    first_row: np.ndarray
    languages: tuple[str, ...]
    language: np.ndarray
    train: np.ndarray
    held_out: np.ndarray
    left_out: dict[str, int]
    held_out_groups: int

    def source_of(self, rows: np.ndarray) -> np.ndarray:
        """Number of the source of each row."""
        return np.searchsorted(self.first_row, rows, side="right") - 1

    def texts(
        self, chosen: np.ndarray, columns: Sequence[str] = TEXT_COLUMNS
    ) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """(row numbers, columns) of the rows marked in `chosen`, in their order."""
        for number, source in enumerate(self.sources):
            first, stop = self.first_row[number], self.first_row[number + 1]
            for rows, batch in source.texts(chosen[first:stop], columns):
                yield rows + first, batch

    def rows_digest(self, chosen: np.ndarray) -> str:
        """SHA-256 (hex) of the sources, the languages read, and the rows marked in `chosen`."""
        result = hashlib.sha256(np.packbits(chosen).tobytes())
        for source in self.sources:
            result.update(json.dumps([source.digest, source.languages]).encode())
        return result.hexdigest()


def select(sources: Sequence[Source], config: TrainConfig) -> Corpus:
    """Read the index columns of all sources and choose.

    Raises:
        TrainingDataError: no row, or nothing left to train on.
    """
    tables = [source.index() for source in sources]
    rows = pa.concat_tables(tables)
    languages = tuple(sorted({name for source in sources for name in source.languages}))
    bytes_ = rows["length_bytes"].to_numpy().astype(np.int64)
    ids = rows["content_sha256"].to_pylist()
    # Content ids are hashes: their order is a fixed shuffle of the rows.
    shuffled = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
    origin = rows["origin"].combine_chunks().dictionary_encode()
    owners = [owner_of(name) for name in origin.dictionary.to_pylist()]
    data, evaluation = config.data, config.evaluation
    held_out, groups = _hold_out(owners, origin.indices.to_numpy(), bytes_, evaluation.fraction)
    number = {name: index for index, name in enumerate(languages)}
    language = np.array([number[name] for name in rows["language"].to_pylist()], dtype=np.int64)
    train, left_out = ~held_out, {}
    if data.max_train_bytes is not None:
        before = int(train.sum())
        train = _first_bytes(shuffled, train, bytes_, data.max_train_bytes)
        left_out["max_train_bytes"] = before - int(train.sum())
    if evaluation.max_bytes is not None and held_out.any():
        before = int(held_out.sum())
        held_out = _share_out(shuffled, held_out, bytes_, language, evaluation.max_bytes)
        left_out["max_eval_bytes"] = before - int(held_out.sum())
    if not train.any():
        raise TrainingDataError("no row is left to train on; raise data.max_train_bytes or give more data")
    first_row = np.cumsum([0, *(table.num_rows for table in tables)])
    return Corpus(tuple(sources), first_row, languages, language, train, held_out, left_out, groups)


def _hold_out(
    owners: Sequence[str], origin: np.ndarray, bytes_: np.ndarray, fraction: float
) -> tuple[np.ndarray, int]:
    """Rows of the owners to hold out: bool per row, and the number of owners.

    Owners are walked in the order of their hash until the wanted bytes are reached; an owner that would bring
    them above one and a half times that is passed over, unless none was taken.
    """
    if fraction == 0:
        return np.zeros(len(bytes_), dtype=bool), 0
    names = sorted(set(owners), key=lambda name: hashlib.sha256(f"held out|{name}".encode()).digest())
    if len(names) < 2:
        raise TrainingDataError(
            f"all rows belong to one owner ({names[0]!r}) and cannot be split by owner; "
            "set evaluation.fraction: 0, or give more data"
        )
    number = {name: index for index, name in enumerate(names)}
    owner = np.array([number[name] for name in owners], dtype=np.int64)[origin]
    size = np.bincount(owner, weights=bytes_, minlength=len(names))
    wanted, taken, held = fraction * size.sum(), 0.0, np.zeros(len(names), dtype=bool)
    for index in range(len(names)):
        if taken >= wanted:
            break
        if taken + size[index] <= 1.5 * wanted:
            held[index] = True
            taken += size[index]
    if not held.any():
        held[int(np.argmin(size))] = True
    return held[owner], int(held.sum())


def _first_bytes(order: np.ndarray, among: np.ndarray, bytes_: np.ndarray, limit: int) -> np.ndarray:
    """The longest beginning of `order` (of the rows `among`) with at most `limit` bytes, as bool per row."""
    candidates = order[among[order]]
    chosen = candidates[np.cumsum(bytes_[candidates]) <= limit]
    result = np.zeros(len(among), dtype=bool)
    result[chosen] = True
    return result


def _share_out(
    order: np.ndarray, among: np.ndarray, bytes_: np.ndarray, language: np.ndarray, limit: int
) -> np.ndarray:
    """As `_first_bytes`, the limit shared equally between languages; what is left goes to the larger."""
    totals = np.bincount(language[among], weights=bytes_[among])
    result = np.zeros(len(among), dtype=bool)
    left, waiting = limit, int((totals > 0).sum())
    for index in np.argsort(totals, kind="stable"):
        if totals[index] == 0:
            continue
        chosen = _first_bytes(order, among & (language == index), bytes_, left // waiting)
        if not chosen.any():  # every language that has a held-out row is measured: its first one is taken
            chosen[order[(among & (language == index))[order]][0]] = True
        result |= chosen
        left = max(0, left - int(bytes_[chosen].sum()))
        waiting -= 1
    return result
