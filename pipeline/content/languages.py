"""The language of a file: what its name says, decided by its content where the name leaves several or none.

Steps, the first that decides wins and is recorded:

1. `name`: the name class as a file name (`Makefile`), then as an extension, longest first (`.html.erb`, `.erb`), is that of
   one language;
2. where it leaves several: an editor's mode line (`modeline`: `-*- C++ -*-`, `vim: ft=perl`) or the `#!` line (`shebang`) if it
   names one of them; the rules of data/ambiguous.toml on the head of the file (`rule`); the classifier among the candidates
   (`classifier`); what the name usually is (`usual`);
3. where it leaves none: the mode line, the `#!` line, an XML declaration (`xml`), and last two models (`model`): guesslang and
   the classifier over all its languages must agree on a programming or markup language. Prose and data stay unknown;
4. `nothing`: unknown.

A step never overrules an earlier one. The answer is a name of Linguist's taxonomy (taxonomy.py), or null: unknown. It depends on
the name class and the first `HEAD_BYTES` bytes only, and is the same on every machine.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.content import classifier, guesslang
from pipeline.content.ambiguous import AMBIGUOUS, AMBIGUOUS_DIGEST, Choice
from pipeline.content.buffers import heads_of
from pipeline.content.declared_language import SAYS_SO, mode_line_language, shebang_language
from pipeline.content.decode import BARE, bare_utf16
from pipeline.content.names import TEXT_CLASSES, TEXT_NAMES, name_class
from pipeline.content.taxonomy import LANGUAGES, TAXONOMY_DIGEST, named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

HEAD_BYTES = 16_384
"""How much of a file is looked at. Linguist looks at 51,200; what tells languages apart comes early."""

BY = ("name", "usual", "modeline", "shebang", "rule", "classifier", "xml", "model", "nothing")
"""The steps that can decide."""

LANGUAGES_DIGEST = hashlib.sha256(f"{TAXONOMY_DIGEST} {AMBIGUOUS_DIGEST} {HEAD_BYTES}".encode()).hexdigest()
"""Changes when the tables change; the code's own digest is the engine's business."""

_UNKNOWN = Choice(primary=None)
_WITHOUT_NAME = (("XML", r"\A(\xEF\xBB\xBF)?<\?xml version="),)


class Decided(NamedTuple):
    """One row per file."""

    language: pa.StringArray
    """Null where it is unknown."""
    by: pa.StringArray
    """The step that decided, one of `BY`."""


@lru_cache(maxsize=1 << 16)
def choice(class_: bytes) -> Choice:
    """What a name class alone says."""
    key, languages = named(class_)
    if len(languages) == 1:
        return Choice(primary=languages[0], otherwise=languages[0])
    if languages:
        return AMBIGUOUS[key]
    if class_ in TEXT_NAMES or class_ in TEXT_CLASSES:
        return Choice(primary="Text", otherwise="Text")
    return _UNKNOWN


def needs_content(name_classes: pa.BinaryArray) -> pa.BooleanArray:
    """Whether the answer may depend on the head of the file."""
    encoded = name_classes.cast(pa.binary()).dictionary_encode()
    wanted = [_open(choice(one)) for one in encoded.dictionary.to_pylist()]
    return pa.array(wanted, pa.bool_()).take(encoded.indices)


def _open(one: Choice) -> bool:
    return one.primary is None or len(one.candidates) > 1


def detect(name_classes: pa.BinaryArray, heads: pa.LargeBinaryArray | None = None) -> pa.StringArray:
    """The language of every file; null where it is unknown. As `decide`."""
    return decide(name_classes, heads).language


def decide(name_classes: pa.BinaryArray, heads: pa.LargeBinaryArray | None = None) -> Decided:
    """The language of every file, and the step that decided.

    `name_classes` as names.name_class makes them; `heads` are the files' texts (UTF-8) or their first
    bytes, of which `HEAD_BYTES` are looked at. Where `heads` or a row of it is null, the name alone
    decides.
    """
    encoded = name_classes.cast(pa.binary()).dictionary_encode()
    choices = [choice(one) for one in encoded.dictionary.to_pylist()]
    classes = encoded.indices.fill_null(len(choices)).to_numpy(zero_copy_only=False)
    answers = np.array([*(one.primary for one in choices), None], object)[classes]
    by = np.array([*map(_by_name, choices), "nothing"], object)[classes]
    if heads is not None:
        heads = heads.cast(pa.large_binary())
        seen = heads.is_valid().to_numpy(zero_copy_only=False)
        order = np.argsort(classes, kind="stable")
        starts = np.searchsorted(classes[order], np.arange(len(choices) + 1))
        unnamed = []
        for at, one in enumerate(choices):
            rows = order[starts[at] : starts[at + 1]]
            rows = rows[seen[rows]]
            if one.primary is None:
                unnamed.append(rows)  # all these are one case, whatever their names are
            elif _open(one) and rows.size:
                answers[rows], by[rows] = _among_several(one, heads_of(heads, rows, HEAD_BYTES))
        rows = np.concatenate(unnamed) if unnamed else np.empty(0, np.int64)
        if rows.size:
            answers[rows], by[rows] = _among_all(heads_of(heads, rows, HEAD_BYTES))
    return Decided(pa.array(answers, pa.string()), pa.array(by, pa.string()))


def _by_name(one: Choice) -> str:
    if one.primary is None:
        return "nothing"
    return "usual" if _open(one) else "name"


class _Answers:
    """Answers for some heads, filled step by step: what is decided stays."""

    def __init__(self, heads: pa.LargeBinaryArray, otherwise: str | None) -> None:
        self.heads = heads
        self.language = np.full(len(heads), otherwise, object)
        self.by = np.full(len(heads), "nothing" if otherwise is None else "usual", object)
        self.left = np.arange(len(heads))

    def heads_left(self) -> pa.LargeBinaryArray:
        if self.left.size == len(self.heads):
            return self.heads
        return self.heads.take(pa.array(self.left))

    def settle(self, found: np.ndarray, by: str) -> None:
        """`found`: a language or None for each head that is left."""
        known = np.not_equal(found, None)
        rows = self.left[known]
        self.language[rows], self.by[rows] = found[known], by
        self.left = self.left[~known]

    def settle_declared(self, candidates: tuple[str, ...]) -> None:
        says_so = pc.match_substring_regex(self.heads, pattern=SAYS_SO).to_numpy(zero_copy_only=False)
        for by, declared in (("modeline", mode_line_language), ("shebang", shebang_language)):
            found = np.full(self.left.size, None, object)
            for at in np.flatnonzero(says_so[self.left]).tolist():
                found[at] = declared(self.heads[int(self.left[at])].as_py(), candidates)
            self.settle(found, by)

    def settle_matching(self, rules: Iterable[tuple[str, str]], by: str) -> None:
        for language, pattern in rules:
            if self.left.size == 0:
                return
            fits = pc.match_substring_regex(self.heads_left(), pattern=pattern)
            self.settle(np.where(fits.to_numpy(zero_copy_only=False), language, None), by)


def _among_several(one: Choice, heads: pa.LargeBinaryArray) -> tuple[np.ndarray, np.ndarray]:
    """Languages and steps of files of one name class that several languages have."""
    answers = _Answers(heads, one.otherwise)
    answers.settle_declared(one.candidates)
    answers.settle_matching(one.rules, "rule")
    if answers.left.size and not one.settled:
        answers.settle(_classified(one, answers.heads_left()), "classifier")
    return answers.language, answers.by


def _classified(one: Choice, heads: pa.LargeBinaryArray) -> np.ndarray:
    if one.otherwise is not None:
        # A usual language of which the classifier knows nothing would always lose.
        candidates = one.candidates if one.otherwise in classifier.tables().rows else ()
        return classifier.among(heads, candidates)
    # The name may stand for something else altogether: then the best of the candidates must be the best of all.
    found = classifier.most_likely(heads)
    return np.where(np.isin(found, one.candidates), found, None)


def _among_all(heads: pa.LargeBinaryArray) -> tuple[np.ndarray, np.ndarray]:
    """Languages and steps of files whose names say nothing."""
    answers = _Answers(heads, None)
    answers.settle_declared(())
    answers.settle_matching(_WITHOUT_NAME, "xml")
    if answers.left.size:
        rest = answers.heads_left()
        found = classifier.most_likely(rest)
        asked = np.flatnonzero(np.isin(found, _GUESSABLE))
        agreed = np.full(len(found), None, object)
        if asked.size:
            guessed = guesslang.guesses(rest.take(pa.array(asked)))
            agreed[asked] = np.where(guessed == found[asked], guessed, None)
        answers.settle(agreed, "model")
    return answers.language, answers.by


_GUESSABLE = [
    name for name in guesslang.LANGUAGES.values() if LANGUAGES[name].kind in ("programming", "markup")
]
"""Anything may look like data or prose, and a guess that it is some is no reason to keep it."""


# --------------------------------------------------------------------------------------------------------


_TREE_BATCH = 1024  # files; bounds memory to 16 MB of heads


def language_of_tree(
    paths: Iterable[bytes], read_head: Callable[[bytes], bytes]
) -> Iterator[dict[str, bytes | str | None]]:
    """`{"path": bytes, "language": str or None, "by": str}` for every path, in order; `by` is one of `BY`.

    `read_head(path)` returns at least the first `HEAD_BYTES` bytes of the file (or all of it) and is
    called once per path. Files with a NUL byte in their head (and neither mark nor look of a wider
    encoding) have no language, as in a release.
    """
    batch: list[bytes] = []
    for path in paths:
        batch.append(path)
        if len(batch) == _TREE_BATCH:
            yield from _languages_of(batch, read_head)
            batch = []
    yield from _languages_of(batch, read_head)


def _languages_of(
    paths: list[bytes], read_head: Callable[[bytes], bytes]
) -> Iterator[dict[str, bytes | str | None]]:
    heads = [_head_text(read_head(path)[:HEAD_BYTES]) for path in paths]
    classes = name_class(pa.array(paths, pa.large_binary()))
    decided = decide(classes, pa.array([head or b"" for head in heads], pa.large_binary()))
    known = zip(decided.language.to_pylist(), decided.by.to_pylist(), strict=True)
    for path, head, (language, by) in zip(paths, heads, known, strict=True):
        binary = head is None
        yield {"path": path, "language": None if binary else language, "by": "nothing" if binary else by}


_WIDE = (
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)


def _head_text(head: bytes) -> bytes | None:
    """The head as the rules want it (ASCII as ASCII, no mark), or None for binary."""
    for mark, encoding in _WIDE:
        if head.startswith(mark):
            head = head[len(mark) :].decode(encoding, "ignore").encode()
            break
    else:
        if b"\0" in head and (bare := bare_utf16(head)):
            head = head.decode(BARE[bare], "ignore").encode()
    return None if b"\0" in head else head.removeprefix(b"\xef\xbb\xbf")
