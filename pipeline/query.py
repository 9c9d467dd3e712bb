"""Asking a release: rows by language, license, place, size, date and text, or by SQL; DuckDB underneath.

Strangers wrote the rows and may have written the question. So the database can read the chosen shards, the quality signals
beside them where SQL asks for these, and nothing else: no other file, no network, no extension, no setting can be changed,
and only a SELECT is run. What a user gives goes in as bound parameters; names of columns are checked against the schema.

Shards of other languages are not opened, nor those where a given origin cannot lie (a shard's name says which part of the
key space it holds, see stages/emit.py); of the others DuckDB leaves out row groups by their statistics.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.checksums import sha256_file
from manifests.errors import ReleaseError
from manifests.facts import ShardFacts
from manifests.names import QUALITY_SIGNALS_FILE, visible
from manifests.reader import Release
from manifests.schema import DATA
from pipeline.engine.amounts import memory_bytes
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, IntegrityError, SourceError
from pipeline.local_copy import is_remote, manifest_of

DEFAULT_COLUMNS = ("row_id", "language", "path", "origin", "license_expression", "length_bytes")
BATCH_ROWS = 1_024
SIGNALS_VIEW = "quality_signals"
"""The view over `quality-signals.parquet` that SQL can speak of."""
_CHECKED_AT_ONCE = 4  # shards hashed at a time


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What a row must be; everything that is given must hold, of several values of one kind any."""

    languages: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()
    """An SPDX id that stands in the row's expression, or the whole expression; without regard to case."""
    origins: tuple[str, ...] = ()
    """A URL, or the beginning of one with `*` behind it."""
    paths: tuple[str, ...] = ()
    """Globs over the whole path: `*` (over slashes, too), `?`, `[ab]`."""
    min_size: int | None = None
    """Bytes of the original, as max_size."""
    max_size: int | None = None
    since: datetime | None = None
    """Author date of the revision, UTC: from here ..."""
    before: datetime | None = None
    """... up to here, without it."""
    content: str | None = None
    """A regular expression of RE2 that matches somewhere in the text."""
    ignore_case: bool = False

    @property
    def beyond_languages(self) -> bool:
        """Whether more than languages is asked for."""
        return self != Filters(languages=self.languages, ignore_case=self.ignore_case)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A query: filters and what to show of the rows, or SQL over the view `rows`."""

    filters: Filters = Filters()
    columns: tuple[str, ...] = DEFAULT_COLUMNS
    order: tuple[str, ...] = ()
    """Columns, a leading `-` for descending; ties by row id. Empty: as the rows lie in the release."""
    limit: int | None = None
    count: bool = False
    sql: str | None = None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a query may take."""

    threads: int = field(default_factory=lambda: min(8, os.cpu_count() or 1))
    memory: str = "2GB"
    seconds: float | None = None

    def __post_init__(self) -> None:
        memory_bytes(self.memory)


def parse_date(text: str, *, end: bool = False) -> datetime:
    """A date (`end`: the day after it) or date-time, UTC. Raises ConfigError."""
    try:
        if len(text) <= 10:
            day = date.fromisoformat(text)
            return datetime(day.year, day.month, day.day) + timedelta(days=1 if end else 0)
        found = datetime.fromisoformat(text)
        offset = found.utcoffset()
        return found.replace(tzinfo=None) - (offset or timedelta())
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{text[:80]!r} is not a date; write it as 2024-05-17 or 2024-05-17T12:00:00"
        ) from None


def check_columns(names: Iterable[str]) -> tuple[str, ...]:
    """The names, `all` standing for every column. Raises ConfigError for an unknown one, with the one that was meant."""
    found: list[str] = []
    for name in names:
        if name == "all":
            found += DATA.names
        elif name in DATA.names:
            found.append(name)
        else:
            close = difflib.get_close_matches(name, DATA.names, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else "the columns are " + ", ".join(DATA.names)
            raise ConfigError(f"no column {name[:80]!r}; {hint}")
    return tuple(dict.fromkeys(found))


def check_languages(release: Release, names: Sequence[str]) -> None:
    """Raises ConfigError for a language that the release does not have."""
    for name in names:
        if name not in release.languages:
            folded = {language.lower(): language for language in release.languages}
            close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
            known = ", ".join(release.languages[:20]) + (", ..." if len(release.languages) > 20 else "")
            hint = f"did you mean {folded[close[0]]!r}?" if close else f"it has {known}"
            raise ConfigError(f"the release has no language {name[:80]!r}; {hint}")


def needed_shards(release: Release, filters: Filters) -> tuple[ShardFacts, ...]:
    """The shards that can hold such rows, by their language and, where every origin is given in full, by their name."""
    check_languages(release, filters.languages)
    keys = [
        f"{int(hashlib.sha256(url.encode()).hexdigest()[:16], 16):064b}"
        for url in filters.origins
        if not url.endswith("*")
    ]
    by_key = len(keys) == len(filters.origins) > 0
    return tuple(
        shard
        for shard in release.shards()
        if (not filters.languages or shard.language in filters.languages)
        and (not by_key or any(_may_hold(shard.path, key) for key in keys))
    )


def _may_hold(path: str, key: str) -> bool:
    """Whether rows with such leading bits of the key lie in the shard: one of the two begins with the other."""
    prefix = path.rpartition("/train-")[2].removesuffix(".parquet")
    return prefix == "all" or key.startswith(prefix) or prefix.startswith(key)


@contextlib.contextmanager
def opened(address: str, filters: Filters, sql: str | None = None) -> Iterator[Release]:
    """The release at an address; of one on S3 what filters and SQL need, in a temporary folder below TMPDIR."""
    with manifest_of(address) as folder:
        release = Release.open(folder)
        if is_remote(address):
            place = Store(address)
            needed = [shard.path for shard in needed_shards(release, filters)]
            for path in [*needed, *([QUALITY_SIGNALS_FILE] if _asks_for_signals(release, sql) else [])]:
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    place.fetch(path, target)
                except FileNotFoundError:
                    raise IntegrityError(f"{address}: {path} is missing") from None
        yield release


def _asks_for_signals(release: Release, sql: str | None) -> bool:
    return (
        sql is not None and SIGNALS_VIEW in sql.lower() and QUALITY_SIGNALS_FILE in release.manifest.listed()
    )


@contextlib.contextmanager
def ask(
    release: Release, question: Question, limits: Limits | None = None, *, verify: bool = True
) -> Iterator[pa.RecordBatchReader]:
    """The answer as Arrow batches. With `verify` the shards' checksums are held against the manifest first.

    Raises ConfigError for a question that cannot be asked, IntegrityError for shards that are not what they should be,
    SourceError when it takes longer than allowed.
    """
    limits = limits or Limits()
    filters = question.filters
    if question.sql is not None and filters.beyond_languages:
        raise ConfigError(
            "with SQL only languages can be given beside it; write the other conditions into the SQL"
        )
    query, parameters = _statement(question)
    shards = needed_shards(release, filters)
    files = _checked(release, shards, verify)
    signals = _checked_signals(release, verify) if _asks_for_signals(release, question.sql) else None
    with tempfile.TemporaryDirectory(prefix="stackmill-query-") as scratch:
        connection = _open(files, Path(scratch), limits, signals)
        try:
            _check_question(connection, question)
            with _timed(connection, limits.seconds), _explained(question, limits):
                yield connection.sql(query, params=parameters).to_arrow_reader(BATCH_ROWS)
        finally:
            connection.close()


def _checked(release: Release, shards: Sequence[ShardFacts], verify: bool) -> list[Path]:
    def check(shard: ShardFacts) -> Path:
        file = release.check_shard(shard) if verify else release.directory / shard.path
        with pq.ParquetFile(file) as parquet:
            if not parquet.schema_arrow.equals(DATA):
                raise IntegrityError(
                    f"{release.directory}: {shard.path} does not have the columns of a shard"
                )
        return file

    try:
        with ThreadPoolExecutor(_CHECKED_AT_ONCE) as pool:
            return list(pool.map(check, shards))
    except ReleaseError as error:
        raise IntegrityError(str(error)) from error
    except (OSError, pa.ArrowException) as error:
        raise IntegrityError(f"{release.directory}: a shard cannot be read: {error}") from error


def _checked_signals(release: Release, verify: bool) -> Path:
    file = release.directory / QUALITY_SIGNALS_FILE
    listed = release.manifest.listed()[QUALITY_SIGNALS_FILE]
    try:
        if file.is_symlink() or (verify and sha256_file(file) != (listed.sha256, listed.bytes)):
            raise IntegrityError(f"{release.directory}: {QUALITY_SIGNALS_FILE} is not what the manifest says")
        pq.read_schema(file)
    except (OSError, pa.ArrowException) as error:
        raise IntegrityError(
            f"{release.directory}: {QUALITY_SIGNALS_FILE} cannot be read: {error}"
        ) from error
    return file


def _open(
    files: Sequence[Path], scratch: Path, limits: Limits, signals: Path | None = None
) -> duckdb.DuckDBPyConnection:
    """A database with the view `rows` over these files, and `SIGNALS_VIEW`, that can do nothing but read them."""
    # Names of our own: the folder of a release may hold characters that mean something in a glob.
    links = []
    for number, file in enumerate(files):
        link = scratch / f"shard-{number:06d}.parquet"
        link.symlink_to(file.resolve())
        links.append(str(link))
    listed = ", ".join(_quoted(link) for link in links)
    beside = []
    if signals is not None:
        beside.append(scratch / "signals.parquet")
        beside[0].symlink_to(signals.resolve())
    allowed = ", ".join(_quoted(str(link)) for link in (*links, *beside))
    connection = duckdb.connect(":memory:")
    for setting in (
        f"threads={limits.threads}",
        f"memory_limit='{limits.memory}'",
        f"temp_directory={_quoted(str(scratch / 'spill'))}",
        "TimeZone='UTC'",
        "python_enable_replacements=false",
        "autoinstall_known_extensions=false",
        "autoload_known_extensions=false",
        "allow_community_extensions=false",
        f"allowed_paths=[{allowed}]",
        "enable_external_access=false",
        "lock_configuration=true",
    ):
        connection.execute(f"set {setting}")
    if links:
        connection.execute(f"create view rows as from read_parquet([{listed}], hive_partitioning=false)")
    else:
        connection.register("rows", DATA.empty_table())
    for link in beside:
        connection.execute(f"create view {SIGNALS_VIEW} as from read_parquet({_quoted(str(link))})")
    return connection


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _check_question(connection: duckdb.DuckDBPyConnection, question: Question) -> None:
    """Refuse SQL that is more than one SELECT, and a regular expression that is none."""
    if question.sql is not None:
        try:
            statements = connection.extract_statements(question.sql)
        except duckdb.Error as error:
            raise ConfigError(f"this is not SQL: {_first_lines(error)}") from None
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise ConfigError(
                "the SQL must be one SELECT over the views `rows` and `quality_signals`, and nothing else"
            )
    if question.filters.content is not None:
        try:
            connection.execute("select regexp_matches('', $1)", [question.filters.content]).fetchall()
        except duckdb.Error as error:
            raise ConfigError(
                f"not a regular expression of RE2 (https://github.com/google/re2/wiki/Syntax): {_first_lines(error)}"
            ) from None


def _first_lines(error: Exception) -> str:
    return visible(" ".join(str(error).split("\n\nLINE")[0].split()))[:400]


def _statement(question: Question) -> tuple[str, dict[str, Any]]:
    if question.sql is not None:
        return question.sql, {}
    where, parameters = _where(question.filters)
    if question.count:
        return f"select count(*) as count from rows{where}", parameters
    columns = ", ".join(f'"{name}"' for name in check_columns(question.columns))
    order = ""
    if question.order:
        names = check_columns(name.removeprefix("-") for name in question.order)
        keys = [
            f'"{name}" {"desc" if key.startswith("-") else "asc"} nulls last'
            for name, key in zip(names, question.order, strict=True)
        ]
        order = f" order by {', '.join([*keys, 'row_id'])}"
    limit = "" if question.limit is None else f" limit {int(question.limit)}"
    return f"select {columns} from rows{where}{order}{limit}", parameters


def _where(filters: Filters) -> tuple[str, dict[str, Any]]:
    parameters: dict[str, Any] = {}

    def bound(value: Any) -> str:
        name = f"p{len(parameters)}"
        parameters[name] = value
        return f"${name}"

    def origin(url: str) -> str:
        if url.endswith("*"):
            return f"starts_with(origin, {bound(url[:-1])})"
        return f"origin = {bound(url)}"

    def license_is(given: str) -> str:
        value = bound(given.lower())
        ids = "regexp_extract_all(lower(license_expression), '[a-z0-9.+:_-]+')"
        return f"(lower(license_expression) = {value} or list_contains({ids}, {value}))"

    terms = [
        _any(f"language = {bound(name)}" for name in filters.languages),
        _any(origin(url) for url in filters.origins),
        _any(license_is(name) for name in filters.licenses),
        _any(f"path glob {bound(pattern)}" for pattern in filters.paths),
        "" if filters.min_size is None else f"length_bytes >= {bound(filters.min_size)}",
        "" if filters.max_size is None else f"length_bytes <= {bound(filters.max_size)}",
        "" if filters.since is None else f"revision_date >= {bound(filters.since)}",
        "" if filters.before is None else f"revision_date < {bound(filters.before)}",
    ]
    if filters.content is not None:
        options = bound("i" if filters.ignore_case else "c")
        terms.append(f"regexp_matches(content, {bound(filters.content)}, {options})")
    given = [term for term in terms if term]
    return (" where " + " and ".join(given) if given else ""), parameters


def _any(terms: Iterable[str]) -> str:
    found = list(terms)
    return f"({' or '.join(found)})" if found else ""


@contextlib.contextmanager
def _timed(connection: duckdb.DuckDBPyConnection, seconds: float | None) -> Iterator[None]:
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def _explained(question: Question, limits: Limits) -> Iterator[None]:
    """Errors of the database as ours; those of reading the answer arrive here, too."""
    try:
        yield
    except duckdb.InterruptException as error:
        raise SourceError(
            f"not done within {limits.seconds:g} s; ask for less, or give --timeout more"
        ) from error
    except duckdb.OutOfMemoryException as error:
        raise SourceError(f"{limits.memory} of memory are not enough; give --memory more") from error
    except (duckdb.Error, pa.ArrowException) as error:
        if limits.seconds is not None and "INTERRUPT" in str(error).upper():
            raise SourceError(
                f"not done within {limits.seconds:g} s; ask for less, or give --timeout more"
            ) from error
        if question.sql is not None:
            raise ConfigError(f"the SQL cannot be run: {_first_lines(error)}") from None
        raise IntegrityError(f"the shards cannot be read: {_first_lines(error)}") from error
