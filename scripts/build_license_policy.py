"""Build `licensing/data/permissive.json`: the pinned list of licenses that the default policy permits.

    npm pack @blueoak/list && python scripts/build_license_policy.py blueoak-list-15.0.0.tgz

Two sources, joined as The Stack v2 did, but pinned: the ratings of the Blue Oak Council (the npm package
`@blueoak/list`, CC0-1.0) and the categories Permissive and Public Domain of the installed ScanCode (its
license data is CC-BY-4.0; taken are ids and categories). The output is a function of these two inputs and of
the constants below alone: no date, no path. Its digests are those of the ids and categories as read.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import tarfile
from pathlib import Path

OUTPUT = Path(__file__).resolve().parent.parent / "licensing" / "data" / "permissive.json"

PERMITTED_CATEGORIES = ("Permissive", "Public Domain")

REMOVED = {"JSON": "restricts the field of use (shall be used for Good, not Evil)"}
"""Ids that a source calls permissive and this project does not permit by default, each with its reason."""

IGNORED = {
    f"LicenseRef-scancode-{key}": "states no terms for using the code"
    for key in (
        "dco-1.1",
        "generic-cla",
        "google-cla",
        "jetty-ccla-1.1",
        "newton-king-cla",
        "generic-exception",
        "generic-export-compliance",
        "generic-tos",
        "generic-trademark",
        "warranty-disclaimer",
    )
}
"""Detected ids that are no license: the ten of The Stack v2 (get_license_types.py)."""

IGNORED_BESIDE_PERMISSIVE = {
    "LicenseRef-scancode-unknown-license-reference": "a mention of some license, next to a permissive one"
}


def blue_oak(package: Path) -> tuple[dict[str, object], dict[str, str]]:
    """Source record and id -> rating of a `@blueoak/list` package file (.tgz)."""
    with tarfile.open(package) as tar:
        files = {}
        for name in ("package/package.json", "package/index.json"):
            member = tar.extractfile(name)
            if member is None:
                raise SystemExit(f"{package}: no {name} in it: is this the npm package @blueoak/list?")
            files[name] = member.read()
    about = json.loads(files["package/package.json"])
    ratings = {
        entry["id"]: rating["name"]
        for rating in json.loads(files["package/index.json"])
        for entry in rating["licenses"]
    }
    source = {
        "name": about["name"],
        "version": about["version"],
        "license": about["license"],
        "sha256": hashlib.sha256(files["package/index.json"]).hexdigest(),
        "digest_of": "index.json",
    }
    return source, ratings


def scancode() -> tuple[dict[str, object], dict[str, tuple[str, bool]]]:
    """Source record and SPDX id -> (category, is an exception) of the installed ScanCode's licenses."""
    from licensedcode.models import load_licenses

    licenses: dict[str, tuple[str, bool]] = {}
    for record in load_licenses(with_deprecated=True).values():
        for spdx in (record.spdx_license_key, *(record.other_spdx_license_keys or ())):
            # A deprecated record never overrules the record in force that shares its SPDX id.
            if spdx and (spdx not in licenses or not record.is_deprecated):
                licenses[spdx] = (record.category, bool(record.is_exception))
    listing = "".join(f"{spdx}\t{licenses[spdx][0]}\t{int(licenses[spdx][1])}\n" for spdx in sorted(licenses))
    try:
        version = importlib.metadata.version("scancode-toolkit-mini")
    except importlib.metadata.PackageNotFoundError:
        version = importlib.metadata.version("scancode-toolkit")
    source = {
        "name": "scancode-toolkit license database",
        "version": version,
        "license": "CC-BY-4.0",
        "sha256": hashlib.sha256(listing.encode()).hexdigest(),
        "digest_of": "sorted lines: SPDX id, category, is exception",
    }
    return source, licenses


def build(package: Path) -> dict[str, object]:
    """The whole content of permissive.json."""
    oak_source, ratings = blue_oak(package)
    scancode_source, categories = scancode()
    permitted: dict[str, list[str]] = {}
    for spdx, rating in ratings.items():
        permitted.setdefault(spdx, []).append(f"Blue Oak: {rating}")
    for spdx, (category, is_exception) in categories.items():
        if category in PERMITTED_CATEGORIES and not is_exception:
            permitted.setdefault(spdx, []).append(f"ScanCode: {category}")
    exceptions = {spdx: category for spdx, (category, is_exception) in categories.items() if is_exception}
    for spdx in (*REMOVED, *IGNORED, *IGNORED_BESIDE_PERMISSIVE):
        permitted.pop(spdx, None)
    refused = {
        spdx: category
        for spdx, (category, is_exception) in categories.items()
        if not is_exception and spdx not in permitted
    }
    return {
        "format": 1,
        "sources": [oak_source, scancode_source],
        "permitted": {spdx: permitted[spdx] for spdx in sorted(permitted)},
        "exceptions": {spdx: exceptions[spdx] for spdx in sorted(exceptions)},
        "refused": {spdx: refused[spdx] for spdx in sorted(refused)},
        "removed": REMOVED,
        "ignored": IGNORED,
        "ignored_beside_permissive": IGNORED_BESIDE_PERMISSIVE,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Build the pinned list of permitted licenses.")
    parser.add_argument("package", type=Path, help="the npm package @blueoak/list as a .tgz file")
    parser.add_argument("--out", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    content = build(arguments.package)
    arguments.out.write_text(json.dumps(content, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
