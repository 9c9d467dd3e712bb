"""From filled-in forms to rates: the share of each verdict in what was sampled from, with a 95 % interval.

Of kept rows, a simple random sample: Wilson's interval (Wilson 1927; Brown, Cai and DasGupta 2001 recommend it at small
numbers). Of dropped files, a stratified one: the rate is the sum over the reasons of (share of the population) x (share of
`yes`); its interval is Wilson's with the effective sample size 1 / sum(W^2 / n), the size of the simple sample that such
weights are worth (Kish 1965; that a binomial interval with it covers well for survey data: Korn and Graubard 1998).
`unsure` counts for neither side and is told beside the rate.
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from manifests.review import QUESTIONS, SCHEMA
from pipeline.errors import ConfigError
from pipeline.review_form import NOT_ASKED, RELEASE_DIGITS, SAMPLE, VERDICTS, asked, columns, digest_of

RESULT = "review.json"
_Z = 1.959963984540054  # the 97.5th percentile of the normal distribution
_MAX_BYTES = 64 << 20  # of a file of a form
_SHOWN = 60  # characters of a wrong cell that a message repeats

Answers = dict[str, Counter[str]]
"""Stratum -> verdict -> how many."""


def wilson(rate: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a share that was seen in `n` (which may be an effective number) trials; all of [0, 1] for none."""
    if n <= 0:
        return 0.0, 1.0
    middle = (rate + _Z * _Z / (2 * n)) / (1 + _Z * _Z / n)
    half = _Z / (1 + _Z * _Z / n) * math.sqrt(max(0.0, rate * (1 - rate) / n + _Z * _Z / (4 * n * n)))
    return max(0.0, min(rate, middle - half)), min(1.0, max(rate, middle + half))


def estimate(answers: Answers, populations: Mapping[str, int]) -> dict[str, Any]:
    """The rate of `yes` over strata, its interval, and the share of the population that it speaks of."""
    counted = {name: (found["yes"], found["yes"] + found["no"]) for name, found in answers.items()}
    judged = {name: populations[name] for name, (_, n) in counted.items() if n}
    whole = sum(judged.values())
    covered = whole / total if (total := sum(populations[name] for name in answers)) else 0.0
    if not whole:
        return {"rate": None, "low": 0.0, "high": 1.0, "covered": covered, "effective_n": 0.0}
    weights = {name: amount / whole for name, amount in judged.items()}
    rate = min(1.0, sum(weights[name] * counted[name][0] / counted[name][1] for name in weights))
    effective = 1 / sum(weight**2 / counted[name][1] for name, weight in weights.items())
    low, high = wilson(rate, effective)
    return {"rate": rate, "low": low, "high": high, "covered": covered, "effective_n": effective}


def score(folder: Path, *, digest: str | None = None) -> dict[str, Any]:
    """The contents of `review.json` from a filled-in form. `digest`: of the release that is meant, if it is given.

    Raises ConfigError naming file and line for what is not filled in, or was changed.
    """
    sample = _sample(folder)
    release = sample["release"]
    if digest is not None and release["digest"] != digest:
        raise ConfigError(
            f"{folder} is a form of release {release['version']} ({release['digest'][:16]}), not of this one ({digest[:16]})"
        )
    populations = {one["reason"]: one["population"] for one in sample["dropped"]["strata"]}
    questions, by_stratum = [], dict[str, Counter[str]]()
    for kind in ("kept", "dropped"):
        items = {one["item"]: one for one in sample["items"] if one["kind"] == kind}
        lines = list(_lines(folder / f"{kind}.csv", kind, items, release["digest"]))
        if kind == "kept" and not items:
            continue
        for question in (name for name, (of, _) in QUESTIONS.items() if of == kind):
            answers: Answers = {}
            for line in lines:
                if asked(question, line["reason"]):
                    answers.setdefault(line["reason"], Counter())[line[question]] += 1
            if not answers:
                continue
            if question == "drop_right":
                by_stratum = answers
            sizes = {"kept": sample["kept"]["population"]} if kind == "kept" else populations
            total = sum(answers.values(), Counter[str]())
            questions.append(
                {
                    "question": question,
                    "of": kind,
                    "n": total.total(),
                    **{verdict: total[verdict] for verdict in VERDICTS},
                    **estimate(answers, sizes),
                }
            )
    if not questions:
        raise ConfigError(f"{folder}: nothing was drawn, so there is nothing to score")
    return {
        "schema": SCHEMA,
        "release": release,
        "seed": sample["seed"],
        "sample": {
            kind: {name: sample[kind][name] for name in ("population", "n")} for kind in ("kept", "dropped")
        },
        "questions": questions,
        "strata": [
            {**one, **{verdict: by_stratum.get(one["reason"], Counter())[verdict] for verdict in VERDICTS}}
            for one in sample["dropped"]["strata"]
        ],
    }


def _sample(folder: Path) -> dict[str, Any]:
    path = folder / SAMPLE
    try:
        sample = json.loads(_read(path))
        whole = sample["digest"] == digest_of(sample) and sample["schema"] == 1
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"{path} is not the description of a sample: {error}") from error
    if not whole:
        raise ConfigError(f"{path} was changed since it was drawn; draw the sample again with the same seed")
    return dict(sample)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing: give the folder that `pipeline review sample` wrote") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{path} is larger than a form can be")
    try:
        return data.decode("utf-8-sig")  # spreadsheets write a mark
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text; save it as CSV in UTF-8") from error


def _lines(
    path: Path, kind: str, items: Mapping[str, Mapping[str, Any]], digest: str
) -> Iterable[dict[str, str]]:
    """The lines of a form, each checked against what was drawn."""
    reader = csv.DictReader(_read(path).splitlines(), strict=True)
    seen: set[str] = set()
    try:
        if list(reader.fieldnames or ()) != columns(kind):
            raise ConfigError(f"{path}, line 1: the columns must be {','.join(columns(kind))}")
        for line in reader:
            where = f"{path}, line {reader.line_num}"
            yield _checked(where, line, kind, items, digest)
            if line["item"] in seen:
                raise ConfigError(f"{where}: {line['item']} is there twice")
            seen.add(line["item"])
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num}: not CSV: {error}") from error
    if missing := sorted(set(items) - seen):
        raise ConfigError(
            f"{path}: the line of {missing[0]} is missing"
            + (f", and {len(missing) - 1} more" if missing[1:] else "")
        )


def _checked(
    where: str, line: dict[str, str], kind: str, items: Mapping[str, Mapping[str, Any]], digest: str
) -> dict[str, str]:
    if set(line) != set(columns(kind)) or any(value is None for value in line.values()):
        raise ConfigError(f"{where}: it does not have {len(columns(kind))} cells")
    if line["release"] != digest[:RELEASE_DIGITS]:
        raise ConfigError(
            f"{where}: it is of release {_cell(line['release'])}, the form of {digest[:RELEASE_DIGITS]}"
        )
    item = items.get(line["item"])
    if item is None:
        raise ConfigError(f"{where}: {_cell(line['item'])} was not drawn")
    if line["id"] != item["id"] or line["reason"] != (item["reason"] or "kept"):
        raise ConfigError(
            f"{where}: the id or reason of {line['item']} was changed; they must stay as they were drawn"
        )
    for question in (name for name, (of, _) in QUESTIONS.items() if of == kind):
        verdict = line[question].strip().lower()
        if not asked(question, line["reason"]):
            if verdict not in ("", NOT_ASKED):
                raise ConfigError(
                    f"{where}: {question} is not asked of {line['item']}; leave {NOT_ASKED} there"
                )
        elif not verdict:
            raise ConfigError(
                f"{where}: {question} of {line['item']} is not filled in; write {', '.join(VERDICTS)}"
            )
        elif verdict not in VERDICTS:
            raise ConfigError(
                f"{where}: {question} is {_cell(line[question])}, not one of {', '.join(VERDICTS)}"
            )
        line[question] = verdict
    return line


def _cell(text: str) -> str:
    return repr(text[:_SHOWN])
