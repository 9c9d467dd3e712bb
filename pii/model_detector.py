"""Personal data that no rule describes: a token-classification model says where, in the terms of the rules.

    detector = load_detector("models/pii-tagger", labels={"PER": "name", "EMAIL": "email", "MISC": None})
    findings = scan(texts, settings, also=detector.detect(texts))

Off unless somebody asks for it; no model is shipped.  Models run through transformers (the extra `train`), on a CPU or a GPU.
Their weights must be safetensors, as loading pickles runs what is in them; code that comes with a model is never run.

**What a finding depends on**: the text, the model's files (`digest`) and the rest of `record`.  Not on other texts nor on their
number: a window of tokens is padded to one of a few lengths and computed in a batch of a fixed shape for that length, filled up
with nothing.  Another device, another number of texts per batch or another version of the libraries may change the last digits of
a probability, so `record` names them.

**Long texts** are cut into pieces of at most `PIECE` characters behind a line break (in a longer line: anywhere), and their
tokens into windows that overlap.  A token in two windows is judged by the one in which it is farther from the edge: half of
an overlap each.  Memory is bounded by `GROUP` characters of text and one batch.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import yaml

from pii.rules import KINDS
from pii.scan import FINDINGS

#: Columns of `FINDINGS` up to `rule`: what a detector says.
MODEL_FINDINGS = pa.schema([FINDINGS.field(name) for name in ("doc", "start", "end", "kind", "rule")])

PIECE = 65_536
GROUP = 1 << 20

_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")
_PREFIX = re.compile(r"([BILUSE])[-_](.+)")
_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_SHORTEST = 32  # tokens of the shortest padded window
_BATCH_TOKENS, _BATCH_ELSEWHERE = {"cpu": 512}, 16_384


class ModelUnavailable(ValueError):
    """The libraries that models need are not installed."""


class BadModel(ValueError):
    """A model that cannot be used: not loadable, or with labels that were not declared."""


class Detector(Protocol):
    """Whatever finds personal data beyond the rules.

    Attributes:
        name: short, part of `rule`.
        digest: SHA-256 (hex) of what the detector is made of.
    """

    name: str
    digest: str

    def detect(self, texts: pa.Array | pa.ChunkedArray) -> pa.Table:
        """Findings (`MODEL_FINDINGS`: byte offsets of the UTF-8 text), sorted, without overlaps in a text; a null has none."""
        ...

    def record(self) -> dict[str, object]:
        """All that findings depend on beside the text; JSON-able."""
        ...


class _Label(NamedTuple):
    """A class of the model: the entity that it is about ("" for none), and where in one a token of it stands."""

    entity: str
    begins: bool  # a token of it begins an entity
    ends: bool  # and ends it


class _Window(NamedTuple):
    """Tokens that are judged together: `first..last` of the piece are computed, `low..high` are taken from it."""

    piece: int
    first: int
    last: int
    low: int
    high: int


@dataclass
class _Piece:
    """A part of a text: its tokens, where they stand (characters of the part), and what the model says of each."""

    doc: int
    offset: int  # byte of the text at which it begins
    text: str
    ids: list[int]
    spans: list[tuple[int, int]]
    labels: np.ndarray  # class of each token
    sure: np.ndarray  # its probability


class TokenClassifier:
    """A `Detector` made of a token-classification model; `load_detector` makes one."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        digest: str,
        labels: Mapping[str, str | None],
        threshold: float = 0.5,
        window: int = 512,
        overlap: int = 64,
        batch_tokens: int | None = None,
    ) -> None:
        """Take a loaded model and its (fast) tokenizer; the arguments are those of `load_detector`.

        Raises:
            BadModel: labels that are not declared, or a tokenizer that tells no offsets.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise BadModel(
                f"model {name}: its tokenizer does not tell where tokens stand (no fast tokenizer)"
            )
        self.name, self.digest = name, digest
        self.rule = f"model/{name}@{digest[:12]}"
        self._model, self._tokenizer = model.eval(), tokenizer
        classes = model.config.id2label
        self._classes = [_label(classes[i]) for i in range(len(classes))]
        self._kinds = _declared(name, {c.entity for c in self._classes} - {""}, labels)
        self._threshold = threshold
        self._before, self._behind = _special_tokens(tokenizer)
        known = [window, getattr(tokenizer, "model_max_length", window)]
        positions = getattr(model.config, "max_position_embeddings", 0)
        known += [positions - 2] if positions > 2 else []  # those of RoBERTa begin at 2
        self._window = min(known) - len(self._before) - len(self._behind)
        self._overlap = min(overlap, self._window // 2)
        if self._window < 2 or overlap < 0 or not 0 <= threshold <= 1:
            raise BadModel(
                f"model {name}: window {window}, overlap {overlap}, threshold {threshold} do not fit"
            )
        self._pad = tokenizer.pad_token_id or 0
        device = next(model.parameters()).device.type
        self._batch_tokens = batch_tokens or _BATCH_TOKENS.get(device, _BATCH_ELSEWHERE)
        self._record: dict[str, object] = {
            "name": name,
            "digest": digest,
            "labels": dict(sorted(self._kinds.items())),
            "threshold": threshold,
            "window": self._window,
            "overlap": self._overlap,
            "batch_tokens": self._batch_tokens,
            "device": device,
            **{library: metadata.version(library) for library in ("torch", "transformers", "tokenizers")},
        }

    def record(self) -> dict[str, object]:
        """All that findings depend on beside the text; JSON-able."""
        return dict(self._record)

    def detect(self, texts: pa.Array | pa.ChunkedArray) -> pa.Table:
        """Findings of every text (`MODEL_FINDINGS`), sorted by (doc, start)."""
        rows: list[tuple[int, int, int, str, str]] = []
        group: list[_Piece] = []
        held = 0
        for doc in range(len(texts)):
            for offset, text in _pieces(texts[doc]):
                group.append(self._piece(doc, offset, text))
                held += len(text)
                if held >= GROUP:
                    rows += self._found(group)
                    group, held = [], 0
        rows += self._found(group)
        return pa.table(list(zip(*rows, strict=True)) if rows else [()] * 5, schema=MODEL_FINDINGS)

    def _piece(self, doc: int, offset: int, text: str) -> _Piece:
        held = self._tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False,
            verbose=False,
        )  # fmt: skip
        ids = held["input_ids"]
        return _Piece(
            doc, offset, text, ids, held["offset_mapping"], np.zeros(len(ids), np.int64), np.zeros(len(ids))
        )

    def _found(self, group: list[_Piece]) -> Iterator[tuple[int, int, int, str, str]]:
        """Judge the tokens of some pieces, and say what they make."""
        by_length: dict[int, list[_Window]] = {}
        for number, piece in enumerate(group):
            for w in self._windows(number, len(piece.ids)):
                by_length.setdefault(self._padded(w.last - w.first), []).append(w)
        for length, windows in sorted(by_length.items()):
            size = max(1, self._batch_tokens // length)
            for i in range(0, len(windows), size):
                self._judge(group, windows[i : i + size], size, length)
        for piece in group:
            yield from self._entities(piece)

    def _windows(self, piece: int, tokens: int) -> Iterator[_Window]:
        first, low = 0, 0
        while low < tokens:
            last = min(first + self._window, tokens)
            high = last if last == tokens else last - self._overlap // 2
            yield _Window(piece, first, last, low, high)
            first, low = last - self._overlap, high

    def _padded(self, tokens: int) -> int:
        """Length to which a window of so many tokens is padded, with the special ones: powers of two, at most the largest."""
        special = len(self._before) + len(self._behind)
        length = _SHORTEST
        while length < tokens + special:
            length *= 2
        return min(length, self._window + special)

    def _judge(self, group: list[_Piece], windows: list[_Window], size: int, length: int) -> None:
        """One batch, always of `size` rows of `length` tokens."""
        import torch

        ids = np.full((size, length), self._pad, np.int64)
        mask = np.zeros((size, length), np.int64)
        mask[:, 0] = 1  # a row of nothing has one token: attention over none is no number
        for row, w in enumerate(windows):
            line = [*self._before, *group[w.piece].ids[w.first : w.last], *self._behind]
            ids[row, : len(line)] = line
            mask[row, : len(line)] = 1
        device = next(self._model.parameters()).device
        with torch.inference_mode():
            logits = self._model(
                input_ids=torch.from_numpy(ids).to(device), attention_mask=torch.from_numpy(mask).to(device)
            ).logits
        scores = logits.cpu().numpy().astype(np.float64)
        labels = scores.argmax(-1)
        sure = 1 / np.exp(scores - scores.max(-1, keepdims=True)).sum(-1)  # softmax at its maximum
        for row, w in enumerate(windows):
            at = len(self._before) + w.low - w.first
            piece = group[w.piece]
            piece.labels[w.low : w.high] = labels[row, at : at + w.high - w.low]
            piece.sure[w.low : w.high] = sure[row, at : at + w.high - w.low]

    def _entities(self, piece: _Piece) -> Iterator[tuple[int, int, int, str, str]]:
        """What successive tokens make: an entity counts with the mean of its tokens' probabilities."""
        bytes_of = _byte_offsets(piece.text)
        at = 0
        for first, last, entity in self._runs(piece.labels):
            kind = self._kinds[entity]
            spans = [s for s in piece.spans[first:last] if s[0] < s[1]]
            if kind is None or not spans or float(piece.sure[first:last].mean()) < self._threshold:
                continue
            start, end = max(at, spans[0][0]), spans[-1][1]
            held = piece.text[start:end]
            start, end = end - len(held.lstrip()), start + len(held.rstrip())
            if start < end:
                yield piece.doc, piece.offset + bytes_of(start), piece.offset + bytes_of(end), kind, self.rule
                at = end

    def _runs(self, labels: np.ndarray) -> Iterator[tuple[int, int, str]]:
        """(first, last, entity) of successive tokens of one entity."""
        first, entity, open_ = 0, "", False
        for i, number in enumerate(labels.tolist()):
            label = self._classes[number]
            if open_ and label.entity == entity and not label.begins:
                open_ = not label.ends
                continue
            if entity:
                yield first, i, entity
            first, entity, open_ = i, label.entity, bool(label.entity) and not label.ends
        if entity:
            yield first, len(labels), entity


def load_detector(
    model: str,
    *,
    labels: Mapping[str, str | None],
    threshold: float = 0.5,
    name: str | None = None,
    revision: str | None = None,
    device: str = "cpu",
    window: int = 512,
    overlap: int = 64,
    batch_tokens: int | None = None,
) -> TokenClassifier:
    """Load a token-classification model.

    Args:
        model: a local folder, or the id of a model on the Hugging Face hub.
        labels: entity of the model's labels, without `B-`, `I-` and the like, -> one of `KINDS`; None: not wanted.
        threshold: mean probability of its tokens that an entity needs, 0 to 1.
        name: what `rule` calls it; the last part of `model` by default.
        revision: a commit of the hub; give it, or the model may change.
        device: `cpu`, `cuda`, `cuda:1`, ...; `auto`: a GPU if there is one.
        window: tokens that are judged together, special ones included; at most what the model takes.
        overlap: tokens that two successive windows share.
        batch_tokens: tokens, padding included, in one batch; every batch is as large.  By default 512 on a CPU, which gains
            nothing by more, else 16,384.

    Raises:
        ModelUnavailable: the extra `train` is not installed.
        BadModel: no such model, weights that are no safetensors, or labels that `labels` does not declare.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise ModelUnavailable(
            f"a model needs the extra `train` (pip install 'stackmill[train]'): {error.name} is not installed"
        ) from error
    folder = Path(model) if Path(model).is_dir() else _fetched(model, revision)
    files = sorted(
        {f for pattern in _FILES for f in folder.glob(pattern) if f.is_file()}, key=lambda f: f.name
    )
    if not any(f.suffix == ".safetensors" for f in files):
        raise BadModel(
            f"model {model}: no weights in *.safetensors; other forms are not loaded: they may run code"
        )
    bars: Any = transformers.utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
        loaded = transformers.AutoModelForTokenClassification.from_pretrained(
            str(folder), trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise BadModel(f"model {model}: transformers cannot load it: {error}") from error
    finally:
        if shown:
            bars.enable_progress_bar()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        loaded = loaded.to(device)
    except (RuntimeError, AssertionError) as error:
        raise BadModel(f"model {model}: no device {device!r} here: {error}") from error
    return TokenClassifier(
        loaded,
        tokenizer,
        name=_NAME.sub("-", name or model.rstrip("/").rsplit("/", 1)[-1]),
        digest=model_digest(folder),
        labels=labels,
        threshold=threshold,
        window=window,
        overlap=overlap,
        batch_tokens=batch_tokens,
    )


def read_labels(text: str, name: str) -> dict[str, str | None]:
    """The `labels` of a YAML file: a mapping of entities to kinds or null; `name` is what errors call the file.

    Raises:
        BadModel: no such mapping.
    """
    try:
        held = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise BadModel(f"{name}{f', line {mark.line + 1}' if mark else ''}: not YAML") from error
    if not isinstance(held, dict) or not all(
        isinstance(k, str) and (v is None or isinstance(v, str)) for k, v in held.items()
    ):
        raise BadModel(f"{name}: write one `LABEL: kind` or `LABEL: null` a line")
    return held


def _fetched(model: str, revision: str | None) -> Path:
    """The folder of a model of the hub, from the hub's cache if it is there."""
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(model, revision=revision, allow_patterns=list(_FILES)))
    except (OSError, ValueError) as error:
        raise BadModel(f"model {model}: no such folder, and the hub does not give it: {error}") from error


def _files_of(folder: Path) -> list[Path]:
    return sorted(
        {f for pattern in _FILES for f in folder.glob(pattern) if f.is_file()}, key=lambda f: f.name
    )


def model_digest(folder: Path) -> str:
    """SHA-256 (hex) over the names and contents of a model's files, in the order of the names; all else is left out."""
    lines = []
    for file in _files_of(folder):
        with file.open("rb") as source:
            lines.append(f"{hashlib.file_digest(source, 'sha256').hexdigest()}  {file.name}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _label(text: str) -> _Label:
    """A label of BIO, BILOU, BIOES or none of these: then successive tokens of one label are one entity."""
    if text == "O":
        return _Label("", False, False)
    found = _PREFIX.fullmatch(text)
    if found is None:
        return _Label(text, False, False)
    return _Label(found[2], found[1] in "BUS", found[1] in "LUSE")


def _declared(name: str, entities: set[str], labels: Mapping[str, str | None]) -> dict[str, str | None]:
    """The kind of every entity of the model."""
    if unknown := sorted(entities - labels.keys()):
        raise BadModel(f"model {name}: no kind is declared for its labels {', '.join(unknown)}")
    if absent := sorted(labels.keys() - entities):
        raise BadModel(
            f"model {name}: it has no labels {', '.join(absent)}; it has {', '.join(sorted(entities))}"
        )
    if bad := sorted({k for k in labels.values() if k is not None and k not in KINDS}):
        raise BadModel(f"model {name}: unknown kinds {', '.join(bad)}: choose of {', '.join(KINDS)}")
    return dict(labels)


def _special_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Tokens that the model expects in front of a text and behind it."""
    probe = "a a"
    bare = tokenizer(probe, add_special_tokens=False)["input_ids"]
    full = tokenizer(probe, add_special_tokens=True)["input_ids"]
    for i in range(len(full) - len(bare) + 1):
        if full[i : i + len(bare)] == bare:
            return full[:i], full[i + len(bare) :]
    raise BadModel("the tokenizer changes a text's tokens when it adds its special ones")


_STRAY = re.compile("[\udc80-\udcff]")


def _pieces(text: pa.Scalar) -> Iterator[tuple[int, str]]:
    """(first byte, characters) of the parts of a text; none for a null.  A byte that is no UTF-8 reads as a question mark."""
    buffer = text.as_buffer()
    held = "" if buffer is None else buffer.to_pybytes().decode("utf-8", "surrogateescape")
    held = _STRAY.sub("?", held)
    at = offset = 0
    while at < len(held):
        end = min(at + PIECE, len(held))
        if end < len(held):
            end = held.rfind("\n", at, end) + 1 or end
        yield offset, held[at:end]
        offset += len(held[at:end].encode())
        at = end


def _byte_offsets(text: str) -> Callable[[int], int]:
    """A function from characters of `text` to bytes of its UTF-8."""
    if text.isascii():
        return int
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    ends = np.cumsum(1 + (codes >= 0x80).astype(np.int64) + (codes >= 0x800) + (codes >= 0x10000))
    return lambda character: int(ends[character - 1]) if character else 0
