"""The signature steps that ours is measured against, each called as its users call it.

A peer is imported when it is first asked for. One that is not installed stays in every table, marked so.
`prepare` makes what a caller of that library has in hand (bytes for those that tokenise outside, str for those
that take text); its time is not charged. `sign` is what is measured. `matrix` gives the signatures as rows, for
recall and precision at 25 bands of 10 rows; gaoya and datatrove keep theirs in bands of their own.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

SLOTS = 256
BANDS, ROWS = 25, 10
TOKEN = re.compile(rb"[A-Za-z0-9_\x80-\xff]+")
Pairs = set[tuple[int, int]]


@dataclass(frozen=True)
class Peer:
    """One signature step. `same`: whether its shingles are those of ours; if not, what they are."""

    name: str
    distribution: str
    given: str
    same: str
    load: Callable[[], Any]
    prepare: Callable[[Sequence[bytes]], Any]
    sign: Callable[[Any, Any], Any]
    pairs: Callable[[Any, Any], Pairs]

    def version(self) -> str | None:
        """Return the installed version; None if there is none, or if it is ours."""
        if not self.distribution:
            return None
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return None


def shingle_sets(texts: Sequence[bytes]) -> list[set[bytes]]:
    """5-token shingles of each text, as users of the libraries that take sets make them."""
    found = []
    for text in texts:
        tokens = TOKEN.findall(text)
        found.append({b" ".join(tokens[i : i + 5]) for i in range(len(tokens) - 4)})
    return found


def banded(signatures: npt.NDArray[Any], filled: npt.NDArray[np.bool_] | None = None) -> Pairs:
    """Pairs of rows that agree on all values of one of 25 bands of 10."""
    pairs: Pairs = set()
    rows = np.ascontiguousarray(signatures)
    for band in range(BANDS):
        groups: dict[bytes, list[int]] = {}
        for i, row in enumerate(rows[:, band * ROWS : (band + 1) * ROWS]):
            if filled is None or filled[i]:
                groups.setdefault(row.tobytes(), []).append(i)
        pairs.update(all_pairs(groups.values()))
    return pairs


def all_pairs(groups: Any) -> Iterator[tuple[int, int]]:
    for group in groups:
        for high in range(1, len(group)):
            for low in range(high):
                yield (group[low], group[high]) if group[low] < group[high] else (group[high], group[low])


def _as_is(texts: Sequence[bytes]) -> Sequence[bytes]:
    return texts


def _strings(texts: Sequence[bytes]) -> list[str]:
    return [text.decode() for text in texts]


# -------------------------------------------------------------------------------------------------------- ours


def _ours() -> Any:
    import dedup

    dedup.compile_kernels()
    return dedup


def _ours_pairs(_: Any, sketches: Any) -> Pairs:
    return banded(sketches.signatures, sketches.counts > 0)


# -------------------------------------------------------------------------------------------------- datasketch


def _datasketch() -> Any:
    import datasketch

    return datasketch


def _datasketch_sign(library: Any, texts: Sequence[bytes]) -> list[Any]:
    found = []
    for shingles in shingle_sets(texts):
        minhash = library.MinHash(num_perm=SLOTS)
        minhash.update_batch(shingles)
        found.append(minhash)
    return found


def _datasketch_xxhash() -> Any:
    import datasketch
    import xxhash

    return datasketch, xxhash.xxh32_intdigest


def _datasketch_xxhash_sign(library: Any, texts: Sequence[bytes]) -> list[Any]:
    module, function = library
    found = []
    for shingles in shingle_sets(texts):
        minhash = module.MinHash(num_perm=SLOTS, hashfunc=function)
        minhash.update_batch(shingles)
        found.append(minhash)
    return found


def _datasketch_pairs(_: Any, minhashes: list[Any]) -> Pairs:
    values = np.stack([minhash.hashvalues for minhash in minhashes])
    return banded(values, np.asarray([not minhash.is_empty() for minhash in minhashes]))


# ------------------------------------------------------------------------------------------------------- rensa


def _rensa() -> Any:
    import rensa

    return rensa


def _rensa_r(library: Any, texts: Sequence[bytes]) -> Any:
    return library.RMinHash.digest_matrix_from_token_sets(shingle_sets(texts), SLOTS, 42)


def _rensa_c(library: Any, texts: Sequence[bytes]) -> Any:
    return library.CMinHash.digests_from_token_sets(shingle_sets(texts), SLOTS, 42)


def _rensa_pairs(_: Any, digests: Any) -> Pairs:
    rows = digests.to_rows() if hasattr(digests, "to_rows") else digests
    values = np.asarray(rows, np.uint64)
    return banded(values, ~(values == values[:, :1]).all(axis=1))


# ------------------------------------------------------------------------------------------------------- gaoya


def _gaoya() -> Any:
    import gaoya

    return gaoya


def _gaoya_sign(library: Any, texts: list[str]) -> Any:
    index = library.minhash.MinHashStringIndex(
        hash_size=32,
        jaccard_threshold=0.7,
        num_bands=BANDS,
        band_size=ROWS,
        num_hashes=SLOTS,
        analyzer="word",
        lowercase=False,
        ngram_range=(5, 5),
    )
    for number, text in enumerate(texts):
        index.insert_document(number, text)
    return index, texts


def _gaoya_pairs(_: Any, signed: Any) -> Pairs:
    index, texts = signed
    pairs: Pairs = set()
    for number, text in enumerate(texts):
        pairs.update((min(number, i), max(number, i)) for i in index.query(text) if i != number)
    return pairs


# -------------------------------------------------------------------------------------------------------- daft


def _daft() -> Any:
    import daft
    from daft.functions import minhash

    with contextlib.suppress(AttributeError):
        daft.set_runner_native()
    return daft, minhash


def _daft_prepare(texts: Sequence[bytes]) -> pa.Table:
    return pa.table({"text": pa.array(_strings(texts), pa.large_string())})


def _daft_sign(library: Any, table: pa.Table) -> Any:
    daft, minhash = library
    frame = daft.from_arrow(table)
    return frame.select(minhash(daft.col("text"), num_hashes=SLOTS, ngram_size=5, seed=42)).to_arrow()


def _daft_pairs(_: Any, table: Any) -> Pairs:
    column = table.column(0).combine_chunks()
    values = column.flatten().to_numpy().reshape(-1, SLOTS)
    return banded(values)


# --------------------------------------------------------------------------------------------------- datatrove


def _datatrove() -> Any:
    import loguru
    from datatrove.data import Document
    from datatrove.pipeline.dedup import minhash

    loguru.logger.remove()
    config = minhash.MinhashConfig(n_grams=5, num_buckets=BANDS, hashes_per_bucket=ROWS)
    # one step for all calls: what a caller's process pays once is not charged; the first call makes the tokenizer
    folder = tempfile.TemporaryDirectory(prefix="bench-datatrove-")
    step = minhash.MinhashDedupSignature(folder.name, config)
    list(step.run(iter([Document(text="one two three four five six", id="0")])) or [])
    return Document, step, folder


def _datatrove_sign(library: Any, texts: list[str]) -> Any:
    document, step, folder = library
    list(step.run(document(text=text, id=str(i)) for i, text in enumerate(texts)) or [])
    return folder


def _datatrove_pairs(_: Any, folder: Any) -> Pairs:
    pairs: Pairs = set()
    for file in sorted(Path(folder.name).glob("bucket_*/*.minhash.sig")):
        fields = np.frombuffer(file.read_bytes(), np.dtype([("keys", "<u8", ROWS), ("document", "<u4")]))
        groups: dict[bytes, list[int]] = {}
        for row in fields:
            groups.setdefault(row["keys"].tobytes(), []).append(int(row["document"]))
        pairs.update(all_pairs(groups.values()))
    return pairs


# -------------------------------------------------------------------------------------------------- text-dedup


def _text_dedup() -> Any:
    from text_dedup.minhash import embed_func
    from text_dedup.utils import xxh3_32hash

    prime, largest = np.uint32((1 << 32) - 5), np.uint32((1 << 32) - 1)  # its settings for 32-bit hashes
    draw = np.random.RandomState(42)
    permutations = (
        draw.randint(1, prime, size=(SLOTS,), dtype=np.uint32),
        draw.randint(0, prime, size=(SLOTS,), dtype=np.uint32),
    )
    settings = {
        "num_perm": SLOTS,
        "ngram_size": 5,
        "min_length": 5,
        "hashranges": [(i * ROWS, (i + 1) * ROWS) for i in range(BANDS)],
        "permutations": permutations,
        "hash_func": xxh3_32hash,
        "dtype": np.uint32,
        "max_hash": largest,
        "modulo_prime": prime,
    }
    return embed_func, settings


def _text_dedup_sign(library: Any, texts: list[str]) -> list[Any]:
    function, settings = library
    return [function(text, i, **settings)["__signatures__"] for i, text in enumerate(texts)]


def _text_dedup_pairs(_: Any, signatures: list[Any]) -> Pairs:
    pairs: Pairs = set()
    for band in range(BANDS):
        groups: dict[bytes, list[int]] = {}
        for i, parts in enumerate(signatures):
            if parts[band] != b"\xff" * 4 * ROWS:  # of no shingle at all
                groups.setdefault(parts[band], []).append(i)
        pairs.update(all_pairs(groups.values()))
    return pairs


# --------------------------------------------------------------------------------------------- FastSketchLSH


def _fastsketch() -> Any:
    import FastSketchLSH

    return FastSketchLSH


def _fastsketch_sign(library: Any, texts: Sequence[bytes]) -> Any:
    sets = [list(shingles) for shingles in shingle_sets(texts)]
    return library.FastSimilaritySketch(size=SLOTS, seed=42).batch(sets, num_threads=1), [
        bool(s) for s in sets
    ]


def _fastsketch_pairs(_: Any, signed: Any) -> Pairs:
    signatures, filled = signed
    return banded(np.asarray(signatures), np.asarray(filled))


_BYTES = "bytes; tokens and 5-gram sets by a regular expression, charged"
_SAME = "yes"

PEERS: tuple[Peer, ...] = (
    Peer(
        "ours",
        "",
        "an Arrow array of bytes",
        _SAME,
        _ours,
        lambda texts: pa.array(texts, pa.large_binary()),
        lambda library, array: library.sketch(array),
        _ours_pairs,
    ),
    Peer(
        "datasketch",
        "datasketch",
        _BYTES,
        _SAME,
        _datasketch,
        _as_is,
        _datasketch_sign,
        _datasketch_pairs,
    ),
    Peer(
        "datasketch, xxh32",
        "datasketch",
        _BYTES,
        _SAME,
        _datasketch_xxhash,
        _as_is,
        _datasketch_xxhash_sign,
        _datasketch_pairs,
    ),
    Peer("rensa RMinHash", "rensa", _BYTES, _SAME, _rensa, _as_is, _rensa_r, _rensa_pairs),
    Peer("rensa CMinHash", "rensa", _BYTES, _SAME, _rensa, _as_is, _rensa_c, _rensa_pairs),
    Peer(
        "FastSketchLSH",
        "FastSketchLSH",
        _BYTES,
        _SAME,
        _fastsketch,
        _as_is,
        _fastsketch_sign,
        _fastsketch_pairs,
    ),
    Peer(
        "gaoya",
        "gaoya",
        "str; its insertion into 25 x 10 bands is in the time",
        "no: 5-grams of its own words; all files under 5 words are alike",
        _gaoya,
        _strings,
        _gaoya_sign,
        _gaoya_pairs,
    ),
    Peer(
        "daft",
        "daft",
        "an Arrow table of str",
        "no: 5-grams of words between spaces",
        _daft,
        _daft_prepare,
        _daft_sign,
        _daft_pairs,
    ),
    Peer(
        "text-dedup",
        "text-dedup",
        "str",
        "no: lower-cased, split at each non-word character, empty tokens stay",
        _text_dedup,
        _strings,
        _text_dedup_sign,
        _text_dedup_pairs,
    ),
    Peer(
        "datatrove",
        "datatrove",
        "its documents of str; 25 x 10 values, written to files",
        "no: spaCy words of simplified text",
        _datatrove,
        _strings,
        _datatrove_sign,
        _datatrove_pairs,
    ),
)
