"""Make pii/data/word_bits.bin: how many bits each character of a name costs behind the two before it.

    python scripts/word_table.py FOLDER...

Counts the distinct names and words (letters, digits, `_-./`) of all text files below the folders, each once; a cost
is that of an interpolated trigram model, in eighths of a bit, rounded
to halves of a bit.  The same files give the same bytes.
"""

from __future__ import annotations

import hashlib
import re
import sys
import zlib
from pathlib import Path

import numpy as np

from pii.word_model import BOUNDARY, CLASS, CLASSES, TABLE

_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_./:-]{2,47}")
#: A digest or blob in the corpus would teach that random strings are names.
_RANDOM = re.compile(rb"[0-9a-f]{12}|[0-9A-F]{12}|[0-9][A-Za-z]{1,4}[0-9]{1,4}[A-Za-z]{1,4}[0-9]")
_FILE_MAX = 500_000  # bytes; larger files are data


def names(folders: list[str]) -> set[bytes]:
    """The distinct names of all text files."""
    out: set[bytes] = set()
    for folder in folders:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and not path.is_symlink() and path.stat().st_size < _FILE_MAX:
                body = path.read_bytes()
                # Minified bundles have names without meaning.
                if b"\0" not in body and len(body) < 300 * (body.count(b"\n") + 1):
                    out.update(_NAME.findall(body))
    return {n for n in out if not _RANDOM.search(n)}


def costs(words: set[bytes]) -> np.ndarray:
    """uint8[CLASSES ** 3]: eighths of a bit of the third class behind the first two."""
    n3 = np.zeros((CLASSES,) * 3)
    for word in words:
        a = b = BOUNDARY
        for c in CLASS[np.frombuffer(word, np.uint8)].tolist():
            n3[a, b, c] += 1
            a, b = b, c
    n2, n1 = n3.sum(0), n3.sum((0, 1))
    p1 = (n1 + 1) / (n1 + 1).sum()
    k = 4.0  # weight of the shorter context, in observations
    p2 = (n2 + k * p1) / (n2.sum(1, keepdims=True) + k)
    p3 = (n3 + k * p2) / (n3.sum(2, keepdims=True) + k)
    return np.clip(4 * np.rint(-2 * np.log2(p3)), 0, 124).astype(np.uint8).reshape(-1)


def main() -> None:
    """Write the table and say its digest."""
    words = names(sys.argv[1:])
    table = costs(words).tobytes()
    TABLE.write_bytes(zlib.compress(table, 9))
    print(f"{len(words)} names, {TABLE.stat().st_size} bytes, SHA-256 {hashlib.sha256(table).hexdigest()}")


if __name__ == "__main__":
    main()
