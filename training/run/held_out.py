"""The texts of held-out documents, for metrics that need more than token losses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from training.corpus.select import Corpus


@dataclass(frozen=True)
class HeldOutDocument:
    """One held-out row."""

    content_id: str
    """The `content_sha256` of the row."""
    language: str
    text: str


def documents(corpus: Corpus) -> Iterator[HeldOutDocument]:
    """All held-out rows that have text, in the order of the sources; read (and verified) again each time."""
    for rows, batch in corpus.texts(corpus.held_out):
        names, texts = batch["content_sha256"].to_pylist(), batch["content"].to_pylist()
        for row, name, text in zip(rows, names, texts, strict=True):
            if text:
                yield HeldOutDocument(name, corpus.languages[int(corpus.language[row])], text)


def some(found: Sequence[HeldOutDocument], count: int) -> list[HeldOutDocument]:
    """`count` documents: of each language in turn the next by a hash of its content, until there are enough.

    A function of the set alone; every language that is held out is there as soon as `count` allows.
    """
    by_language: dict[str, list[HeldOutDocument]] = {}
    for document in sorted(
        found, key=lambda d: hashlib.sha256(f"fim documents|{d.content_id}".encode()).digest()
    ):
        by_language.setdefault(document.language, []).append(document)
    chosen: list[HeldOutDocument] = []
    turn = 0
    while len(chosen) < count and any(turn < len(each) for each in by_language.values()):
        for language in sorted(by_language):
            if turn < len(by_language[language]) and len(chosen) < count:
                chosen.append(by_language[language][turn])
        turn += 1
    return chosen
