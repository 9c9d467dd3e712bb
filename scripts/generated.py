"""What the scripts have in common that write a file of the documentation from the product: write it, or check it."""

from __future__ import annotations

import sys
from pathlib import Path


def write_or_check(target: Path, text: str, arguments: list[str], usage: str) -> int:
    """Write `text` to `target`, or with `--check` compare; the exit status.

    Args:
        target: a file of the repository.
        text: what it should hold.
        arguments: of the command line: none, or `--check`.
        usage: printed for anything else.
    """
    if arguments == ["--check"]:
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            print(
                f"{target.parent.name}/{target.name} is not what the product says: run make docs",
                file=sys.stderr,
            )
            return 1
        return 0
    if arguments:
        print(usage, file=sys.stderr)
        return 2
    target.write_text(text, encoding="utf-8")
    return 0
