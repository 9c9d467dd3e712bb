"""Which rows are trained on, which are held out, and which are left aside.

A row is in exactly one of the two, or has exactly one reason why it is in neither, the first that applies:

    jsonl.PROBLEM               a line that cannot be used                        training.corpus.jsonl
    filters.FILTER              a filter of its source                            training.corpus.filters
    duplicate                   an earlier row has the same text
    mix.languages               on the training side, in a language without a weight
    max_train_bytes             on the training side, beyond the limit
    near_training               on the other side, but much like a training row   training.corpus.leaks
    max_eval_bytes              on the other side, beyond the limit

Held out are whole groups (`training.corpus.networks`), never single rows. Everything here is a function of the data
and the configuration, not of the training seed, so that runs with different seeds are evaluated on the same files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.config import TrainConfig
from training.corpus import filters, leaks, mixing, networks
from training.corpus.sources import INDEX_COLUMNS, TEXT_COLUMNS, Report, Source, check_wanted, hint, silent
from training.errors import TrainingDataError

NO_REASON = -1
_AT_ONCE = 1 << 20
"""Rows whose names are copied at the same time."""

_COLUMNS = list(dict.fromkeys([*INDEX_COLUMNS, *networks.COLUMNS]))


@dataclass(frozen=True)
class Corpus:
    """Which row of which source is for what. Rows are numbered through: the first source's, then the next one's.

    Attributes:
        sources: what the rows come from.
        first_row: number of each source's first row, and of the row after the last; `len(sources) + 1` entries.
        languages: of all sources, sorted; language numbers elsewhere point into it.
        language: number of each row's language (int64); -1 for a line that cannot be used.
        train, held_out: bool per row; never both.
        reasons: why rows are in neither.
        reason: number of each row's reason (int16), `NO_REASON` for rows in one of the two.
        held_out_groups: number of groups in the evaluation split, of `groups` in all.
    """

    sources: tuple[Source, ...]
    first_row: np.ndarray
    languages: tuple[str, ...]
    language: np.ndarray
    train: np.ndarray
    held_out: np.ndarray
    reasons: tuple[str, ...]
    reason: np.ndarray
    held_out_groups: int
    groups: int

    @property
    def left_out(self) -> dict[str, int]:
        """Rows in neither, by reason; with train and held_out they add up to all rows."""
        counts = np.bincount(self.reason[self.reason >= 0], minlength=len(self.reasons)).tolist()
        return {name: count for name, count in zip(self.reasons, counts, strict=True) if count}

    def source_of(self, rows: np.ndarray) -> np.ndarray:
        """Number of the source of each row."""
        return np.searchsorted(self.first_row, rows, side="right") - 1

    def texts(
        self, chosen: np.ndarray, columns: Sequence[str] = TEXT_COLUMNS
    ) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """(row numbers, columns) of the rows marked in `chosen`, in their order."""
        for number, source in enumerate(self.sources):
            first, stop = self.first_row[number], self.first_row[number + 1]
            if chosen[first:stop].any():
                for rows, batch in source.texts(chosen[first:stop], columns):
                    yield rows + first, batch

    def rows_digest(self, chosen: np.ndarray) -> str:
        """SHA-256 (hex) of the sources, the languages read, and the rows marked in `chosen`."""
        result = hashlib.sha256(np.packbits(chosen).tobytes())
        for source in self.sources:
            result.update(json.dumps([source.digest, source.languages]).encode())
        return result.hexdigest()


class _Reasons:
    """The first reason of each row, as they are found."""

    def __init__(self, rows: int) -> None:
        self.names: list[str] = []
        self.of = np.full(rows, NO_REASON, dtype=np.int16)

    @property
    def none(self) -> np.ndarray:
        """Rows without a reason so far: bool per row."""
        found: np.ndarray = self.of == NO_REASON
        return found

    def give(self, reason: str, rows: np.ndarray) -> None:
        """Leave out the marked rows (bool per row) that have no reason yet."""
        if reason not in self.names:
            self.names.append(reason)
        self.of[rows & self.none] = self.names.index(reason)


def select(
    sources: Sequence[Source], config: TrainConfig, *, cache: Path | None = None, report: Report = silent
) -> Corpus:
    """Read the index columns of all sources and choose.

    Args:
        sources: opened from `config.all_sources`, in their order.
        config: the whole configuration.
        cache: folder that keeps which rows are near training rows; None computes it each time.
        report: takes lines for the user.

    Raises:
        TrainingConfigError: a filter or weight names what the data do not have.
        TrainingDataError: no row of a language that was asked for, nothing left to train on, or all held-out
            rows are near training rows.
    """
    check_wanted(sources, [source.name for source in config.sources or () if source.languages])
    rows, first_row, reasons = _read(sources, config)
    language, languages = _languages(rows, sources)
    bytes_ = rows["length_bytes"].fill_null(0).to_numpy().astype(np.int64)
    # Content ids are hashes: their order is a fixed shuffle of the rows.
    shuffled = pc.sort_indices(rows["content_sha256"]).to_numpy().astype(np.int64)
    reasons.give("duplicate", _again(rows["content_sha256"], shuffled, reasons.none))
    _check_languages(config, sources, first_row, languages, language, reasons)
    usable = reasons.none

    group, names = networks.groups(rows, config.evaluation.split_by)
    held_out, held_groups = _hold_out(names, group, np.where(usable, bytes_, 0), config.evaluation.fraction)
    if config.data.mix.languages:
        weighted = np.array([name in config.data.mix.languages for name in languages])
        reasons.give("mix.languages", ~held_out & ~weighted[language])
    train = reasons.none & ~held_out
    if config.data.max_train_bytes is not None:
        source = np.repeat(np.arange(len(sources)), np.diff(first_row))
        first = _limited(config, shuffled, train, bytes_, source, language, languages)
        for number in np.setdiff1d(source[train], source[first]):
            report(
                f"source {sources[number].name!r}: none of its rows is trained on, because of data.max_train_bytes; give "
                "sources a `weight` each, and it is shared out by them"
            )
        reasons.give("max_train_bytes", train & ~first)
        train = first
    if not train.any():
        raise TrainingDataError(
            "no row is left to train on; raise data.max_train_bytes or give more data" + _counted(reasons)
        )
    held_out &= usable
    corpus = Corpus(
        tuple(sources),
        first_row,
        languages,
        language,
        train,
        held_out,
        tuple(reasons.names),
        reasons.of,
        held_groups,
        len(np.unique(group[usable])),
    )
    if config.evaluation.near is not None and held_out.any():
        reasons.give("near_training", leaks.near_training(corpus, config.evaluation.near, cache, report))
        if not (held_out & reasons.none).any():
            raise TrainingDataError(
                f"all {int(held_out.sum())} held-out rows are near-duplicates of training rows; set "
                "evaluation.near: null (or higher), or evaluation.fraction: 0"
            )
        held_out = held_out & reasons.none
    if config.evaluation.max_bytes is not None and held_out.any():
        shared = _share_out(shuffled, held_out, bytes_, language, config.evaluation.max_bytes)
        reasons.give("max_eval_bytes", held_out & ~shared)
        held_out = shared
    # What was left out since the rows were chosen is in `reasons`, too.
    return replace(corpus, held_out=held_out, reasons=tuple(reasons.names), reason=reasons.of)


def _read(sources: Sequence[Source], config: TrainConfig) -> tuple[pa.Table, np.ndarray, _Reasons]:
    """The rows of all sources (`_COLUMNS`), the first row of each, and what problems and filters leave out."""
    tables, verdicts = [], []
    for source, settings in zip(sources, config.all_sources, strict=True):
        chosen = settings.filters
        assert chosen is not None
        filters.check_ranges(source.name, chosen, source.numbers)
        table = source.index(list(dict.fromkeys([*_COLUMNS, *filters.columns(chosen)])))
        found = [
            (f"jsonl.{name}", _equal(table["problem"], name))
            for name in table["problem"].unique().to_pylist()
            if name
        ]
        verdicts.append([*found, *filters.left_out(table, chosen)])
        tables.append(pa.table({name: _plain(table[name]) for name in _COLUMNS}))
    first_row = np.cumsum([0, *(table.num_rows for table in tables)])
    reasons = _Reasons(int(first_row[-1]))
    for number, found in enumerate(verdicts):
        for reason, mask in found:
            everywhere = np.zeros(int(first_row[-1]), dtype=bool)
            everywhere[first_row[number] : first_row[number + 1]] = mask
            reasons.give(reason, everywhere)
    return pa.concat_tables(tables), first_row, reasons


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Sources say differently whether a column may be null, and what an empty column is."""
    wanted = pa.int64() if pa.types.is_integer(column.type) else pa.string()
    return column.cast(wanted)


def _equal(column: pa.ChunkedArray, value: str) -> np.ndarray:
    found: np.ndarray = pc.fill_null(pc.equal(column, value), False).to_numpy()
    return found


def _languages(rows: pa.Table, sources: Sequence[Source]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Number of each row's language, and the languages of all sources, sorted."""
    languages = tuple(sorted({name for source in sources for name in source.languages}))
    encoded = rows["language"].combine_chunks().dictionary_encode()
    number = {name: index for index, name in enumerate(languages)}
    codes = np.array([number.get(name, -1) for name in encoded.dictionary.to_pylist()] + [-1], dtype=np.int64)
    return codes[encoded.indices.fill_null(len(codes) - 1).to_numpy()], languages


def _again(names: pa.ChunkedArray, order: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Rows of `among` whose name an earlier row of `among` has, too: bool per row.

    `order` sorts the names, rows of equal names as they are.
    """
    candidates = order[among[order]]
    result = np.zeros(len(among), dtype=bool)
    for at in range(1, len(candidates), _AT_ONCE):
        some = candidates[at - 1 : at + _AT_ONCE]
        found = names.take(pa.array(some))
        result[some[1:]] = pc.equal(found[1:], found[:-1]).to_numpy()
    return result


def _check_languages(  # noqa: PLR0917
    config: TrainConfig,
    sources: Sequence[Source],
    first_row: np.ndarray,
    languages: Sequence[str],
    language: np.ndarray,
    reasons: _Reasons,
) -> None:
    """Refuse a language that was asked for and of which no row is left, and a weight for one that is not there."""
    kept = reasons.none
    left = np.bincount(language[kept], minlength=len(languages))
    wanted = {name: "the data" for name in config.languages or () if name in languages}
    wanted |= {name: "the data" for name in config.data.mix.languages if name in languages}
    for name, who in wanted.items():
        if not left[list(languages).index(name)]:
            raise TrainingDataError(f"{who} have no row of language {name!r} left{_counted(reasons)}")
    for number, source in enumerate(sources):
        part = slice(first_row[number], first_row[number + 1])
        if not kept[part].any():
            raise TrainingDataError(
                f"source {source.name!r} has no row left{_counted(reasons)}; change its filters, or leave it out"
            )
    for name in config.data.mix.languages:
        if name not in languages:
            raise TrainingDataError(
                f"data.mix.languages: no source has a row of language {name!r}{hint(name, languages)} "
                f"(there are: {', '.join(languages[:60])})"
            )


def _counted(reasons: _Reasons) -> str:
    counts = np.bincount(reasons.of[reasons.of >= 0], minlength=len(reasons.names)).tolist()
    each = ", ".join(f"{count} by {name}" for name, count in zip(reasons.names, counts, strict=True) if count)
    return f" (left out: {each})" if each else ""


def _hold_out(
    groups: Sequence[str], group: np.ndarray, bytes_: np.ndarray, fraction: float
) -> tuple[np.ndarray, int]:
    """Rows of the groups to hold out: bool per row, and the number of groups.

    Groups are walked in the order of the hash of their name until the wanted bytes are reached; a group that would
    bring them above one and a half times that is passed over, unless none was taken.

    Args:
        groups: their names.
        group: number of each row's group.
        bytes_: of each row; groups without any are not looked at.
        fraction: of all bytes.
    """
    if fraction == 0:
        return np.zeros(len(bytes_), dtype=bool), 0
    size = np.bincount(group, weights=bytes_, minlength=len(groups))
    filled = np.flatnonzero(size)
    if len(filled) < 2:
        name = repr(groups[filled[0]]) if len(filled) else "none"
        raise TrainingDataError(
            f"all rows belong to one owner or fork network ({name}) and cannot be split by it; "
            "set evaluation.fraction: 0, or give more data"
        )
    order = _hashed(groups)
    order = order[size[order] > 0]
    wanted, taken, held = fraction * size.sum(), 0.0, np.zeros(len(groups), dtype=bool)
    for index in order:
        if taken >= wanted:
            break
        if taken + size[index] <= 1.5 * wanted:
            held[index] = True
            taken += size[index]
    if not held.any():
        held[order[np.argmin(size[order])]] = True
    return held[group], int(held.sum())


def _hashed(groups: Iterable[str]) -> np.ndarray:
    """Numbers of the groups in the order of the first 128 bits of the SHA-256 of their names."""
    hashes = b"".join(hashlib.sha256(f"held out|{name}".encode()).digest()[:16] for name in groups)
    high, low = np.frombuffer(hashes, dtype=">u8").reshape(-1, 2).T
    return np.lexsort((low, high))


def _first_bytes(order: np.ndarray, among: np.ndarray, bytes_: np.ndarray, limit: int) -> np.ndarray:
    """The longest beginning of `order` (of the rows `among`) with at most `limit` bytes, as bool per row."""
    candidates = order[among[order]]
    chosen = candidates[np.cumsum(bytes_[candidates]) <= limit]
    result = np.zeros(len(among), dtype=bool)
    result[chosen] = True
    return result


def _limited(  # noqa: PLR0917
    config: TrainConfig,
    order: np.ndarray,
    among: np.ndarray,
    bytes_: np.ndarray,
    source: np.ndarray,
    language: np.ndarray,
    languages: Sequence[str],
) -> np.ndarray:
    """The rows of `among` to which `data.max_train_bytes` limits training, as bool per row.

    They are the first by `order`: of all, or of each source and language where these have weights, so that a small one with
    a large weight is not cut to a rest which no repetition makes up for.
    """
    limit, weights = config.data.max_train_bytes, mixing.weights_of(config)
    assert limit is not None
    if not (weights.sources or weights.languages):
        return _first_bytes(order, among, bytes_, limit)
    group = source * len(languages) + language
    names = [(each.name, name) for each in config.all_sources for name in languages]
    sizes = np.bincount(group[among], weights=bytes_[among], minlength=len(names)).astype(np.int64)
    available = {name: int(size) for name, size in zip(names, sizes, strict=True) if size}
    take = mixing.limited(available, weights, limit)
    result = np.zeros(len(among), dtype=bool)
    for number, name in enumerate(names):
        if name in take:
            result |= _first_bytes(order, among & (group == number), bytes_, take[name])
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
