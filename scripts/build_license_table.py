#!/usr/bin/env python3
"""Build licensing/known/data/known.bin.xz from the installed ScanCode's rules and from SPDX's texts.

    npm pack spdx-license-list@6.12.0 && tar xzf spdx-license-list-6.12.0.tgz
    python scripts/build_license_table.py package [--check]

The same versions give the same bytes. `--check` writes nothing and fails if the committed table differs.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path

from licensing.known.build import scancode_entries, spdx_entries, unique
from licensing.known.table import FILE, installed_scancode, pack, unpack

TARGET = Path(__file__).resolve().parent.parent / "licensing" / "known" / FILE


def main() -> int:
    """Build, or compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package", type=Path, help="the unpacked npm package spdx-license-list")
    parser.add_argument("--check", action="store_true", help="compare with the committed table")
    arguments = parser.parse_args()
    version = json.loads((arguments.package / "package.json").read_text("utf-8"))["version"]
    listed = json.loads((arguments.package / "spdx-full.json").read_text("utf-8"))
    scancode = installed_scancode()
    if scancode is None:
        parser.error("ScanCode is not installed: install scancode-toolkit-mini")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        entries = unique([*scancode_entries(), *spdx_entries(listed)])
    packed = pack(entries, scancode=scancode, spdx=version)
    if arguments.check:
        same = packed == TARGET.read_bytes()
        print("the committed table is up to date" if same else f"{TARGET} differs: build it again")
        return 0 if same else 1
    TARGET.write_bytes(packed)
    table = unpack(packed)
    print(f"{TARGET}: {len(table):,} sequences, {len(packed):,} bytes, digest {table.digest[:16]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
