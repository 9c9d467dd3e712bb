"""Texts of benchmarks in every content: read from the user's files, looked for where a release asks for it.

The matches of a content are kept with shares from a quarter up, so another threshold recomputes none of them; other benchmarks
do, and nothing else. What a match means for a file is decided in `elect`, after the budget of findings: DESIGN 3, wave W2.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.config_contamination import Benchmark, Contamination
from pipeline.content.contamination import MATCH, Index, Part, build
from pipeline.content.contamination_records import MAX_FILE_BYTES, RECORDS, parts_of
from pipeline.engine.annotations import Annotator
from pipeline.engine.keys import digest
from pipeline.engine.runner import Runner
from pipeline.engine.stage import Task
from pipeline.engine.store import Store, TooLargeError
from pipeline.errors import ConfigError
from pipeline.stages.reading import Bodies, Reader

CONTAMINATION_OF = Annotator(
    name="contamination",
    ids=("sha256",),
    schema=pa.schema(
        [
            ("sha256", pa.string()),
            (
                "matches",
                pa.list_(MATCH),
            ),  # byte offsets in the text, notebooks converted; the largest share first
        ]
    ),
    modules=("pipeline.content.text", "pipeline.content.contamination"),
    functions=("pipeline.stages.text_contamination:_matches",),
    libraries=("charset-normalizer",),
)

_index_of: dict[str, Index] = {}  # the last one that a unit of this process read


def _matches(task: Task, rows: pa.Table, bodies: Bodies) -> pa.Table:
    return pa.table([rows["sha256"], _index(task).search(bodies.converted)], schema=CONTAMINATION_OF.schema)


def _index(task: Task) -> Index:
    key = task.extra["benchmarks"]
    index = _index_of.get(key)
    if index is None:
        file = task.kept("benchmarks")
        assert file is not None
        index = Index.from_bytes(file.read_bytes())
        _index_of.clear()
        _index_of[key] = index
    return index


CONTAMINATION = Reader(annotator=CONTAMINATION_OF, measure=_matches)


@dataclass(frozen=True)
class Benchmarks:
    """What a release looks for: the index, what the manifest says of each benchmark, and the share that drops a file."""

    index: Index
    described: dict[str, dict[str, Any]]
    """Name -> `digest` of its files, `items`, `texts`, `searchable` texts, and `lost`: items without one."""
    threshold: Fraction

    def stores(self, notebooks: str) -> dict[str, str]:
        """The key of the store of matches; `notebooks`: the form of notebooks (pipeline.content.text)."""
        return {CONTAMINATION_OF.name: CONTAMINATION_OF.key(index=self.index.digest, notebooks=notebooks)}

    @property
    def rule(self) -> dict[str, Any]:
        """What decides about a file, for the configuration of a stage."""
        return {
            "numerator": self.threshold.numerator,
            "denominator": self.threshold.denominator,
            "ngram": self.index.ngram,
        }

    def convicts(self, match: Mapping[str, Any]) -> bool:
        """Whether a match drops the file."""
        return bool(
            match["matched"] * self.threshold.denominator >= match["ngrams"] * self.threshold.numerator
        )

    def keep(self, runner: Runner) -> str | None:
        """Put the index into the work directory for the tasks; its key is for `extra`."""
        if runner.dry:
            return None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "benchmarks.npz"
            path.write_bytes(self.index.to_bytes())
            return runner.keep(str(path))

    def note(self) -> str:
        """What is looked for, and how much of it cannot be, in one line."""
        told = []
        for name, one in self.described.items():
            lost = f", {one['lost']:,} items have none" if one["lost"] else ""
            told.append(
                f"{name}: {one['items']:,} items, {one['searchable']:,} of {one['texts']:,} texts can be searched for{lost}"
            )
        return f"{'contamination':<26} {'; '.join(told)}"

    def not_searched(self) -> Iterator[str]:
        """The items of which nothing can be searched for, and how many texts of others there are, by their reasons."""
        known = {(one.benchmark, one.item) for one in self.index.parts}
        lost: dict[tuple[str, str], list[str]] = {}
        rest: dict[str, Counter[str]] = {}
        for one in self.index.unsearchable:
            item = one.part.benchmark, one.part.item
            if item in known:
                kind = f"{one.part.field.partition('[')[0]} ({one.reason})"
                rest.setdefault(one.part.benchmark, Counter())[kind] += 1
            else:
                lost.setdefault(item, []).append(f"{one.part.field}: {one.reason}, {one.words:,} words")
        for (benchmark, name), parts in sorted(lost.items()):
            yield f"{benchmark}/{name} is not searched for ({'; '.join(parts)})"
        for benchmark, kinds in sorted(rest.items()):
            told = ", ".join(f"{amount:,} {kind}" for kind, amount in sorted(kinds.items()))
            yield f"{benchmark}: of items that are searched for, these texts are not: {told}"


@dataclass(frozen=True)
class _File:
    key: str  # relative to the folder that was given, or the file's name
    shown: str  # as messages call it
    data: bytes


def open_benchmarks(settings: Contamination) -> Benchmarks | None:
    """Read and index the configured benchmarks; None where there is none. Raises ConfigError, SourceError."""
    if not settings.benchmarks:
        return None
    texts: list[tuple[Part, str]] = []
    digests: dict[str, str] = {}
    for benchmark in sorted(settings.benchmarks, key=lambda one: one.name):
        files = list(_files(benchmark, settings.anonymous))
        digests[benchmark.name] = _digest(files)
        texts += _texts(benchmark, files)
    try:
        index = build(texts, settings.ngram)
    except ValueError as error:
        raise ConfigError(f"contamination.benchmarks: {error}") from error
    if not index.parts:
        raise ConfigError(
            "contamination.benchmarks: none of their texts is long enough to be searched for; name other `fields`,"
            " or a smaller `ngram`"
        )
    return Benchmarks(
        index=index,
        described={name: {"digest": one, **_amounts(index, name)} for name, one in digests.items()},
        threshold=Fraction(settings.threshold),
    )


def _amounts(index: Index, benchmark: str) -> dict[str, int]:
    searchable = [one.item for one in index.parts if one.benchmark == benchmark]
    others = [one.part.item for one in index.unsearchable if one.part.benchmark == benchmark]
    items = {*searchable, *others}
    return {
        "items": len(items),
        "texts": len(searchable) + len(others),
        "searchable": len(searchable),
        "lost": len(items - {*searchable}),
    }


def _digest(files: list[_File]) -> str:
    """The SHA-256 of a file's bytes; of several files one over their names and these."""
    hashes = [(file.key, hashlib.sha256(file.data).hexdigest()) for file in files]
    return hashes[0][1] if len(files) == 1 else digest([list(one) for one in hashes])


def _texts(benchmark: Benchmark, files: list[_File]) -> list[tuple[Part, str]]:
    found: dict[Part, str] = {}
    for file in files:
        parts = parts_of(
            benchmark.name,
            file.data,
            file.shown,
            fields=benchmark.fields,
            id_key=benchmark.id,
            item=file.key,
        )
        for part, text in parts:
            if part in found:
                raise ConfigError(
                    f"{file.shown}: {part.item!r} is in another file of {benchmark.name}, too; give one of them"
                )
            found[part] = text
    return list(found.items())


def _files(benchmark: Benchmark, anonymous: bool) -> Iterator[_File]:
    """The files of a benchmark: those with records where a folder has any, else all of it."""
    where = f"contamination.benchmarks: {benchmark.name}"
    if benchmark.path is None:
        raise ConfigError(f"{where}: has no `path`; give the file or folder of the benchmark")
    parent, _, name = benchmark.path.rstrip("/").rpartition("/")
    whole = Store(benchmark.path.rstrip("/") or "/", anonymous)
    if whole.root is not None:
        store, keys = Store(str(whole.root.parent)), [whole.root.name]
        if whole.root.is_dir():
            store, keys = whole, [entry.key for entry in whole.list()]
    else:
        store, keys = Store(parent if parent != "s3:/" else benchmark.path, anonymous), [name]
        if parent == "s3:/" or store.stat(name) is None:
            store, keys = whole, [entry.key for entry in whole.list()]
    keys = [key for key in keys if key.endswith(RECORDS)] or keys
    if not keys:
        raise ConfigError(f"{where}: {benchmark.path} holds no file")
    for key in keys:
        shown = f"{store.uri.rstrip('/')}/{key}"
        try:
            yield _File(key, shown, store.read(key, at_most=MAX_FILE_BYTES))
        except FileNotFoundError:
            raise ConfigError(f"{where}: {benchmark.path}: no such file or folder") from None
        except TooLargeError as error:
            raise ConfigError(f"{shown}: {error}; split it") from error
