"""Fill in the middle, measured: the model writes the middle of held-out documents, which is compared with the true one.

**Cuts.** Half of the documents lose the end of one line (from its first character that is no blank, as in the
single-line tasks of arXiv 2204.05999 and 2301.03988), half a span that begins anywhere and has 1 to 4 x
`fim_max_tokens` characters. Which, and where, comes from a hash of the content alone: every model, step and run is asked
the same. A cut whose middle has more than `fim_max_tokens` tokens or nothing but blanks is drawn again, up to 16 times;
then the document is passed over, and counted.

**Prompt.** Prefix-suffix-middle order, or suffix-prefix-middle for a model trained on nothing else. Where prefix and
suffix do not fit into a row of training, the far end of each is left out, as an editor does.

**Scores.** The text up to the first control token, greedily. Exact match: it is the middle, character by character. Edit
similarity: 1 - Levenshtein distance / characters of the longer one. Sums over documents, divided once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed

from training.model.decoding import generate, text_of
from training.run.held_out import HeldOutDocument
from training.tokens.tokenizer import CodeTokenizer

TRIES = 16
BATCH = 8
"""Prompts generated together: fixed, so that scores do not depend on the number of processes."""

Order = Literal["psm", "spm"]


@dataclass(frozen=True)
class Task:
    """One question: the prompt as ids, and the middle that is wanted."""

    content_id: str
    language: str
    prompt: np.ndarray
    middle: str


def fim_prompt(
    tokenizer: CodeTokenizer,
    prefix: np.ndarray,
    suffix: np.ndarray,
    order: Order,
) -> np.ndarray:
    """Ids that ask for the middle; the tokenizer must have the three markers."""
    control = tokenizer.control
    markers = (control.prefix, control.suffix, control.middle)
    first, second, third = (np.array([marker], dtype=np.int64) for marker in markers)
    parts = (
        (first, prefix, second, suffix, third) if order == "psm" else (first, second, suffix, third, prefix)
    )
    return np.concatenate(parts).astype(np.int64)


def fit(prefix: np.ndarray, suffix: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """The end of the prefix and the beginning of the suffix that fit into `room` tokens, half each if both are long."""
    of_suffix = min(len(suffix), max(room // 2, room - len(prefix)))
    of_prefix = min(len(prefix), room - of_suffix)
    return prefix[len(prefix) - of_prefix :], suffix[:of_suffix]


def cut(content_id: str, text: str, attempt: int, longest: int) -> tuple[int, int] | None:
    """(start, end) of the middle in characters, of the given attempt; None where a line was drawn and none has text."""
    digest = hashlib.sha256(f"fim score|{content_id}|{attempt}".encode()).digest()
    kind, first, second = (int.from_bytes(digest[i : i + 8], "big") for i in (0, 8, 16))
    if kind % 2:
        start = first % len(text)
        return start, min(len(text), start + 1 + second % longest)
    lines, at = [], 0
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        if bare:
            start = at + len(line) - len(line.lstrip())
            lines.append((start, start + len(bare)))
        at += len(line)
    return lines[first % len(lines)] if lines else None


def tasks(
    documents: Iterable[HeldOutDocument],
    tokenizer: CodeTokenizer,
    *,
    max_tokens: int,
    context: int,
    order: Order = "psm",
) -> tuple[list[Task], int]:
    """The questions, and how many documents were passed over.

    Args:
        documents: to be cut.
        tokenizer: with fill-in-the-middle markers.
        max_tokens: of a middle.
        context: tokens of prompt and middle at most.
        order: of prefix and suffix in the prompt.
    """
    made, passed_over = [], 0
    for document in documents:
        text = document.text
        for attempt in range(TRIES):
            place = cut(document.content_id, text, attempt, 4 * max_tokens)
            if place is None or not text[place[0] : place[1]].strip():
                continue
            middle = text[place[0] : place[1]]
            # No more of a long file than could ever fit: one token is at most some characters long.
            before, after = text[max(0, place[0] - 64 * context) : place[0]], text[place[1] :][: 64 * context]
            prefix, wanted, suffix = tokenizer.encode([before, middle, after])
            room = context - max_tokens - 4
            if len(wanted) > max_tokens or room < 2:
                continue
            asked = fim_prompt(tokenizer, *fit(prefix, suffix, room), order)
            made.append(Task(document.content_id, document.language, asked, middle))
            break
        else:
            passed_over += 1
    return made, passed_over


def levenshtein(first: str, second: str) -> int:
    """Insertions, deletions and replacements of characters between two texts.

    Bit-parallel, a column at a time in one integer of `len(first)` bits (Myers 1999; Hyyro 2003).
    """
    if not first:
        return len(second)
    places: dict[str, int] = {}
    for index, sign in enumerate(first):
        places[sign] = places.get(sign, 0) | 1 << index
    everything, last = (1 << len(first)) - 1, 1 << (len(first) - 1)
    plus, minus, distance = everything, 0, len(first)
    for sign in second:
        equal = places.get(sign, 0)
        diagonal = (((equal & plus) + plus) ^ plus) | equal | minus
        rise, fall = minus | ~(diagonal | plus) & everything, plus & diagonal
        distance += bool(rise & last) - bool(fall & last)
        rise, fall = (rise << 1 | 1) & everything, fall << 1 & everything
        plus, minus = fall | ~(diagonal | rise) & everything, rise & diagonal
    return distance


def edit_similarity(first: str, second: str) -> float:
    """1 for equal texts, 0 for texts that share no character in order."""
    longer = max(len(first), len(second))
    return 1 - levenshtein(first, second) / longer if longer else 1.0


def score(  # noqa: PLR0917
    model: Any,
    asked: Sequence[Task],
    tokenizer: CodeTokenizer,
    max_tokens: int,
    rank: int = 0,
    world: int = 1,
) -> dict[str, Any]:
    """{"all": {documents, exact, similarity, exact_match, edit_similarity}, "languages": {name: the same}}.

    The same in every process.

    Prompts of like length are generated together, in batches that do not depend on the number of processes.
    """
    order = sorted(range(len(asked)), key=lambda n: (len(asked[n].prompt), asked[n].content_id))
    sums = np.zeros((len(asked), 2))
    for number, first in enumerate(range(0, len(order), BATCH)):
        if number % world != rank:
            continue
        batch = order[first : first + BATCH]
        # One token more than the longest middle, so that a model which does not stop is not taken for exact.
        written = generate(model, [asked[n].prompt for n in batch], tokenizer, max_tokens=max_tokens + 1)
        for n, ids in zip(batch, written, strict=True):
            text = text_of(tokenizer, ids)
            sums[n] = float(text == asked[n].middle), edit_similarity(text, asked[n].middle)
    if world > 1:
        shared = torch.from_numpy(sums).to(next(model.parameters()).device)
        torch.distributed.all_reduce(shared)
        sums = shared.cpu().numpy()
    languages = sorted({task.language for task in asked})
    return {
        "all": _rates(sums),
        "languages": {
            name: _rates(sums[[n for n, task in enumerate(asked) if task.language == name]])
            for name in languages
        },
    }


def _rates(sums: np.ndarray) -> dict[str, float]:
    count = len(sums)
    exact, similarity = (float(value) for value in sums.sum(axis=0))
    return {
        "documents": count,
        "exact": exact,
        "similarity": similarity,
        "exact_match": exact / count if count else float("nan"),
        "edit_similarity": similarity / count if count else float("nan"),
    }
