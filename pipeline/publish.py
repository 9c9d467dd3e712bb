"""From finished shards to the release directory: assembled beside its place, compared, then renamed into it.

A release is never overwritten. What is already there with the same manifest is called identical; anything else of the
same version is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from licensing.optout import Registry
from licensing.policy import Policy
from manifests.card import CardFacts
from manifests.manifest import Digests, Manifest, Origins, ShardFacts, Totals
from manifests.release_writer import finish_release
from pii.rules import rules_digest
from pipeline import config as configuration
from pipeline.config import ReleaseConfig
from pipeline.engine.keys import digest, library_version, source_digest
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import as_path
from pipeline.engine.store import Store, disk_errors, fsync
from pipeline.errors import ConfigError, IntegrityError, SourceError

LIBRARIES = (
    "charset-normalizer", "detect-secrets", "duckdb", "google-re2", "hyperscan", "license-expression", "numba", "numpy",
    "phonenumberslite", "pyarrow", "scancode-toolkit-mini",
)  # fmt: skip
"""Third-party libraries whose versions can change a released byte."""


def release_facts(
    settings: ReleaseConfig, version: str, *, inputs: Mapping[str, Any], shards: Done, ledger: Done
) -> dict[str, Any]:
    """Everything that the release directory depends on, besides the text of its rows."""
    resolved = configuration.resolved(settings)
    licenses = Policy.load(as_path(settings.licenses.policy))
    detectors = {"duplicates": f"stackmill dedup {source_digest('dedup')[:16]}"}
    if settings.licenses.scancode:
        detectors["scancode"] = library_version("scancode-toolkit-mini")
    return {
        "name": settings.name,
        "version": version,
        "config": resolved,
        "inputs": dict(inputs),
        "code": source_digest("pipeline.release"),
        "policies": {
            "license": licenses.digest,
            "opt_out": Registry.load(as_path(settings.optout.registry)).digest,
            "secrets": rules_digest(),
        },
        "detectors": detectors,
        "libraries": {name: library_version(name) for name in LIBRARIES},
        "shards_key": shards.stage.key,
        "ledger_key": ledger.stage.key,
    }


def record_key(final: Path) -> str:
    """Where a work directory remembers what it put at `final`."""
    return f"releases/{final.name}-{digest(str(final.absolute()))[:12]}.json"


def known_digest(store: Store, final: Path, facts: Mapping[str, Any]) -> str | None:
    """The digest of the release in place, when it was made by this work directory from exactly these facts."""
    try:
        record = json.loads(store.read(record_key(final)))
        manifest = (final / "manifest.json").read_bytes()
    except FileNotFoundError:
        return None
    same = {key: record.get(key) for key in facts} == json.loads(json.dumps(facts))
    if not same or _sha256(manifest) != record["digest"]:
        return None
    _check_sizes(final, manifest)
    return str(record["digest"])


def _check_sizes(final: Path, manifest: bytes) -> None:
    """Raise IntegrityError when a file that the manifest lists is gone or has another size."""
    for listed in Manifest.parse(manifest).listed().values():
        path = final / listed.path
        if not path.is_file() or path.stat().st_size != listed.bytes:
            raise IntegrityError(
                f"{final} is there, but {listed.path} is missing or has another size than its manifest says;"
                " run `pipeline verify` on it, and remove the folder to have it made again"
            )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def publish(
    runner: Runner, *, shards: Done, origins: Done, facts: Mapping[str, Any], totals: Totals, final: Path
) -> tuple[str, str]:
    """Assemble the directory beside its final place, compare with what is there, and rename. Returns digest and state."""
    staging = final.with_name(f"{final.name}.tmp-{uuid.uuid4().hex[:12]}")
    with disk_errors(str(staging)):
        for left in final.parent.glob(f"{final.name}.tmp-*"):
            shutil.rmtree(left, ignore_errors=True)  # of a run that was killed here
        try:
            staging.mkdir(parents=True)
            described = []
            for unit in shards.facts:
                for recorded in unit["shards"]:
                    shard = dict(recorded)  # the summary is shared with later runs of this process
                    name = shard.pop("file")
                    target = staging / shard["path"]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _copy(runner.store, f"{shards.stage.folder}/{name}", target)
                    described.append(ShardFacts(**shard))
            ended: Counter[str] = Counter()
            for unit in origins.facts:
                ended.update(dict(unit["input"]))
            resolved = ended.pop("resolved", 0)
            made = finish_release(
                staging,
                name=facts["name"],
                version=facts["version"],
                shards=described,
                ids=runner.table(shards.ref("ids")),
                totals=totals,
                origins=Origins(
                    found=resolved + sum(ended.values()),
                    resolved=resolved,
                    unresolved=dict(sorted(ended.items())),
                ),
                inputs=facts["inputs"],
                digests=Digests(
                    configuration=digest(facts["config"]),
                    code=facts["code"],
                    policies=facts["policies"],
                    detectors=facts["detectors"],
                    libraries=facts["libraries"],
                ),
                config_yaml=_config_yaml(facts["config"]),
                text=CardFacts(),
            )
            if final.exists():
                return made, _same_or_refuse(final, made)
            for path in (staging, *staging.rglob("*")):
                fsync(path)
            staging.rename(final)
            fsync(final.parent)
            return made, "made"
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _same_or_refuse(final: Path, made: str) -> str:
    try:
        manifest = (final / "manifest.json").read_bytes()
        there = _sha256(manifest)
    except OSError:
        manifest, there = b"", "unreadable"
    if there != made:
        raise ConfigError(
            f"{final} exists and is another release (manifest {there[:16]}, this one would be {made[:16]});"
            " releases are never overwritten: give another --version or --out"
        )
    _check_sizes(final, manifest)
    return "identical"


def _copy(store: Store, key: str, target: Path) -> None:
    if store.root is not None:
        shutil.copyfile(store.path(key), target)
    else:
        target.write_bytes(store.read(key))


def check_output(out: Path) -> None:
    """Raise SourceError before any work is done when no release could be written to `out`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(f"--out {out}: {error.strerror or error}") from error
    if not os.access(out, os.W_OK):
        raise SourceError(f"--out {out}: no permission to write there")


def _config_yaml(resolved: Mapping[str, Any]) -> bytes:
    head = "# The resolved configuration of this release: everything in it that can change a released byte.\n"
    return (head + yaml.safe_dump(dict(resolved), sort_keys=True, allow_unicode=True)).encode()
