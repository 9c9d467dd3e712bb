"""`pipeline scan secrets DIR`: secrets and personal data of any folder, for people, programs, code hosts and CI."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pipeline.cli.scan import AsJson, Directory, MaxBytes, folder_of, shown

if TYPE_CHECKING:
    from pii.settings import Policy
    from pipeline.scan_secrets import Detect, FileFindings
    from pipeline.secrets_baseline import Baseline


def secrets(
    directory: Directory,
    as_json: AsJson = False,
    sensitivity: Annotated[
        Literal["low", "medium", "high"] | None,
        typer.Option("--sensitivity", help="Tier of rules; default: of --config, else high."),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind", metavar="KIND=LEVEL", help="Another tier of a kind, or off; may be given again."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", help="Take all settings from the `secrets` section of a release configuration."
        ),
    ] = None,
    rules: Annotated[
        list[Path] | None, typer.Option("--rules", help="A file of own rules; may be given again.")
    ] = None,
    allow: Annotated[
        list[Path] | None, typer.Option("--allow", help="An allow-list file; may be given again.")
    ] = None,
    obey_pragmas: Annotated[
        bool,
        typer.Option("--obey-pragmas", help="Spare what inline pragmas ask for; else they are only told."),
    ] = False,
    spared: Annotated[bool, typer.Option("--spared", help="Tell what is spared, too, and why.")] = False,
    show_context: Annotated[
        bool, typer.Option("--show-context", help="Show each finding's line as it would be released.")
    ] = False,
    value_digests: Annotated[
        bool,
        typer.Option(
            "--value-digests",
            help="SHA-256 of each value, for allow-lists. A weak value can be guessed from it.",
        ),
    ] = False,
    sarif: Annotated[
        Path | None, typer.Option("--sarif", metavar="FILE", help="Write a SARIF 2.1.0 log, too.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", metavar="FILE", help="Tell only what this baseline has not.")
    ] = None,
    write_baseline: Annotated[
        Path | None,
        typer.Option(
            "--write-baseline", metavar="FILE", help="Write what was found as a baseline for later runs."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="Ask this token-classification model, too: a folder, or an id of the hub."
        ),
    ] = None,
    model_labels: Annotated[
        Path | None,
        typer.Option("--model-labels", metavar="FILE", help="What kind each label of --model is; YAML."),
    ] = None,
    model_threshold: Annotated[
        float, typer.Option("--model-threshold", min=0, max=1, help="Mean probability that a finding needs.")
    ] = 0.5,
    fail: Annotated[
        bool, typer.Option("--fail", help="Exit 3 if something is told that is not spared: for CI.")
    ] = False,
    max_bytes: MaxBytes = 10_485_760,
) -> None:
    """Secrets and personal data: {path, start, end, kind, rule, line, column, pragma}, byte offsets in the text as UTF-8.

    Values are never printed. What it comes to is said on stderr.
    """
    from pipeline.scan_secrets import scan_secrets
    from pipeline.secrets_baseline import Baseline, entries_of, known
    from pipeline.secrets_sarif import sarif as sarif_log

    policy = _policy(config, sensitivity, kind or [], rules or [], allow or [], obey_pragmas)
    detect, by_model = _model(model, model_labels, model_threshold)
    settings = policy.digest() + by_model
    before = _baseline(baseline, settings)
    count, why = Counter[str](), Counter[str]()
    held: list[FileFindings] = []

    def lines() -> Iterator[tuple[FileFindings, int]]:
        for file in scan_secrets(folder_of(directory, max_bytes), policy, detect=detect):
            there = known(before, file) if before else [False] * len(file.found)
            if sarif or write_baseline or before:
                held.append(file)
            for number, one in enumerate(file.found):
                state = "spared" if one.spared is not None else "known" if there[number] else "told"
                count[state] += 1
                why[one.spared or ""] += 1
                if state == "told" or (state == "spared" and spared):
                    yield file, number

    for file, number in lines():
        record = shown(_record(file, number, show_context=show_context, digest=value_digests, spared=spared))
        typer.echo(json.dumps(record) if as_json else _line(record))
    if sarif:
        pairs = ((file, known(before, file) if before else None) for file in held)
        _write(sarif, json.dumps(sarif_log(pairs, policy.base.rules), indent=1) + "\n")
    if write_baseline:
        new = before or Baseline.empty(settings)
        _write(write_baseline, Baseline(new.salt, settings, Counter()).text(entries_of(new, held)))
    gone = (before.entries - entries_of(before, held)).total() if before else None
    typer.echo(_summary(count, gone), err=True)
    for reason, number in sorted(why.items(), key=lambda one: (-one[1], one[0])):
        if reason:
            typer.echo(f"{number:>10,}  spared: {reason}", err=True)
    if fail and count["told"]:
        from pipeline.errors import GateError

        raise GateError(f"{count['told']:,} findings" + (" that the baseline has not" if before else ""))


def _policy(
    config: Path | None,
    sensitivity: str | None,
    kinds: list[str],
    rules: list[Path],
    allow: list[Path],
    obey_pragmas: bool,
) -> Policy:
    """What the options come to, over those of a release configuration."""
    from dataclasses import replace

    from pii.allow import load_allow
    from pii.rules.own import check_examples, load_rules_file
    from pii.settings import Policy
    from pipeline.config import load
    from pipeline.errors import ConfigError

    policy = load(config).secrets.policy() if config is not None else Policy()
    base = policy.base
    if sensitivity is not None:
        base = replace(base, sensitivity=sensitivity)
    levels = dict(base.kinds)
    for one in kinds:
        name, equals, level = one.partition("=")
        if not equals:
            raise ConfigError(f"--kind {one}: write KIND=LEVEL, as in email=off")
        levels[name] = level
    own = tuple(rule for path in rules for rule in load_rules_file(path))
    if wrong := [f"rule {rule.id}: {problem}" for rule in own for problem in check_examples(rule)]:
        raise ConfigError("--rules: examples that do not hold: " + "; ".join(wrong))
    base = replace(
        base,
        kinds=tuple(levels.items()),
        rules=(*base.rules, *own),
        obey_pragmas=base.obey_pragmas or obey_pragmas,
    )
    entries = tuple(entry for path in allow for entry in load_allow(_read(path, "--allow"), str(path)))
    return replace(policy, base=base, allow=(*policy.allow, *entries))


def _model(name: str | None, labels: Path | None, threshold: float) -> tuple[Detect | None, str]:
    """What asks the model, and what its findings depend on; nothing without one."""
    from pii.model_detector import load_detector, read_labels
    from pipeline.errors import ConfigError

    if name is None or labels is None:
        if name is not None or labels is not None:
            raise ConfigError(
                "--model needs --model-labels, a file that says what kind each of its labels is, and the reverse"
            )
        return None, ""
    detector = load_detector(
        name,
        labels=read_labels(_read(labels, "--model-labels"), str(labels)),
        threshold=threshold,
        device="auto",
    )
    return detector.detect, f" {detector.digest} {threshold}"


def _read(path: Path, option: str) -> str:
    from pipeline.errors import ConfigError

    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{option} {path}: not read: {getattr(error, 'strerror', None) or 'not UTF-8'}"
        ) from error


def _write(path: Path, text: str) -> None:
    from pipeline.errors import ConfigError

    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: not written: {error.strerror}") from error


def _baseline(path: Path | None, settings: str) -> Baseline | None:
    from pipeline.secrets_baseline import Baseline

    if path is None:
        return None
    found = Baseline.read(_read(path, "--baseline"), str(path))
    if found.settings != settings:
        typer.echo(
            f"note: {path} was made with other rules or settings: what they alone find is new or gone",
            err=True,
        )
    return found


def _record(
    file: FileFindings, number: int, *, show_context: bool, digest: bool, spared: bool
) -> Mapping[str, Any]:
    one = file.found[number]
    line, column = file.line_and_column(one.start)
    record: dict[str, Any] = {
        "path": file.path,
        "start": one.start,
        "end": one.end,
        "kind": one.kind,
        "rule": one.rule,
        "line": line,
        "column": column,
        "pragma": one.pragma,
    }
    if spared:
        record["spared"] = one.spared
    if digest:
        record["value_sha256"] = file.digest(one)
    if show_context:
        record["context"] = file.context(number)
    return record


def _line(record: Mapping[str, Any]) -> str:
    place = f"{record['path']}:{record['line']}:{record['column']}"
    told = f"{record['kind']}\t{record['rule']}\t{place}\t{record['start']}-{record['end']}"
    if record.get("spared"):
        told += f"\tspared: {record['spared']}"
    if record["pragma"]:
        told += "\tpragma"
    if "value_sha256" in record:
        told += f"\t{record['value_sha256']}"
    return told + (f"\n    {record['context']}" if "context" in record else "")


def _summary(count: Counter[str], gone: int | None) -> str:
    told = f"{count['told']:,} findings" + (" that the baseline has not" if gone is not None else "")
    if gone is not None:
        told += f", {count['known']:,} that it has, {gone:,} of it are gone"
    return told + f"; {count['spared']:,} spared"
