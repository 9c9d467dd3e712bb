"""What a checkpoint was trained on, asked of its lineage: which rows, and whether this file or repository was among them.

    runs = trace.chain(Path("runs/tiny"))                      this run, then the runs it started from
    data = trace.Data.find(runs, ["releases/2.1"])             the releases, checked to be those trained on
    answer = trace.ask(runs, data, trace.Question("origin", "https://github.com/pallets/click"))

A row is `seen` if at least one of its tokens was in a step that the weights have learnt from. Only rows are known: a file
that lies in several repositories is one row under the origin that the release elected for it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.checksums import sha256_file
from training.after import sums
from training.corpus.networks import owner_of, plain
from training.errors import CheckpointError, TrainingConfigError
from training.run import checkpoint, lineage
from training.run.lineage_format import Lineage, Parent, Part, Source, parse, parse_merged
from training.run.row_sets import unpack

STATUSES = ("seen", "not_reached", "held_out", "left_out", "not_read")
"""Of a row: trained on; to be trained on, but the run has not come to it; of the evaluation split; left out by a filter
or limit; of a language that the run did not read."""

SHOWN = ("row_id", "swhid", "content_sha256", "origin", "path", "language")
"""Columns of a row in an answer."""

MOST_PARENTS = 100


@dataclass(frozen=True)
class Run:
    """One run of the chain.

    Attributes:
        generation: 0 for the checkpoint itself, 1 for the one that it started from, ...
        folder: its name.
        lineage: of the checkpoint.
    """

    generation: int
    folder: str
    lineage: Lineage


def open_folder(folder: Path) -> Path:
    """The checkpoint that a folder is or, of a run's output, the newest; or an exported or merged model. Verified.

    Raises:
        CheckpointError: it is none of them, or its bytes are not those that were written.
    """
    if (folder / "checkpoints").is_dir():
        steps = checkpoint.all_steps(folder / "checkpoints")
        if not steps:
            raise CheckpointError(f"{folder}: the run has no checkpoint yet")
        folder = steps[0]
    if (folder / checkpoint.SEAL).exists():
        checkpoint.verify(folder)
    elif (folder / sums.FILE).exists():
        sums.verify(folder)
    else:
        raise CheckpointError(
            f"{folder}: neither a checkpoint ({checkpoint.SEAL}), nor a run's output, nor an exported or merged model "
            f"({sums.FILE})"
        )
    if not (folder / lineage.FILE).is_file():
        raise CheckpointError(f"{folder}: has no {lineage.FILE}")
    return folder


def chain(folder: Path) -> list[Run]:
    """The run of a verified folder (see `open_folder`), and those that it started from, nearest first.

    Merging an adapter into its base is no run: the chain goes on with the adapter's.
    """
    try:
        value: Any = json.loads((folder / lineage.FILE).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder / lineage.FILE}: not JSON: {error}") from error
    found: list[Run] = []
    name, links = folder.name, 0
    parent: Parent | None
    while value is not None:
        links += 1
        where = f"{folder / lineage.FILE}, generation {len(found)}"
        if links > MOST_PARENTS:
            raise CheckpointError(f"{where}: a chain of more than {MOST_PARENTS} parents")
        if isinstance(value, dict) and "merge" in value:  # weights put together, nothing learnt
            parent = parse_merged(value, where).parent
        else:
            found.append(Run(len(found), name, parse(value, where)))
            parent = found[-1].lineage.parent
        value, name = (parent.lineage, parent.folder) if parent else (None, "")
    return found


def unknown_base(runs: Sequence[Run]) -> str | None:
    """Name of the model that the oldest run started from, if nothing is recorded of what that was trained on."""
    oldest = runs[-1].lineage
    if oldest.parent is None:
        return None
    return oldest.base.name if oldest.base else oldest.parent.folder


class Data:
    """Releases and files of JSON lines by digest, where they are now."""

    def __init__(self) -> None:
        self.releases: dict[str, Any] = {}
        self.files: dict[str, Path] = {}

    @classmethod
    def find(cls, runs: Sequence[Run], places: Sequence[str]) -> Data:
        """What the user names, and what the runs' own configurations name where that is still the same.

        Raises:
            TrainingConfigError: a place that the user named is nothing that was trained on.
        """
        data = cls()
        wanted = {source.digest: source for run in runs for source in run.lineage.sources}
        for place in places:
            digest = data._add(Path(place))
            if digest not in wanted:
                known = "; ".join(_named(source) for source in wanted.values())
                raise TrainingConfigError(
                    f"{place}: its digest is {digest}, and that was not trained on; trained on was {known}"
                )
        for run in runs:
            config = run.lineage.config
            sources = config.get("sources")
            given = [config, *(sources if isinstance(sources, list) else [])]
            named = [one.get(key) for one in given if isinstance(one, dict) for key in ("release", "jsonl")]
            for name in named:
                # Something else may be there by now, or nothing that can be read.
                with contextlib.suppress(OSError, ValueError):
                    if isinstance(name, str):
                        data._add(Path(name))
        return data

    def _add(self, place: Path) -> str:
        from manifests.reader import Release

        if place.is_file():
            digest, _ = sha256_file(place)
            self.files[digest] = place
            return digest
        release = Release.open(place)
        self.releases.setdefault(release.digest, release)
        return release.digest

    def of(self, source: Source) -> Any:
        """The opened release, or the path of the file.

        Raises:
            TrainingConfigError: it is not there; says which one is needed.
        """
        known: dict[str, Any] = self.releases if source.kind == "release" else self.files
        found = known.get(source.digest)
        if found is None:
            raise TrainingConfigError(
                f"{_named(source)} is needed and not where the configuration says; give its place with --release"
            )
        return found


def _named(source: Source) -> str:
    what = f"release {source.dataset} {source.version}" if source.kind == "release" else f"file {source.name}"
    return f"the {what} (SHA-256 {'of its manifest ' if source.kind == 'release' else ''}{source.digest})"


@dataclass(frozen=True)
class Scanned:
    """Rows of one file, with what became of them.

    Attributes:
        path: of the file.
        table: the columns that were asked for.
        status: index into `STATUSES` of each row (int8).
    """

    path: str
    table: pa.Table
    status: np.ndarray


def statuses(part: Part) -> np.ndarray:
    """What became of each row of a part: index into `STATUSES` (int8)."""
    result = np.full(part.rows, STATUSES.index("left_out"), dtype=np.int8)
    result[unpack(part.held_out.model_dump(mode="json"), part.rows)] = STATUSES.index("held_out")
    result[unpack(part.train.model_dump(mode="json"), part.rows)] = STATUSES.index("not_reached")
    result[unpack(part.seen.model_dump(mode="json"), part.rows)] = STATUSES.index("seen")
    return result


def scan(source: Source, data: Data, columns: Sequence[str], *, seen_only: bool = False) -> Iterator[Scanned]:
    """The rows of a source, file by file; with `seen_only` no file is read that has no row that was seen.

    Raises:
        TrainingConfigError: the release is not there.
        CheckpointError: the lineage says other files or rows than the release has.
    """
    opened = data.of(source)
    parts = {part.path: part for part in source.parts}
    if source.kind == "jsonl":
        from training.config import SourceConfig
        from training.corpus.sources import open_source

        (whole,) = source.parts
        settings = SourceConfig(name=source.name, jsonl=str(opened), languages=tuple(source.languages))
        table = open_source(settings).index(list(columns)).select(list(columns))
        yield _scanned(whole, table)
        return
    shards = {shard.path: shard for shard in opened.manifest.shards}
    for path in sorted(parts.keys() - shards.keys()):
        raise CheckpointError(f"the lineage names {path}, which {_named(source)} does not have")
    for path, shard in shards.items():
        part = parts.get(path)
        if seen_only and (part is None or not part.seen.count):
            continue
        if part is not None and (part.sha256, part.rows) != (shard.sha256, shard.rows):
            raise CheckpointError(
                f"the lineage says another SHA-256 or number of rows of {path} than its release"
            )
        with pq.ParquetFile(opened.check_shard(shard), page_checksum_verification=True) as file:
            table = file.read(list(columns))
        if part is None:
            status = np.full(table.num_rows, STATUSES.index("not_read"), dtype=np.int8)
            yield Scanned(path, table, status)
        else:
            yield _scanned(part, table)


def _scanned(part: Part, table: pa.Table) -> Scanned:
    if table.num_rows != part.rows:
        raise CheckpointError(f"{part.path} has {table.num_rows} rows, the lineage says {part.rows}")
    return Scanned(part.path, table, statuses(part))


@dataclass(frozen=True)
class Question:
    """Which rows are asked for.

    Attributes:
        kind: `origin` (a URL), `owner` (host/account), or `id`: a SWHID of a content, directory, revision, snapshot or
            origin; a row id; SHA-256, SHA-1 or SHA-1 of git of the original; SHA-256 of the released text.
        value: as the user gave it.
    """

    kind: str
    value: str

    def columns_and_test(self) -> tuple[list[str], Callable[[pa.Table], pa.ChunkedArray | pa.Array]]:
        """Columns that are needed, and a function from a table of them to a bool per row.

        Raises:
            TrainingConfigError: not an id.
        """
        wanted = plain(self.value)
        if self.kind == "owner":
            if "/" not in wanted:
                raise TrainingConfigError(
                    f"{self.value!r} is no owner: give host and account, such as github.com/pallets"
                )
            return ["origin"], of_origins(lambda origin: _is_of(origin, wanted))
        if self.kind == "origin":
            if not wanted:
                raise TrainingConfigError("the origin is empty: give the URL of a repository")
            return ["origin"], of_origins(lambda origin: plain(origin) == wanted)
        return self._id()

    def _id(self) -> tuple[list[str], Callable[[pa.Table], pa.ChunkedArray | pa.Array]]:
        value = self.value.partition(";")[0].strip().lower()
        if found := re.fullmatch(r"swh:1:(cnt|dir|rev|snp|ori):([0-9a-f]{40})", value):
            kind, digest = found.groups()
            if kind == "ori":
                return ["origin"], of_origins(lambda one: hashlib.sha1(one.encode()).hexdigest() == digest)
            columns = [
                {"cnt": "content_id", "dir": "directory_id", "rev": "revision_id", "snp": "snapshot_id"}[kind]
            ]
            value = digest
        elif re.fullmatch(r"[0-9a-f]{40}", value):
            columns = ["row_id", "content_id", "blob_id"]
        elif re.fullmatch(r"[0-9a-f]{16,128}", value):
            columns = ["row_id", "sha256", "content_sha256"]
        else:
            raise TrainingConfigError(
                f"{self.value!r} is no id: give a SWHID (swh:1:cnt:...), a row id, or a SHA-256 or SHA-1 in hex"
            )

        def test(table: pa.Table) -> pa.ChunkedArray:
            known = [table[column] for column in columns if column in table.column_names]  # all, of a release
            return functools.reduce(pc.or_kleene, (pc.equal(column, value) for column in known))

        return columns, test


def _is_of(origin: str, owner: str) -> bool:
    """Whether an origin lies under an account, or under a group of a group."""
    return plain(origin).startswith(f"{owner}/") or owner in (plain(origin), plain(owner_of(origin)))


def of_origins(test: Callable[[str], bool]) -> Callable[[pa.Table], pa.ChunkedArray]:
    """A function from a table to a bool per row: what `test` says of its origin, asked once for each."""

    def of_table(table: pa.Table) -> pa.ChunkedArray:
        names = pc.unique(table["origin"]).drop_null()
        chosen = [name for name in names.to_pylist() if test(name)]
        return pc.is_in(table["origin"], value_set=pa.array(chosen, pa.string()))

    return of_table


def ask(runs: Sequence[Run], data: Data, question: Question) -> dict[str, Any]:
    """Which rows of the question's were trained on, in which run of the chain; keys as `pipeline lineage --json`."""
    columns, test = question.columns_and_test()
    answers, total = [], Counter[str]()
    for run in runs:
        rows: list[dict[str, Any]] = []
        for source in run.lineage.sources:
            wanted = list(dict.fromkeys([*SHOWN, *columns]))
            if source.kind == "jsonl":
                wanted = [name for name in wanted if name not in ("blob_id", "sha256")]
            for scanned in scan(source, data, wanted):
                rows += _matches(scanned, test, source)
        counts = Counter(row["status"] for row in rows)
        total += counts
        answers.append(
            {"generation": run.generation, "folder": run.folder, "counts": _ordered(counts), "rows": rows}
        )
    return {
        "question": {question.kind: question.value},
        "trained_on": total["seen"] > 0,
        "unknown_base": unknown_base(runs),
        "counts": _ordered(total),
        "runs": answers,
    }


def _ordered(counts: Counter[str]) -> dict[str, int]:
    return {status: counts[status] for status in STATUSES if counts[status]}


def _matches(
    scanned: Scanned, test: Callable[[pa.Table], pa.ChunkedArray], source: Source
) -> Iterator[dict[str, Any]]:
    table = scanned.table
    found = np.flatnonzero(pc.fill_null(test(table), False).to_numpy(zero_copy_only=False))
    for number, row in zip(found.tolist(), table.select(list(SHOWN)).take(found).to_pylist(), strict=True):
        status = STATUSES[scanned.status[number]]
        yield {**row, "source": source.name, "file": scanned.path, "row": number, "status": status}


def summary(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """What each run of the chain was trained on, in figures, for JSON."""
    result = []
    for run in runs:
        one = run.lineage
        result.append(
            {
                "generation": run.generation,
                "folder": run.folder,
                "sources": [
                    {
                        **{
                            key: getattr(source, key)
                            for key in ("kind", "name", "dataset", "version", "digest")
                        },
                        "languages": source.languages,
                        "files": len(source.parts),
                        "rows": {
                            name: sum(getattr(part, name).count for part in source.parts)
                            for name in ("train", "held_out", "seen")
                        },
                    }
                    for source in one.sources
                ],
                "rows": {**one.rows.model_dump(), "seen": one.seen.rows},
                "seen": one.seen.model_dump(mode="json"),
                "mix": one.mix.model_dump(mode="json"),
                "base": one.base.model_dump() if one.base else None,
                "history": [stretch.model_dump() for stretch in one.history],
                "tokenizer_digest": one.tokenizer_digest,
                "stream_digest": one.stream_digest,
                "config_digest": one.config_digest,
                "product": one.product.model_dump(),
                "libraries": one.libraries,
            }
        )
    return result
