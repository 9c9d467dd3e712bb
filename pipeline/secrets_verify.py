"""`pipeline verify DIR --secrets`: scan the rows of a release again, from the release alone.

What decides is in its `config.yaml`: the levels, by language; exceptions need not be known, since what they left is recorded in
`secrets-spared.parquet`. A row is scanned by the levels of its own language; where a content lies in files of several
languages the release may have been stricter, never less strict. Rules of the publisher's own are in files that a release
does not hold: whoever has them gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from manifests.checksums import sha256_file
from manifests.errors import ReleaseError
from manifests.names import CONFIG_FILE, SECRETS_SPARED_FILE
from manifests.reader import Release
from manifests.secrets_spared import SECRETS_SPARED
from pii.rules import digest_of, rules_digest
from pii.settings import Policy
from pipeline import config as configuration
from pipeline.errors import ConfigError, IntegrityError
from pipeline.local_copy import local_copy
from pipeline.secrets_check import COLUMNS, Unrecorded, spans_by_row, unrecorded
from pipeline.stages.reading import in_batches

_TEXT_BYTES = 16 << 20  # texts that are scanned at once
_KEPT = 1_000  # findings that are remembered


@dataclass
class Rechecked:
    """What a scan of all rows found: `total` findings that nobody recorded, the first ones in `findings`."""

    rows: int = 0
    spared: int = 0
    total: int = 0
    findings: list[Unrecorded] = field(default_factory=list)
    same_rules: bool = True


def secrets_section(config_yaml: bytes, where: str, rules: Sequence[str] = ()) -> dict[str, Any]:
    """The section `secrets` of a release's configuration, as `pipeline.config_secrets` reads it, with files of own rules."""
    try:
        found = yaml.safe_load(config_yaml)["secrets"]
        return {**dict(found), "rules": list(rules)}
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"{where}: the release's configuration does not say how it was redacted"
        ) from error


def policy_of(
    config_yaml: bytes, where: str, *, rules: Sequence[str] = (), own_rules: str | None = None
) -> Policy:
    """By what a release was redacted, as its configuration says; what a file had that is not published is not in it.

    `own_rules`: digest of the rules of the publisher's own, which the files `rules` must hold. Raises IntegrityError for a
    configuration that this version cannot read, ConfigError where the rules are not those.
    """
    section = secrets_section(config_yaml, where, rules)
    try:
        policy = configuration.parse({"secrets": section}, where=where).secrets.policy()
    except ConfigError as error:
        if rules:
            raise
        raise IntegrityError(f"{where}: its configuration cannot be read: {error}") from error
    have = digest_of(policy.base.rules) if policy.base.rules else None
    if own_rules is not None and have != own_rules:
        raise ConfigError(
            f"{where}: the release was made with rules of its publisher (digest {own_rules});"
            f" {'give their files with --secret-rules' if have is None else 'the files given hold other ones'}"
        )
    return policy


def own_rules_of(release: Release) -> str | None:
    """The digest of the publisher's own rules; None for a release without."""
    found = release.manifest.inputs.get("secrets")
    return str(found["rules"]) if isinstance(found, dict) and "rules" in found else None


def recheck_release(
    address: str, rules: Sequence[str] = (), note: Callable[[str], object] = lambda text: None
) -> Rechecked:
    """Scan every row of the release at `address`, a folder or s3:// prefix; shards are checked against the manifest first.

    Raises IntegrityError where the release is not what its manifest says, ConfigError where rules are missing.
    """
    with local_copy(address) as folder:
        try:
            return _recheck(Release.open(folder), address, rules, note)
        except ReleaseError as error:
            raise IntegrityError(str(error)) from error


def _recheck(release: Release, where: str, rules: Sequence[str], note: Callable[[str], object]) -> Rechecked:
    config = _listed(release, CONFIG_FILE).read_bytes()
    policy = policy_of(config, where, rules=rules, own_rules=own_rules_of(release))
    done = Rechecked(same_rules=release.manifest.digests.policies.get("secrets") == rules_digest())
    spared = SECRETS_SPARED.empty_table()
    if SECRETS_SPARED_FILE in release.manifest.listed():
        try:
            spared = pq.read_table(_listed(release, SECRETS_SPARED_FILE)).select(SECRETS_SPARED.names)
        except (pa.ArrowException, KeyError) as error:
            raise ReleaseError(f"{where}: {SECRETS_SPARED_FILE} cannot be read: {error}") from error
    done.spared = spared.num_rows
    spans = spans_by_row(spared)
    for language, shards in groupby(release.shards(), key=lambda shard: shard.language):
        settings = policy.settings_for([language])
        for shard in shards:
            file = release.check_shard(shard)
            with pq.ParquetFile(file) as parquet:
                for group in range(parquet.num_row_groups):
                    rows = parquet.read_row_group(group, columns=COLUMNS)
                    done.rows += rows.num_rows
                    sized = rows.append_column("bytes", pc.binary_length(rows["content"]))
                    for piece in in_batches(sized, "bytes", _TEXT_BYTES):
                        for one in unrecorded(piece, settings, spans):
                            done.total += 1
                            done.findings += [one] * (len(done.findings) < _KEPT)
            note(f"{done.rows:,} rows scanned")
    return done


def _listed(release: Release, path: str) -> Path:
    """A file of the release, as the manifest has it."""
    file, listed = release.directory / path, release.manifest.listed()[path]
    try:
        same = sha256_file(file) == (listed.sha256, listed.bytes)
    except OSError as error:
        raise ReleaseError(f"{file}: cannot be read: {error.strerror}") from error
    if not same:
        raise ReleaseError(f"{release.directory}: {path} is not what the manifest says")
    return file
