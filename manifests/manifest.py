"""`manifest.json`: what a release is, in one canonical JSON object whose SHA-256 is the release's digest.

    Manifest.build(...)       from facts, languages and totals derived and checked
    manifest.to_bytes()       canonical JSON; equal manifests have equal bytes
    Manifest.parse(data)      back, or a `ManifestError` that names the JSON path of what cannot be true

Invariants, checked both ways: found = kept + sum(dropped); kept = sum of the shards' rows; origins found =
resolved + sum(unresolved); every language's figures are the sums over its shards; every path is safe on every
system, listed once, and in sorted order. The published JSON Schema (`data/manifest.schema.json`) says the
same as far as it can.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files as package_files
from typing import Any

from manifests import canonical, names
from manifests.errors import CanonicalError, ManifestError
from manifests.facts import (
    Contents,
    Digests,
    FileFacts,
    LanguageFacts,
    Origins,
    Parent,
    ShardFacts,
    StageTotals,
    Tokenizer,
    Totals,
)
from manifests.fields import (
    HEX_DIGEST,
    REASON,
    Json,
    count,
    digests,
    mapping,
    objects,
    record,
    safe,
    text,
    texts,
)
from manifests.schema import SCHEMA_VERSION


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of `manifest.json`. Make one with `build` or `parse`, which check it."""

    schema_version: int
    name: str
    version: str
    shards: tuple[ShardFacts, ...]
    """Sorted by path."""
    files: tuple[FileFacts, ...]
    """Every other file but the manifest, its signature and SHA256SUMS; sorted by path."""
    languages: Mapping[str, LanguageFacts]
    merkle_root: str
    """Hex; of the rows of `ids.parquet` (`manifests.merkle`)."""
    totals: Totals
    origins: Origins
    contents: Contents
    inputs: Mapping[str, Any]
    """What the release was made from: archive id, export date, ... (JSON values; no machine's paths)."""
    digests: Digests
    opt_out_head: str
    """Hex; the state of the opt-out registry that this release honours."""
    tokenizer: Tokenizer | None
    parent: Parent | None

    @classmethod
    def build(
        cls,
        *,
        name: str,
        version: str,
        shards: Iterable[ShardFacts],
        files: Iterable[FileFacts],
        merkle_root: str,
        totals: Totals,
        origins: Origins,
        contents: Contents,
        inputs: Mapping[str, Any],
        digests: Digests,
        opt_out_head: str,
        tokenizer: Tokenizer | None = None,
        parent: Parent | None = None,
    ) -> Manifest:
        """Sort, derive the languages, and check everything that `parse` checks; raises `ManifestError`."""
        ordered = tuple(sorted(shards, key=lambda shard: shard.path))
        for number, shard in enumerate(ordered):
            safe(f"$.shards[{number}].language", shard.language, names.check_language)
        manifest = cls(
            schema_version=SCHEMA_VERSION,
            name=name,
            version=version,
            shards=ordered,
            files=tuple(sorted(files, key=lambda file: file.path)),
            languages=_languages(ordered),
            merkle_root=merkle_root,
            totals=totals,
            origins=origins,
            contents=contents,
            inputs=inputs,
            digests=digests,
            opt_out_head=opt_out_head,
            tokenizer=tokenizer,
            parent=parent,
        )
        return cls.parse(manifest.to_bytes())

    def to_json(self) -> dict[str, Json]:
        """Return the JSON object; its keys are the format."""
        return {
            "schema_version": self.schema_version,
            "name": self.name,
            "version": self.version,
            "shards": [shard.to_json() for shard in self.shards],
            "files": [file.to_json() for file in self.files],
            "languages": {language: facts.to_json() for language, facts in self.languages.items()},
            "merkle_root": self.merkle_root,
            "totals": self.totals.to_json(),
            "origins": self.origins.to_json(),
            "licenses": dict(self.contents.licenses),
            "redactions": dict(self.contents.redactions),
            "inputs": dict(self.inputs),
            "configuration_digest": self.digests.configuration,
            "code_digest": self.digests.code,
            "policies": dict(self.digests.policies),
            "detectors": dict(self.digests.detectors),
            "libraries": dict(self.digests.libraries),
            "opt_out_head": self.opt_out_head,
            "tokenizer": None if self.tokenizer is None else self.tokenizer.to_json(),
            "parent": None if self.parent is None else self.parent.to_json(),
        }

    def to_bytes(self) -> bytes:
        """Return the bytes of `manifest.json` (RFC 8785, no newline at the end)."""
        try:
            return canonical.dumps(self.to_json())
        except CanonicalError as error:
            raise ManifestError("$", str(error)) from error

    @property
    def digest(self) -> str:
        """The release's digest: SHA-256 of `to_bytes()`, hex."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read the bytes of a `manifest.json`.

        Raises `ManifestError` for anything but canonical JSON of a known schema version whose figures add up;
        so a manifest that parses has exactly these bytes again.
        """
        try:
            value = canonical.load(data)
        except CanonicalError as error:
            raise ManifestError("$", str(error)) from error
        if not isinstance(value, dict):
            raise ManifestError("$", "not a JSON object")
        found = value.get("schema_version")
        if type(found) is not int or found != SCHEMA_VERSION:
            raise ManifestError(
                "$.schema_version",
                f"this version of the software reads {SCHEMA_VERSION}, the manifest says {ascii(found)[:40]};"
                " use the version of the software that made the release, or a newer one",
            )
        manifest = cls._from_json(value)
        if manifest.to_bytes() != data:
            raise ManifestError("$", "the bytes are not canonical JSON (RFC 8785)")
        return manifest

    @classmethod
    def _from_json(cls, value: dict[str, Any]) -> Manifest:
        top = record("$", value, _KEYS)
        parent = top["parent"]
        if parent is not None:
            entry = record("$.parent", parent, ("version", "digest"))
            parent = Parent(
                version=safe("$.parent.version", entry["version"], names.check_version),
                digest=text("$.parent.digest", entry["digest"], HEX_DIGEST),
            )
        tokenizer = top["tokenizer"]
        if tokenizer is not None:
            entry = record("$.tokenizer", tokenizer, ("name", "digest"))
            tokenizer = Tokenizer(
                name=text("$.tokenizer.name", entry["name"]),
                digest=text("$.tokenizer.digest", entry["digest"], HEX_DIGEST),
            )
        totals = record("$.totals", top["totals"], ("found", "kept", "dropped", "stages"))
        origins = record("$.origins", top["origins"], ("found", "resolved", "unresolved"))
        manifest = cls(
            schema_version=top["schema_version"],
            name=safe("$.name", top["name"], names.check_name),
            version=safe("$.version", top["version"], names.check_version),
            shards=tuple(_shard(where, entry) for where, entry in objects("$.shards", top["shards"])),
            files=tuple(_file(where, entry) for where, entry in objects("$.files", top["files"])),
            languages={
                language: _language(f"$.languages[{language!a}]", entry)
                for language, entry in mapping("$.languages", top["languages"]).items()
            },
            merkle_root=text("$.merkle_root", top["merkle_root"], HEX_DIGEST),
            totals=Totals(
                found=count("$.totals.found", totals["found"]),
                kept=count("$.totals.kept", totals["kept"]),
                dropped=_counts("$.totals.dropped", totals["dropped"]),
                stages=tuple(
                    _stage(where, entry) for where, entry in objects("$.totals.stages", totals["stages"])
                ),
            ),
            origins=Origins(
                found=count("$.origins.found", origins["found"]),
                resolved=count("$.origins.resolved", origins["resolved"]),
                unresolved=_counts("$.origins.unresolved", origins["unresolved"]),
            ),
            contents=Contents(
                licenses={
                    text("$.licenses, key", license): count(f"$.licenses[{license!a}]", number, minimum=1)
                    for license, number in mapping("$.licenses", top["licenses"]).items()
                },
                redactions=_counts("$.redactions", top["redactions"]),
            ),
            inputs=mapping("$.inputs", top["inputs"]),
            digests=Digests(
                configuration=text("$.configuration_digest", top["configuration_digest"], HEX_DIGEST),
                code=text("$.code_digest", top["code_digest"], HEX_DIGEST),
                policies=digests("$.policies", top["policies"]),
                detectors=texts("$.detectors", top["detectors"]),
                libraries=texts("$.libraries", top["libraries"]),
            ),
            opt_out_head=text("$.opt_out_head", top["opt_out_head"], HEX_DIGEST),
            tokenizer=tokenizer,
            parent=parent,
        )
        manifest._check()
        return manifest

    def _check(self) -> None:
        """What no single field can say: order, uniqueness, sums."""
        if not self.shards:
            raise ManifestError("$.shards", "empty: a release without a single row is refused")
        for where, entries in (("$.shards", self.shards), ("$.files", self.files)):
            paths = [entry.path for entry in entries]
            if paths != sorted(paths):
                raise ManifestError(where, "not sorted by path")
        folded: dict[str, str] = {}
        for place, path in self._places():
            if path in names.UNLISTED:
                raise ManifestError(place, f"{path} cannot be listed in the manifest")
            if (other := folded.setdefault(path.casefold(), path)) != path:
                raise ManifestError(place, f"{path!a} and {other!a} are one file where case does not count")
        if len({path for _, path in self._places()}) != len(self.shards) + len(self.files):
            raise ManifestError("$.files", "a path is listed twice")
        if names.IDS_FILE not in {file.path for file in self.files}:
            raise ManifestError("$.files", f"{names.IDS_FILE} is missing")
        configs: dict[str, str] = {}
        for language in self.languages:
            config = names.config_name(language).casefold()
            if (other := configs.setdefault(config, language)) != language:
                raise ManifestError("$.languages", f"{language!a} and {other!a} would share a folder")
        if dict(self.languages) != _languages(self.shards):
            raise ManifestError("$.languages", "not the sums over the shards")
        rows = sum(shard.rows for shard in self.shards)
        if self.totals.kept != rows:
            raise ManifestError("$.totals.kept", f"{self.totals.kept:,}, but the shards hold {rows:,} rows")
        dropped = sum(self.totals.dropped.values())
        if self.totals.found != self.totals.kept + dropped:
            raise ManifestError(
                "$.totals.found",
                f"{self.totals.found:,} found, but {self.totals.kept:,} kept and {dropped:,}"
                " dropped: not conserved",
            )
        self._check_stages()
        licensed = sum(self.contents.licenses.values())
        if licensed != rows:
            raise ManifestError(
                "$.licenses", f"{licensed:,} rows by license, but the shards hold {rows:,} rows"
            )
        counted = {shard.tokens is not None for shard in self.shards}
        if counted != {self.tokenizer is not None}:
            raise ManifestError(
                "$.tokenizer", "tokens are counted in every shard, by a tokenizer, or in none"
            )
        unresolved = sum(self.origins.unresolved.values())
        if self.origins.found != self.origins.resolved + unresolved:
            raise ManifestError(
                "$.origins.found",
                f"{self.origins.found:,} found, but {self.origins.resolved:,} resolved and"
                f" {unresolved:,} not",
            )

    def _check_stages(self) -> None:
        """Each stage is entered by what left the one before it, and together they drop what was dropped."""
        if not self.totals.stages:
            return
        present, dropped = self.totals.found, dict.fromkeys(self.totals.dropped, 0)
        for number, stage in enumerate(self.totals.stages):
            where = f"$.totals.stages[{number}]"
            if stage.entered != present:
                raise ManifestError(
                    f"{where}.entered", f"{stage.entered:,}, but {present:,} came to this stage"
                )
            present -= sum(stage.dropped.values())
            if stage.left != present:
                raise ManifestError(
                    f"{where}.left", f"{stage.left:,}, but {present:,} are left: not conserved"
                )
            for reason, amount in stage.dropped.items():
                dropped[reason] = dropped.get(reason, 0) + amount
        if present != self.totals.kept or dropped != dict(self.totals.dropped):
            raise ManifestError("$.totals.stages", "do not add up to the totals")

    def _places(self) -> list[tuple[str, str]]:
        shards = [(f"$.shards[{number}].path", shard.path) for number, shard in enumerate(self.shards)]
        return shards + [(f"$.files[{number}].path", file.path) for number, file in enumerate(self.files)]

    def listed(self) -> dict[str, ShardFacts | FileFacts]:
        """Return path -> facts of every file that the manifest lists, sorted by path."""
        entries: list[ShardFacts | FileFacts] = [*self.shards, *self.files]
        return {entry.path: entry for entry in sorted(entries, key=lambda entry: entry.path)}


_KEYS = (
    "schema_version",
    "name",
    "version",
    "shards",
    "files",
    "languages",
    "merkle_root",
    "totals",
    "origins",
    "licenses",
    "redactions",
    "inputs",
    "configuration_digest",
    "code_digest",
    "policies",
    "detectors",
    "libraries",
    "opt_out_head",
    "tokenizer",
    "parent",
)


def _shard(where: str, value: Any) -> ShardFacts:
    entry = record(where, value, tuple(ShardFacts.__dataclass_fields__))
    language = safe(f"{where}.language", entry["language"], names.check_language)
    path = safe(f"{where}.path", entry["path"], names.check_path)
    folder = f"{names.DATA_FOLDER}/{names.config_name(language)}/"
    if not path.startswith(folder) or not path.endswith(".parquet") or "/" in path.removeprefix(folder):
        raise ManifestError(f"{where}.path", f"{path!a} is not a shard of {language!a}: {folder}*.parquet")
    return ShardFacts(
        path=path,
        language=language,
        sha256=text(f"{where}.sha256", entry["sha256"], HEX_DIGEST),
        bytes=count(f"{where}.bytes", entry["bytes"], minimum=1),
        rows=count(f"{where}.rows", entry["rows"], minimum=1),
        row_groups=count(f"{where}.row_groups", entry["row_groups"], minimum=1),
        text_bytes=count(f"{where}.text_bytes", entry["text_bytes"]),
        memory_bytes=count(f"{where}.memory_bytes", entry["memory_bytes"]),
        merkle_root=text(f"{where}.merkle_root", entry["merkle_root"], HEX_DIGEST),
        tokens=_tokens(where, entry),
    )


def _tokens(where: str, entry: Mapping[str, Any]) -> int | None:
    return None if entry["tokens"] is None else count(f"{where}.tokens", entry["tokens"])


def _stage(where: str, value: Any) -> StageTotals:
    entry = record(where, value, tuple(StageTotals.__dataclass_fields__))
    return StageTotals(
        name=text(f"{where}.name", entry["name"], REASON),
        entered=count(f"{where}.entered", entry["entered"]),
        left=count(f"{where}.left", entry["left"]),
        dropped=_counts(f"{where}.dropped", entry["dropped"]),
    )


def _file(where: str, value: Any) -> FileFacts:
    entry = record(where, value, tuple(FileFacts.__dataclass_fields__))
    return FileFacts(
        path=safe(f"{where}.path", entry["path"], names.check_path),
        sha256=text(f"{where}.sha256", entry["sha256"], HEX_DIGEST),
        bytes=count(f"{where}.bytes", entry["bytes"]),
    )


def _language(where: str, value: Any) -> LanguageFacts:
    entry = record(where, value, tuple(LanguageFacts.__dataclass_fields__))
    return LanguageFacts(
        config_name=text(f"{where}.config_name", entry["config_name"]),
        rows=count(f"{where}.rows", entry["rows"], minimum=1),
        text_bytes=count(f"{where}.text_bytes", entry["text_bytes"]),
        memory_bytes=count(f"{where}.memory_bytes", entry["memory_bytes"]),
        bytes=count(f"{where}.bytes", entry["bytes"], minimum=1),
        shards=count(f"{where}.shards", entry["shards"], minimum=1),
        tokens=_tokens(where, entry),
    )


def _counts(where: str, value: Any) -> dict[str, int]:
    return {
        text(f"{where}, key", reason, REASON): count(f"{where}.{reason}", number)
        for reason, number in mapping(where, value).items()
    }


def _languages(shards: Iterable[ShardFacts]) -> dict[str, LanguageFacts]:
    groups: dict[str, list[ShardFacts]] = {}
    for shard in shards:
        groups.setdefault(shard.language, []).append(shard)
    return {
        language: LanguageFacts(
            config_name=names.config_name(language),
            rows=sum(shard.rows for shard in group),
            text_bytes=sum(shard.text_bytes for shard in group),
            memory_bytes=sum(shard.memory_bytes for shard in group),
            bytes=sum(shard.bytes for shard in group),
            shards=len(group),
            tokens=_sum_of_tokens(group),
        )
        for language, group in sorted(groups.items())
    }


def _sum_of_tokens(shards: Iterable[ShardFacts]) -> int | None:
    counts = [shard.tokens for shard in shards]
    known = [number for number in counts if number is not None]
    return sum(known) if len(known) == len(counts) else None


def json_schema() -> dict[str, Any]:
    """Return the published JSON Schema (draft 2020-12) of `manifest.json`."""
    schema: dict[str, Any] = canonical.load(
        package_files("manifests").joinpath("data/manifest.schema.json").read_bytes()
    )
    return schema
