"""What people found who looked at a random sample of a release: `review.json` read, and told in the card of the next one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from manifests.errors import PathError, ReleaseError
from manifests.names import check_version

SCHEMA = 1
QUESTIONS: Mapping[str, tuple[str, str]] = {
    "license_ok": ("kept", "The license of the row is right, and permitted"),
    "language_ok": ("kept", "The language is right"),
    "secret_left": ("kept", "A secret or personal data is left in the text"),
    "drop_right": ("dropped", "The file was rightly dropped for the reason given"),
    "duplicate_right": ("dropped", "The row that stands in for it does so rightly (duplicates only)"),
}
"""Question -> (of which part of the release, what it means where the verdict is `yes`)."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Rate:
    """The answers to one question, and the share of `yes` in what was sampled from, with its 95 % interval."""

    question: str
    yes: int
    no: int
    unsure: int
    """Left out of the rate."""
    rate: float | None
    """None where nobody could say."""
    low: float
    high: float
    covered: float
    """Share of the population in parts of which somebody could say something: 1 unless a part had none but `unsure`."""


@dataclass(frozen=True, kw_only=True)
class Review:
    """A finished review of a release."""

    name: str
    version: str
    digest: str
    """Of the reviewed release."""
    rates: tuple[Rate, ...]

    @classmethod
    def parse(cls, data: Any) -> Review:
        """Read the JSON value of `review.json`. Raises `ReleaseError` naming the key that is wrong."""
        top = _mapping("$", data)
        if top.get("schema") != SCHEMA:
            raise ReleaseError(f"schema is {top.get('schema')!r:.50}, this version reads {SCHEMA}")
        release = _mapping("release", top.get("release"))
        name, version, digest = (release.get(key) for key in ("name", "version", "digest"))
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ReleaseError("release.name is not the name of a dataset")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise ReleaseError("release.digest is not a SHA-256 in hex")
        try:
            check_version(version if isinstance(version, str) else "")
        except (ValueError, PathError) as error:
            raise ReleaseError(f"release.version: {error}") from error
        asked = top.get("questions")
        if not isinstance(asked, list) or not asked:
            raise ReleaseError("questions is not a list of answers")
        rates = tuple(_rate(f"questions[{number}]", one) for number, one in enumerate(asked))
        if len({rate.question for rate in rates}) != len(rates):
            raise ReleaseError("questions has a question twice")
        return cls(name=name, version=str(version), digest=digest, rates=rates)


def _mapping(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ReleaseError(f"{where} is not an object")
    return value


def _rate(where: str, value: Any) -> Rate:
    one = _mapping(where, value)
    if one.get("question") not in QUESTIONS:
        raise ReleaseError(f"{where}.question is none of {', '.join(QUESTIONS)}")
    counts = {key: _count(f"{where}.{key}", one.get(key)) for key in ("yes", "no", "unsure")}
    low, high, covered = (_share(f"{where}.{key}", one.get(key)) for key in ("low", "high", "covered"))
    rate = None if one.get("rate") is None else _share(f"{where}.rate", one["rate"])
    if rate is not None and not low <= rate <= high:
        raise ReleaseError(f"{where}.rate does not lie in its interval")
    return Rate(question=str(one["question"]), rate=rate, low=low, high=high, covered=covered, **counts)


def _count(where: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise ReleaseError(f"{where} is not a count")
    return value


def _share(where: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise ReleaseError(f"{where} is not a share between 0 and 1")
    return float(value)


def review_prose(review: Review | None) -> list[str]:
    """Return the section of the card, paragraph by paragraph; nothing without a review."""
    if review is None:
        return []
    lines = [
        "| what was asked | yes | no | unsure | rate of yes | 95 % interval |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for rate in review.rates:
        part, words = QUESTIONS[rate.question]
        share = "-" if rate.rate is None else f"{100 * rate.rate:.1f} %"
        between = "-" if rate.rate is None else f"{100 * rate.low:.1f} to {100 * rate.high:.1f} %"
        lines.append(
            f"| {part}: {words} | {rate.yes:,} | {rate.no:,} | {rate.unsure:,} | {share} | {between} |"
        )
    partly = [rate.question for rate in review.rates if rate.covered < 1]
    return [
        "## Reviewed by people",
        f"People looked at a random sample of release {review.version} of this dataset (manifest `{review.digest}`):"
        " of its rows, each as likely as the other, and of what was dropped, by stage and reason, weighted by how many"
        " files each reason stands for. The rates are estimates for that release, not for this one; intervals are"
        " Wilson's, for dropped files with the effective size of the sample.",
        "\n".join(lines),
        *(
            [f"Of {', '.join(partly)} only a part could be judged; the rate is of that part."]
            if partly
            else []
        ),
    ]
