"""Which paths, languages, names and versions may stand in a release, and how a language names its files.

A release is unpacked by strangers on any system: every path in a manifest is relative, stays inside the
folder, and means the same file on Linux, macOS and Windows.
"""

from __future__ import annotations

import re
import unicodedata

from manifests.errors import PathError

MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"
SIGSTORE_BUNDLE = "manifest.json.sigstore.json"
CHECKSUMS = "SHA256SUMS"
CARD = "README.md"
IDS_FILE = "ids.parquet"
CONFIG_FILE = "config.yaml"
CHANGELOG = "CHANGELOG.md"
CHANGES_FILE = "changes.parquet"
REMOVALS_FILE = "removals.jsonl"
SIGNALS_FILE = "signals.parquet"
QUALITY_SIGNALS_FILE = "quality-signals.parquet"
NOTICES_FILE = "notices.parquet"
SECRETS_SPARED_FILE = "secrets-spared.parquet"
DATA_FOLDER = "data"
UNLISTED = frozenset({MANIFEST, SIGNATURE, SIGSTORE_BUNDLE, CHECKSUMS})
"""Files of a release that its manifest cannot list: itself, and what is made from it."""

DEFAULT_CONFIG = "default"
"""The configuration of `datasets` that holds all languages; no language may have this name."""

MAX_PATH_BYTES = 1024
"""Longest path in a release; Windows and object stores stop at or above this."""

_FORBIDDEN = re.compile(
    r'[<>:"\\|?*\x00-\x1f]'
)  # in file names on Windows; `datasets` refuses most in names too
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)  # no file names on Windows
_HIDDEN = frozenset(
    {"Cc", "Cf", "Cs", "Zl", "Zp"}
)  # control, format, surrogate, line and paragraph separators
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_VERSION = re.compile(
    r"(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){1,3}(-[0-9A-Za-z]+(\.[0-9A-Za-z]+)*)?(\+removals\.[0-9a-f]{8})?"
)
_PREFIX = re.compile(r"all|[01]{1,256}")


def has_hidden_characters(text: str) -> bool:
    """Tell whether a text holds control, format (bidi, zero width), surrogate or line separator
    characters."""
    return any(unicodedata.category(character) in _HIDDEN for character in text)


def visible(text: str) -> str:
    """Return a text with its control and invisible characters (also escape sequences) shown as `\\xNN`."""
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in _HIDDEN
        else character
        for character in text
    )


def check_path(path: str) -> str:
    """Return `path` if it may stand in a manifest: relative, `/` between names, each name plain.

    Raises `PathError` for an empty or absolute path, `.` or `..` or an empty name, backslashes and the other
    characters that Windows forbids, control and invisible characters, a name ending in a dot or blank, or
    more than `MAX_PATH_BYTES` bytes of UTF-8.
    """
    shown = ascii(path)[:200]
    if not path or path.startswith("/"):
        raise PathError(f"the path {shown} is not relative")
    if _FORBIDDEN.search(path) or has_hidden_characters(path):
        raise PathError(f"the path {shown} holds a character that is not allowed in a release")
    if len(path.encode("utf-8")) > MAX_PATH_BYTES:
        raise PathError(f"the path {shown} is longer than {MAX_PATH_BYTES} bytes")
    for part in path.split("/"):
        if part in ("", ".", ".."):
            raise PathError(f"the path {shown} holds an empty name, '.' or '..'")
        if part[-1] in ". ":
            raise PathError(f"the path {shown} holds a name that ends in a dot or a blank")
        if _DEVICE.fullmatch(part):
            raise PathError(f"the path {shown} holds a name that Windows reserves for a device")
    return path


def check_name(name: str) -> str:
    """Return a data set's name if it is letters, digits, `.`, `_`, `-` (at most 96); else raise
    `PathError`."""
    if not _NAME.fullmatch(name) or name[-1] == ".":
        raise PathError(f"{ascii(name)[:120]} is not a data set name: use letters, digits, '.', '_' and '-'")
    return name


def check_version(version: str) -> str:
    """Return a version such as `2.1`, `2.1.3` or `2.1-rc.1`; else raise `PathError`.

    `+removals.<8 hex digits>` at the end marks a copy that was brought in line later (`manifests.derive`); what the
    numbers promise is in docs/adr/0011-versions.md.
    """
    if not _VERSION.fullmatch(version):
        raise PathError(
            f"{ascii(version)[:120]} is not a release version: write numbers and dots, such as 2.1 or 2.1.3,"
            " optionally followed by a suffix such as -rc.1"
        )
    return version


def check_language(language: str) -> str:
    """Return a language name if it is visible text of at most 100 characters; else raise `PathError`."""
    if not language or len(language) > 100 or has_hidden_characters(language) or language != language.strip():
        raise PathError(f"{ascii(language)[:120]} is not a language name")
    check_path(config_name(language))
    return language


def config_name(language: str) -> str:
    """Return the name of a language's configuration and folder: `F*` -> `F-star`, `a/b` -> `a-b`.

    Other characters that file systems, globs or `datasets` refuse (`<>:"\\|?[]` and control characters), and
    a leading dot or underscore (which `datasets` takes for a hidden folder), become `-`. Two languages with
    one such name, also when they differ in case only, cannot be in one release: the manifest refuses them.
    """
    name = language.replace("*", "-star").replace("/", "-")
    name = re.sub(r'[<>:"\\|?\[\]\x00-\x1f]', "-", name)
    name = re.sub(r"^[._]|[. ]$", "-", name)
    if not name or name.lower() == DEFAULT_CONFIG:
        raise PathError(f"a language cannot be named {ascii(language)[:120]}: the name is reserved")
    return name


def shard_path(language: str, prefix: str = "all") -> str:
    """Return the path of a shard, `data/<language-dir>/train-<prefix>.parquet`; prefix is `all` or bits
    (`0110`)."""
    if not _PREFIX.fullmatch(prefix):
        raise PathError(f"{ascii(prefix)[:120]} is not a shard prefix: 'all' or a string of 0 and 1")
    return check_path(f"{DATA_FOLDER}/{config_name(check_language(language))}/train-{prefix}.parquet")
