"""From the texts of a batch to the tokens of its documents: cuts, encoding, control tokens.

The tokens of a document are

    plain   text <|endoftext|>
    FIM     markers and pieces as in `training.corpus.fim`, then <|endoftext|>

The end of text is trained on. A FIM document that would not fit into one row stays in plain order: split over two
rows, its middle would stand alone. Nothing here depends on a document's neighbours.

A cut is made by adding an offset, the pieces stay where Arrow has them: no text is copied, and no Python object is
made of one.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.config import FimConfig
from training.corpus.fim import draw
from training.errors import TrainingConfigError
from training.tokens.control import ControlIds
from training.tokens.encoder import Encoder, Pieces, Reference, pieces_of
from training.tokens.tokenizer import CodeTokenizer

MAX_CHARACTERS_PER_TOKEN = 8
"""A document of more characters than this times the row length is not tried for FIM (code has 3 to 4)."""

LARGEST_COMPARED = 2**20
"""Documents of more bytes are not in the sample that is compared with the Hugging Face tokenizer."""


class DifferentTokensError(Exception):
    """The fast encoder gave other ids for a document than the Hugging Face tokenizer; says which."""


@dataclass(frozen=True)
class Encoded:
    """Documents as tokens.

    Attributes:
        tokens: of all documents, one after the other.
        length: tokens of each document (int64).
        cut: whether each document was cut for FIM (bool).
    """

    tokens: np.ndarray
    length: np.ndarray
    cut: np.ndarray


def token_type(tokenizer: CodeTokenizer) -> np.dtype:
    """The smallest type that holds all ids: uint16 or uint32."""
    return np.dtype(np.uint16 if tokenizer.size <= 2**16 else np.uint32)


def check_fim(tokenizer: CodeTokenizer, rate: float) -> None:
    """Refuse FIM with a tokenizer that has no markers for it.

    Raises:
        TrainingConfigError: says which setting to change.
    """
    if rate > 0 and not tokenizer.control.has_fim:
        raise TrainingConfigError(
            "the tokenizer has no fill-in-the-middle tokens (such as <fim_prefix>, <fim_middle>, <fim_suffix>); "
            "set tokenizer.add_missing: true, or data.fim.rate: 0, or use another tokenizer"
        )


def encode_documents(
    tokenizer: CodeTokenizer,
    encoder: Encoder,
    texts: pa.Array,
    names: Sequence[str],
    *,
    fim: FimConfig | None,
    seed: int,
    epoch: int,
    row_tokens: int,
    compared: float = 0.0,
) -> Encoded:
    """Tokens of each text, the end of text included.

    Args:
        tokenizer: what ids mean.
        encoder: one of this tokenizer.
        texts: strings.
        names: content id of each text; the cuts are drawn from it.
        fim: rates; None cuts nothing.
        seed, epoch: of the cuts.
        row_tokens: longest document that may be cut, control tokens included.
        compared: share of the documents, drawn by name, whose ids must be those of the Hugging Face tokenizer.

    Raises:
        DifferentTokensError: they are not.
    """
    whole = pieces_of(texts)
    order, first, second = _draw(texts, names, fim, seed, epoch, row_tokens)
    if fim is not None:
        check_fim(tokenizer, fim.rate)
    bounds, piece = _cut(whole.buffer, whole.bounds, order, first, second)
    pieces = Pieces(whole.buffer, bounds)
    ids, lengths = encoder.encode(pieces)
    if compared > 0:
        _compare(tokenizer, pieces, piece, ids, lengths, names, compared)
    # Documents that are too long for their markers go back to plain order.
    size = np.add.reduceat(lengths, piece[:-1]) if len(texts) else np.zeros(0, np.int64)
    back = np.flatnonzero((order > 0) & (size + 4 > row_tokens))
    starts = np.cumsum(lengths) - lengths
    if len(back):
        more, more_lengths = encoder.encode(pieces_of(texts.take(pa.array(back))))
        starts = np.concatenate((starts, len(ids) + np.cumsum(more_lengths) - more_lengths))
        ids, lengths = np.concatenate((ids, more)), np.concatenate((lengths, more_lengths))
        piece = piece.copy()
        order[back], piece[back] = 0, np.arange(len(starts) - len(back), len(starts))
    items, documents = _items(order, piece, tokenizer.control)
    tokens, length = emit(ids, starts, lengths, items, documents, token_type(tokenizer))
    return Encoded(tokens, length, order > 0)


def _draw(  # noqa: PLR0917
    texts: pa.Array,
    names: Sequence[str],
    fim: FimConfig | None,
    seed: int,
    epoch: int,
    row_tokens: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(order: 0 plain, 1 PSM, 2 SPM; characters before the first and the second cut) of each text."""
    count = len(texts)
    order, first, second = np.zeros(count, np.int8), np.zeros(count, np.int64), np.zeros(count, np.int64)
    if fim is None or fim.rate == 0 or not count:
        return order, first, second
    characters = pc.utf8_length(texts).to_numpy()
    for index in np.flatnonzero(characters <= MAX_CHARACTERS_PER_TOKEN * row_tokens).tolist():
        cut = draw(
            names[index],
            int(characters[index]),
            seed=seed,
            epoch=epoch,
            rate=fim.rate,
            spm_rate=fim.spm_rate,
        )
        if cut is not None:
            order[index], first[index], second[index] = 1 if cut.order == "psm" else 2, cut.start, cut.end
    return order, first, second


@numba.njit(nogil=True, cache=True)
def _cut(
    buffer: np.ndarray, bounds: np.ndarray, order: np.ndarray, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(bounds of the pieces; number of the first piece of each document, and of all)."""
    count = len(order)
    result = np.empty(len(bounds) + 2 * np.count_nonzero(order), np.int64)
    piece = np.empty(count + 1, np.int64)
    used = 0
    for i in range(count):
        piece[i] = used
        result[used] = bounds[i]
        used += 1
        if order[i]:
            place, seen = bounds[i], 0  # byte offset, and characters before it
            for wanted in (first[i], second[i]):
                while seen < wanted:
                    place += 1
                    while place < bounds[i + 1] and buffer[place] & 0xC0 == 0x80:
                        place += 1
                    seen += 1
                result[used] = place
                used += 1
    piece[count] = used
    result[used] = bounds[count]
    return result, piece


def _items(order: np.ndarray, piece: np.ndarray, control: ControlIds) -> tuple[np.ndarray, np.ndarray]:
    """What each document shows, as `emit` takes it: a piece's number, or -1 - id of a control token."""
    documents = np.concatenate(([0], np.cumsum(np.where(order > 0, 7, 2))))
    items = np.empty(documents[-1], np.int64)
    items[documents[1:] - 1] = -1 - control.end_of_text
    at, own = documents[:-1][order == 0], piece[:-1][order == 0]
    items[at] = own
    for kind, shown in ((1, "p0s2m1"), (2, "ps2m01")):
        at, own = documents[:-1][order == kind], piece[:-1][order == kind]
        for offset, item in enumerate(shown):
            if item.isdigit():
                items[at + offset] = own + int(item)
            else:
                marker = {"p": control.prefix, "m": control.middle, "s": control.suffix}[item]
                items[at + offset] = -1 - (marker if marker is not None else 0)
    return items, documents


def emit(  # noqa: PLR0917
    ids: np.ndarray,
    starts: np.ndarray,
    lengths: np.ndarray,
    items: np.ndarray,
    documents: np.ndarray,
    kind: np.dtype,
) -> tuple[np.ndarray, np.ndarray]:
    """Documents put together of encoded pieces and control tokens: (tokens, number of tokens of each document).

    Args:
        ids: of all pieces.
        starts, lengths: where the ids of each piece are in `ids`.
        items: what all documents show, in order: a piece's number, or -1 - id for a control token.
        documents: number of each document's first item, and of all items.
        kind: type of the tokens.
    """
    sizes = (
        np.where(items < 0, 1, lengths[np.maximum(items, 0)])
        if len(lengths)
        else np.ones(len(items), np.int64)
    )
    total = np.concatenate(([0], np.cumsum(sizes)))
    tokens = np.empty(total[-1], kind)
    _emit(ids, starts, lengths, items, tokens)
    return tokens, np.diff(total[documents])


@numba.njit(nogil=True, cache=True)
def _emit(
    ids: np.ndarray, starts: np.ndarray, lengths: np.ndarray, items: np.ndarray, tokens: np.ndarray
) -> None:
    used = 0
    for item in items:
        if item < 0:
            tokens[used] = -1 - item
            used += 1
        else:
            start = starts[item]
            for k in range(lengths[item]):
                tokens[used + k] = ids[start + k]
            used += lengths[item]


def _compare(  # noqa: PLR0917
    tokenizer: CodeTokenizer,
    pieces: Pieces,
    piece: np.ndarray,
    ids: np.ndarray,
    lengths: np.ndarray,
    names: Sequence[str],
    share: float,
) -> None:
    """Compare a sample of the documents, piece by piece as they were encoded, with the Hugging Face tokenizer."""
    limit, stops = share * 2**32, np.cumsum(lengths)
    size = pieces.bounds[piece[1:]] - pieces.bounds[piece[:-1]]
    reference = Reference(tokenizer)
    for index, name in enumerate(names):
        if zlib.crc32(name.encode()) >= limit or size[index] > LARGEST_COMPARED:
            continue
        first, last = int(piece[index]), int(piece[index + 1])
        wanted, wanted_lengths = reference.encode(Pieces(pieces.buffer, pieces.bounds[first : last + 1]))
        found = ids[stops[first] - lengths[first] : stops[last - 1]]
        if not np.array_equal(wanted_lengths, lengths[first:last]) or not np.array_equal(wanted, found):
            raise DifferentTokensError(name)
