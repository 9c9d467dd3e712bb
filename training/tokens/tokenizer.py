"""The tokenizer: byte-level BPE with control tokens that no text can write.

Two rules hold for every tokenizer used here:

* Text is encoded by a copy of the tokenizer that has NO added tokens. A source file that contains the letters
  `<fim_prefix>` or `<|endoftext|>` is tokenised as these letters; control ids are inserted by our code only.
* The vocabulary is byte-level, so decoding gives back the exact text and the bytes of every token are known
  (evaluation needs them for bits per byte).

The pre-tokeniser is ONE regular expression followed by the byte alphabet, a form that other BPE engines can
reproduce exactly. Digits stand alone; a run of spaces leaves its last one to the word after it; line ends
close a run of punctuation, so that `);\\n` may become one token.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from training.errors import TrainingConfigError

END_OF_TEXT = "<|endoftext|>"
PAD = "<|pad|>"
FIM_PREFIX = "<fim_prefix>"
FIM_MIDDLE = "<fim_middle>"
FIM_SUFFIX = "<fim_suffix>"
CONTROL_TOKENS = (END_OF_TEXT, PAD, FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX, "<repo_name>", "<file_sep>")
"""Ids 0, 1, ... of a tokenizer trained here, in this order. The names are StarCoder's where it has one."""

SPLIT = (
    r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+"  # a word, with one leading space or sign
    r"|\p{N}"  # one digit
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"  # punctuation, to the end of its line
    r"|\s*[\r\n]+"  # line ends, with the blanks before them
    r"|\s+(?!\S)|\s+"  # indentation
)

FILE = "tokenizer.json"


@dataclass(frozen=True)
class ControlIds:
    """Ids of the control tokens; the fill-in-the-middle ones are None where the tokenizer has none."""

    end_of_text: int
    pad: int
    prefix: int | None
    middle: int | None
    suffix: int | None


class CodeTokenizer:
    """A Hugging Face `tokenizer.json` with the two rules of this module enforced.

    Attributes:
        digest: SHA-256 (hex) of the file's bytes.
        control: ids of the control tokens.
        size: number of ids.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.digest = hashlib.sha256(data).hexdigest()
        tree: dict[str, Any] = json.loads(data)
        if not _byte_level(tree):
            raise TrainingConfigError("the tokenizer is not byte-level BPE: bits per byte would not be exact")
        added = {token["content"]: int(token["id"]) for token in tree.get("added_tokens", [])}
        self.full = Tokenizer.from_str(data.decode())
        self.size = self.full.get_vocab_size(with_added_tokens=True)
        # The copy that encodes text: nothing in a file can become a control token, nothing is added.
        tree.update(added_tokens=[], post_processor=None, truncation=None, padding=None, normalizer=None)
        self._plain = Tokenizer.from_str(json.dumps(tree))
        self._added_ids = np.array(sorted(added.values()), dtype=np.int64)
        end = added.get(END_OF_TEXT)
        if end is None:
            raise TrainingConfigError(f"the tokenizer has no {END_OF_TEXT} token")
        pad = added.get(PAD, added.get("<fim_pad>", end))
        self.control = ControlIds(
            end, pad, added.get(FIM_PREFIX), added.get(FIM_MIDDLE), added.get(FIM_SUFFIX)
        )

    @classmethod
    def load(cls, folder: str | Path) -> CodeTokenizer:
        """From `<folder>/tokenizer.json`.

        Raises:
            TrainingConfigError: no such file, or a tokenizer that the rules of this module exclude.
        """
        path = Path(folder) / FILE
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise TrainingConfigError(f"{path}: the tokenizer cannot be read: {error.strerror}") from error
        except json.JSONDecodeError as error:
            raise TrainingConfigError(f"{path}: not a tokenizer file: {error}") from error

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids (int64) of each text, without any control token; `decode` gives the text back."""
        encoded = [
            np.array(item.ids, dtype=np.int64)
            for item in self._plain.encode_batch_fast(list(texts), add_special_tokens=False)
        ]
        assert not any(np.isin(ids, self._added_ids).any() for ids in encoded), "text became a control token"
        return encoded

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Text of ids; control tokens are left out, bytes that are not UTF-8 are shown as U+FFFD."""
        return str(self.full.decode([int(i) for i in ids], skip_special_tokens=True))

    def token_bytes(self) -> np.ndarray:
        """Bytes of text that each id stands for (int32, length `size`); 0 for control tokens."""
        lengths = np.zeros(self.size, dtype=np.int32)
        for token, index in self._plain.get_vocab(with_added_tokens=False).items():
            lengths[index] = len(token)  # one character of the byte alphabet is one byte
        lengths[self._added_ids] = 0
        return lengths

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and the small files that transformers' AutoTokenizer looks for."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_bytes(self.data)
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END_OF_TEXT,
            "pad_token": self.full.id_to_token(self.control.pad),
            "clean_up_tokenization_spaces": False,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


def _byte_level(tree: dict[str, Any]) -> bool:
    decoder = tree.get("decoder") or {}
    steps = decoder.get("decoders", [decoder])
    return (tree.get("model") or {}).get("type") == "BPE" and any(
        step.get("type") == "ByteLevel" for step in steps
    )


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
