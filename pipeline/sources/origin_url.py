"""The origin URL of an installed distribution, from the links in its metadata."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from packageurl import PackageURL

FORGES = ("github.com", "gitlab.com", "bitbucket.org", "codeberg.org", "git.sr.ht", "gitee.com")
"""Hosts where `https://host/owner/repository` names a repository."""

_SOURCE_LABELS = ("source", "sourcecode", "repository", "repo", "code", "github", "gitlab", "homepage")
_NO_OWNERS = frozenset(("sponsors", "orgs", "marketplace", "topics", "features", "apps", "users", "settings"))
_PLAIN = re.compile(r"[A-Za-z0-9._~-]+")


def repository_url(url: str) -> str | None:
    """`https://host/owner/repository` of a link into a known forge, or None for any other link.

    Credentials, `www.`, `.git`, sub-pages (`/issues`, `/tree/main/x`), query and fragment are dropped.
    """
    try:
        parts = urlsplit(url.strip().removeprefix("git+"))
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:  # e.g. an unfinished IPv6 address
        return None
    if parts.scheme not in ("http", "https", "git", "ssh") or host not in FORGES:
        return None
    segments = [segment for segment in parts.path.split("/") if segment]
    if len(segments) < 2 or segments[0].lower() in _NO_OWNERS:
        return None
    owner, name = segments[0], segments[1].removesuffix(".git")
    if not (_PLAIN.fullmatch(owner) and _PLAIN.fullmatch(name)) or {owner, name} & {".", ".."}:
        return None
    return f"https://{host}/{owner}/{name}"


def source_url(name: str, version: str, links: Iterable[tuple[str, str]]) -> str:
    """The repository of a distribution by its (label, URL) links, else its package URL (purl).

    Links labelled as source come first, then the home page, then any other link into a forge (an issue
    tracker names the repository too). Labels are compared without case, blanks and punctuation (PEP 753).
    """

    def preference(link: tuple[str, str]) -> tuple[int, str, str]:
        label = re.sub(r"[\W_]", "", link[0].lower())
        rank = _SOURCE_LABELS.index(label) if label in _SOURCE_LABELS else len(_SOURCE_LABELS)
        return rank, label, link[1]

    for _, url in sorted(links, key=preference):
        found = repository_url(url)
        if found is not None:
            return found
    return PackageURL("pypi", None, name, version or None).to_string()


def make_unique(urls: Sequence[tuple[str, str]]) -> list[str]:
    """(distribution name, URL) -> distinct URLs: several distributions of one repository get `URL#name` each.

    All of them, not all but the first: so that what an origin is called does not depend on an order. The part
    before `#` is still the repository, for opt-outs by origin or owner.
    """
    names = defaultdict(list)
    for name, url in urls:
        names[url].append(name)
    return [url if len(names[url]) == 1 else f"{url}#{name}" for name, url in urls]
