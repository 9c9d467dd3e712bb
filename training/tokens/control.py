"""Control tokens: what they are called in the tokenizers of known model families, and which a tokenizer has.

A tokenizer is read with its own names, so that a model goes on with the markers that it was trained with. Families
differ in what the markers are called, not in what they mean: the prefix marker stands before the text before the
gap, the suffix marker before the text after it, the middle marker before what belongs into the gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

END_OF_TEXT = "<|endoftext|>"
PAD = "<|pad|>"
FIM_PREFIX = "<fim_prefix>"
FIM_MIDDLE = "<fim_middle>"
FIM_SUFFIX = "<fim_suffix>"
REPO_NAME = "<repo_name>"
FILE_SEP = "<file_sep>"
CONTROL_TOKENS = (END_OF_TEXT, PAD, FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX, REPO_NAME, FILE_SEP)
"""Ids 0, 1, ... of a tokenizer trained here, in this order. The names are StarCoder2's where it has one."""


@dataclass(frozen=True)
class Family:
    """What a model family calls its markers; None: it has no such token."""

    name: str
    source: str
    prefix: str
    middle: str
    suffix: str
    repo_name: str | None = None
    file_sep: str | None = None


FAMILIES = (
    Family(
        "StarCoder2",
        "Lozhkov et al. 2024, arXiv 2402.19173",
        FIM_PREFIX,
        FIM_MIDDLE,
        FIM_SUFFIX,
        REPO_NAME,
        FILE_SEP,
    ),
    Family(
        "StarCoder, Granite Code",
        "Li et al. 2023, arXiv 2305.06161; Mishra et al. 2024, arXiv 2405.04324",
        FIM_PREFIX,
        FIM_MIDDLE,
        FIM_SUFFIX,
        "<reponame>",
        "<filename>",
    ),
    Family(
        "SantaCoder",
        "Ben Allal et al. 2023, arXiv 2301.03988",
        "<fim-prefix>",
        "<fim-middle>",
        "<fim-suffix>",
    ),
    Family(
        "Qwen2.5-Coder",
        "Hui et al. 2024, arXiv 2409.12186",
        "<|fim_prefix|>",
        "<|fim_middle|>",
        "<|fim_suffix|>",
        "<|repo_name|>",
        "<|file_sep|>",
    ),
    Family(
        "DeepSeek-Coder",
        "Guo et al. 2024, arXiv 2401.14196; their order is begin, hole, end",
        "<｜fim▁begin｜>",
        "<｜fim▁end｜>",
        "<｜fim▁hole｜>",
    ),
    Family(
        "Seed-Coder",
        "ByteDance Seed 2025, arXiv 2506.03524",
        "<[fim-prefix]>",
        "<[fim-middle]>",
        "<[fim-suffix]>",
    ),
)
"""CodeLlama (`▁<PRE>`), CodeGemma and the first Codestral are not here: their tokenizers are SentencePiece models, not
byte-level, and are refused. Codestral has no marker for the middle at all."""

END_NAMES = (
    END_OF_TEXT,  # StarCoder, Granite, Qwen2.5 (its `<|im_end|>` ends a turn of a chat, not a document)
    "<|end_of_text|>",  # Llama 3
    "<｜end▁of▁sentence｜>",  # DeepSeek
    "<[end▁of▁sentence]>",  # Seed-Coder
)
"""What stands after a document, first match; otherwise `eos_token` of `tokenizer_config.json`."""

PAD_NAMES = (PAD, "<fim_pad>", "<|fim_pad|>", "<fim-pad>", "<｜▁pad▁｜>", "<[PAD▁TOKEN]>")


@dataclass(frozen=True)
class ControlIds:
    """Ids of the control tokens; None where the tokenizer has none. `pad` may be `end_of_text`."""

    end_of_text: int
    pad: int
    prefix: int | None
    middle: int | None
    suffix: int | None
    repo_name: int | None = None
    file_sep: int | None = None

    @property
    def has_fim(self) -> bool:
        """Whether documents can be cut for fill in the middle."""
        return None not in (self.prefix, self.middle, self.suffix)

    @property
    def has_repository(self) -> bool:
        """Whether the files of a repository can be shown in one document."""
        return None not in (self.repo_name, self.file_sep)


def find(added: Mapping[str, int], end_of_text: str | None) -> ControlIds | None:
    """The control tokens among a tokenizer's added ones (name -> id); None without an end of text.

    The first family counts whose three fill-in-the-middle markers are all there, and the first whose two repository
    markers are, which may be another one.

    Args:
        added: added tokens; letters of a file never become one of them.
        end_of_text: what the tokenizer's own settings say, for tokenizers of no known family.
    """
    end = next(
        (added[name] for name in (*END_NAMES, end_of_text) if name is not None and name in added), None
    )
    if end is None:
        return None
    pad = next((added[name] for name in PAD_NAMES if name in added), end)
    fim = _first(added, [(family.prefix, family.middle, family.suffix) for family in FAMILIES])
    repository = _first(added, [(family.repo_name, family.file_sep) for family in FAMILIES])
    return ControlIds(end, pad, *(fim or (None, None, None)), *(repository or (None, None)))


def _first(added: Mapping[str, int], groups: Sequence[tuple[str | None, ...]]) -> tuple[int, ...] | None:
    """Ids of the first group of names that are all there."""
    return next(
        (
            tuple(added[name] for name in names if name)
            for names in groups
            if all(name in added for name in names)
        ),
        None,
    )


def missing(control: ControlIds) -> tuple[str, ...]:
    """Names of the tokens to add so that a tokenizer has fill in the middle and repository context."""
    return (
        *(() if control.has_fim else (FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX)),
        *(() if control.has_repository else (REPO_NAME, FILE_SEP)),
    )
