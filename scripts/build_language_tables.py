"""Build pipeline/content/data/languages.json from the npm package `linguist-languages`.

Usage:  python scripts/build_language_tables.py [--tarball FILE]

Without `--tarball` the pinned version is fetched with `npm pack` into a temporary directory. The tarball
must have the pinned SHA-512; a new version is a deliberate change of the two constants below, followed by
the tests of tests/content (which hold every hand-written table to the names that exist).

The output is canonical: sorted keys, sorted languages, lists sorted bytewise, one language per line, so
that a change of version reads as a diff. The licence texts of the data (the package's own and that of
GitHub Linguist, both MIT) are written beside it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE, VERSION = "linguist-languages", "9.5.0"
SHA512 = "Wtg9O6iHNBYFJQVtPNwWCaWkNEqZqiCGI4gSkeH8TqvgZUyb1IUWmFSa9Z9UhT392/aX6Peoa91bH9sDah1ZVw=="
"""Base64, as the package index states it in `dist.integrity`."""

OUT = Path(__file__).resolve().parent.parent / "pipeline" / "content" / "data"

LICENSE_FILES = ("LICENSE", "ThirdPartyNoticeText.txt")

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<string>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
  | (?P<number>-?\d+(?:\.\d+)?)
  | (?P<word>[A-Za-z_$][A-Za-z0-9_$]*)
  | (?P<punct>[{}\[\]:,])
    """,
    re.VERBOSE,
)


def parse_object_literal(source: str) -> object:
    """The value of a JavaScript module `export default {...}` that holds literals only.

    The literal is rewritten to JSON token by token: strings re-quoted, bare keys quoted, trailing commas
    removed. Raises ValueError on anything that is not a literal.
    """
    head, _, body = source.partition("export default")
    if head.strip() or not body:
        raise ValueError("not a module of the form `export default {...}`")
    tokens: list[str] = []
    position, body = 0, body.strip().removesuffix(";")
    while position < len(body):
        match = _TOKEN.match(body, position)
        if match is None:
            raise ValueError(f"unexpected text at offset {position}: {body[position : position + 20]!r}")
        position = match.end()
        kind, text = match.lastgroup, match.group()
        if kind == "space":
            continue
        if kind == "string":
            # The only escapes that occur are those of the quote and the backslash themselves.
            text = json.dumps(re.sub(r"\\(.)", r"\1", text[1:-1]))
        elif kind == "word" and text not in ("true", "false", "null"):
            text = json.dumps(text)
        if text in "]}" and tokens and tokens[-1] == ",":
            tokens.pop()
        tokens.append(text)
    return json.loads("".join(tokens))


def fetch(directory: Path) -> Path:
    """`npm pack` of the pinned version; returns the tarball."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm is not installed; give the package's tarball with --tarball")
    subprocess.run(
        [npm, "pack", "--silent", f"{PACKAGE}@{VERSION}"],
        cwd=directory,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return directory / f"{PACKAGE}-{VERSION}.tgz"


def read(tarball: Path) -> tuple[list[dict[str, object]], dict[str, str]]:
    """Languages (sorted by name) and licence texts of a tarball. Raises ValueError on a wrong digest."""
    digest = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    if digest != SHA512:
        raise ValueError(f"{tarball} has SHA-512 {digest}, expected {SHA512} ({PACKAGE} {VERSION})")
    languages, licenses = [], {}
    with tarfile.open(tarball) as archive:
        for member in archive.getmembers():
            name = member.name.removeprefix("package/")
            file = archive.extractfile(member)
            if file is None:
                continue
            if re.fullmatch(r"data/[^/]+\.js", name):
                languages.append(row(parse_object_literal(file.read().decode())))
            elif name in LICENSE_FILES:
                licenses[name] = file.read().decode()
    return sorted(languages, key=lambda language: str(language["name"])), licenses


def row(raw: object) -> dict[str, object]:
    """What we keep of a language of the package."""
    if not isinstance(raw, dict):
        raise ValueError(f"not an object: {raw!r}")
    kept: dict[str, object] = {"name": raw["name"], "type": raw["type"], "id": raw["languageId"]}
    if raw.get("group"):
        kept["group"] = raw["group"]
    for key in ("aliases", "extensions", "filenames", "interpreters"):
        if raw.get(key):
            kept[key] = sorted(set(raw[key]))
    return kept


def main() -> None:
    """Write the table and the licences."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tarball", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        languages, licenses = read(arguments.tarball or fetch(Path(directory)))
    lines = ",\n".join(json.dumps(one, ensure_ascii=False, sort_keys=True) for one in languages)
    head = json.dumps({"package": PACKAGE, "version": VERSION, "sha512": SHA512}, sort_keys=True)
    (OUT / "languages.json").write_text(
        f'{{"source": {head},\n"languages": [\n{lines}\n]}}\n', encoding="utf-8"
    )
    (OUT / "languages.LICENSE").write_text(
        "\n".join(licenses[name].strip() + "\n" for name in LICENSE_FILES), encoding="utf-8"
    )
    print(f"{len(languages)} languages", file=sys.stderr)


if __name__ == "__main__":
    main()
