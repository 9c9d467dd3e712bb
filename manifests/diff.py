"""What differs between two releases, from their manifests and the ids of their rows.

    diff = compare(old, new, counts=...)         counts from `changes.parquet`, or from `count_ids`
    diff.to_json()

`count_ids` merges the two `ids.parquet`, which are sorted by row id: memory does not grow with the releases. It tells rows
that came, went, or have another text; only `changes.parquet` tells reasons, and rows of which other columns differ.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from manifests.changes import KINDS, Counts
from manifests.errors import ReleaseError
from manifests.facts import LanguageFacts
from manifests.manifest import Manifest

DIFF_VERSION = 1
"""Version of the keys of `ReleaseDiff.to_json`."""

SHOWN_CHARACTERS = 200
"""Longest value of a configuration key that is told."""


@dataclass(frozen=True, kw_only=True)
class ReleaseDiff:
    """What `compare` found."""

    old: Manifest
    new: Manifest
    counts: Counts
    exact: bool
    """Whether the counts are those of the new release's own changes.parquet against the old one."""
    configuration: Mapping[str, tuple[str | None, str | None]]
    """Key of config.yaml -> values that differ; None: not there."""

    @property
    def is_parent(self) -> bool:
        """Whether the new release names the old one as its parent."""
        return self.new.parent is not None and self.new.parent.digest == self.old.digest

    @property
    def changes(self) -> Counter[str]:
        """Change -> rows."""
        total: Counter[str] = Counter()
        for (change, _, _), rows in self.counts.items():
            total[change] += rows
        return total

    @property
    def reasons(self) -> Counter[str]:
        """Reason -> removed rows; empty where reasons are not known."""
        total: Counter[str] = Counter()
        for (change, reason, _), rows in self.counts.items():
            if change == "removed" and reason:
                total[reason] += rows
        return total

    @property
    def differing(self) -> dict[str, tuple[str | None, str | None]]:
        """What the rows depend on -> (old, new), where it differs: digests and versions, and `inputs`."""
        pairs = zip(_facts(self.old).items(), _facts(self.new).values(), strict=True)
        found: dict[str, tuple[str | None, str | None]] = {}
        for (name, before), after in pairs:
            if isinstance(before, Mapping) and isinstance(after, Mapping):
                for key in sorted({*before, *after}):
                    if before.get(key) != after.get(key):
                        found[f"{name}.{key}"] = (_text(before.get(key)), _text(after.get(key)))
            elif before != after:
                found[name] = (_text(before), _text(after))
        return found

    def shards(self) -> dict[str, dict[str, int]]:
        """The shards that are the same file, new, gone: how many, and their bytes. `new` is what an updater fetches."""
        before = {(shard.path, shard.sha256): shard.bytes for shard in self.old.shards}
        after = {(shard.path, shard.sha256): shard.bytes for shard in self.new.shards}
        groups = {
            "same": [size for key, size in after.items() if key in before],
            "new": [size for key, size in after.items() if key not in before],
            "gone": [size for key, size in before.items() if key not in after],
        }
        return {name: {"shards": len(sizes), "bytes": sum(sizes)} for name, sizes in groups.items()}

    def languages(self) -> dict[str, dict[str, Any]]:
        """Language -> rows, bytes of text and of shards, old and new, and rows by change; only languages that differ."""
        found: dict[str, dict[str, Any]] = {}
        by_language: dict[str, Counter[str]] = {}
        for (change, _, language), rows in self.counts.items():
            by_language.setdefault(language, Counter())[change] += rows
        for language in sorted({*self.old.languages, *self.new.languages, *by_language}):
            before, after = self.old.languages.get(language), self.new.languages.get(language)
            figures = {
                name: [_figure(before, name), _figure(after, name)]
                for name in ("rows", "text_bytes", "bytes")
            }
            changes = {kind: by_language.get(language, Counter())[kind] for kind in KINDS}
            if any(changes.values()) or any(one != other for one, other in figures.values()):
                found[language] = {**figures, **{kind: n for kind, n in changes.items() if n}}
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the diff as a JSON object; pairs are [old, new]."""
        old, new = self.old, self.new
        return {
            "diff_version": DIFF_VERSION,
            "name": [old.name, new.name],
            "version": [old.version, new.version],
            "digest": [old.digest, new.digest],
            "is_parent": self.is_parent,
            "rows": [old.totals.kept, new.totals.kept],
            "text_bytes": [_text_bytes(old), _text_bytes(new)],
            "found": [old.totals.found, new.totals.found],
            "from": "changes.parquet" if self.exact else "ids.parquet",
            "changes": {kind: self.changes[kind] for kind in KINDS if self.exact or kind in IDS_KINDS},
            "removed_by_reason": dict(sorted(self.reasons.items())) if self.exact else None,
            "dropped": {
                reason: [old.totals.dropped.get(reason, 0), new.totals.dropped.get(reason, 0)]
                for reason in sorted({*old.totals.dropped, *new.totals.dropped})
                if old.totals.dropped.get(reason, 0) != new.totals.dropped.get(reason, 0)
            },
            "languages": self.languages(),
            "depends_on": {name: list(pair) for name, pair in self.differing.items()},
            "configuration": {key: list(pair) for key, pair in self.configuration.items()},
            "shards": self.shards(),
        }


IDS_KINDS = ("added", "removed", "re_redacted")
"""The kinds of change that `ids.parquet` can tell."""


def compare(
    old: Manifest,
    new: Manifest,
    *,
    counts: Counts,
    exact: bool,
    configurations: tuple[bytes, bytes] = (b"", b""),
) -> ReleaseDiff:
    """Compare two releases. `configurations` are their config.yaml."""
    return ReleaseDiff(
        old=old,
        new=new,
        counts=+counts,
        exact=exact,
        configuration=differing_keys(*map(_flat_yaml, configurations)),
    )


def depends_on_the_same(old: Manifest, new: Manifest) -> bool:
    """Whether the two differ in nothing that rows depend on but the opt-out registry."""
    empty = compare(old, new, counts=Counter(), exact=True)
    return not set(empty.differing) - {"policies.opt_out", "opt_out_head"}


def _facts(manifest: Manifest) -> dict[str, Any]:
    return {
        "inputs": manifest.inputs,
        "configuration": manifest.digests.configuration,
        "code": manifest.digests.code,
        "policies": manifest.digests.policies,
        "detectors": manifest.digests.detectors,
        "libraries": manifest.digests.libraries,
        "opt_out_head": manifest.opt_out_head,
        "tokenizer": None if manifest.tokenizer is None else manifest.tokenizer.digest,
    }


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        text = repr(value)
    return text[:SHOWN_CHARACTERS]


def _figure(facts: LanguageFacts | None, name: str) -> int:
    return 0 if facts is None else int(getattr(facts, name))


def _text_bytes(manifest: Manifest) -> int:
    return sum(shard.text_bytes for shard in manifest.shards)


def _flat_yaml(data: bytes) -> dict[str, Any]:
    """A config.yaml as `a.b.c` -> value; empty where it is no plain mapping: it is told, not relied on."""
    try:
        # An alias can make a small file a huge value.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(data, Loader=yaml.SafeLoader)):
            return {}
        value = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return dict(_flat("", value)) if isinstance(value, dict) else {}


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), inner)
    else:
        yield prefix, value


def differing_keys(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> dict[str, tuple[str | None, str | None]]:
    """Key -> (old, new) as text, where they differ; None: not there."""

    def shown(side: Mapping[str, Any], key: str) -> str | None:
        return None if key not in side else _text(side[key]) or ("null" if side[key] is None else "")

    return {
        key: (shown(old, key), shown(new, key))
        for key in sorted({*old, *new})
        if key not in old or key not in new or old[key] != new[key]
    }


# ----------------------------------------------------------------------------------------------- rows, by their ids


def count_ids(
    old: tuple[Manifest, Iterable[pa.RecordBatch | pa.Table]],
    new: tuple[Manifest, Iterable[pa.RecordBatch | pa.Table]],
) -> Counts:
    """Count rows that were added, were removed, or have another text, by language.

    Each side is a manifest and the rows of its `ids.parquet` in batches. Memory: a few batches. Raises `ReleaseError` for
    ids that do not ascend, or name a shard that the manifest does not have.
    """
    counts: Counts = Counter()
    languages = [{shard.path: shard.language for shard in side[0].shards} for side in (old, new)]
    for before, after in _windows(*(_checked(side[1], side[0]) for side in (old, new))):
        at = pc.index_in(after.column("row_id"), value_set=before.column("row_id").combine_chunks())
        known = at.is_valid()
        added = after.filter(pc.invert(known))
        removed = before.filter(
            pc.invert(pc.is_in(before.column("row_id"), value_set=after.column("row_id").combine_chunks()))
        )
        theirs = before.column("content_sha256").take(at.filter(known))
        both = after.filter(known)
        rewritten = both.filter(pc.not_equal(both.column("content_sha256"), theirs))
        for change, rows, names in (
            ("added", added, languages[1]),
            ("removed", removed, languages[0]),
            ("re_redacted", rewritten, languages[1]),
        ):
            for item in pc.value_counts(rows.column("shard")).to_pylist():
                if item["values"] not in names:
                    raise ReleaseError(
                        f"ids.parquet names a shard that its manifest does not have: {ascii(item['values'])[:200]}"
                    )
                counts[change, "", names[item["values"]]] += item["counts"]
    return counts


def _checked(batches: Iterable[pa.RecordBatch | pa.Table], manifest: Manifest) -> Iterator[pa.Table]:
    """The batches as tables, each row id greater than the one before it."""
    last = ""
    for batch in batches:
        table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
        if table.num_rows == 0:
            continue
        ids = table.column("row_id")
        ascends = pc.all(pc.less(ids.slice(0, table.num_rows - 1), ids.slice(1))).as_py()
        if ascends is False or ids[0].as_py() <= last:
            raise ReleaseError(f"{manifest.name} {manifest.version}: ids.parquet is not sorted by row_id")
        last = ids[-1].as_py()
        yield table


def _windows(old: Iterator[pa.Table], new: Iterator[pa.Table]) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Pairs of tables that hold the same range of row ids, whole ranges in ascending order."""
    before, after = next(old, None), next(new, None)
    while before is not None and after is not None:
        end = min(before.column("row_id")[-1].as_py(), after.column("row_id")[-1].as_py())
        (low, before), (high, after) = (_cut(table, end) for table in (before, after))
        yield low, high
        before = before if before.num_rows else next(old, None)
        after = after if after.num_rows else next(new, None)
    while before is not None:
        yield before, before.slice(0, 0)
        before = next(old, None)
    while after is not None:
        yield after.slice(0, 0), after
        after = next(new, None)


def _cut(table: pa.Table, end: str) -> tuple[pa.Table, pa.Table]:
    """The rows up to `end`, and the others."""
    count = pc.sum(pc.less_equal(table.column("row_id"), end)).as_py() or 0
    return table.slice(0, count), table.slice(count)
