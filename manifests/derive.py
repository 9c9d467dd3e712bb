"""An older copy of a release, brought in line: the same release without the rows that were withdrawn since.

    version   2.1+removals.<first 8 digits of the SHA-256 of its removals.jsonl>
    inputs    those of the release, and `derived_from`: its version and digest
    totals    the withdrawn rows are dropped, under `withdrawn`
    files     shards, ids.parquet, quality-signals.parquet, secrets-spared.parquet, the card with its sheets, CHANGELOG.md
              and removals.jsonl follow the rows that are left; config.yaml stays; what else described the release as it
              was (changes.parquet, signals.parquet, notices.parquet, reports) is left out, as the signature is

The bytes are a function of the release and of the rows taken out: in two steps or in one, the result is the same. Shards that
hold no withdrawn row stay the same files. Tokens are not counted again: a copy has none.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests import names
from manifests.card import read_front_matter
from manifests.card_facts import CardFacts
from manifests.errors import ReleaseError, RemovalsError
from manifests.facts import Contents, ShardFacts, StageTotals, Totals
from manifests.manifest import Manifest
from manifests.papers import papers
from manifests.quality_signals import WORDS as QUALITY_SIGNALS
from manifests.quality_signals import write_quality_signals
from manifests.reader import Release
from manifests.release_writer import finish_release
from manifests.removals import WITHDRAWN, Tombstone, format_removals, read_removals
from manifests.schema import IDS
from manifests.secrets_spared import write_secrets_spared
from manifests.shards import IDS_GROUP_ROWS, write_shard

DERIVED_FROM = "derived_from"
"""Key of `inputs`: the release that a copy was derived from, `{"digest": ..., "version": ...}`."""

_TALLIED = ["license_expression", "redactions"]


@dataclass(frozen=True)
class Withdrawn:
    """The rows of a release that tombstones name."""

    tombstones: tuple[Tombstone, ...]
    rows: dict[str, list[int]]
    """Path of a shard -> the numbers of its withdrawn rows, ascending."""


def find_withdrawn(release: Release, tombstones: Iterable[Tombstone]) -> Withdrawn:
    """Merge tombstones (sorted by row_id) with `ids.parquet`: memory grows with the rows found, with nothing else.

    A row counts by its id, whatever its text was when it was released last. Raises `ReleaseError` when `ids.parquet`
    cannot be read, and what reading the tombstones raises.
    """
    found: list[Tombstone] = []
    rows: dict[str, list[int]] = {}
    given = iter(tombstones)
    after = next(given, None)
    for batch in _ids(release):
        last = batch.column("row_id")[-1].as_py()
        here: dict[str, Tombstone] = {}
        while after is not None and after.row_id <= last:
            here[after.row_id] = after
            after = next(given, None)
        if not here:
            continue
        wanted = pa.array(list(here), pa.string())
        for row in batch.filter(pc.is_in(batch.column("row_id"), value_set=wanted)).to_pylist():
            found.append(here[row["row_id"]])
            rows.setdefault(row["shard"], []).append(row["row"])
    for _ in given:  # the rest is checked as well, before anything is done
        pass
    return Withdrawn(tuple(found), {shard: sorted(numbers) for shard, numbers in rows.items()})


def _ids(release: Release) -> Iterator[pa.RecordBatch]:
    file = release.directory / names.IDS_FILE
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            if not parquet.schema_arrow.equals(IDS):
                raise ReleaseError(f"{file}: not the columns of {names.IDS_FILE}")
            yield from (batch for batch in parquet.iter_batches(IDS_GROUP_ROWS) if batch.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise ReleaseError(f"{file} cannot be read: {error}") from error


def derive_release(
    release: Release, withdrawn: Withdrawn, staging: Path, *, text: CardFacts | None = None
) -> str:
    """Write the release without its withdrawn rows into the empty folder `staging`; returns its digest.

    Shards without a withdrawn row are linked where the file system can, else copied. The release must be sound
    (`manifests.verify`). `text` has the words of the card, whose figures are made anew.

    Raises `ReleaseError` when no row would be left, or a file is not what it was.
    """
    old = release.manifest
    if len(withdrawn.tombstones) == old.totals.kept:
        raise ReleaseError(
            f"{release.directory}: every row of this release is withdrawn; delete the folder, there is nothing to keep"
        )
    licenses, redactions = Counter(old.contents.licenses), Counter(old.contents.redactions)
    shards = []
    for shard in old.shards:
        target = staging / shard.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if shard.path not in withdrawn.rows:
            _link(release.directory / shard.path, target)
            shards.append(dataclasses.replace(shard, tokens=None))
            continue
        gone = withdrawn.rows[shard.path]
        if len(gone) < shard.rows:
            kept = (group.filter(pa.array(keep)) for group, keep in _row_groups(release, shard, gone))
            shards.append(write_shard(kept, target, path=shard.path))
        for group, keep in _row_groups(release, shard, gone, _TALLIED):
            lost = group.filter(pa.array(~keep))
            licenses.subtract(lost.column("license_expression").to_pylist())
            redactions.subtract(
                span["kind"] for spans in lost.column("redactions").to_pylist() for span in spans
            )
    extra = [names.REMOVALS_FILE]
    if names.QUALITY_SIGNALS_FILE in old.listed():
        _write_left(release, withdrawn, staging / names.QUALITY_SIGNALS_FILE, write_quality_signals)
        extra.append(names.QUALITY_SIGNALS_FILE)
    if names.SECRETS_SPARED_FILE in old.listed():
        _write_left(
            release,
            withdrawn,
            staging / names.SECRETS_SPARED_FILE,
            lambda rows, file, _: write_secrets_spared(rows, file),
        )
        extra.append(names.SECRETS_SPARED_FILE)
    tombstones = format_removals(_all_tombstones(release, withdrawn))
    (staging / names.REMOVALS_FILE).write_bytes(tombstones)
    suffix = hashlib.sha256(tombstones).hexdigest()[:8]
    base = old.version.partition("+")[0]
    source = old.inputs.get(DERIVED_FROM) or {"version": old.version, "digest": release.digest}
    words = _card_facts(release, base, text)
    return finish_release(
        staging,
        name=old.name,
        version=f"{base}+removals.{suffix}",
        shards=shards,
        totals=_totals(old.totals, len(withdrawn.tombstones)),
        origins=old.origins,
        contents=Contents(licenses=+licenses, redactions=+redactions),
        inputs={**old.inputs, DERIVED_FROM: source},
        digests=old.digests,
        opt_out_head=old.opt_out_head,
        config_yaml=_read(release, names.CONFIG_FILE),
        text=words,
        makers={path: make for path, make in papers(words).items() if path in old.listed()},
        parent=old.parent,
        extra=extra,
        section=lambda draft: _section(draft, base, source["digest"]),
        history=_history(release),
    )


def _row_groups(
    release: Release, shard: ShardFacts, gone: list[int], columns: list[str] | None = None
) -> Iterator[tuple[pa.Table, npt.NDArray[np.bool_]]]:
    """Row groups of a shard, each with which of its rows stay."""
    stays = np.ones(shard.rows, dtype=bool)
    stays[gone] = False
    first = 0
    try:
        with pq.ParquetFile(release.directory / shard.path, page_checksum_verification=True) as parquet:
            for number in range(parquet.metadata.num_row_groups):
                group = parquet.read_row_group(number, columns=columns)
                yield group, stays[first : first + group.num_rows]
                first += group.num_rows
    except (pa.ArrowException, OSError) as error:
        raise ReleaseError(f"{release.directory}: {shard.path} cannot be read: {error}") from error


def _write_left(
    release: Release,
    withdrawn: Withdrawn,
    target: Path,
    write: Callable[[Iterable[pa.Table], Path, pa.Schema], int],
) -> None:
    """Write a table with `row_id` again, without the withdrawn rows."""
    gone = pa.array([tombstone.row_id for tombstone in withdrawn.tombstones], pa.string())
    try:
        with pq.ParquetFile(release.directory / target.name, page_checksum_verification=True) as parquet:
            groups = (parquet.read_row_group(number) for number in range(parquet.metadata.num_row_groups))
            left = (group.filter(pc.invert(pc.is_in(group["row_id"], value_set=gone))) for group in groups)
            write(left, target, parquet.schema_arrow)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ReleaseError(f"{release.directory}: {target.name} cannot be read: {error}") from error


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _all_tombstones(release: Release, withdrawn: Withdrawn) -> list[Tombstone]:
    """Those that the release has, and those of the rows that go now."""
    known = {tombstone.row_id: tombstone for tombstone in withdrawn.tombstones}
    file = release.directory / names.REMOVALS_FILE
    if names.REMOVALS_FILE in release.manifest.listed():
        try:
            with file.open("rb") as stream:
                for tombstone in read_removals(stream, str(file)):
                    known.setdefault(tombstone.row_id, tombstone)
        except (OSError, RemovalsError) as error:
            raise ReleaseError(f"{file} cannot be read: {error}") from error
    return list(known.values())


def _totals(old: Totals, gone: int) -> Totals:
    dropped = Counter({**old.dropped, WITHDRAWN: old.dropped.get(WITHDRAWN, 0) + gone})
    stages = list(old.stages)
    if stages:
        before = 0
        if stages[-1].name == WITHDRAWN:
            before = stages.pop().dropped[WITHDRAWN]
        entered = stages[-1].left
        stages.append(
            StageTotals(
                name=WITHDRAWN,
                entered=entered,
                left=entered - before - gone,
                dropped={WITHDRAWN: before + gone},
            )
        )
    return Totals(found=old.found, kept=old.kept - gone, dropped=dict(dropped), stages=tuple(stages))


def _read(release: Release, path: str) -> bytes:
    try:
        return (release.directory / path).read_bytes()
    except OSError as error:
        raise ReleaseError(f"{release.directory}: {path} cannot be read: {error.strerror}") from error


def _card_facts(release: Release, base: str, text: CardFacts | None) -> CardFacts:
    text = CardFacts() if text is None else text
    name = read_front_matter(_read(release, names.CARD)).get("pretty_name")
    note = (
        f"This is a copy of release {base}, brought in line with removals that were published later"
        f" (`{names.REMOVALS_FILE}`): the withdrawn rows are not in it."
    )
    title = name if isinstance(name, str) else text.pretty_name
    signals = QUALITY_SIGNALS if names.QUALITY_SIGNALS_FILE in release.manifest.listed() else None
    return dataclasses.replace(text, pretty_name=title, notes=(*text.notes, note), signals=signals)


def _section(draft: Manifest, base: str, digest: str) -> str:
    gone = draft.totals.dropped[WITHDRAWN]
    return (
        f"A copy of {base} (manifest {digest}) without {gone:,} rows that were withdrawn later; see"
        f" `{names.REMOVALS_FILE}`. It has neither the reports nor the signature of that release."
    )


def _history(release: Release) -> bytes:
    """The changelog of the release as it was published: a copy's own section goes."""
    text = _read(release, names.CHANGELOG)
    if DERIVED_FROM not in release.manifest.inputs:
        return text
    title, mark, sections = text.partition(b"\n## ")
    return title + mark + sections.partition(b"\n## ")[2]
