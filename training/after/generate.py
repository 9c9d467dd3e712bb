"""Completions and fill in the middle, with a model folder, a checkpoint or an adapter.

    loaded = open_model("runs/tiny", report=print)
    print(complete(loaded.model, loaded.tokenizer, "def main(", 64))

A prompt is encoded as the text of a file is: nothing in it can become a control token. A control token ends what is
written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from training.after import merge
from training.config import ModelConfig
from training.corpus.sources import Report
from training.errors import CheckpointError, TrainingConfigError
from training.model import build, decoding
from training.run import checkpoint
from training.run.best import FILE as BEST
from training.run.fim_score import Order, fim_prompt, fit
from training.tokens.tokenizer import CodeTokenizer


@dataclass(frozen=True)
class Loaded:
    """A model that can be asked.

    Attributes:
        model: in evaluation mode, on its device.
        tokenizer: of the model.
        folder: where it was read from.
        base: folder of the base, for an adapter.
        context: tokens of prompt and answer at most; None where the model names no limit.
        order: of prefix and suffix that the model was trained on.
    """

    model: Any
    tokenizer: CodeTokenizer
    folder: Path
    base: Path | None
    context: int | None
    order: Order


@dataclass(frozen=True)
class Answer:
    """What was written.

    Attributes:
        text: without the prompt, and without the text that stopped it.
        tokens: written, the one that ended it not counted.
        prompt_tokens: read.
        left_out: tokens of the prompt that did not fit.
        stopped: by a control token, by a text asked for, or at `max_tokens` or the end of the context.
    """

    text: str
    tokens: int
    prompt_tokens: int
    left_out: int
    stopped: Literal["end", "stop", "length"]


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen: the likeliest each time, or at random.

    Attributes:
        max_tokens: written at most.
        temperature: 0 is greedy; else 0.001 to 1,000: beyond, logits divided by it are no numbers any more.
        top_p: only the likeliest tokens that have this probability together.
        seed: of what is drawn.
        stop: texts that end the answer.
        cut: leave out what does not fit of a prompt, instead of refusing it.

    Raises:
        TrainingConfigError: a value that cannot be used.
    """

    max_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    cut: bool = False

    def __post_init__(self) -> None:
        for name, value, good, known in (
            ("max-tokens", self.max_tokens, self.max_tokens >= 1, "1 or more"),
            (
                "temperature",
                self.temperature,
                self.temperature == 0 or 1e-3 <= self.temperature <= 1e3,
                "0, or 0.001 to 1000",
            ),
            ("top-p", self.top_p, 0 < self.top_p <= 1, "above 0, at most 1"),
            ("seed", self.seed, 0 <= self.seed < 2**63, "0 to 2^63 - 1"),
        ):
            if not good:
                raise TrainingConfigError(f"--{name} {value}: must be {known}")


def open_model(
    path: str | Path,
    *,
    base: str | None = None,
    best: bool = False,
    device: str = "auto",
    report: Report = lambda _: None,
) -> Loaded:
    """Load what `path` is: a model folder, a checkpoint (verified), an adapter (with its base), or a run's output.

    Args:
        path: of a run's output the newest sound checkpoint is taken, or the best one.
        base: where the base of an adapter is now; default: where the run found it.
        best: take the checkpoint that `best.json` of a run's output names.
        device: auto is a GPU if there is one; or as PyTorch names it.
        report: takes lines for the user.

    Raises:
        CheckpointError: nothing there, or bytes that are not what was written.
        TrainingConfigError: no model that can be loaded.
    """
    folder = _folder(Path(path), best, report)
    tokenizer = CodeTokenizer.load(folder)
    found = None
    if (folder / "adapter_config.json").exists():
        model, found = merge.with_base(folder, tokenizer, base, report)
    else:
        if base is not None:
            raise TrainingConfigError(f"{folder}: holds a whole model; --base is for adapters")
        settings = ModelConfig(path=str(folder))
        kind = build.stored_dtype(folder, settings)
        model = build.load(folder, settings, tokenizer, dtype=kind)
    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        if torch.device(where).type == "meta":
            raise RuntimeError("nothing is computed there")
        model.to(where).eval()
    except (RuntimeError, AssertionError) as error:
        raise TrainingConfigError(f"device {device}: {str(error).splitlines()[0]}") from error
    config = model.config.get_text_config()
    return Loaded(
        model, tokenizer, folder, found, getattr(config, "max_position_embeddings", None), _order(folder)
    )


def _folder(path: Path, best: bool, report: Report) -> Path:
    if best:
        try:
            path /= json.loads((path / BEST).read_text())["checkpoint"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path}: names no best checkpoint ({BEST}): {error}") from error
    if (path / "checkpoints").is_dir():
        found = checkpoint.newest_sound(path / "checkpoints", report)
        if found is None:
            raise CheckpointError(f"{path}: the run has no sound checkpoint")
        return found
    if not any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise CheckpointError(f"{path}: neither a model, nor a checkpoint, nor the output of a training run")
    if (path / checkpoint.SEAL).exists():
        checkpoint.verify(path)
    return path


def _order(folder: Path) -> Order:
    """Suffix first for a model that was trained on nothing else."""
    try:
        config = json.loads((folder / "lineage.json").read_text())["config"]
        return "spm" if config["data"]["fim"]["spm_rate"] == 1 else "psm"
    except (OSError, ValueError, KeyError, TypeError):
        return "psm"


def complete(model: Any, tokenizer: CodeTokenizer, prompt: str, max_tokens: int) -> str:
    """Greedy continuation of a prompt (without it), to a control token or `max_tokens`."""
    written = decoding.generate(model, [_ids(tokenizer, prompt)], tokenizer, max_tokens=max_tokens)
    return decoding.text_of(tokenizer, written[0])


def _text(text: str) -> str:
    """The text, if it is one: bytes of a command line that are no UTF-8 are not.

    Raises:
        TrainingConfigError: it holds half characters.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TrainingConfigError(
            f"the prompt is no text: at character {error.start} is a byte that is not UTF-8"
        ) from error
    return text


def _ids(tokenizer: CodeTokenizer, prompt: str) -> np.ndarray:
    # A model must be given something: after the end of a text a new one begins.
    return tokenizer.encode([_text(prompt)])[0] if prompt else np.array([tokenizer.control.end_of_text])


def answer(
    loaded: Loaded, prompt: str, sampling: Sampling, write: Callable[[str], object] = lambda _: None
) -> Answer:
    """Continue a prompt; `write` gets the text piece by piece.

    Raises:
        TrainingConfigError: a prompt that does not fit.
    """
    ids = _ids(loaded.tokenizer, prompt)
    room = _room(loaded, len(ids), sampling, "the prompt is", "its beginning")
    return _answer(loaded, ids[max(0, len(ids) - room) :], max(0, len(ids) - room), sampling, write)


def fill(
    loaded: Loaded,
    prefix: str,
    suffix: str,
    sampling: Sampling,
    write: Callable[[str], object] = lambda _: None,
) -> Answer:
    """Write what stands between `prefix` and `suffix`.

    Raises:
        TrainingConfigError: a tokenizer without markers for it, or texts that do not fit.
    """
    control = loaded.tokenizer.control
    if None in (control.prefix, control.middle, control.suffix):
        raise TrainingConfigError(
            f"{loaded.folder}: its tokenizer has no fill-in-the-middle tokens; use --prompt"
        )
    before, after = loaded.tokenizer.encode([_text(prefix), _text(suffix)])
    whole = len(before) + len(after)
    room = _room(loaded, whole + 3, sampling, "prefix and suffix are", "their far ends") - 3
    before, after = fit(before, after, max(0, room))
    ids = fim_prompt(loaded.tokenizer, before, after, loaded.order)
    return _answer(loaded, ids, whole - len(before) - len(after), sampling, write)


def _room(loaded: Loaded, given: int, sampling: Sampling, what: str, lost: str) -> int:
    """Tokens of a prompt that fit."""
    if loaded.context is None or given < loaded.context:
        return given
    room = loaded.context - min(sampling.max_tokens, loaded.context // 2)
    if not sampling.cut:
        raise TrainingConfigError(
            f"{what} {given} tokens long, and the model reads {loaded.context} at most, its answer among them; "
            f"shorten it, or leave out {lost} with --cut"
        )
    return room


def _answer(
    loaded: Loaded, ids: np.ndarray, left_out: int, sampling: Sampling, write: Callable[[str], object]
) -> Answer:
    most = sampling.max_tokens
    if loaded.context is not None:
        most = min(most, loaded.context - len(ids))
    stream = _Stream(loaded.tokenizer, sampling.stop, write)
    devices = [loaded.model.device] if loaded.model.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(sampling.seed)
        decoding.generate(
            loaded.model,
            [ids],
            loaded.tokenizer,
            max_tokens=most,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            streamer=stream,
            stopping_criteria=StoppingCriteriaList([_Stopped(stream)]),
        )
    return Answer(stream.text, stream.tokens, len(ids), left_out, stream.stopped or "length")


class _Stream(BaseStreamer):
    """Turns ids into text as they come: no half character, and nothing that may become the text to stop at."""

    def __init__(self, tokenizer: CodeTokenizer, stop: Sequence[str], write: Callable[[str], object]) -> None:
        self.tokenizer, self.stop, self.write = tokenizer, [text for text in stop if text], write
        self.ends = set(decoding.control_ids(tokenizer))
        self.pending: list[int] = []
        self.held = ""
        self.text = ""
        self.tokens = 0
        self.stopped: Literal["end", "stop"] | None = None
        self._prompt_seen = False

    def put(self, value: torch.Tensor) -> None:
        """The prompt first, then one id after the other."""
        if not self._prompt_seen:
            self._prompt_seen = True
            return
        for index in value.flatten().tolist():
            if index in self.ends:
                self.stopped = "end"
                continue
            self.tokens += 1
            self.pending.append(index)
        text = decoding.text_of(self.tokenizer, self.pending)
        if not text.endswith("\ufffd"):  # the bytes of a character may come in several tokens
            self.pending = []
            self._take(text)

    def end(self) -> None:
        """What was held back is text after all."""
        self._take(decoding.text_of(self.tokenizer, self.pending))
        self._give(self.held)
        self.pending, self.held = [], ""

    def _take(self, text: str) -> None:
        if self.stopped == "stop":
            return
        self.held += text
        places = [place for text in self.stop if (place := self.held.find(text)) >= 0]
        if places:
            self.stopped = "stop"
            self._give(self.held[: min(places)])
            self.held = ""
            return
        longest = max(
            (n for text in self.stop for n in range(1, len(text)) if self.held.endswith(text[:n])), default=0
        )
        self._give(self.held[: len(self.held) - longest])
        self.held = self.held[len(self.held) - longest :]

    def _give(self, text: str) -> None:
        if text:
            self.text += text
            self.write(text)


class _Stopped(StoppingCriteria):
    def __init__(self, stream: _Stream) -> None:
        self.stream = stream

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        return torch.full((len(input_ids),), self.stream.stopped == "stop", device=input_ids.device)
