"""The texts of an ids-only view again: fetched from an archive, decoded and redacted as the release did, and checked.

What cannot be had, or is not the released text, is listed with its reason and counted; nothing is left out silently, and no
row is handed out whose text is not the one that the release has.
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from manifests.errors import ReleaseError
from manifests.ids_view import TEXTS, IdsView, assemble, write_view
from manifests.reader import Release
from manifests.schema import REDACTION
from manifests.shards import write_shard
from pii.redact import redact_batch
from pii.rules import rules_digest
from pii.scan import scan
from pii.settings import Policy, Settings
from pipeline.content.text import NOTEBOOKS, text_of
from pipeline.engine.store import TEMPORARY, Store
from pipeline.engine.store_errors import disk_errors
from pipeline.errors import ConfigError, IntegrityError
from pipeline.query_output import json_line
from pipeline.secrets_verify import policy_of
from pipeline.sources.contents import OK, Contents, Wanted
from pipeline.sources.pace import Pace
from pipeline.stages.reading import in_batches

BATCH_BYTES = 16 << 20  # of originals in memory at once
LEFT_OUT_FILE = "left-out.jsonl"
SUMMARY_FILE = "hydration.json"
WITHDRAWN = "withdrawn"
_FILES = {"rules": "own rules", "allow_file": "list of exceptions", "model": "model"}
"""Files that a release was redacted by and that it does not hold, by their keys in the manifest."""


def make_view(release: Release, out: Path) -> str:
    """Write the ids-only view of a release as the new folder `out`; returns the SHA-256 of its view.json."""
    with _new_folder(out) as staging:
        try:
            return write_view(release, staging)
        except ReleaseError as error:
            raise IntegrityError(str(error)) from error


@dataclass
class Texts:
    """A source of texts: rows of a view in, what is released of them out (schema TEXTS), in the same order."""

    content: str
    policy: Policy
    notebooks: str = "keep"
    anonymous: bool = True
    rate: float = 500
    in_flight: int = 32
    withdrawn: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        store = Store(self.content, self.anonymous)
        local = store.root is not None
        if store.root is not None and not store.root.is_dir():
            raise ConfigError(
                f"--content {self.content}: no such folder; give what holds the objects by their sha1"
            )
        most = min(self.in_flight, 4) if local else self.in_flight
        self._contents = Contents(store, Pace(math.inf if local else self.rate, most))
        self._most = most

    def __call__(self, rows: pa.Table) -> pa.Table:
        """The released texts of rows of a view, or why they cannot be had."""
        columns = (rows[name].to_pylist() for name in ("blob_id", "sha256", "length_bytes"))
        wanted = [Wanted(*one) for one in zip(*columns, strict=True)]
        gone = [row in self.withdrawn for row in rows["row_id"].to_pylist()]
        with ThreadPoolExecutor(self._most) as pool:
            fetched = list(
                pool.map(
                    lambda one: None if one[1] else self._contents.fetch(one[0]),
                    zip(wanted, gone, strict=True),
                )
            )
        reasons: list[str | None] = []
        details: list[str] = []
        for one in fetched:
            reasons.append(WITHDRAWN if one is None else None if one.status == OK else one.status)
            details.append("the list of removals names it" if one is None else one.detail)
        bodies = pa.array([one.body if one is not None else None for one in fetched], pa.large_binary())
        decoded = text_of(bodies, self.notebooks)
        text = decoded["text"].combine_chunks()
        for number, (had, readable) in enumerate(
            zip(bodies.is_valid().to_pylist(), text.is_valid().to_pylist(), strict=True)
        ):
            if had and not readable:
                reasons[number], details[number] = "undecodable", "it cannot be read as text any more"
        released, redactions = self._redacted(rows, text)
        return pa.table(
            [
                released,
                redactions,
                pa.array(reasons, pa.string()),
                pa.array(details, pa.string()),
            ],
            schema=TEXTS,
        )

    def _redacted(self, rows: pa.Table, text: pa.LargeBinaryArray) -> tuple[pa.Array, pa.Array]:
        """Released texts and redactions by the settings of each row's own place: those of all places of its content may be
        stricter, and exceptions by path need them; then the text is not the released one, and the row is left out.
        """
        if not self.policy.needs_places:
            settings = self.policy.settings_for()
            released, redactions = redact_batch(text, scan(text, settings), settings.replacement)
            return released.cast(pa.string()), redactions.cast(pa.list_(REDACTION))
        paths = [raw if raw is not None else path.encode() for path, raw in _paths(rows)]
        by_settings: dict[str, tuple[Settings, list[int]]] = {}
        for number, (language, path) in enumerate(zip(rows["language"].to_pylist(), paths, strict=True)):
            settings = self.policy.settings_for([language], [path])
            by_settings.setdefault(settings.digest(), (settings, []))[1].append(number)
        parts, order = [], list[int]()
        for settings, numbers in by_settings.values():
            part = text.take(pa.array(numbers, pa.int64()))
            released, redactions = redact_batch(part, scan(part, settings), settings.replacement)
            parts.append(
                pa.table([released.cast(pa.string()), redactions.cast(pa.list_(REDACTION))], ["t", "r"])
            )
            order += numbers
        if not parts:
            return pa.nulls(0, pa.string()), pa.array([], pa.list_(REDACTION))
        whole = pa.concat_tables(parts).combine_chunks().take(pa.array(np.argsort(order)))
        return whole["t"].combine_chunks(), whole["r"].combine_chunks()


def _paths(rows: pa.Table) -> Iterator[tuple[str, bytes | None]]:
    return zip(rows["path"].to_pylist(), rows["path_raw"].to_pylist(), strict=True)


@dataclass
class Hydration:
    """How it went: rows of the view, rows with their text again, the others by reason, shards of the release's bytes."""

    release: str
    rows: int = 0
    restored: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    shards: int = 0
    identical_shards: int = 0
    same_rules: bool = True
    unpublished: tuple[str, ...] = ()  # what decided findings and is not published: own rules, an allow-list

    @property
    def lost(self) -> int:
        """Rows that were not withdrawn and are not there."""
        return sum(self.left_out.values()) - self.left_out[WITHDRAWN]

    def to_json(self) -> dict[str, Any]:
        """The record, with stable keys."""
        return {**vars(self), "left_out": dict(sorted(self.left_out.items()))}


def redaction_of(view: IdsView) -> Policy:
    """By what the release was redacted, as its configuration says. Rules and exceptions that its publisher has in files are
    not in it: rows that they bear on are left out.
    """
    return policy_of(view.config(), str(view.directory))


def notebooks_of(view: IdsView) -> str:
    """In which form the release has notebooks, as its configuration says; as they were, where it says nothing."""
    found = yaml.safe_load(view.config()).get("quality", {}).get("notebooks", "keep")
    if found not in NOTEBOOKS:
        raise IntegrityError(
            f"{view.directory}: the release has notebooks in a form that is not known here: {found!r:.80}"
        )
    return str(found)


def hydrate(
    view: IdsView,
    texts: Callable[[pa.Table], pa.Table],
    out: Path,
    *,
    languages: tuple[str, ...] = (),
    note: Callable[[str], object] = lambda text: None,
) -> Hydration:
    """Write the view's rows with their texts as the new folder `out`: shards at the paths of the release, left-out.jsonl,
    hydration.json. `texts` as `Texts`. Raises IntegrityError for a view that is not what it says.
    """
    known = {shard.language for shard in view.shards}
    if unknown := sorted(set(languages) - known):
        raise ConfigError(
            f"the view has no language {unknown[0][:80]!r}; it has {', '.join(sorted(known)[:20])}"
        )
    done = Hydration(view.source_digest)
    done.same_rules = view.source.digests.policies.get("secrets") == rules_digest()
    files = view.source.inputs.get("secrets")
    done.unpublished = tuple(
        _FILES[name] for name in sorted(files if isinstance(files, dict) else ()) if name in _FILES
    )
    digests = {shard.path: shard.sha256 for shard in view.source.shards}
    with _new_folder(out) as staging, (staging / LEFT_OUT_FILE).open("w") as left_out:

        def restored(rows: pa.Table, path: str) -> Iterator[pa.Table]:
            for piece in in_batches(rows, "length_bytes", BATCH_BYTES):
                whole, left = assemble(piece, texts(piece))
                done.left_out.update(left["reason"].to_pylist())
                done.rows += piece.num_rows
                done.restored += whole.num_rows
                for row in left.to_pylist():
                    left_out.write(json_line({**row, "shard": path}))
                if whole.num_rows:
                    yield whole

        for number, shard in enumerate(view.shards):
            if languages and shard.language not in languages:
                continue
            try:
                rows = view.rows(shard)
            except ReleaseError as error:
                raise IntegrityError(str(error)) from error
            done.shards += 1
            pieces = restored(rows, shard.path)
            if (first := next(pieces, None)) is not None:
                target = staging / shard.path
                target.parent.mkdir(parents=True, exist_ok=True)
                facts = write_shard(_chain(first, pieces), target, path=shard.path)
                done.identical_shards += facts.sha256 == digests[shard.path]
            note(f"{number + 1:,} of {len(view.shards):,} shards, {done.restored:,} of {done.rows:,} rows")
        (staging / SUMMARY_FILE).write_text(json.dumps(done.to_json(), indent=2, sort_keys=True) + "\n")
    return done


def _chain(first: pa.Table, rest: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from rest


def read_removals(path: Path) -> frozenset[str]:
    """The row ids of a list of removals: JSON lines with `row_id`. Raises ConfigError naming the line."""
    found = set()
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)["row_id"]
                except (ValueError, KeyError, TypeError, RecursionError):
                    row = None
                if not isinstance(row, str):
                    raise ConfigError(f"{path}:{number}: not a JSON object with a row_id")
                found.add(row)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    return frozenset(found)


@contextlib.contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder beside its place that is renamed into it at the end, and removed when something fails."""
    if out.exists() or out.is_symlink():
        raise ConfigError(f"{out} exists; give another --out")
    staging = out.with_name(f"{out.name}{TEMPORARY}{uuid.uuid4().hex[:12]}")
    try:
        with disk_errors(str(out)):
            staging.mkdir(parents=True)
            yield staging
            staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
