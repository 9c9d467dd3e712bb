"""Which rows of a release are trained on, which are held out, and which are left aside.

Held out are whole OWNERS (the account or organisation in the origin's URL), never single rows: files of one
owner quote each other, and a row-wise split would measure memory. Everything here is a function of the
release and the sizes asked for, not of the training seed, so that runs with different seeds are evaluated on
the same files.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from training.config import DataConfig
from training.errors import TrainingDataError


class ManifestFacts(Protocol):
    """What training needs of a manifest."""

    @property
    def name(self) -> str:
        """Of the dataset."""

    @property
    def version(self) -> str:
        """Of the release."""


class ReleaseReader(Protocol):
    """What training needs of a release; `manifests.reader.Release` provides it, verified."""

    @property
    def manifest(self) -> ManifestFacts:
        """The parsed `manifest.json`."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the bytes of `manifest.json`."""

    @property
    def languages(self) -> Sequence[str]:
        """Values of the `language` column."""

    def batches(
        self, columns: Sequence[str] | None = None, languages: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Rows by language in the order given, then by shard and row; verified before they are handed out."""


INDEX_COLUMNS = ["content_sha256", "language", "origin", "length_bytes"]


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
class Selection:
    """Which row, in the order in which the release gives them, is for what.

    Attributes:
        languages: the languages asked for, sorted; language numbers elsewhere point into it.
        train, held_out: bool per row; never both.
        left_aside: rows not taken because of `max_train_bytes` and `max_eval_bytes`.
        held_out_owners: number of owners in the evaluation split.
    """

    languages: tuple[str, ...]
    train: np.ndarray
    held_out: np.ndarray
    left_aside: int
    held_out_owners: int


def check_languages(wanted: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """The languages to read, sorted; all of the release when `wanted` is None.

    Raises:
        TrainingDataError: a language that the release does not have, or no language at all.
    """
    if not known:
        raise TrainingDataError("the release holds no row")
    for language in wanted or ():
        if language not in known:
            close = difflib.get_close_matches(language, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise TrainingDataError(
                f"the release has no row of language {language!r}{hint} (it has: {', '.join(sorted(known))})"
            )
    return tuple(sorted(set(wanted) if wanted else set(known)))


def select(release: ReleaseReader, wanted: Sequence[str] | None, data: DataConfig) -> Selection:
    """Read the index columns of a release and choose.

    Raises:
        TrainingDataError: unknown language, no row, or nothing left to train on.
    """
    languages = check_languages(wanted, release.languages)
    read = list(release.batches(columns=INDEX_COLUMNS, languages=list(languages)))
    rows = pa.Table.from_batches(read) if read else None
    if rows is None or not rows.num_rows:
        raise TrainingDataError(f"the release has no row of {', '.join(languages)}")
    bytes_ = rows["length_bytes"].to_numpy().astype(np.int64)
    ids = rows["content_sha256"].to_pylist()
    # Content ids are hashes: their order is a fixed shuffle of the rows.
    shuffled = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
    origin = rows["origin"].combine_chunks().dictionary_encode()
    owners = [owner_of(name) for name in origin.dictionary.to_pylist()]
    held_out, held_owners = _hold_out(owners, origin.indices.to_numpy(), bytes_, data.eval_fraction)
    language = np.array([languages.index(name) for name in rows["language"].to_pylist()], dtype=np.int64)
    train = ~held_out
    available = len(ids)
    if data.max_train_bytes is not None:
        train = _first_bytes(shuffled, train, bytes_, data.max_train_bytes)
    if data.max_eval_bytes is not None and held_out.any():
        held_out = _share_out(shuffled, held_out, bytes_, language, data.max_eval_bytes)
    if not train.any():
        raise TrainingDataError("no row is left to train on; raise data.max_train_bytes or give more data")
    return Selection(languages, train, held_out, available - int(train.sum() + held_out.sum()), held_owners)


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
            "set data.eval_fraction: 0, or give more data"
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
