"""`croissant.json`: the release in Croissant 1.1 (http://mlcommons.org/croissant/1.1), the JSON-LD vocabulary of data sets.

    distribution   one FileObject per shard, with its SHA-256 and size, ids.parquet and the tables of signals; one FileSet per
                   configuration, which the records are read from
    recordSet      one per configuration of the card, every column with its type
    provenance     W3C PROV-O: what it was derived from, and the stages that made it with their counts
    use            schema.org usageInfo, and the terms of the Responsible AI extension

Addresses are relative to the file, so that it holds for a folder, a bucket and the Hub alike. The size is linear:
about 400 bytes per shard and 13 kB per language (600 languages and 10,000 shards: 12 MB).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from manifests import canonical, names
from manifests.card_facts import CardFacts
from manifests.citation import citation
from manifests.columns import COLUMNS, PARTS
from manifests.facts import ShardFacts
from manifests.manifest import Manifest
from manifests.schema import DATA

FILE = "croissant.json"
CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
RAI = "http://mlcommons.org/croissant/RAI/1.0"
PARQUET = "application/x-parquet"
_TABLES = (
    names.IDS_FILE,
    names.NOTICES_FILE,
    names.QUALITY_SIGNALS_FILE,
    names.SECRETS_SPARED_FILE,
    names.SIGNALS_FILE,
)
"""The media type that Croissant's own reader knows; the registered one is application/vnd.apache.parquet."""

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}

_TYPES: dict[pa.DataType, str] = {
    pa.string(): "sc:Text",
    pa.binary(): "sc:Text",  # Croissant has no type for bytes
    pa.int64(): "cr:Int64",
    pa.float32(): "cr:Float32",
    pa.bool_(): "sc:Boolean",
    pa.timestamp("us"): "sc:DateTime",
}
"""Arrow type -> Croissant type, for the types of `DATA`."""

_SPDX_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
_NO_LICENSE = frozenset({"AND", "OR", "WITH", "NONE", "NOASSERTION"})


def croissant(manifest: Manifest, text: CardFacts | None = None) -> bytes:
    """Return the bytes of `croissant.json` for a manifest (a draft will do: of the files only `_TABLES` are used)."""
    text = CardFacts() if text is None else text
    configs = [(names.DEFAULT_CONFIG, "*")]
    configs += sorted((facts.config_name, facts.config_name) for facts in manifest.languages.values())
    value = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": manifest.name,
        "alternateName": text.pretty_name,
        "description": f"{text.summary} Release {manifest.version}: {manifest.totals.kept:,} rows in"
        f" {len(manifest.languages):,} languages.",
        "conformsTo": [CONFORMS_TO, RAI],
        "version": semantic_version(manifest.version),
        "url": text.homepage or f"urn:stackmill:{manifest.name}:{manifest.version}",
        "license": [*([text.license_link] if text.license_link else []), *license_urls(manifest)],
        "citeAs": citation(manifest.name, manifest.version, text),
        **_dates(manifest, text),
        **_publisher(text),
        "keywords": ["code", "source code", "Software Heritage", "provenance", "deduplicated", "opt-out"],
        "isLiveDataset": False,
        **_provenance(manifest),
        **_use(manifest, text),
        "distribution": [
            *_distribution(manifest.shards, configs),
            *(_file(file.path, file.sha256, file.bytes) for file in manifest.files if file.path in _TABLES),
        ],
        "recordSet": [
            _record_set(config, manifest.totals.kept if pattern == "*" else None)
            for config, pattern in configs
        ],
    }
    return canonical.dumps(value)


def semantic_version(version: str) -> str:
    """Return a release's version as MAJOR.MINOR.PATCH: `2.1` -> `2.1.0`, `2.1.0.4-rc.1` -> `2.1.0-rc.1+4`."""
    core, _, derived = version.partition("+")
    numbers, _, draft = core.partition("-")
    given = numbers.split(".")
    parts = [*given[:3], "0", "0"][:3]
    build = [*given[3:], *([derived] if derived else [])]
    return ".".join(parts) + (f"-{draft}" if draft else "") + (f"+{'.'.join(build)}" if build else "")


def license_urls(manifest: Manifest) -> list[str]:
    """Return the address at spdx.org of every license that the release's expressions name, sorted."""
    found: set[str] = set()
    for expression in manifest.contents.licenses:
        words = expression.replace("(", " ").replace(")", " ").split()
        for before, word in zip(["", *words], words, strict=False):
            if before == "WITH" or word in _NO_LICENSE or word.startswith(("LicenseRef-", "DocumentRef-")):
                continue
            if _SPDX_ID.fullmatch(word):
                found.add(f"https://spdx.org/licenses/{word}.html")
    return sorted(found)


def _dates(manifest: Manifest, text: CardFacts) -> dict[str, str]:
    """When it was published: as the publisher says, else the date of the input.

    The latter, also where it is the zero of all clocks, is the practice of reproducible builds (SOURCE_DATE_EPOCH).
    """
    visited = _visited(manifest)
    published = text.published or visited
    found = {"datePublished": published} if published else {}
    return {**found, **({"rai:dataCollectionTimeFrame": visited} if newest_visit(manifest) else {})}


def _visited(manifest: Manifest) -> str:
    value = manifest.inputs.get("newest_visit")
    return value[:10] if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d", value) else ""


def newest_visit(manifest: Manifest) -> str | None:
    """Return the date, YYYY-MM-DD, of the newest visit in the input; None where it does not tell (a built archive)."""
    visited = _visited(manifest)
    return None if visited in ("", "1970-01-01") else visited


def _publisher(text: CardFacts) -> dict[str, Any]:
    if text.publisher is None:
        return {}
    agent = {"@type": "sc:Organization", "name": text.publisher}
    if text.contact is not None:
        agent["email" if "://" not in text.contact else "url"] = text.contact
    return {"creator": agent, "publisher": agent}


def _provenance(manifest: Manifest) -> dict[str, Any]:
    """PROV: the archive and, if there is one, the parent; one activity per stage, over the code that ran."""
    sources: list[dict[str, Any]] = [
        {
            "@type": "prov:Entity",
            "@id": "urn:stackmill:input:" + canonical_digest(manifest.inputs),
            "prov:label": "Archive of source code",
            "description": "; ".join(
                f"{key}: {_flat(value)}" for key, value in sorted(manifest.inputs.items())
            ),
        }
    ]
    if manifest.parent is not None:
        sources.append(
            {
                "@type": "prov:Entity",
                "@id": f"urn:stackmill:release:{manifest.parent.digest}",
                "prov:label": f"Release {manifest.parent.version}",
            }
        )
    agent = {
        "@type": "prov:SoftwareAgent",
        "@id": f"urn:stackmill:code:{manifest.digests.code}",
        "prov:label": "Stackmill",
        "description": "Libraries that can change a released byte: "
        + _listed(manifest.digests.libraries.items())
        + "; detectors: "
        + _listed(manifest.digests.detectors.items()),
    }
    plan = {
        "@type": "prov:Plan",
        "@id": f"urn:stackmill:configuration:{manifest.digests.configuration}",
        "prov:label": "Resolved configuration, config.yaml; policies: "
        + _listed(manifest.digests.policies.items()),
    }
    stages = [
        {
            "@type": "prov:Activity",
            "@id": f"urn:stackmill:stage:{stage.name}",
            "prov:label": stage.name,
            "description": f"{stage.entered:,} occurrences came in, {stage.left:,} were left; dropped: "
            + (
                _listed((reason, f"{number:,}") for reason, number in sorted(stage.dropped.items())) or "none"
            ),
            "prov:wasAssociatedWith": {"@id": agent["@id"]},
            "prov:hadPlan": {"@id": plan["@id"]},
        }
        for stage in manifest.totals.stages
    ]
    run = {
        "@type": "prov:Activity",
        "@id": "urn:stackmill:stage:release",
        "prov:label": "release",
        "description": f"{manifest.totals.found:,} occurrences found, {manifest.totals.kept:,} kept;"
        f" opt-out registry {manifest.opt_out_head}",
        "prov:wasAssociatedWith": agent,
        "prov:hadPlan": plan,
    }
    return {"prov:wasDerivedFrom": sources, "prov:wasGeneratedBy": [run, *stages]}


def canonical_digest(value: Mapping[str, Any]) -> str:
    """Return the SHA-256, hex, of a JSON object's canonical form."""
    import hashlib

    return hashlib.sha256(canonical.dumps(dict(value))).hexdigest()


def _listed(items: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {value}" for name, value in items)


def _flat(value: Any) -> str:
    return value if isinstance(value, str) else canonical.dumps(value).decode("utf-8")


def _use(manifest: Manifest, text: CardFacts) -> dict[str, Any]:
    contact = text.contact or "the publisher"
    return {
        "usageInfo": {
            "@type": "CreativeWork",
            "name": "Conditions of use",
            "text": f"{text.license_policy} Every file keeps the license that its row names (license_expression,"
            " license_evidence), with its duties, attribution above all. Use the newest release, and apply its"
            f" removals to older copies. To opt out: {contact}.",
        },
        "rai:dataCollection": text.source,
        "rai:dataCollectionType": ["Software Collection"],
        "rai:dataPreprocessingProtocol": [text.license_policy, text.deduplication, *text.steps.values()],
        "rai:dataManipulationProtocol": text.redaction,
        "rai:machineAnnotationTools": sorted(
            f"{name} {version}" for name, version in manifest.digests.detectors.items()
        ),
        "rai:personalSensitiveInformation": [
            text.redaction,
            "A SWHID still leads to the unredacted original: redaction does not unpublish.",
            "Names and addresses of authors can be left where no rule found them, and in the URLs of repositories.",
        ],
        "rai:dataBiases": [
            "Code on public forges under permissive licenses: what is private, unlicensed or copyleft is not here.",
            "Programming languages that many people publish in dominate; see the rows by language in the card.",
        ],
        "rai:dataUseCases": [
            "Training and evaluation of language models for code; studies of source code and licenses."
        ],
        "rai:dataLimitations": list(text.limits),
        "rai:dataReleaseMaintenancePlan": f"{text.removal_policy} Each release is a new version with checksums; rows that"
        " were withdrawn are named in removals.jsonl for older copies.",
    }


# ------------------------------------------------------------------------------------------- files and records


def _file(path: str, sha256: str, size: int) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": quote(path),
        "name": path,
        "contentUrl": quote(path),
        "contentSize": f"{size} B",
        "encodingFormat": PARQUET,
        "sha256": sha256,
    }


def _distribution(
    shards: Iterable[ShardFacts], configs: Iterable[tuple[str, str]]
) -> Iterable[dict[str, Any]]:
    for config, pattern in configs:
        yield {
            "@type": "cr:FileSet",
            "@id": _file_set(config),
            "name": f"Shards of {config}",
            "encodingFormat": PARQUET,
            "includes": f"{names.DATA_FOLDER}/{pattern}/*.parquet",
        }
    for shard in shards:
        yield _file(shard.path, shard.sha256, shard.bytes)


def _file_set(config: str) -> str:
    return "files/" + quote(config, safe="")


def record_set_id(config: str) -> str:
    """Return the `@id` of a configuration's record set: its name, percent-encoded."""
    return quote(config, safe="")


def _record_set(config: str, rows: int | None) -> dict[str, Any]:
    base, files = record_set_id(config), _file_set(config)
    count = f" {rows:,} rows." if rows is not None else ""
    return {
        "@type": "cr:RecordSet",
        "@id": base,
        "name": config,
        "description": (
            f"All languages.{count}"
            if config == names.DEFAULT_CONFIG
            else "The rows of one language; what the columns mean is told in `default`."
        ),
        "key": {"@id": f"{base}/row_id"},
        "field": [_field(base, files, column, words=config == names.DEFAULT_CONFIG) for column in DATA],
    }


def _field(base: str, files: str, column: pa.Field, *, words: bool) -> dict[str, Any]:
    """One column. Its words stand in `default` only: repeated for each of 600 languages they would be 4 MB."""
    kind = column.type
    found: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{base}/{column.name}",
        "name": column.name,
        **({"description": COLUMNS[column.name]} if words else {}),
    }
    source = {"fileSet": {"@id": files}, "extract": {"column": column.name}}
    if pa.types.is_list(kind):
        found |= {"isArray": True, "arrayShape": "-1"}
        kind = kind.value_type
    if not pa.types.is_struct(kind):
        return {**found, "dataType": _TYPES[kind], "source": source}
    parts = [
        {
            "@type": "cr:Field",
            "@id": f"{base}/{column.name}/{part.name}",
            "name": part.name,
            **({"description": PARTS[column.name][part.name]} if words else {}),
            "dataType": _TYPES[part.type],
            "source": {**source, "transform": {"jsonPath": part.name}},
        }
        for part in kind
    ]
    return {**found, "subField": parts}
