"""`pipeline verify DIR`: is this release, to the byte, what its manifest says, and is it the one that was meant?"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from manifests.errors import ReleaseError
from manifests.faults import Report, SignatureState
from manifests.names import visible
from manifests.places import Place
from manifests.trust import Expected
from manifests.verify import Sample, verify_release
from pipeline.errors import ConfigError, GateError, IntegrityError
from pipeline.release_place import release_place

JSON_VERSION = 2
"""Version of the keys of `pipeline verify --json`."""

UNSIGNED = "UNSIGNED: this shows that the release agrees with itself, not who made it"


def register(app: typer.Typer) -> None:
    """Add `verify` to the command line."""
    app.command("verify")(verify)


def verify(
    directory: Annotated[
        str,
        typer.Argument(
            metavar="DIR",
            help="A release: a folder such as releases/2.1, s3://bucket/releases/2.1, or what the Hub's client made of it.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Files checked at a time. [default: one per core, at most 8]"),
    ] = None,
    sample: Annotated[
        str | None,
        typer.Option(
            metavar="N|P%", help="Open so many shards only, drawn at random; the rest is checked as ever."
        ),
    ] = None,
    seed: Annotated[
        str | None,
        typer.Option(help="Draw the sample that an earlier verification named. [default: a new one]"),
    ] = None,
    row: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Prove that this row id is in the release, or is not; --json is the proof."
        ),
    ] = None,
    proof: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Check a proof against DIR, which may be a manifest.json alone."),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            "--trusted-keys",
            metavar="FILE",
            help="Public keys, one of which must have signed. [else: STACKMILL_TRUSTED_KEYS, checked where signed]",
        ),
    ] = None,
    signed: Annotated[
        bool, typer.Option("--require-signature", help="An unsigned release is a fault.")
    ] = False,
    identity: Annotated[
        str | None, typer.Option("--sigstore-identity", help="Who must have signed through sigstore.")
    ] = None,
    issuer: Annotated[
        str | None, typer.Option("--sigstore-issuer", help="Who vouches for that identity, an address.")
    ] = None,
    digest: Annotated[
        str | None, typer.Option(metavar="HEX", help="The release's digest, as it is known from elsewhere.")
    ] = None,
    at_least: Annotated[
        str | None, typer.Option(metavar="VERSION", help="The oldest version that is accepted.")
    ] = None,
    pins: Annotated[
        Path | None,
        typer.Option(
            "--pin",
            metavar="FILE",
            help="Remembers what was verified last; an older version, or other bytes of the same one, is a fault.",
        ),
    ] = None,
    parent: Annotated[
        str | None, typer.Option(metavar="DIR", help="The release that this one must name as its parent.")
    ] = None,
    scan_secrets: Annotated[
        bool,
        typer.Option(
            "--secrets",
            help="Scan every row again instead: what is found must be recorded as redacted or spared, else exit code 3.",
        ),
    ] = False,
    secret_rules: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE", help="With --secrets: the publisher's own rules; again for another file."
        ),
    ] = None,
) -> None:
    """Verify a release: its files, every checksum, every row, every figure, its signature.

    Exit code 0 when there is no fault; 4, with each fault and its file on stdout, when there is one. A release on S3 is
    read in streams: below TMPDIR it needs room for as many shards as are checked at a time.
    """
    if scan_secrets:
        _rescan(directory, secret_rules or [], as_json=as_json)
        return
    if secret_rules:
        raise ConfigError("--secret-rules goes with --secrets")
    from pipeline.verification import check_identity, expectations, head_of, pin, proof_of, row_of

    if row is not None and proof is not None:
        raise ConfigError("give one of --row ID and --proof FILE")
    if (row or proof) and sample is not None:
        raise ConfigError("--sample is of a whole verification: not with --row or --proof")
    if seed is not None and sample is None:
        raise ConfigError("--seed is of a sample: give --sample, too")
    if (identity is None) != (issuer is None):
        raise ConfigError("give --sigstore-identity and --sigstore-issuer together")
    try:
        expected = expectations(
            keys=keys,
            signed=signed
            and identity is None,  # an identity that is named must have signed, and is checked below
            digest=digest,
            at_least=at_least,
            pins=pins,
            parent=parent,
        )
        drawn = None if sample is None else Sample(sample, seed or secrets.token_hex(8))
        if identity is not None and issuer is not None:
            check_identity(directory, head_of(directory), identity=identity, issuer=issuer)
        if row is not None or proof is not None:
            answer = (
                row_of(directory, row, expected)
                if row is not None
                else proof_of(directory, proof or Path(), expected)
            )
            sys.stdout.write(_row_json(answer) if as_json else _row_text(directory, answer, proof))
            return
        report = _run(release_place(directory), threads, drawn, expected)
    except ReleaseError as error:
        raise ConfigError(str(error)) from error
    sys.stdout.write(_json(report, identity) if as_json else _text(directory, report, identity))
    if not report.ok:
        files = len({fault.path for fault in report.faults})
        raise IntegrityError(
            f"{directory}: {len(report.faults)} faults in {files} files; do not use this copy,"
            " fetch these files again"
        )
    if pins is not None:
        pin(pins, report)


def _rescan(directory: str, rules: list[str], *, as_json: bool) -> None:
    from pipeline.secrets_check import in_words
    from pipeline.secrets_verify import recheck_release

    done = recheck_release(directory, rules, note=lambda text: None)
    found = [vars(one) for one in done.findings]
    if as_json:
        answer = {**vars(done), "findings": found, "json_version": JSON_VERSION, "ok": not done.total}
        sys.stdout.write(json.dumps(answer, indent=2, sort_keys=True) + "\n")
    elif not done.total:
        other = "" if done.same_rules else " (the release was made with other rules)"
        sys.stdout.write(
            f"{visible(directory)}: {done.rows:,} rows scanned again{other}: all that is found is recorded,"
            f" {done.spared:,} findings as spared\n"
        )
    if done.total:
        raise GateError(
            f"{directory}: {done.total:,} findings are neither redacted nor recorded as spared: "
            + in_words(done.findings, done.total)
            + ("" if done.same_rules else "; the release was made with other rules than this version has")
        )


def _run(place: Place, threads: int | None, sample: Sample | None, expected: Expected) -> Report:
    if not sys.stderr.isatty():
        return verify_release(place, threads=threads, sample=sample, expected=expected)
    columns = (
        TextColumn("verify"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        return verify_release(
            place, threads=threads, sample=sample, expected=expected, progress=_advance(bar)
        )


def _advance(bar: Progress) -> Callable[[int, int], None]:
    task = bar.add_task("verify", total=None)
    return lambda done, total: bar.update(task, completed=done, total=total)


def _json(report: Report, identity: str | None) -> str:
    value = {
        "json_version": JSON_VERSION,
        "ok": report.ok,
        "name": report.name,
        "version": report.version,
        "digest": report.digest,
        "signed": report.signed,
        "signature": report.signature,
        "key_ids": list(report.key_ids),
        "sigstore": identity if identity is not None else ("not checked" if report.sigstore else None),
        "figures": report.figures,
        "checked": {
            "shards_opened": report.shards_opened,
            "shards": report.figures.get("shards"),
            "seed": report.seed,
            "tokens": False,
        },
        "ignored": list(report.ignored),
        "faults": [
            {"path": fault.path, "code": fault.code, "message": fault.message} for fault in report.faults
        ],
    }
    return json.dumps(value, indent=2) + "\n"


def _signature(state: SignatureState, key_ids: tuple[str, ...]) -> str:
    if state == "UNSIGNED":
        return UNSIGNED
    if state == "trusted":
        return f"good, by the trusted key {key_ids[0]}"
    return f"by key {', '.join(key_ids)}, NOT CHECKED: give --trusted-keys FILE to check it"


def _text(directory: str, report: Report, identity: str | None) -> str:
    if not report.ok:
        lines = [f"{fault.path}: {fault.code}: {fault.message}" for fault in report.faults]
        return "".join(visible(line) + "\n" for line in lines)
    figures = report.figures
    lines = [
        f"{directory}: release {report.version} verified, no fault",
        f"  digest     {report.digest}",
        f"  files      {figures['files']:,} ({figures['bytes']:,} bytes)",
        f"  shards     {figures['shards']:,} in {figures['languages']:,} languages",
        f"  rows       {figures['rows']:,} ({figures['text_bytes']:,} bytes of text)",
    ]
    if report.seed is not None:
        lines += [
            f"  SAMPLE     {report.shards_opened:,} of {figures['shards']:,} shards opened (again: --seed {report.seed})",
            "             of the others: that they are there, their size, and their Merkle root by ids.parquet;",
            "             NOT their bytes and rows, nor the sums of licenses and redactions",
        ]
    if report.ignored:
        lines.append(
            f"  ignored    {len(report.ignored):,} files of the Hub's client, first: {report.ignored[0]}"
        )
    lines.append(f"  signature  {_signature(report.signature, report.key_ids)}")
    if identity is not None:
        lines.append(f"  sigstore   good, by {identity}")
    elif report.sigstore:
        lines.append("  sigstore   a bundle, NOT CHECKED: give --sigstore-identity and --sigstore-issuer")
    return "".join(visible(line) + "\n" for line in lines)


def _row_json(answer: Any) -> str:
    """The proof itself, so that it can be kept in a file; what a given one shows, where it was given."""
    if answer.proof is not None:
        return json.dumps(answer.proof, indent=2) + "\n"
    return json.dumps({"json_version": JSON_VERSION, "ok": True, **vars(answer.facts)}, indent=2) + "\n"


def _row_text(directory: str, answer: Any, proof: Path | None) -> str:
    facts = answer.facts
    where = f"in release {answer.version}" if facts.present else f"NOT in release {answer.version}"
    lines = [f"{directory}: row {facts.row_id} is {where}"]
    if facts.present:
        lines += [
            f"  shard      {facts.shard}, row {facts.row:,}",
            f"  content    sha256 {facts.content_sha256}",
        ]
    lines += [
        f"  proof      {'given' if proof else 'made'}, and holds under Merkle root {facts.merkle_root} of {facts.rows:,} rows",
        f"  digest     {answer.digest}",
        f"  signature  {_signature(answer.signature, answer.key_ids)}",
    ]
    return "".join(visible(line) + "\n" for line in lines)
