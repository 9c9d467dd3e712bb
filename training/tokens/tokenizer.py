"""The tokenizer: byte-level BPE with control tokens that no text can write.

Two rules hold for every tokenizer used here:

* Text is encoded by a copy of the tokenizer that has NO added tokens. A source file that contains the letters
  `<fim_prefix>` or `<|endoftext|>` is tokenised as these letters; control ids are inserted by our code only.
* The vocabulary is byte-level and nothing changes the text before it is cut up, so decoding gives back the exact
  text and the bytes of every token are known (evaluation needs them for bits per byte).

What the second rule takes away from a tokenizer made elsewhere is in `CodeTokenizer.notes`: a Unicode normaliser
such as Qwen's NFC, a space put before the text, text tokens that were added beside the vocabulary. Whatever else
would change text is an error.

The pre-tokeniser of tokenizers that are trained here is ONE published regular expression followed by the byte
alphabet, a form that faster engines reproduce exactly (`training.tokens.encoder`). Letters go with the marks on
them; digits stand alone; a run of spaces leaves its last one to the word after it; line ends close a run of
punctuation, so that `);\\n` may become one token.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from training.errors import TrainingConfigError
from training.tokens import control as controls
from training.tokens.control import CONTROL_TOKENS, END_OF_TEXT

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"  # endings after an apostrophe
    r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+"  # a word, with one leading space or sign
    r"|\p{N}"  # one digit
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"  # punctuation, to the end of its line
    r"|\s*[\r\n]+"  # line ends, with the blanks before them
    r"|\s+(?!\S)|\s+"  # indentation
)
"""Qwen3.5's expression (its `tokenizer.json`), letter for letter: engines know it by its letters."""

FILE = "tokenizer.json"
SETTINGS = "tokenizer_config.json"

_UNICODE_NORMALISERS = frozenset({"NFC", "NFD", "NFKC", "NFKD"})
_PROBE = "x  =\t'caf\u00e9' # e\u0301 \u4e2d\u6587 \U0001f642 12,345\r\n\r\n   </s> \x00\x7f\u200d\ufeff"
"""Text whose bytes the tokenizer must give back; it begins and ends with what normalisers like to change."""


class CodeTokenizer:
    """A Hugging Face `tokenizer.json` with the rules of this module enforced.

    Attributes:
        data: the file's bytes.
        digest: SHA-256 (hex) of `data`, and of the name of the end of text where only the settings have it.
        control: ids of the control tokens.
        size: number of ids: one more than the largest.
        new_ids: ids that `with_control_tokens` added: no model has learnt them yet.
        notes: sentences about what of the file is not used, for the user.
        plain: `tokenizer.json` of the copy that encodes text, for other engines.
    """

    def __init__(self, data: bytes, *, end_of_text: str | None = None, new_ids: Sequence[int] = ()) -> None:
        """Read the bytes of a `tokenizer.json`.

        Args:
            data: the bytes.
            end_of_text: what the tokenizer's settings call it; used where no known family's name is found.
            new_ids: see the attribute.

        Raises:
            TrainingConfigError: a tokenizer that the rules of this module exclude.
        """
        self.data = data
        self.digest = hashlib.sha256(data).hexdigest()
        self.new_ids = tuple(new_ids)
        tree: dict[str, Any] = json.loads(data)
        if not isinstance(tree, dict) or not _byte_level(tree):
            raise TrainingConfigError(
                "the tokenizer is not byte-level BPE (SentencePiece tokenizers such as CodeLlama's are not): bits "
                "per byte would not be exact, and text would not come back as it was"
            )
        self._added = {token["content"]: int(token["id"]) for token in tree.get("added_tokens") or []}
        found = controls.find(self._added, end_of_text)
        if found is None:
            raise TrainingConfigError(
                f"the tokenizer has no {END_OF_TEXT} token, nor another end of text that is known "
                f"({', '.join(controls.END_NAMES[1:])}, or `eos_token` in {SETTINGS})"
            )
        self.control = found
        self.end_of_text = next(name for name, index in self._added.items() if index == found.end_of_text)
        if self.end_of_text not in controls.END_NAMES:
            self.digest = hashlib.sha256(f"{self.digest}|{self.end_of_text}".encode()).hexdigest()
        try:
            self.full = Tokenizer.from_str(data.decode())
            plain, self.notes = _plain(tree)
            self.plain = json.dumps(plain, sort_keys=True)
            self._plain = Tokenizer.from_str(self.plain)
        except Exception as error:  # the library raises plain `Exception`s
            raise TrainingConfigError(f"not a tokenizer that `tokenizers` can read: {error}") from error
        self.size = 1 + max(*self.full.get_vocab(with_added_tokens=True).values(), *self._added.values())
        self.is_control = np.zeros(self.size, dtype=bool)
        self.is_control[list(self._added.values())] = True
        self._check(tree)

    def _check(self, tree: dict[str, Any]) -> None:
        vocabulary = tree["model"].get("vocab") or {}
        lacking = [byte for byte in pre_tokenizers.ByteLevel.alphabet() if byte not in vocabulary]
        if lacking:
            raise TrainingConfigError(f"the tokenizer has no token for {len(lacking)} of the 256 bytes")
        for name, index in self._added.items():
            if self.full.token_to_id(name) != index:
                raise TrainingConfigError(f"the tokenizer gives {name!r} the id {index} and uses another")
        ids = self.encode([_PROBE])[0]
        if self.decode(ids) != _PROBE or int(self.token_bytes()[ids].sum()) != len(_PROBE.encode()):
            raise TrainingConfigError(
                "the tokenizer does not give text back as it was: its pre-tokeniser, or a prefix or suffix of its "
                f"tokens, changes it ({self.decode(ids)!r} of {_PROBE!r})"
            )

    @classmethod
    def load(cls, folder: str | Path) -> CodeTokenizer:
        """From `<folder>/tokenizer.json`, and `eos_token` of `<folder>/tokenizer_config.json` where it matters.

        Raises:
            TrainingConfigError: no such file, or a tokenizer that the rules of this module exclude.
        """
        path = Path(folder) / FILE
        try:
            settings = Path(folder) / SETTINGS
            eos = json.loads(settings.read_bytes()).get("eos_token") if settings.is_file() else None
            if isinstance(eos, dict):  # an AddedToken, as older versions of transformers wrote it
                eos = eos.get("content")
            return cls(path.read_bytes(), end_of_text=eos)
        except OSError as error:
            raise TrainingConfigError(f"{path}: the tokenizer cannot be read: {error.strerror}") from error
        except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
            raise TrainingConfigError(f"{path}: not a tokenizer file: {error}") from error

    def with_control_tokens(self) -> CodeTokenizer:
        """This tokenizer, with the fill-in-the-middle and repository tokens that it lacks added at its end.

        Its other ids stay as they are; `new_ids` of the result are those whose embeddings are to be learnt. The
        tokenizer itself when nothing is missing.
        """
        names = controls.missing(self.control)
        if not names:
            return self
        tree = json.loads(self.data)
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        ids = range(self.size, self.size + len(names))
        tree["added_tokens"] = [
            *(tree.get("added_tokens") or []),
            *({"id": index, "content": name, **flags} for index, name in zip(ids, names, strict=True)),
        ]
        data = json.dumps(tree, ensure_ascii=False, sort_keys=True).encode()
        return CodeTokenizer(data, end_of_text=self.end_of_text, new_ids=ids)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids (int64) of each text, without any control token; `decode` gives the text back.

        For a few texts; `training.tokens.encoder` encodes gigabytes.
        """
        encoded = [
            np.array(item.ids, dtype=np.int64)
            for item in self._plain.encode_batch_fast(list(texts), add_special_tokens=False)
        ]
        for ids in encoded:
            self.refuse_control(ids)
        return encoded

    def refuse_control(self, ids: np.ndarray) -> None:
        """Raise if text became a control token: possible only with a vocabulary that merges letters into one.

        Raises:
            TrainingConfigError: names the token.
        """
        if self.is_control[ids].any():
            name = self.full.id_to_token(int(ids[self.is_control[ids]][0]))
            raise TrainingConfigError(
                f"the tokenizer's own merges make the control token {name!r} of letters: it cannot be used"
            )

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Text of ids; control tokens are left out, bytes that are not UTF-8 are shown as U+FFFD."""
        kept = [int(i) for i in ids if int(i) < self.size and not self.is_control[int(i)]]
        return str(self._plain.decode(kept, skip_special_tokens=False))

    def token_bytes(self) -> np.ndarray:
        """Bytes of text that each id stands for (int32, length `size`); 0 for control tokens."""
        lengths = np.zeros(self.size, dtype=np.int32)
        for token, index in self.vocabulary().items():
            lengths[index] = len(token)  # one character of the byte alphabet is one byte
        lengths[self.is_control] = 0
        return lengths

    def vocabulary(self) -> dict[str, int]:
        """Entries that text may become, in the letters of the byte alphabet, and their ids."""
        return dict(self._plain.get_vocab(with_added_tokens=False))

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and the small file that transformers' AutoTokenizer looks for."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_bytes(self.data)
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": self.end_of_text,
            "pad_token": self.full.id_to_token(self.control.pad),
            "clean_up_tokenization_spaces": False,
        }
        (folder / SETTINGS).write_text(
            json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def _byte_level(tree: dict[str, Any]) -> bool:
    return (tree.get("model") or {}).get("type") == "BPE" and any(
        step.get("type") == "ByteLevel" for step in _steps(tree.get("decoder"), "decoders")
    )


def _steps(part: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    """The parts of a `Sequence`, or the one part, or none."""
    return list(part.get(key, [part])) if part else []


def _plain(tree: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The copy that encodes text, and what it leaves out.

    Raises:
        TrainingConfigError: a normaliser that does more than put Unicode into a normal form.
    """
    notes = []
    for step in _steps(tree.get("normalizer"), "normalizers"):
        if step["type"] not in _UNICODE_NORMALISERS:
            raise TrainingConfigError(
                f"the tokenizer's normaliser {step['type']} changes text: bits per byte would not be exact"
            )
        notes.append(
            f"its normaliser {step['type']} is not applied, so that text keeps its bytes: text in another Unicode "
            "form than it gets other tokens than with transformers"
        )
    before = json.loads(json.dumps(tree.get("pre_tokenizer")))
    for step in _steps(before, "pretokenizers"):
        if step["type"] == "ByteLevel" and step.get("add_prefix_space"):
            step["add_prefix_space"] = False
            notes.append("it puts a space before each text; this is not done, so that text keeps its bytes")
    texts = [token["content"] for token in tree.get("added_tokens") or [] if not token.get("special")]
    if texts:
        some = ", ".join(repr(text) for text in texts[:3])
        notes.append(
            f"{len(texts)} added tokens that are no control tokens ({some}{', ...' if len(texts) > 3 else ''}) are "
            "not used for text"
        )
    around = [
        part["SpecialToken"]["id"]
        for step in _steps(tree.get("post_processor"), "processors")
        for part in step.get("single") or []
        if "SpecialToken" in part
    ]
    if around:
        notes.append(
            f"it puts {' '.join(around)} around each text; documents here have an end of text and nothing before it"
        )
    model = {**tree["model"], "dropout": None}
    unused = dict.fromkeys(("post_processor", "truncation", "padding", "normalizer"))
    return {**tree, **unused, "added_tokens": [], "pre_tokenizer": before, "model": model}, tuple(notes)


def train(texts: Iterable[str] | Iterator[str], vocab_size: int) -> CodeTokenizer:
    """Learn a byte-level BPE of at most `vocab_size` entries; the same texts give the same bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(texts, trainer)
    return CodeTokenizer(tokenizer.to_str().encode())


def byte_alphabet() -> list[str]:
    """Letter of each byte: GPT-2's table (Radford et al. 2019). Visible bytes are themselves, the others U+0100 and on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in visible]
    letters = {byte: chr(byte) for byte in visible} | {b: chr(0x100 + i) for i, b in enumerate(others)}
    return [letters[byte] for byte in range(256)]
