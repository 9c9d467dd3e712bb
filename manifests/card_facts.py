"""The words of a dataset card that no figure holds: what the maker of a release knows, and who publishes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from manifests.errors import ReleaseError
from manifests.names import has_hidden_characters
from manifests.review import Review

MAX_TEXT = 4_000
"""Most characters of one fact of the publisher's."""

_URL = re.compile(r"https?://[^\s<>\"'`\\^{}|]{1,2000}")
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&*+/=?^_~-]{1,64}@[A-Za-z0-9.-]{1,255}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """The words of the card that only the maker of a release knows; plain text or Markdown, one paragraph
    each. Those under "the publisher" are plain text, shown as it is: no Markdown or HTML in them takes effect.
    """

    pretty_name: str = "Stackmill code dataset"
    summary: str = "Source code under licenses that the release's policy permits, one row per distinct file, with provenance."
    source: str = "An archive of source code in the layout of Software Heritage."
    license_policy: str = (
        "A file is kept only where what the license files nearest to it state, in its own directory or above, is permitted"
        " by this release's policy; a license statement in the file itself comes first, and can veto that. The evidence is in"
        " every row."
    )
    deduplication: str = (
        "Files with the same bytes, or with the same released text, are one row. Near-duplicates are"
        " found by sketches of their 5-token shingles, and confirmed by the exact Jaccard similarity before"
        " a file is dropped in favour of another."
    )
    redaction: str = (
        "Secrets and personal data found by the pinned rules are replaced by placeholders; `redactions`"
        " lists the kind and the byte offsets of each."
    )
    removal_policy: str = (
        "Repositories and owners that have opted out are left out of a release before anything"
        " else is decided."
        " A copy of such a file in another owner's repository is another occurrence, judged by itself."
    )
    limits: tuple[str, ...] = (
        "Detection of licenses, languages, secrets and personal data is automatic and errs in"
        " both directions.",
        "A file's license is what its repository says; whether the repository was entitled to"
        " say so is not checked.",
        "Code is released as found: it may be wrong, insecure, offensive or malicious. Do not run it.",
    )
    steps: Mapping[str, str] = field(default_factory=dict)
    """Stage of the decision -> what it does under this release's configuration, one or two sentences."""
    review: Review | None = None
    """What people found who looked at a sample of an earlier release."""
    notes: tuple[str, ...] = ()
    signals: str | None = None
    """What `signals.parquet` holds; None: the release has no such file."""
    """Further paragraphs, for example on the configuration of this release."""
    changelog: str = ""
    """Markdown for this version's section of CHANGELOG.md, besides what is generated."""
    opt_out_entries: int | None = None
    """Entries of the opt-out registry that this release honours; None: not told."""

    # The publisher. All may be left out; a card then says that the publisher is to be asked.
    publisher: str | None = None
    contact: str | None = None
    """An e-mail address or http(s) URL: for opt-outs, questions and corrections."""
    homepage: str | None = None
    """http(s) URL of the dataset."""
    license_link: str | None = None
    """http(s) URL of the publisher's words on licenses."""
    citation: str | None = None
    """How to cite, BibTeX or text, several lines; None: made from name, version and publisher."""
    published: str | None = None
    """Date, `YYYY-MM-DD`. None: the date of the newest visit of the input, since no byte may depend on a clock."""

    def __post_init__(self) -> None:
        for name in ("pretty_name", "publisher", "citation"):
            value = getattr(self, name)
            if value is not None:
                check_text(name, value, lines=name == "citation")
        for name in ("homepage", "license_link"):
            if (value := getattr(self, name)) is not None:
                check_url(name, value)
        if self.contact is not None:
            check_contact("contact", self.contact)
        if self.published is not None:
            check_date("published", self.published)


def check_text(name: str, value: str, *, lines: bool = False) -> str:
    """Return a publisher's text of visible characters (with `lines` also newlines); else raise `ReleaseError`."""
    if not value.strip() or len(value) > MAX_TEXT:
        raise ReleaseError(f"{name}: must be a text of at most {MAX_TEXT:,} characters, and not blank")
    if has_hidden_characters(value.replace("\n", "") if lines else value):
        raise ReleaseError(f"{name}: holds control or invisible characters: {ascii(value)[:120]}")
    return value


def check_url(name: str, value: str) -> str:
    """Return a plain http(s) URL; else raise `ReleaseError`."""
    if not _URL.fullmatch(value) or has_hidden_characters(value):
        raise ReleaseError(f"{name}: {ascii(value)[:120]} is not a plain http:// or https:// address")
    return value


def check_contact(name: str, value: str) -> str:
    """Return an e-mail address or http(s) URL; else raise `ReleaseError`."""
    if _MAIL.fullmatch(value):
        return value
    try:
        return check_url(name, value)
    except ReleaseError:
        raise ReleaseError(
            f"{name}: {ascii(value)[:120]} is neither an e-mail address nor an http(s) address"
        ) from None


def check_date(name: str, value: str) -> str:
    """Return a date written YYYY-MM-DD; else raise `ReleaseError`."""
    from datetime import date

    try:
        if not _DATE.fullmatch(value):
            raise ValueError
        date.fromisoformat(value)
    except ValueError:
        raise ReleaseError(f"{name}: {ascii(value)[:120]} is not a date; write it as in 2026-03-01") from None
    return value
