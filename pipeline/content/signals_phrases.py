"""Instruction-like text: words that speak to a language model rather than to a reader, a compiler or a user.

The list is our own, short and English: orders to drop earlier instructions, talk about the model's own prompt, set phrases of
chat models, notes addressed to them. Words are ASCII letters and digits, case ignored; between two words of a match is
anything else, `GAP` bytes at most: spaces, line ends, comment marks. Counted are the words at which a phrase begins.

A signal, no verdict: code that talks to models says such things, too.
"""

from __future__ import annotations

import numba
import numpy as np

PHRASES = (
    "ignore|disregard|forget|override|bypass all|any? of? the|your|my|these|any? previous|prior|above|earlier|preceding|foregoing"
    " instructions|instruction|prompts|prompt|directions|directives",
    "do not follow the|your|any|these? previous|prior|earlier|system instructions|prompt|prompts",
    "reveal|print|show|repeat|output|leak|disclose me|us? your system|initial|hidden|original prompt|instructions|message",
    "end|beginning|start of the? system prompt",
    "as an|a ai language? model|assistant",
    "as a large language model",
    "i am|m an|a ai language? model|assistant",
    "i am|m a large language model",
    "you are an|a ai language? model|assistant|agent|chatbot",
    "you are a large? language model",
    "you are a helpful ai? assistant|chatbot",
    "you are chatgpt|gpt|claude|gemini|copilot|llama|grok",
    "you are now jailbroken|unrestricted|unfiltered|dan",
    "if you are|re an|a ai|llm",
    "if you are|re a large? language model",
    "attention|note|notice|instruction|instructions to|for any|all|the? ai|llm|llms|chatgpt|copilot",
    "dear ai|llm|llms|chatgpt|copilot|claude",
    "ai|llm|llms agents|assistants|models|reviewers must|should|shall",
    "do not tell|inform|alert|notify the user",
    "don t tell|inform|alert|notify the user",
    "without telling|informing|alerting|notifying the user",
    "from now on you are|will|must|shall|should",
    "you must|should|will now act|behave|respond as|like",
    "pretend that? you are",
    "give a positive review",
)
"""Sequences of words: `a|b` is either, and a `?` at the end makes a word optional."""

GAP = 32
"""Bytes between two words of a match at most."""

_LONGEST = 15  # bytes; a longer word is in no phrase


Slots = tuple[tuple[str, ...], ...]


def slots() -> tuple[Slots, ...]:
    """Every phrase as its slots: the words that may stand there, an empty one where the slot may be left out."""
    return tuple(
        tuple(
            (*slot.removesuffix("?").split("|"), *([""] if slot[-1] == "?" else []))
            for slot in phrase.split(" ")
        )
        for phrase in PHRASES
    )


def _kinds() -> np.ndarray:
    """Of every byte: the lower-case letter or digit that it is, or 0."""
    kinds = np.zeros(256, np.uint8)
    for byte in b"abcdefghijklmnopqrstuvwxyz0123456789":
        kinds[byte] = kinds[ord(chr(byte).upper())] = byte
    return kinds


_KINDS = _kinds()
_WIDE = 1 << 12  # slots of the table below


def _spelled(word: bytes) -> tuple[int, int]:
    """A word of at most `_LONGEST` letters and digits as two integers, as the kernel spells it."""
    parts = [0, 0]
    for place, byte in enumerate(word):
        parts[place // 8] = parts[place // 8] << 8 | byte
    return parts[0], parts[1]


def _transitions() -> list[dict[str, int]]:
    """The words that lead from each state to which other; state 0 is before the first word, -1 the end of a phrase.

    A state is the set of places (phrase, slot) at which the next word may stand.
    """
    phrases = slots()

    def places(phrase: int, slot: int) -> set[tuple[int, int]]:
        found = {(phrase, slot)}
        while slot < len(phrases[phrase]) and "" in phrases[phrase][slot]:
            slot += 1
            found.add((phrase, slot))
        return found

    start = frozenset(place for phrase in range(len(phrases)) for place in places(phrase, 0))
    states, todo, found = {start: 0}, [start], []
    for state in todo:  # grows
        onward: dict[str, set[tuple[int, int]]] = {}
        for phrase, slot in sorted(state):
            for word in phrases[phrase][slot]:
                if word:
                    onward.setdefault(word, set()).update(places(phrase, slot + 1))
        found.append({})
        for word, reached in sorted(onward.items()):
            if any(slot == len(phrases[phrase]) for phrase, slot in reached):
                found[-1][word] = -1
                continue
            if frozenset(reached) not in states:
                states[frozenset(reached)] = len(states)
                todo.append(frozenset(reached))
            found[-1][word] = states[frozenset(reached)]
    return found


def _tables() -> tuple[np.ndarray, np.ndarray]:
    """The transitions in an open table (state or -2, the two parts of a word, next state); and with which three bytes a first
    word begins: the five lower bits of each, in which upper and lower case are one."""
    table = np.full((_WIDE, 4), -2, np.int64)
    firsts = np.zeros(1 << 15, bool)
    for state, onward in enumerate(_transitions()):
        for word, following in onward.items():
            high, low = _spelled(word.encode())
            slot = int(_slot(state, high, low))
            while table[slot, 0] >= 0:
                slot = (slot + 1) % _WIDE
            table[slot] = state, high, low, following
            if state == 0:
                known = [ord(letter) & 31 for letter in word[:3]]
                firsts.reshape(32, 32, 32)[(*known, ...)] = True
    assert (table[:, 0] >= 0).sum() < _WIDE // 2
    return table, firsts


@numba.njit(nogil=True, cache=True)
def _slot(state, high, low):
    return (state * 31 + (high >> 32) * 41 + high * 37 + low) & (_WIDE - 1)


_TABLE, _FIRSTS = _tables()


def count_phrases(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """How many words of every text begin a phrase, int64."""
    out = np.zeros(len(offsets) - 1, np.int64)
    _count_all(data, offsets, _KINDS, _FIRSTS, _TABLE, out)
    return out


@numba.njit(nogil=True, cache=True)
def _count_all(data, offsets, kinds, firsts, table, out):  # noqa: PLR0917 - arrays and positions of one kernel
    for row in range(offsets.shape[0] - 1):
        end = offsets[row + 1]
        found = three = letters = 0
        for at in range(offsets[row], end):
            # One branch that is seldom taken, not one for each word: where words end cannot be predicted.
            three = (three << 5 | (data[at] & 31)) & 0x7FFF
            letters = (letters << 1 | (kinds[data[at]] != 0)) & 15
            if firsts[three] & (letters & 12 == 4):
                found += _begins(data, at - 2, end, kinds, table)
        out[row] = found


@numba.njit(nogil=True, cache=True)
def _begins(data, at, end, kinds, table):
    """Whether a phrase begins with the word that begins here."""
    state = 0
    while at < end:
        first = at
        high = low = 0
        while at < end and kinds[data[at]] != 0:
            if at - first < 8:
                high = high << 8 | kinds[data[at]]
            elif at - first < _LONGEST:
                low = low << 8 | kinds[data[at]]
            else:
                return False
            at += 1
        state = _next(state, high, low, table)
        if state < 0:
            return state == -1
        first = at
        while at < end and kinds[data[at]] == 0:
            at += 1
            if at - first > GAP:
                return False
    return False


@numba.njit(nogil=True, cache=True)
def _next(state, high, low, table):
    """The next state; -1 at the end of a phrase, -2 where the word leads nowhere."""
    slot = _slot(state, high, low)
    while table[slot, 0] >= 0:
        if table[slot, 0] == state and table[slot, 1] == high and table[slot, 2] == low:
            return table[slot, 3]
        slot = (slot + 1) & (_WIDE - 1)
    return -2
