"""The published guesslang model, in integers: a guess among 54 languages from the bytes of a text alone.

The model is a wide and deep network over byte pairs: a text is the counts of the pairs of its first 10,001 bytes, hashed
into 5,000 buckets; the wide part sums a row of 54 numbers per pair, the deep part averages a row of 70 numbers and sends it
through two ReLU layers (512, 32); both are added. Weights: data/guesslang.npz, the variables of the Python package guesslang
2.2.1 (MIT, licence beside it).

**Same answer everywhere.** Floating-point sums depend on the order of the additions, hence on the processor. The weights are
rounded to multiples of 2^-12 (embedding 2^-14, wide part 2^-16) when they are loaded, and every sum is one of 64-bit integers.

**Not to be believed alone.** It knows no "none of these" and is as sure of itself on languages it never saw: on files of all
languages, precision stays under one half at any threshold on its own score (docs/languages.md). languages.py takes its answer
only where another model that knows ten times as many languages gives the same.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np

from pipeline.content.buffers import buffers

if TYPE_CHECKING:
    import pyarrow as pa

HEAD_BYTES = 10_001
BUCKETS = 5000

LANGUAGES = {
    "asm": "Assembly", "bat": "Batchfile", "c": "C", "cbl": "COBOL", "clj": "Clojure", "cmake": "CMake", "coffee": "CoffeeScript",
    "cpp": "C++", "cs": "C#", "css": "CSS", "csv": "CSV", "dart": "Dart", "dm": "DM", "dockerfile": "Dockerfile", "erl": "Erlang",
    "ex": "Elixir", "f90": "Fortran Free Form", "go": "Go", "groovy": "Groovy", "hs": "Haskell", "html": "HTML", "ini": "INI",
    "java": "Java", "jl": "Julia", "js": "JavaScript", "json": "JSON", "kt": "Kotlin", "lisp": "Common Lisp", "lua": "Lua",
    "makefile": "Makefile", "matlab": "MATLAB", "md": "Markdown", "ml": "OCaml", "mm": "Objective-C", "pas": "Pascal",
    "php": "PHP", "pm": "Perl", "prolog": "Prolog", "ps1": "PowerShell", "py": "Python", "r": "R", "rb": "Ruby", "rs": "Rust",
    "scala": "Scala", "sh": "Shell", "sql": "SQL", "swift": "Swift", "tex": "TeX", "toml": "TOML", "ts": "TypeScript",
    "v": "Verilog", "vba": "VBA", "xml": "XML", "yaml": "YAML",
}  # fmt: skip
"""The model's labels -> languages of the taxonomy."""

_FILE = Path(__file__).parent / "data" / "guesslang.npz"
_BITS = 12  # of the fraction, in the weights of layers
_SCORED = 16  # of the fraction, in scores and in the wide part, which is summed up to 10,000 times
_EMBEDDED = 14  # of the fraction, in the embedding
_HIDDEN = 20  # of the fraction, in what goes from layer to layer
_DNN = "dnn__input_from_feature_columns__input_layer__content_embedding__embedding_weights"


class Weights(NamedTuple):
    """Fixed-point weights; all integers."""

    labels: tuple[str, ...]
    pairs: np.ndarray
    """(65536,) int16: bucket of the byte pair `first * 256 + second`."""
    embedding: np.ndarray
    """(5000, 70)."""
    hidden: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    """Kernel (70, 512) and bias, kernel (512, 32) and bias."""
    out: tuple[np.ndarray, np.ndarray]
    """Kernel (32, 54) and bias."""
    wide: tuple[np.ndarray, np.ndarray]
    """Kernel (5000, 54) and bias."""


@cache
def weights() -> Weights:
    """The model, loaded once per process."""
    with np.load(_FILE, allow_pickle=False) as data:

        def fixed(name: str, bits: int) -> np.ndarray:
            return np.rint(data[name].astype(np.float64) * 2.0**bits).astype(np.int64)

        layers = [
            (fixed(f"dnn__{name}__kernel", _BITS), fixed(f"dnn__{name}__bias", _BITS + _HIDDEN))
            for name in ("hiddenlayer_0", "hiddenlayer_1", "logits")
        ]
        return Weights(
            labels=tuple(str(one) for one in data["classes"]),
            pairs=data["H"],
            embedding=fixed(_DNN, _EMBEDDED),
            hidden=(*layers[0], *layers[1]),
            out=layers[2],
            wide=(
                fixed("linear__linear_model__content__weights", _SCORED),
                fixed("linear__linear_model__bias_weights", _SCORED),
            ),
        )


def scores(texts: pa.LargeBinaryArray) -> np.ndarray:
    """`(len(texts), 54)` int64: the model's logits in units of 2^-16, in the order of `weights().labels`."""
    _, offsets, data = buffers(texts)
    model = weights()
    found = np.empty((len(texts), len(model.labels)), np.int64)
    _score(data, offsets, model.pairs, model.embedding, *model.hidden, *model.out, *model.wide, found)
    return found


def guesses(texts: pa.LargeBinaryArray) -> np.ndarray:
    """The language of the taxonomy that the model finds most likely for each text (object array). Always one of the 54."""
    names = np.array([LANGUAGES[label] for label in weights().labels], object)
    return names[np.argmax(scores(texts), axis=1)] if len(texts) else np.empty(0, object)


@numba.njit(nogil=True, cache=True)
def _score(
    data, offsets, pairs, embedding, kernel0, bias0, kernel1, bias1, kernel2, bias2, wide, wide_bias, found
):
    counts = np.zeros(BUCKETS, np.int64)
    mean = np.empty(embedding.shape[1], np.int64)
    first = np.empty(bias0.shape[0], np.int64)
    second = np.empty(bias1.shape[0], np.int64)
    for row in range(offsets.shape[0] - 1):
        start, end = offsets[row], min(offsets[row + 1], offsets[row] + HEAD_BYTES)
        total = max(0, end - start - 1)
        for at in range(start, end - 1):
            counts[pairs[np.int64(data[at]) * 256 + np.int64(data[at + 1])]] += 1
        mean[:] = 0
        found[row] = wide_bias
        for bucket in range(BUCKETS):
            count = counts[bucket]
            if count:
                counts[bucket] = 0
                for i in range(mean.shape[0]):
                    mean[i] += count * embedding[bucket, i]
                for i in range(found.shape[1]):
                    found[row, i] += count * wide[bucket, i]
        for i in range(mean.shape[0]):
            mean[i] = (mean[i] << (_HIDDEN - _EMBEDDED)) // max(1, total)
        _layer(mean, kernel0, bias0, first)
        _layer(first, kernel1, bias1, second)
        for i in range(found.shape[1]):
            deep = bias2[i]
            for j in range(second.shape[0]):
                deep += second[j] * kernel2[j, i]
            found[row, i] += deep >> (_HIDDEN + _BITS - _SCORED)


@numba.njit(nogil=True, cache=True)
def _layer(values, kernel, bias, out):
    """relu(values @ kernel + bias); values and out have `_HIDDEN` bits of fraction."""
    out[:] = bias
    for j in range(values.shape[0]):
        value = values[j]
        if value:
            for i in range(out.shape[0]):
                out[i] += value * kernel[j, i]
    for i in range(out.shape[0]):
        out[i] = max(0, out[i]) >> _BITS
