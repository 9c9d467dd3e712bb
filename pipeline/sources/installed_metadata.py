"""What the metadata of installed Python distributions says: names, versions, links and recorded files.

Found by `importlib.metadata`, but read here: distributions without a METADATA file, or with one that is not
UTF-8, exist on real machines, and one of them must not keep the others from being listed.
"""

from __future__ import annotations

import csv
import email.parser
import hashlib
import importlib.metadata
import io
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message

from pipeline.sources.origin_url import source_url


@dataclass(frozen=True)
class Installed:
    """One installed distribution. `recorded` are paths as RECORD has them, relative to `folder`."""

    name: str  # normalised as PEP 503 says
    version: str
    url: str  # of its repository, else its purl
    folder: bytes  # the package folder, links resolved
    recorded: tuple[bytes, ...]
    record_digest: str  # SHA-256 of RECORD, which holds the hash of every file
    editable: bool  # only a pointer to a source folder is installed (PEP 610)


def installed_distributions(
    site_packages: Sequence[str] | None = None, left_out: Counter[str] | None = None
) -> list[Installed]:
    """The distributions by name, the first of each on the path, as imports would find them.

    `site_packages` defaults to the path of the running interpreter. Those whose metadata cannot be read are
    counted in `left_out` as `damaged_distribution`.
    """
    found: dict[str, Installed] = {}
    damaged = 0
    path = sys.path if site_packages is None else list(site_packages)
    for distribution in importlib.metadata.distributions(path=path):
        try:
            installed = _read(distribution)
        except (ValueError, csv.Error):  # UnicodeDecodeError is a ValueError
            damaged += 1
            continue
        if installed.name:
            found.setdefault(installed.name, installed)
        else:
            damaged += 1
    if left_out is not None:
        left_out["damaged_distribution"] += damaged
    return [found[name] for name in sorted(found)]


def _read(distribution: importlib.metadata.Distribution) -> Installed:
    metadata = _metadata(distribution)
    name = re.sub(r"[-_.]+", "-", str(metadata.get("Name") or "")).lower()
    version = str(metadata.get("Version") or "")
    links = [(label, url) for label, comma, url in _project_urls(metadata) if comma]
    links += [("homepage", str(url)) for url in metadata.get_all("Home-page") or ()]
    record = distribution.read_text("RECORD")
    if record is not None:
        recorded = [row[0] for row in csv.reader(io.StringIO(record)) if row and row[0]]
    else:  # the egg-info form, which lists files in one of several ways
        recorded = sorted(file.as_posix() for file in distribution.files or ())
        record = "\n".join(recorded)
    return Installed(
        name=name,
        version=version,
        url=source_url(name, version, links),
        folder=os.fsencode(os.path.realpath(str(distribution.locate_file("")))),
        recorded=tuple(path.encode("utf-8", "surrogateescape") for path in recorded),
        record_digest=hashlib.sha256(record.encode("utf-8", "surrogateescape")).hexdigest(),
        editable=_is_editable(distribution),
    )


def _metadata(distribution: importlib.metadata.Distribution) -> Message:
    for name in ("METADATA", "PKG-INFO", ""):  # the last is an egg-info that is a file itself
        text = distribution.read_text(name)
        if text:
            return email.parser.HeaderParser().parsestr(text)
    return Message()


def _project_urls(metadata: Message) -> list[tuple[str, str, str]]:
    return [str(link).partition(",") for link in metadata.get_all("Project-URL") or ()]


def _is_editable(distribution: importlib.metadata.Distribution) -> bool:
    try:
        direct = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return False
    folder = direct.get("dir_info") if isinstance(direct, dict) else None
    return isinstance(folder, dict) and bool(folder.get("editable"))
