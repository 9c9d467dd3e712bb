"""Train pipeline/content/data/language-classifier.npz on the token counts of GitHub Linguist's samples.

Usage:  apt-get download ruby-github-linguist && dpkg-deb -x ruby-github-linguist_*.deb unpacked
        python scripts/train_language_classifier.py unpacked

The Debian package `ruby-github-linguist` 7.22.1 (MIT) ships `lib/linguist/samples.json`: for each of 591 languages how often each
token occurs in Linguist's own samples, 2,706 files. Only these counts are read, no sample; only the numbers derived from them are
kept, and the licence beside them. Languages are matched by Linguist's number, which outlives a renaming.

The tokens of the counts are read by our own tokenizer (pipeline/content/classifier.py). With n(l, t) occurrences of token t in
language l and N(l) tokens in all, b(t) the mean share of t over the languages, the table holds
16 * ln(((n(l, t) + a * b(t)) / (N(l) + a)) / b(t)), rounded to int8, for two weights a of what is common to all languages.
Both weights were chosen on the demos of Rouge and the lexer tests of Chroma; the accuracy in docs/languages.md is of other files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.content.classifier import BUCKETS, token_counts
from pipeline.content.taxonomy import LANGUAGES

VERSION = "7.22.1"
SHA256 = {
    "samples.json": "80e4f306ebb0b4f83b816e8a3cb9db7477d6e0bbfe782e86454f969cd9975b3f",
    "languages.yml": "358b63cd5759cb46bfef635fff036a7d93c858f32ebbc23f3b98bcac385b5757",
}

CLOSE, WIDE = 10, 1000
"""Weights of the common share, in tokens: for telling candidates apart, and for all languages at once."""

CLOSED_BY = {"/*": "*/", "<!": "-->", "(*": "*)", "{-": "-}", '""': '"""', "''": "'''"}
"""Ends of comments of several lines, by how they start."""

OUT = Path(__file__).resolve().parent.parent / "pipeline" / "content" / "data"


def read(folder: Path) -> dict[str, bytes]:
    """The two files of the unpacked package. Raises ValueError on a wrong digest."""
    found = {}
    for name, expected in SHA256.items():
        paths = sorted(folder.rglob(f"linguist/{name}"))
        if not paths:
            raise ValueError(f"{folder}: no linguist/{name}; unpack ruby-github-linguist {VERSION} there")
        found[name] = paths[0].read_bytes()
        digest = hashlib.sha256(found[name]).hexdigest()
        if digest != expected:
            raise ValueError(f"{paths[0]} has SHA-256 {digest}, expected {expected} ({VERSION})")
    return found


def language_counts(samples: bytes, names: bytes) -> dict[str, np.ndarray]:
    """Language (of the present taxonomy) -> tokens per bucket."""
    numbers = {name: one["language_id"] for name, one in yaml.safe_load(names).items()}
    numbers["Fstar"] = numbers["F*"]  # the folder of its samples
    present = {language.id: name for name, language in LANGUAGES.items()}
    counted: dict[str, np.ndarray] = {}
    for old, tokens in json.loads(samples)["tokens"].items():
        name = present.get(numbers[old])
        if name is None:
            continue
        counts = counted.setdefault(name, np.zeros(BUCKETS, np.int64))
        for token, number in tokens.items():
            counts += number * one_token(token)
    return counted


def one_token(token: str) -> np.ndarray:
    """What a token of theirs is to our tokenizer, per bucket."""
    counts = np.zeros(BUCKETS, np.int32)
    if token.startswith("SHEBANG"):
        return counts  # a line of its own, decided elsewhere
    text = token.encode()
    if token.startswith("COMMENT"):
        start = token.removeprefix("COMMENT")
        text = f"{start} {CLOSED_BY.get(start[:2], '')}\n".encode()
    token_counts(np.frombuffer(text, np.uint8), 0, len(text), counts)
    return counts


def table(counts: np.ndarray, common: int) -> np.ndarray:
    """int8 `(BUCKETS, languages)` of counts `(languages, BUCKETS)`."""
    share = (counts / counts.sum(axis=1, keepdims=True)).mean(axis=0) + 1e-7
    share /= share.sum()
    likely = (counts + common * share) / (counts.sum(axis=1, keepdims=True) + common)
    return np.clip(np.rint(16 * np.log(likely / share)), -127, 127).astype(np.int8).T.copy()


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="the unpacked package")
    files = read(parser.parse_args().folder)
    counted = language_counts(files["samples.json"], files["languages.yml"])
    names = sorted(counted)
    counts = np.stack([counted[name] for name in names])
    np.savez_compressed(
        OUT / "language-classifier.npz",
        languages=np.array(names),
        close=table(counts, CLOSE),
        wide=table(counts, WIDE),
    )
    print(f"{len(names)} languages, {int(counts.sum()):,} tokens", file=sys.stderr)


if __name__ == "__main__":
    main()
