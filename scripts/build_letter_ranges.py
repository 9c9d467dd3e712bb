"""Build pipeline/content/data/letters.json: which characters are letters, and which are letters or numbers.

Usage:  python scripts/build_letter_ranges.py

The ranges are those of `str.isalpha` and `str.isalnum` for the Unicode version of the running Python. They
are kept in the tree so that quality signals do not change with the interpreter; a newer Unicode version is
a deliberate change of the file.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

OUT = Path(__file__).resolve().parent.parent / "pipeline" / "content" / "data" / "letters.json"


def ranges(belongs: Callable[[str], bool]) -> list[list[int]]:
    """Code points that belong, as sorted, disjoint [first, last] pairs."""
    found: list[list[int]] = []
    for point in range(sys.maxunicode + 1):
        if belongs(chr(point)):
            if found and found[-1][1] == point - 1:
                found[-1][1] = point
            else:
                found.append([point, point])
    return found


def main() -> None:
    """Write the file."""
    data = {
        "unicode": unicodedata.unidata_version,
        "alphabetic": ranges(str.isalpha),
        "alphanumeric": ranges(str.isalnum),
    }
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in data.items())
    OUT.write_text(f"{{\n{lines}\n}}\n", encoding="ascii")


if __name__ == "__main__":
    main()
